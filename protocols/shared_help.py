"""What forms say about parameters that several protocols have (see form.py)."""
MANUAL = """\
normaliseParticles
    Alignment and classification expect particles whose surroundings have mean 0 and standard deviation 1 (noise of the
    same strength in all of them).  Particles as they come from the camera have other grey values, and others in every
    micrograph.

    *When they need it*: some particles are looked at before the run; if what surrounds them is far from 0 and 1, all
    are normalised.  The summary says so.  *Yes*: always.  *No*: take them as they are; you are warned when they seem
    to need it.

    Normalised copies are written to the run's folder (as much disk space as the particles take); the particles
    themselves stay as they are.  What lies outside the particle radius, or half the box, counts as surroundings.
areImagesPhaseFlipped
    Whether the contrast of every second ring of the CTF was turned over when the particles were extracted.  A wrong
    answer blurs the averages: what should be added is then subtracted.

    *As the set says*: Scipion knows when particles were flipped by one of its protocols, or when the import was told
    so.

    *Yes*: for particles that were flipped elsewhere and imported without a word of it.  You are warned that the set
    does not say so.

    *No*: is refused when the set says that they were flipped.
useGpu
    *Yes*: compare particles with references on an NVIDIA GPU instead of the processor.  The results are the same, up to
    rounding.  It needs CuPy in Scipion's environment (pip install "cupy-cuda12x<14").
gpuList
    Numbers of the GPUs to use, counted from 0, such as 0 or 0,1.  One process uses one of them; to use several, set
    MPI to their number.

    *Use GPU?* *Yes*: compare particles with references on an NVIDIA GPU instead of the processor.  The results are the
    same, up to rounding.  It needs CuPy in Scipion's environment (pip install "cupy-cuda12x<14").
memory
    What the program may use.  Particles that do not fit are read from disk again in every iteration.
"""
