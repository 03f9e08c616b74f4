"""File formats: metadata, stacks of images, checkpoints.  Import from the modules; nothing is loaded here.

images
    ``open_images(path) -> ImageSource``: metadata, or a stack of any kind.  It has ``.count``, ``.size``,
    ``.pixel_size``, ``.metadata`` (enabled rows, with ``itemId`` and ``image``), ``.read(rows)`` -> float32
    (B, n, n) and ``.names(rows)`` for messages.
    ``check_pixels(images, names)``.  ``open_stack(path)``: one file.
star
    ``read_star(path, blocks=None) -> {block: MetaData}`` with labels as in the file.
    ``write_star(path, {block: columns})``.
    ``MetaData``: ``.columns .path len() in [label] .numbers(label) .take(rows)``.
metadata
    ``read_metadata(path, block=None) -> MetaData``: Xmipp's or RELION's table of images in one vocabulary
    (``labels``).
mrc
    ``open_mrc(path)``, ``read_volume(path) -> volume, pixel_size``,
    ``write_stack(path, images, pixel_size)``,
    ``write_volume(path, volume, pixel_size)``;
    ``with stack_writer(path, pixel_size) as out: out.append(images)``.
spider
    ``open_spider(path)``.
hdf
    ``HdfStack(path)`` with ``.attributes(index)``;
    ``with hdf_writer(path, pixel_size) as out: out.append(image, attributes)``.
checkpoint
    ``save_checkpoint(path, arrays, meta)``, ``load_checkpoint(path) -> arrays, meta``.
whole
    ``with whole_file(path) as temporary``: any other file, whole or not at all.

Whatever is wrong with a user's file is a ``UserError`` that names the file and the row or line.
"""
