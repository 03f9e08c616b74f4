"""simulate_tomo: subtomograms with known truth, to try programs on and to measure them."""
from . import options
from .options import number

DESCRIPTION = """\
Make subtomograms whose class and pose are known and whose Fourier space has a missing region.

Every particle shows one reference, chosen at random, in a random orientation (all are equally likely) and shifted,
in white Gaussian noise of standard deviation 1.  Then the Fourier coefficients in the particle's missing region are
set to zero, of signal and noise alike (--noise_everywhere keeps the noise).  References are built-in phantoms
(--phantoms) or density maps (--maps), centred on their centre of mass and resampled to one voxel size.

Each reference is cut to the sphere that fits the box, on a background of zero, and scaled so that the variance of
its voxels inside that sphere, divided by the variance of the noise, is exactly --snr.  This is the SNR before
anything is missing.

What is missing: the wedge of a tilt series about Y (--wedge, by default from -60 to 60 degrees), nothing
(--no_wedge), or regions of any kind from a table (--missing), of which every particle gets one, all equally likely.

Written, PREFIX being the value of -o:
  PREFIXparticles/000001.mrc  the subtomograms, one file each; with --stack all in PREFIXparticles.mrcs
  PREFIXparticles.xmd         their metadata: image and missingRegionNumber, and with --misaligned starting angles
  PREFIXmissing.xmd           the missing regions; not with --no_wedge
  PREFIXtruth.xmd             the same rows: the class (ref), and the pose that brings the particle onto its reference
                              (first shiftX shiftY shiftZ, then angleRot angleTilt anglePsi), in the geometry of the
                              programs' own output
  PREFIXreferences.mrcs       the references without noise, a stack of volumes in the order of ref, and each in
                              PREFIXreference000001.mrc and so on
"""

EXAMPLES = """\
examples:
  mlalign simulate_tomo --phantoms 2 -n 200 -o planted/
  mlalign simulate_tomo --maps ribosome.mrc proteasome.mrc --box 48 --snr 0.05 --wedge -50 60 -n 500 -o assemblies/
  mlalign simulate_tomo --phantoms 3 --missing regions.xmd --misaligned 15 --seed 7 -o nearly_aligned_

mlalign simulate makes images, not volumes.
"""


def parser():
    p = options.Parser("simulate_tomo", DESCRIPTION, EXAMPLES)

    source = p.add_argument_group("references").add_mutually_exclusive_group()
    source.add_argument("--phantoms", type=number(int, 1, 12), default=None, metavar="K",
                        help="number of built-in phantoms without symmetry (1 to 12), always the same ones "
                             "(default: 2)")
    source.add_argument("--maps", nargs="+", default=None, metavar="MAP",
                        help="density maps (.mrc), zero in the solvent")

    particles = p.add_argument_group("particles")
    particles.add_argument("-n", dest="count", type=number(int, 1), default=100, metavar="N",
                           help="number of particles")
    particles.add_argument("--box", type=number(int, 8), default=32, metavar="PX", help="side of the volumes")
    particles.add_argument("--voxel_size", "--pixel_size", type=number(float, 0, low_open=True), default=None,
                           metavar="Å/px", help="voxel size of the particles; maps are resampled to it (default: that "
                                                "of the coarsest map, with phantoms 10)")
    particles.add_argument("--snr", type=number(float, 0, low_open=True), default=0.1, metavar="X",
                           help="variance of the signal inside the sphere over variance of the noise")
    particles.add_argument("--offset", type=number(float, 0), default=2.0, metavar="PX",
                           help="standard deviation of the shift along each axis")
    particles.add_argument("--misaligned", type=number(float, 0, 180), default=None, metavar="DEG",
                           help="write starting angles to the particles' metadata, each off the true orientation by "
                                "this many degrees about a random axis; a run that searches around them has this to "
                                "mend (default: no angles)")
    particles.add_argument("--seed", type=number(int, 0), default=0, metavar="INT",
                           help="seed of everything random; the same seed gives the same particles")
    particles.add_argument("--stack", action="store_true", help="one stack of volumes instead of a file for each")
    particles.add_argument("-o", dest="oroot", default="simulated_", metavar="PREFIX",
                           help="prefix of the output files")

    missing = p.add_argument_group("missing regions")
    kind = missing.add_mutually_exclusive_group()
    kind.add_argument("--wedge", type=number(float, -90, 90), nargs=2, default=None, metavar=("LOW", "HIGH"),
                      help="first and last tilt in degrees about Y (default: -60 60)")
    kind.add_argument("--missing", default="", metavar="FILE",
                      help="table of missing regions: missingRegionNumber, missingRegionType (wedge_y, wedge_x, "
                           "pyramid, cone, weight) and their limits")
    kind.add_argument("--no_wedge", action="store_true", help="nothing is missing")
    missing.add_argument("--noise_everywhere", action="store_true",
                         help="leave the noise in the missing region, where only the signal is set to zero")
    return p


def main(argv=None):
    options.launch(parser(), "mlalign.programs.simulation_tomo", argv)


if __name__ == "__main__":
    main()
