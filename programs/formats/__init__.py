"""File formats: metadata, image stacks, checkpoints.  Import from the modules below; nothing is loaded here.

=================  ================================================================================================
``images``         ``open_images(path) -> ImageSource`` (metadata or stack of any kind) with ``.count .size
                   .pixel_size .metadata .rows .read(rows) .names(rows)``; ``check_pixels(images, names)``;
                   ``open_stack(path)`` for one file
``star``           ``read_star(path, blocks=None) -> {block: MetaData}`` (labels as in the file);
                   ``write_star(path, {block: columns})``; ``MetaData`` with ``.columns .path len() in [] .numbers()
                   .take(rows)``
``metadata``       ``read_metadata(path, block=None) -> MetaData``: Xmipp or RELION particles, one vocabulary
``labels``         that vocabulary
``mrc``            ``open_mrc``, ``read_volume(path) -> volume, pixel_size``, ``write_stack(path, images, pixel_size)``,
                   ``write_volume``, ``stack_writer(path, pixel_size)`` with ``.append(images)``
``spider``         ``open_spider``
``hdf``            ``HdfStack``, ``hdf_writer(path, pixel_size)`` with ``.append(image, attributes)``
``checkpoint``     ``save_checkpoint(path, arrays, meta)``, ``load_checkpoint(path) -> arrays, meta``
``whole``          ``whole_file(path)``: write any other file whole or not at all
=================  ================================================================================================

Whatever is wrong with a user's file is a ``UserError`` that names file and row or line.
"""
