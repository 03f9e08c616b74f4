"""What the form of ML2D and MLF2D says about each parameter: what it does, when to change it, to what (see form.py)."""
MANUAL = """\
inputParticles
    The particles to classify.  They should be roughly centred; they need not be aligned.  Boxes of about 64
    pixels are usually enough and much faster than large ones: downsample first if yours are larger.

    The images themselves are not changed.
doGenerateReferences
    *Yes*: the first references come from random subsets of the particles.  Nothing is assumed about what
    the views look like, so nothing can be imposed on them.

    *No*: start from class images that you choose.  It converges sooner, but the classes may keep features
    of the references that the particles do not have.
numberOfClasses
    How many class averages to make.  Fewer than there are views and different ones are averaged; too many
    and each average holds few particles and stays noisy.  A few hundred particles per class are
    comfortable, 50 is little.

    -1: one class for every 300 particles, but 2 to 50 of them, and fewer for small sets; the summary says how
    many that are.  The wizard shows how noisy averages of so few particles would be, and suggests a number for
    particles as noisy as these.
restarts
    Where a classification ends depends on where it starts.  So many random starts are followed for a few
    quick iterations at low resolution, and the one with the highest likelihood is taken.  3 costs a few per
    cent of the whole and helps most; try 5 to 10 when runs with different seeds disagree; 1 follows the
    first start, whatever it is.
inputReferences
    The images to start from: averages, or classes of an earlier run (their averages are used).  They must
    have the particles' box and pixel size.
splitReferences
    Each class image starts this many classes, from random subsets of the particles aligned to it.  With 1
    average and 4 classes per image, for example, the particles are split in four from a common alignment.
doMlf
    *No*: compare particles and class averages as they are (ML2D).  Suits stained particles, images without a
    known CTF and a first look; it is the faster of the two.

    *Yes*: see every class average through the particle's own CTF, and give the noise a spectrum (MLF2D).  Suits
    cryo images with a known CTF: the averages come out corrected for it, and particles of different defocus no
    longer fall into different classes.
doCorrectAmplitudes
    *Yes*: model the CTF of every particle, astigmatism and phase shift included, and correct the averages for
    it.  The particles must have a CTF.

    *No*: model the spectrum of the noise only.  No CTF is needed; the averages are not corrected.
ctfAffectedRefs
    *Yes*: the class images show the effects of the CTF, as averages of ML2D or of any program that does not
    correct for it.  The particles are aligned with them as they are, and the averages corrected for the CTF.

    *No*: they are corrected for the CTF, as the averages of MLF2D are, or projections of a map.
includeAllFreqs
    *Yes*: use all frequencies, from the lowest to Nyquist, from the first iteration on.  Noise may lead the
    first iterations; use it to polish good class images.
fixHigh
    Use everything up to this resolution from the first iteration to the last.  -1: begin coarse and let the
    resolution grow as the averages become clear, up to the limit below.
doMirror
    Particles that lie face down show the mirror image of those that lie face up.  *Yes* puts both in one
    class, which is what you want for most particles on carbon or in ice.  Say *No* when mirrored views
    cannot occur or must be kept apart; it halves the work.
doFast
    Score every particle coarsely first (half the resolution and sampling), then finely only where it may
    fit.  The result is nearly the same and comes several times sooner.  *No* scores every particle finely
    everywhere.
significance
    A pose is scored finely when its coarse probability is more than this times that of the particle's best
    pose.  A smaller value keeps more poses: slower, closer to the full search.  -1: what suits the
    program, 1e-9 in ML2D and 1e-5 in MLF2D.
zeroOffsets
    *Yes*: the coarse search of the first iteration looks at the given centres only.  A faster beginning for
    particles centred by an earlier alignment.
radius
    Radius of the circle that holds the particle, in pixels; what lies outside is left out of the averages.
    -1 takes half the box.  Set it when neighbours show at the edges of the box.

    The wizard shows the circle on particles and on the mean of many, and finds where the particle ends.
limitResolution
    *automatic*: begin coarse and let the resolution grow as the averages become clear.  This is fast, and
    noise cannot lead the first iterations.

    *limit*: use everything up to the given resolution from the beginning.
highResLimit
    Details finer than this are not used.  20 to 30 Å is enough to tell views apart; for detailed averages of
    many particles take 8 to 12 Å.  It cannot be finer than twice the pixel size.  The wizard shows the particles
    at any limit, and up to where they stand out of the noise.

    In MLF2D 0 sets no limit: the resolution grows as far as the data allow.
firstResLimit
    Details finer than this are not used in the first iteration.  0: the program begins coarse by itself.  Take
    a finer value for class images that are good already.
lowResLimit
    Details coarser than this do not count when particles are compared with the averages.  Take one to two
    particle diameters when gradients of ice or carbon disturb; 999 keeps almost everything.
maxFrequency
    Details finer than this are not used: 0.5 is everything (Nyquist), 0.25 is four times the pixel size.  The
    wizard shows the particles at any limit.
psiStep
    Angle between neighbouring rotations that are tried.  5 suits most particles; take 2 to 3 for large,
    detailed ones (a step of 5 degrees moves a point 30 px from the centre by 2.6 px) and 10 for a quick
    look.  The wizard finds the step for a resolution and a diameter, and shows what it costs.
maxShift
    Shifts up to this many pixels are tried.  -1: as far as the estimated spread of the origins makes
    likely.  Set it when a neighbour could be taken for the particle; 0 keeps the centres.
narrowShifts
    *Yes*: try shifts up to 3 instead of 4 standard deviations of the origins, about half as many.  Faster;
    particles far off centre may be missed.
doNorm
    *Yes*: estimate the contrast and (in ML2D) the background of every image along the way.  Use it when ice
    thickness or staining varies among particles.  Each image gets more unknowns, so leave it off when the
    images are well normalised.
doStudent
    *Yes*: suppose Student-t instead of Gaussian noise, so that images that fit no class (dirt, aggregates)
    weigh less in the averages.
studentDf
    Of the t-distribution: the fewer, the more it forgives.  6 is usual; above 30 it is all but Gaussian.
sigmaTrick
    *Yes*: the noise is estimated from the images by the same weights as the averages, which converges
    faster.  *No*: from all images alike.
testResiduals
    *Yes*: test of every particle whether what the model leaves unexplained looks like noise
    (Kolmogorov-Smirnov).  The particles get the probability _mlalignKstest_; it is tiny for those that the model
    does not describe, such as dirt.
noiseGroups
    Which particles share a noise spectrum.  Ice, defocus and microscope change it, but it takes some hundred
    particles to estimate one.

    *for each optics group and defocus*: of particles taken alike.  Optics groups are those that RELION's
    protocols assign; without any, all particles are of one.

    *for each optics group*: whatever the defocus.  *one for all*: the most robust, for small sets.
groupSize
    A noise group has at least so many particles: the defocus is divided no finer (nor in more than 8 parts),
    and smaller optics groups are joined.  Fewer than 100 make noisy spectra.
reduceSnr
    The signal-to-noise ratios that the averages seem to have are multiplied by this before they are used to
    filter them.  Less than 1, such as 0.5: smoother averages, when they look grainy.  More than 1 risks that
    noise is taken for signal.
stdNoise
    Standard deviation of the noise in a pixel to begin with: 1 for normalised particles.  It is re-estimated in
    every iteration.  In MLF2D it serves the random starts only; the spectra come from the particles.
fixNoise
    *Yes*: do not re-estimate the noise, or its spectra.
stdOffset
    How far, in pixels, the particles typically are from the centre of their box to begin with; it is
    re-estimated.  Increase it for hastily picked particles.
fixOffset
    *Yes*: do not re-estimate the spread of the origins.
fractions
    File with the share of particles of each class to begin with: one number per line, or the classes.xmd of
    an earlier run.  Empty: equal shares.
fixFractions
    *Yes*: do not re-estimate the shares of classes and mirrors.  With equal shares this keeps large classes
    from attracting ever more particles.
maxIters
    The run stops earlier when the averages no longer change.  Let it converge; to look at an early result,
    open the results while it runs.  A finished run goes on from its last iteration when this is increased
    and the run mode is Continue.
randomSeed
    The same seed gives the same classes again.  Try others to see which classes are always found.  -1 takes
    one from the clock; the summary tells which.
eps
    Stop when no class average changes by more than this (squared change over squared signal) in an
    iteration.  0: do all iterations.  -1: stop as soon as hardly any particle changes class and the changes
    of the averages are small beside their noise.
minClassSize
    A class with fewer particles is given up, and the most heterogeneous class is split in two instead, so
    that no class is lost.  -1: a tenth of the average class; 0: let classes die.
iemBlocks
    With more than 1, the particles are divided into so many blocks and the averages are updated after each:
    fewer iterations for large sets.  About 200 particles per class in a block are enough: 10 blocks for
    20,000 particles in 10 classes, 50 for a million in 100.
writeProbs
    *Yes*: also write the probability of every particle to belong to every class, not only to its own, to
    extra/ml2d_probs.xmd (mlf2d_probs.xmd).
"""
