"""What the form of ML tomo says about each parameter: what it does, when to change it, to what (see form.py)."""
MANUAL = """\
inputVolumes
    The particles to align and classify: subtomograms, or other volumes, such as random conical tilt
    reconstructions.  They must be cubic and should be normalised (mean 0, standard deviation 1) and roughly centred.
    Boxes of about 32 voxels are enough to find orientations and classes, see _Box to work in_.

    The volumes themselves are not changed.
copyAlignment
    *No*: nothing is assumed about the orientations, the search begins everywhere.

    *Yes*: begin with the orientations and shifts that the particles bring along, from an earlier run or from how
    they were picked: generated references are averages of the particles as they are aligned, and a search range
    can be set from the first iteration on.  Do not say so when all orientations are the same because nobody has
    searched them: all missing wedges then coincide, and the averages show the wedge.
generateReferences
    *Yes*: the first references are averages of random groups of particles, in random orientations (or, with _Start
    from their alignment?_, in theirs).  Nothing is assumed about what they look like.

    *No*: start from volumes that you choose.
numberOfReferences
    How many classes to make.  For a first look at an unknown set 1 finds a common average; to separate species take a
    few more than you expect.  Some dozens of particles per class are needed; the wizard shows how many they suffice
    for.
restarts
    Where a classification ends depends on where it starts.  So many random starts are followed for a few quick
    iterations at low resolution, and the one with the highest likelihood is taken.  Try 5 to 10 when runs with
    different seeds disagree; 1 follows the first start, whatever it is.
inputReferences
    The volumes to start from: one volume, a set of them, or classes of an earlier run (their averages are used).  They
    must have the particles' box and voxel size, and the same grey scale unless _Correlate instead of likelihoods?_ is
    on.
symmetry
    Point group of the particle under its name in Xmipp: c1 (none), c4, d7, t, o, i1 and so on.  Only give a symmetry
    that you know; with references given, they must lie on its axes.
missingDataType
    Which part of Fourier space the particles lack.  What is missing counts neither for nor against an orientation,
    and the averages are filled from particles in which it was observed.

    *wedge*: a single tilt series; the axis is that of the subtomograms, nearly always Y.  *pyramid*: two series about
    perpendicular axes.  *cone*: random conical tilt.  *weight volume*: any other geometry, see there.  *nothing*: all
    was observed.
tiltFromAcquisition
    *Yes*: the range of tilts is what the acquisition of each particle says, else of its set, else of the tomogram it
    comes from; particles of which nobody knows have the range below.  Different ranges are told apart.

    *No*: all particles have the range below.
missingAng
    First and last tilt of the series: _-60 60_.  A pyramid needs four numbers, about Y and about X: _-60 60 -50 50_.
    A cone needs one, its tilt: _55_.  With the tilt range of the acquisition it is for particles without one.

    The wizard shows the mean power spectrum of the particles, in which what is missing is dark, and reads the range
    from it.
negateTilts
    *Yes*: tilts of -40 to 60 degrees are taken as -60 to 40.  For tomograms whose handedness, or the sign of whose
    tilts, is the other way round; it matters for ranges that are not symmetric only.
missingWeight
    How well each frequency was observed, from 0 to 1: a volume of Fourier space with the origin in its middle (at
    index N//2), as cubic as the particles, of any size.  For dose weighting, CTFs or odd tilt schemes; it holds for
    all particles.
searchMode
    *orientations, shifts and classes*: everything.

    *shifts and classes*: keep the given orientations.

    *classes*: keep orientations and shifts.  Very fast; right when the particles were well aligned against one
    average, and with a mask the way to tell apart what differs in one place only.

    *nothing, only average*: keep the classes, too, and average each once.

    All but the first start from the particles' alignment.
maskFile
    With values of 0 to 1: the part of the references that tells the classes apart, for example a binding site.  The
    rest does not count.  Empty: everything counts.
angSampling
    Angle between neighbouring orientations.  15 suits a search everywhere, then 10 and 5 around what was found; half
    the angle takes 8 times as long where the search is everywhere.  The wizard finds the angle for a resolution and a
    diameter.

    Several numbers, _15 10 5_, make stages of one run, in order.  This field, the search range, in-plane sampling,
    largest shift, box, frequency and number of iterations take one value for all stages, or one for each.
angSearch
    Look only so far from the orientation of each particle, where the last iteration found it (in the first, where its
    alignment says).  -1 looks everywhere.  3 to 5 times the sampling is good: _-1 50 25_ for a sampling of _15 10 5_.
anchor
    *Yes*: stay within the search range of the orientations that the particles brought along, in all iterations.
    *No*: the range moves along with each particle.
globalPsi
    *Yes*: the search range limits the direction only; all rotations about it are tried.  For particles picked on
    membranes or filaments, whose normal is known.  Not with symmetry.
psiSampling
    Angle between neighbouring rotations in the plane.  -1: as the angular sampling.
tiltMin
    Do not try tilts below this, in the frame of the references.
tiltMax
    Do not try tilts above this: 90 for particles that are known to point up.
doPerturb
    *Yes*: turn all orientations that are tried by a random rotation, another in every iteration, so that a coarse
    sampling leaves no marks in the averages.  *No*: the same orientations in every iteration.
noSmallAngle
    *Yes*: do not turn all in-plane angles by 2.75 degrees.  For tests with phantoms that lie on the axes.
limitTrans
    Largest shift along each axis, in voxels of the input.  -1: as far as the estimated spread of the origins makes
    likely.  Set it when neighbours could be taken for the particle.
doRefine
    *Yes*: in the end refine every orientation and shift off the grid, to a fraction of the sampling and of a voxel.
dim
    Work in a smaller box: faster, at lower resolution.  32 is enough for a first search everywhere.  -1: the box of
    the particles.  With several stages: _32 -1 -1_.
maxRes
    Details finer than this do not count: 0.5 is everything that the box worked in holds, 0.35 leaves out the noisiest
    third, 0.25 is four voxels.  The wizard shows the particles at any limit, and up to where they stand out of the
    noise.
growResolution
    *Yes*: references from chance begin at low resolution, which grows as the averages become clear and finds better
    solutions; given references meet the particles at low resolution first, which finds their shifts sooner.  *No*:
    search everything at all frequencies from the first iteration on, which takes far longer.
radius
    Radius of the sphere that holds the particle, in voxels; what lies outside is left out of the averages.  -1: half
    the box.  Set it when neighbours, membranes or gold show in the box.  The wizard shows the sphere on sections of
    particles and of the mean of many, and finds where the particle ends.
maxCC
    *Yes*: each particle takes the one class, orientation and shift of the highest constrained cross-correlation, which
    does not depend on the grey scale.  For references that do not come from these data, such as maps of atomic
    models; one or a few iterations are enough.

    *No*: every particle contributes everywhere with its probability.  Better for noisy data, and needed to find
    classes.
halfSets
    *Yes*: keep each particle in one of two halves from beginning to end, with references of its own for each half.  The
    resolution is then not flattered by alignment to common noise; the averages are of both halves.

    *No*: halves are drawn anew in every iteration; resolutions are too good.
dontImpute
    *No*: what no particle of an orientation observed is filled in from the last iteration's average, which is gentle
    where little was observed.

    *Yes*: divide the sums by how often each frequency was observed.  It is what repeated imputation comes to; noisier
    where little was observed, and faster to converge.
noImpThresh
    With weighted averaging, and for the first references: where fewer particles than this were observed, the average
    is 0.
numberOfImpIterations
    How often imputation is repeated in every iteration.  1 is gentle; 5 is nearly weighted averaging.
regIni
    Draw the references towards their common mean by this much in the first iterations, so that no class is lost or
    taken over by a wedge before the classes have formed.  0: not; 5 is strong: nearly identical classes at first.
regFinal
    And by this much in the end.  0 nearly always.
regSteps
    In how many iterations it goes from the initial to the final value.
doFilter
    *Yes*: filter every reference to its resolution (FSC of 0.5) in every iteration, so that noise is not aligned to.
iniFilter
    *Yes*: filter the first references to their resolution.
stdNoise
    Standard deviation of the noise in a voxel to begin with: 1 for normalised particles.  It is re-estimated.
fixSigmaNoise
    *Yes*: do not re-estimate the noise.
sigmaShells
    *Yes*: estimate the noise in every shell of frequencies, for noise that is not white: of filtered or interpolated
    tomograms, for example.
stdOrig
    How far, in voxels, the particles typically are from the centre of their box along each axis to begin with; it is
    re-estimated.  Increase it for hastily picked particles.
fixSigmaOffset
    *Yes*: do not re-estimate the spread of the origins.
fractions
    File with the share of particles of each class to begin with: one number per line, or metadata of classes of an
    earlier run.  Empty: equal shares.
fixFrac
    *Yes*: do not re-estimate the shares of the classes, so that large ones do not attract ever more particles.
numberOfIterations
    The run (each stage, when there are several) stops earlier when the averages no longer change.  To look at an
    early result, open the results while it runs.  A finished run goes on from its last iteration when this is increased
    (of several stages, that of the last one) and the run mode is Continue.
randomSeed
    The same seed gives the same classes again.  Try others to see which classes are always found.  -1 takes one from
    the clock; the summary tells which.
eps
    Stop when no class average changes by more than this (squared change over squared signal) in an iteration.  0: do
    all iterations.
"""
