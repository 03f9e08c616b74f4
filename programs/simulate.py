"""simulate: particle images with known truth, to try programs on and to measure them."""
from . import options
from .options import number

DESCRIPTION = """\
Make particle images whose class and pose are known.

Every particle shows one reference, chosen at random, turned by a random angle, shifted and (with --mirror)
mirrored, in Gaussian noise, white or (with --noise_fall) coloured.  References are built-in phantoms (--views),
given images (--refs), or projections of density maps at random orientations (--maps).

Each reference is cut to the circle that fits the box, on a background of zero, and scaled so that the
variance of its pixels inside that circle, divided by the variance of the noise, is exactly --snr.  The noise
has mean 0 and standard deviation 1, so the images come out normalised as programs expect them.

With --defocus every particle, posed and shifted, is multiplied by its CTF in a box so wide that nothing wraps
around.  The CTF takes from the signal, therefore all references together are scaled once more: --snr is then
that of the particles behind their CTFs, on the average.  The references are written with this scale and without
the CTF, so that reference times CTF is what an image shows.

Written, PREFIX being the value of -o:
  PREFIXparticles.mrcs    the images
  PREFIXparticles.star    their metadata, as RELION 3.1 and Scipion read it
  PREFIXtruth.xmd         the same rows: the class (ref), the pose that aligns the particle with its reference
                          (anglePsi, shiftX, shiftY, flip), in the geometry of the programs' own output, and
                          the contrast by which the reference was multiplied (intScale); images without a
                          particle have ref 0; with --defocus the CTF, too
  PREFIXreferences.mrcs   the references without noise, in the order of ref
  PREFIXnoise.xmd         with --noise_fall: the noise's variance (mlfNoise, 1 for white noise) at frequencies
                          in 1/px (resolutionFreqFourier)
"""

EXAMPLES = """\
examples:
  mlalign simulate --views 3 -n 1000 --mirror -o planted/
  mlalign simulate --maps ribosome.mrc proteasome.mrc --views_per_map 2 --snr 0.06 -n 2000 -o assemblies/
  mlalign simulate --maps a.mrc b.mrc --defocus 9000 28000 --astigmatism 900 --noise_fall 10 -o like_real/
  mlalign simulate --refs averages.mrcs -n 5000 --offset 3 --seed 7 -o like_mine_

mlalign simulate_tomo makes subtomograms.
"""


def parser():
    p = options.Parser("simulate", DESCRIPTION, EXAMPLES)

    source = p.add_argument_group("references").add_mutually_exclusive_group()
    source.add_argument("--views", type=number(int, 1, 20), default=None, metavar="K",
                        help="number of built-in phantoms (1 to 20), always the same ones (default: 3)")
    source.add_argument("--refs", default="", metavar="STACK", help="stack or metadata of 2-D references")
    source.add_argument("--maps", nargs="+", default=None, metavar="MAP",
                        help="density maps (.mrc), zero in the solvent, projected at random orientations")
    p.add_argument("--views_per_map", type=number(int, 1), default=1, metavar="V",
                   help="with --maps: projections of each map")

    images = p.add_argument_group("images")
    images.add_argument("-n", dest="count", type=number(int, 1), default=1000, metavar="N",
                        help="number of particles")
    images.add_argument("--box", type=number(int, 8), default=None, metavar="PX",
                        help="side of the images (default: 64, with --refs that of the references)")
    images.add_argument("--pixel_size", type=number(float, 0, low_open=True), default=None, metavar="Å/px",
                        help="pixel size of the images; maps are resampled to it (default: that of the "
                             "coarsest map, or of the references' file, else 3)")
    images.add_argument("--snr", type=number(float, 0, low_open=True), default=0.1, metavar="X",
                        help="variance of the signal inside the circle over variance of the noise")
    images.add_argument("--offset", type=number(float, 0), default=2.0, metavar="PX",
                        help="standard deviation of the shift along each axis")
    images.add_argument("--mirror", action="store_true", help="mirror half of the particles")
    images.add_argument("--contrast", type=number(float, 0), default=0.0, metavar="SD",
                        help="multiply each particle's signal by the exponential of a Gaussian number of "
                             "this standard deviation")
    images.add_argument("--outliers", type=number(float, 0, 1), default=0.0, metavar="SHARE",
                        help="share of the images that show no particle, only noise")
    images.add_argument("--outlier_noise", type=number(float, 0, low_open=True), default=10.0, metavar="SD",
                        help="with --outliers: standard deviation of the noise in them")
    images.add_argument("--seed", type=number(int, 0), default=0, metavar="INT",
                        help="seed of everything random; the same seed gives the same images")
    images.add_argument("-o", dest="oroot", default="simulated_", metavar="PREFIX",
                        help="prefix of the output files")

    ctf = p.add_argument_group("CTF and spectrum of the noise")
    ctf.add_argument("--defocus", type=number(float, 100), nargs=2, default=None, metavar=("LOW", "HIGH"),
                     help="range of the defocus in Å, positive for underfocus; each particle gets a CTF (default: "
                          "no CTF)")
    ctf.add_argument("--astigmatism", type=number(float, 0), default=0.0, metavar="MAX",
                     help="the two defoci of a CTF differ by up to this many Å, in a random direction")
    ctf.add_argument("--phase_shift", type=number(float), default=0.0, metavar="DEG",
                     help="phase shift of a phase plate")
    ctf.add_argument("--voltage", type=number(float, 0, low_open=True), default=300.0, metavar="kV",
                     help="acceleration voltage")
    ctf.add_argument("--cs", type=number(float, 0), default=2.7, metavar="mm", help="spherical aberration")
    ctf.add_argument("--q0", type=number(float, 0, 1), default=0.1, metavar="Q0", help="amplitude contrast")
    ctf.add_argument("--micrographs", type=number(int, 1), default=None, metavar="M",
                     help="the particles come from this many micrographs and share their CTFs (default: every "
                          "particle has its own)")
    ctf.add_argument("--phase_flip", action="store_true",
                     help="flip the phases of the finished images where their CTF is negative")
    ctf.add_argument("--noise_fall", type=number(float, 1), default=1.0, metavar="F",
                     help="noise of variance 1 whose power is F times higher at the lowest frequencies than at "
                          "Nyquist; realistic are 5 to 15; 1 is white noise")
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.simulation", argv)


if __name__ == "__main__":
    main()
