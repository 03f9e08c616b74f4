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
XMIPP_ALIASES = {
    "ctfVPPphaseshift": "ctfPhaseShift",
    "CTF_Defocus_U": "ctfDefocusU",
    "CTF_Defocus_V": "ctfDefocusV",
    "CTF_Defocus_angle": "ctfDefocusAngle",
    "CTF_Voltage": "ctfVoltage",
    "CTF_Spherical_aberration": "ctfSphericalAberration",
    "CTF_Q0": "ctfQ0",
    "CTFModel": "ctfModel",
    "sampling_rate": "samplingRate",
}

# where versions of RELION keep the pixel size, besides rlnImagePixelSize
PIXEL_SIZE = frozenset({"rlnPixelSize", "rlnDetectorPixelSize", "rlnMagnification"})

# what a column holds, whatever its first rows look like
TEXT = frozenset({
    "image", "micrograph", "ctfModel", "CTFModel", "mask", "missingRegionType", "missingRegionWeight",
    "rlnImageName", "rlnMicrographName", "rlnOpticsGroupName", "rlnReferenceImage", "rlnTomoName",
})

WHOLE = frozenset({"itemId", "enabled", "ref", "flip", "missingRegionNumber", "halfSet",
                   "defocusGroup", "opticsGroup", "count", "iterationNumber", "rlnOpticsGroup", "rlnClassNumber"})

NUMBERS = WHOLE | frozenset({
    "angleRot", "angleTilt", "anglePsi", "shiftX", "shiftY", "shiftZ", "xcoor", "ycoor", "weight", "classCount",
    "logLikelihood", "pMax", "classProbability",
    "missingRegionThetaY0", "missingRegionThetaYF", "missingRegionThetaX0", "missingRegionThetaXF",
    "ctfDefocusU", "ctfDefocusV", "ctfDefocusAngle", "ctfPhaseShift", "ctfVoltage", "ctfSphericalAberration", "ctfQ0",
    "samplingRate",
    "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginX", "rlnOriginY", "rlnOriginZ",
    "rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst",
}) | PIXEL_SIZE | ((RELION.keys() | XMIPP_ALIASES.keys()) - TEXT)
