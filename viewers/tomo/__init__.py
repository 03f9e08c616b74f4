"""The gallery of volumes: classes of subtomograms, their orientations and what of Fourier space they cover."""
