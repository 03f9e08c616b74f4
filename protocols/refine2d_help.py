"""What the form of refine2d says about each parameter: what it does, when and how to change it (see form.py)."""
COMPARATORS = """\
*ccc*: correlation coefficient; right for most.  *dot*: scalar product (normalize=1 makes it a cosine).  *sqeuclidean*:
squared differences (normto=1 fits contrast and background first).  *frc*: Fourier ring correlation, which weighs
frequencies alike (sweight, snrweight, ampweight, nweight, minres and maxres in Å).  *phase*: differences of the phases,
weighted by amplitude (minres, maxres).  *optvariance*: variance left when both are given the same spectrum."""

ALIGNERS = """\
All of them search exhaustively here; they differ in what a particle may do.  *rotate_translate_tree*,
*rotate_translate_flip*: turn, shift, and be mirrored.  *rotate_translate*, *rotate_translate_bispec*: turn and shift.
*rotate_flip*: turn and be mirrored.  *rotational*: turn.  *translational*: shift.  *None*: nothing, for particles that
are aligned already.  maxshift is the farthest shift in pixels, maxres the finest resolution in Å that is looked at."""

MORE = """\
Parameters of it as name=value, several with colons between, such as {example}; empty: its own defaults."""

MANUAL = """\
inputParticles
    The particles to classify.  They should be roughly centred; they need not be aligned.  Boxes of about 64 pixels are
    usually enough and much faster than large ones.

    The images themselves are not changed.
inputClassAvg
    Averages to begin with, for instance those of an earlier run; they must have the particles' box and pixel size.
    Usually left empty: the program then begins with classes of its own, made of features of the particles that do not
    depend on how they lie (see *Starting classes*), so that nothing you expect leads the result.

    They need not be as many as the classes.
numberOfClassAvg
    Number of classes.  A class needs some 20 particles for its average to be clear, better 50; 30 to 100 classes suit
    most sets, and up to 200 a large one.

    Particles of one view spread over several classes, which is as it should be: choose more classes than there are
    views, and look at which of them resemble each other.
useCtf
    *when the particles have one*: averages are weighted by the CTFs of their particles, if the averager does so (see
    *Averager*); particles that are not phase-flipped are flipped first.  Particles without a CTF are averaged as they
    are.

    *no*: all are taken as they are.  Suits stained particles.
numberOfAlignRef
    In every cycle each particle is aligned to so many of the averages, chosen as different from each other as possible,
    and to that of its own class, before it is classified.  Take as many as the particle has clearly distinct views: 3
    or 4 for a barrel seen from top and side, 10 to 15 for a ribosome.  The time grows with them.
nbasisfp
    Number of eigenimages of the averages by which particles are told apart.  More of them see finer differences, and
    more of the noise; 5 to 20 are usual.  There can be no more than averages less one.
radius
    Radius of the circle that holds the particle, in pixels; what lies outside does not count.  The wizard shows the
    circle on the particles.  A circle much larger than the particle adds noise and neighbours.

    -1: half the box less a soft edge.
startingClasses
    What the first classes are made of, before anything is aligned.

    *harmonics*: features of every particle that stay the same when it is rotated, from its rotational harmonics.
    *footprint*: features that do not change with rotations and shifts either, but tell less of the particle, as EMAN
    had them.  *maximum likelihood*: a short classification by ML2D at low resolution; much slower, and best for very
    noisy particles.
doNormProj
    *Yes*: particles are compared by the direction in which they lie among the eigenimages, not by how far out.
    Differences of contrast, as from ice of varying thickness, then do not make classes.

    *No*: contrast counts as well.
doFastSeed
    *Yes*: particles are divided into classes from one choice of seeds.  *No*: from several, the best of which is kept;
    slower, with more consistent classes.
shrink
    Compare particles with the alignment references as if they were shrunk by this factor: without the details that are
    lost then.  2 or 3 saves time for large boxes with little detail; 1: not at all.
simalign
    How particles are aligned to the alignment references.

    {aligners}
simaligncmp
    By what that alignment is judged good or bad.

    {comparators}
simralign
    A second, finer alignment that begins where the first has ended.  *None*: only the first.  *refine*: to fractions of
    pixels and degrees, for clear particles and small classes.
simraligncmp
    By what the second alignment is judged.

    {comparators}
simcmp
    By what the alignment reference is chosen that a particle resembles most, once it is aligned to all.

    {comparators}
classIter
    An average is made in so many rounds: members are aligned to it, those that fit badly are left out, and it is made
    anew.  The time grows with them; 2 is enough in the first cycles.
classKeep
    The share of a class's particles that enter its average: 0.85 leaves out the worst fitting 15 %.  They remain
    members of the class, and the output says which (_mlalignUsed_).

    With *Keep by deviations?* it is a limit instead: those stay that are worse than the mean by less than so many
    standard deviations; 1.5 is usual.
classKeepSig
    *No*: keep a share of the particles.  *Yes*: keep those within a number of standard deviations, so that even classes
    lose few and uneven ones many.
doAutomask
    *Yes*: averages get a mask that follows their shape between the rounds.  Helps with crowded or stained particles,
    whose neighbours draw the centre away.  *No*: a round, soft one.
centerType
    How averages are put into the centre of the box, their particles with them.

    *by shape* suits most.  *by centre of mass*: for compact particles on an even background.  *by autocorrelation*: by
    the shift to their own half turn, for symmetric particles.  *not*: when the brightest in the box is not the
    particle.
classRefSf
    *Yes*: averages are filtered to where their halves agree (Fourier ring correlation) before particles are aligned to
    them, so that noise does not lead and resolutions can be believed.  *No*: they serve as they are, as in EMAN.
classAverager
    How the particles of a class are averaged.  Those with *ctf* in their names weigh them by their CTFs; without CTFs
    (see *Use the CTF*) all weigh alike.

    *mean*; *median*: less led by outliers, but noisier.  *ctf.auto*: corrected for the CTF; *ctfw.auto*: the same as a
    Wiener filter, for which snr is the signal-to-noise ratio of a particle.  *ctf.weight*: weighted alone.
    *ctf.weight.autofilt*: and filtered to where two halves agree.
classnormproc
    How particles are normalised before they are averaged.

    *normalize.edgemean*: the border to mean 0, the whole to deviation 1.  *normalize*: the whole to both.
    *normalize.circlemean*: the mean of a ring to 0.  *normalize.mask*: by what lies within a mask.
    *normalize.toimage*: contrast and background fitted to the average.  *normalize.ramp.normvar*: a slope of the
    background is taken away first.  *normalize.unitlen*: the sum of squares to 1.  *None*: not at all.
maxShift
    The farthest that a particle may be from the centre of its box, in pixels.  -1: a third of the box.  Reduce it when
    particles are well centred and neighbours close.
classalign
    How particles are aligned to their class average.

    {aligners}
classaligncmp
    By what that alignment is judged good or bad.

    {comparators}
classralign
    A second, finer alignment to the class average that begins where the first has ended.  *None*: only the first.
    *refine*: to fractions of pixels and degrees.
classraligncmp
    By what the second alignment is judged.

    {comparators}
classcmp
    By what is judged how well a particle fits its average, and so which are left out (see *Keep*).

    {comparators}
numberOfIterations
    Number of cycles: align, classify, average.  4 or 5 are enough for particles of high contrast, 10 to 12 may be
    needed for faint ones.

    A finished run goes on from its last cycle when this is increased and the run mode is Continue; when it is
    decreased, it goes back to that cycle.
eps
    Stop earlier, when not more than this share of the particles have changed class in a cycle.  Classes that resemble
    each other go on exchanging particles, so 0.02 to 0.1 is a sensible limit.  0: do all cycles.
randomSeed
    Of the choice of particles with which classes are seeded.  The same seed gives the same answer; classes that come
    back with another one can be trusted.  -1 takes the time.
extraParams
    More options for the program, as on its command line: --minchange 20 --resultmx, for instance.  What the form has is
    refused here, and what the program does not know.  *refine2d --help* lists all options.
"""

EXAMPLES = {"ralign": "stepx=1:maxiter=40", "align": "maxshift=8:maxres=12", "cmp": "maxres=12:sweight=1",
            "Averager": "snr=0.5", "normproc": "radius=-5"}


def manual(stems):
    """The manual, of the modules' parts as well: ``<stem>Type`` and ``<stem>Params`` for every stem that it has."""
    parts = {name: _indented(text) for name, text in (("aligners", ALIGNERS), ("comparators", COMPARATORS))}
    lines = [MANUAL.format(**parts).rstrip()]
    for stem in stems:
        example = next(value for ending, value in EXAMPLES.items() if stem.endswith(ending))
        lines += [f"{stem}Type", "    By name, see the line's help.",
                  f"{stem}Params", "    " + _indented(MORE.format(example=example))]
    return "\n".join(lines) + "\n"


def _indented(text):
    return text.replace("\n", "\n    ")
