"""convert: subtomograms' metadata from one program's convention to another's."""
from . import options
from .options import number

DESCRIPTION = """\
Convert the metadata of subtomograms, above all their alignment, between the conventions of several programs.

What the input is, its content tells: metadata of mlalign and Xmipp (.xmd), of RELION (.star), a selection or docfile
of Xmipp 2, or a table in TOM's convention (.csv).  What the output is, --to or its extension tells:

  xmipp     .xmd   as mlalign, Xmipp 3 and Scipion have it; all columns are kept
  relion    .star  angles, origins in Å where the voxel size is known (else in px), class, CTF, and half-set
  tom       .csv   a table with a header: image, phi, psi, theta, x, y, z, class
  docfile   .doc   Xmipp 2's table: rot tilt psi Xoff Yoff Zoff Ref Wedge Pmax/sumP LL
  selfile   .sel   Xmipp 2's selection: image 1, or -1 where it is disabled

The conventions, of a particle's alignment with its reference:
  xmipp   the particle is shifted, then turned by rot about z, tilt about y and psi about z
  relion  the same shift; the angles say how the reference is turned onto the particle
  tom     phi = 90 - rot, theta = tilt, psi = 270 - psi, the same shift; with --reference_onto_particle the inverse,
          which turns the reference, then shifts it, onto the particle: psi, theta and phi change places and signs,
          the shifts change their signs

Images are named as they are found from the current folder.  Disabled rows go where the output can say so, and are
left out where it cannot (relion, tom, docfile).  Columns that the output has no place for are left out.  The voxel
size is that of --voxel_size, else of the metadata, else of the first volume's header.
"""

EXAMPLES = """\
examples:
  mlalign convert -i run/mltomo_img.xmd -o aligned.star
  mlalign convert -i run/mltomo_img.xmd -o aligned.csv --reference_onto_particle
  mlalign convert -i images.sel -o images.xmd
  mlalign convert -i old_it000015.doc -o old.xmd
"""

KINDS = {"xmipp": ".xmd", "relion": ".star", "tom": ".csv", "docfile": ".doc", "selfile": ".sel"}


def parser():
    p = options.Parser("convert", DESCRIPTION, EXAMPLES)
    p.add_argument("-i", dest="input", metavar="FILE", required=True,
                   help="metadata of subtomograms (block@file names one of several blocks); it is not modified")
    p.add_argument("-o", dest="output", metavar="FILE", required=True, help="file to write")
    p.add_argument("--to", choices=KINDS, default=None, help="what to write (default: as the output's extension says)")
    p.add_argument("--reference_onto_particle", action="store_true",
                   help="the table in TOM's convention, read or written, brings the reference onto the particle")
    p.add_argument("--voxel_size", "--pixel_size", type=number(float, 0, low_open=True), default=None, metavar="Å/px",
                   help="voxel size, when the metadata has none or another one")
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.conversion", argv)


if __name__ == "__main__":
    main()
