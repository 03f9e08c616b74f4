"""File formats: metadata, images, volumes, checkpoints.  Import from the modules; nothing is loaded here.

images
    ``open_images(path) -> ImageSource``: metadata, or a stack of any kind.  It has ``.count``, ``.size``,
    ``.pixel_size``, ``.metadata`` (enabled rows, with ``itemId`` and ``image``), ``.read(rows)`` -> float32
    (B, n, n) and ``.names(rows)`` for messages.
    ``check_pixels(images, names)``.  ``open_stack(path)``: one file.
volumes
    ``open_volumes(path) -> VolumeSource``: the same of volumes, ``.read(rows)`` -> float32 (B, n, n, n) [z, y, x].
docfile
    ``read_selfile``, ``read_docfile``, ``read_orientations(path) -> MetaData``: Xmipp 2's text files;
    ``merged(metadata, orientations)``.
star
    ``read_star(path, blocks=None) -> {block: MetaData}`` with labels as in the file.
    ``write_star(path, {block: columns})``.
    ``MetaData``: ``.columns .path len() in [label] .numbers(label) .take(rows)``.
metadata
    ``read_metadata(path, block=None, dimensions=2) -> MetaData``: Xmipp's or RELION's table of images (dimensions=3:
    of volumes) in one vocabulary (``labels``).
mrc
    ``open_mrc(path)``, ``open_mrc_volumes(path)``, ``read_volume(path) -> volume, pixel_size``,
    ``write_stack(path, images, pixel_size)``, ``write_volume_stack(path, volumes, pixel_size)``,
    ``write_volume(path, volume, pixel_size)``;
    ``with stack_writer(path, pixel_size) as out: out.append(images)``.
spider
    ``open_spider(path)``, ``open_spider_volumes(path)``.
hdf
    ``HdfStack(path)`` with ``.attributes(index)``;
    ``with hdf_writer(path, pixel_size) as out: out.append(image, attributes)``.
checkpoint
    ``save_checkpoint(path, arrays, meta)``, ``load_checkpoint(path) -> arrays, meta``.
whole
    ``with whole_file(path) as temporary``: any other file, whole or not at all.

Whatever is wrong with a user's file is a ``UserError`` that names the file and the row or line.
"""
