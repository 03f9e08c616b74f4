"""One vocabulary for metadata columns: Xmipp's labels, without the leading underscore.

Units: angles and phase shifts in degrees, shifts in pixels, defocus in Å, voltage in kV, spherical aberration
in mm, ``samplingRate`` in Å/px.
"""

# RELION label -> ours, where only the name differs
RELION = {
    "rlnImageName": "image",
    "rlnMicrographName": "micrograph",
    "rlnCoordinateX": "xcoor",
    "rlnCoordinateY": "ycoor",
    "rlnDefocusU": "ctfDefocusU",
    "rlnDefocusV": "ctfDefocusV",
    "rlnDefocusAngle": "ctfDefocusAngle",
    "rlnPhaseShift": "ctfPhaseShift",
    "rlnVoltage": "ctfVoltage",
    "rlnSphericalAberration": "ctfSphericalAberration",
    "rlnAmplitudeContrast": "ctfQ0",
    "rlnImagePixelSize": "samplingRate",
    "rlnClassNumber": "ref",
}

# what Xmipp itself calls differently in some of its versions
XMIPP_ALIASES = {"ctfVPPphaseshift": "ctfPhaseShift"}

# where versions of RELION keep the pixel size, besides rlnImagePixelSize
PIXEL_SIZE = frozenset({"rlnPixelSize", "rlnDetectorPixelSize", "rlnMagnification"})

# what a column holds, whatever its first rows look like
TEXT = frozenset({
    "image", "micrograph", "ctfModel", "mask",
    "rlnImageName", "rlnMicrographName", "rlnOpticsGroupName", "rlnReferenceImage", "rlnTomoName",
})

WHOLE = frozenset({"itemId", "enabled", "ref", "flip", "rlnOpticsGroup", "rlnClassNumber"})

NUMBERS = WHOLE | frozenset({
    "anglePsi", "shiftX", "shiftY", "xcoor", "ycoor", "weight", "classCount",
    "ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle", "ctfPhaseShift", "ctfVPPphaseshift", "ctfVoltage",
    "ctfSphericalAberration", "ctfQ0", "samplingRate",
    "rlnAnglePsi", "rlnOriginX", "rlnOriginY", "rlnOriginXAngst", "rlnOriginYAngst",
}) | PIXEL_SIZE | (RELION.keys() - TEXT)
