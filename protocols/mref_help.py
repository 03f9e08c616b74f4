"""What the form of multi-ref ali2d says about each parameter: what it does, when and how to change it (see form.py)."""
MANUAL = """\
inputParticles
    The particles to align.  They should be roughly centred.
    Boxes of about 64 pixels are usually enough and much faster than large ones.

    The images themselves are not changed.
useAlignment
    *No*: the first iteration looks around the centre of each box.

    *Yes*: it looks around where the particles' 2-D alignment says that they are.  For going on from an earlier result:
    take its particles and its averages as input.  Rotations are searched in full in any case.
inputReferences
    The images to align to: averages, classes (their averages are used), projections of a map, or a few of the
    particles.  They must have the particles' box and pixel size.

    They decide what is found: a view that is missing among them can only turn up as the average of a class drifts
    there.  Noise aligned to a reference looks like that reference; check the resolution curves, and whether details
    appear that the references have not.
useCtf
    *when the particles have one*: particles are weighed by their CTFs, astigmatism included, and the averages are
    corrected for it (a Wiener filter).  Particles without a CTF are aligned as they are.

    *no*: all are aligned as they are.  Suits stained particles, and references that show the effects of the CTF.
snr
    Signal-to-noise ratio of a single particle, for the Wiener filter of the averages.  It matters for small classes
    only, for 1/SNR is compared with the sum over all members.  Take 0.05 to 0.2 when averages of few particles look
    grainy.
radius
    Radius of the circle that holds the particle, in pixels; what lies outside does not count.  A circle much larger
    than the particle adds noise and neighbours.  The wizard shows the circle on particles and on the mean of many, and
    finds where the particle ends.

    The circle must stay inside the box at every shift that is searched: in a box of 64 px, a radius of 28 px and shifts
    of 3 px are all there is room for.  -1: as large as the box and the shifts allow.
shiftX
    How far off where it was last a particle is looked for, along x, to either side.  The next iteration looks around
    the place that this one found, so that 2 to 4 px are usually enough.  The time grows with the number of shifts; 0
    keeps particles where they are.
shiftY
    The same along y.  Usually as far as along x.
shiftStep
    Shifts are tried in steps of this size, and the best is refined between them.  1 is fine; 2 saves time for large
    images with little detail, 0.5 is careful.
firstRing
    Images are compared on rings around the centre; this is the radius of the first.  Increase it to leave the middle
    of the particle out.
ringStep
    Distance between rings.  2 uses every second one, which is nearly twice as fast for large images.
maskImage
    An image from 0 to 1 of what to align by and average, within the radius.  It is laid on the references and turns
    with them, so it should hold what they all have in common.  Empty: the whole circle.
scoring
    *correlation coefficients*: particles go to the reference that they resemble most, however strong it is.

    *as the original*: references keep their strength, as in SPARX.  References of higher contrast, which are averages
    of more particles or of better ones, then attract ever more particles.  For comparisons with older results.
soft
    *No*: every particle counts in the average of its class alone.

    *Yes*: it counts in all, as probable as each class is for it.  Smoother progress with similar references; it takes
    longer.
exhaustive
    *No*: poses are scored coarsely first and finely where they may be best.

    *Yes*: score all of them finely.  The result is the same but for near ties; it takes many times longer.
centring
    Averages drift off the centre, and their particles with them, unless they are put back after every iteration.

    *by the phases of their lowest frequencies* suits most particles.  *where the given reference fits best* keeps to
    the references' centres, for instance of projections.  *not* is right when centred averages must not move, or when
    what is bright in the box is not the particle.
function
    How an average becomes the reference of the next iteration.

    *filtered to where halves agree*: a low-pass filter fitted to the Fourier ring correlation of the averages of two
    halves of the class, so that noise does not lead.  *filtered, less in each iteration*: a cut-off that begins at
    0.1/px and rises slowly, when the correlation misleads.  *filtered to 0.4/px*: hardly at all.  *centred only* and
    *as the averages are*: for many particles per class.
ownFunction
    Name of a Python function that makes references: package.module.function, or [folder,module,function] for a file
    module.py in any folder.  It is called with one list, [mask, centring method, average, [frequencies, correlations,
    pixels]], and returns the reference and how far off centre the average was, (x, y).
minClassSize
    A class with fewer particles begins anew with some of those that fit the largest class worst.  0: leave it empty.
randomSeed
    Of the choice of particles with which such classes begin anew; nothing else is random.
maxIters
    0: until it stops improving, which takes about 5 to 20 iterations (100 at most).  Any other number: exactly so many.
    A finished run goes on from its last iteration when this is increased and the run mode is Continue; when it is
    decreased, it goes back to that iteration.
eps
    It has stopped improving when not more than this share of the particles change class in an iteration and the mean
    correlation no longer rises.
writeHeaders
    *Yes*: also write extra/particles_aligned.hdf, a copy of the particles with their alignment (xform.align2d) and
    class (assign) in the headers, for EMAN and SPARX.
"""
