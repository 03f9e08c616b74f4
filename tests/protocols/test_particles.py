"""Particles that a protocol normalises on their way into the program."""
import os
from collections import namedtuple

import numpy as np
import pytest

from mlalign.programs.formats.images import open_images
from mlalign.programs.formats.mrc import write_stack
from mlalign.protocols.particles import ALWAYS, NEVER, WHEN_NEEDED
from mlalign.tests.protocols.scipion import BOX, PIXEL, new_ml2d, new_mref, run

COUNT, GREY = 30, 130
Raw = namedtuple("Raw", "project particles averages path")


@pytest.fixture(scope="module")
def raw(imported, tmp_path_factory):
    """Imported particles with the grey values of a camera, each brighter than the one before."""
    from pwem.protocols import ProtImportParticles
    path = tmp_path_factory.mktemp("raw") / "raw particles.mrcs"
    images = np.random.default_rng(3).normal(GREY, 20, (COUNT, BOX, BOX)) + np.arange(COUNT)[:, None, None]
    images[:, 11:21, 11:21] += 60
    write_stack(path, images, PIXEL)
    particles = run(imported.project, imported.project.newProtocol(ProtImportParticles, filesPath=str(path),
                                                                   samplingRate=PIXEL))
    return Raw(imported.project, particles, imported.averages, path)


@pytest.fixture(params=[new_ml2d, new_mref], ids=["ML2D", "multi-ref"])
def protocol(raw, request, tmp_path, monkeypatch):
    protocol = request.param(raw.project, raw.particles, raw.averages)
    protocol.setWorkingDir(os.path.relpath(tmp_path))
    protocol.makeWorkingDir()
    return protocol


def converted(protocol, choice, radius=-1):
    """The images that the program is given."""
    protocol.normaliseParticles.set(choice)
    protocol.radius.set(radius)
    protocol.convertInputStep(protocol._signature())
    return open_images(protocol._particlesFile())


def background(images, radius):
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    pixels = images.read(slice(None))[:, np.hypot(x, y) > radius]
    return pixels.mean(1), pixels.std(1)


@pytest.mark.parametrize("choice, radius", [(ALWAYS, -1), (WHEN_NEEDED, -1), (WHEN_NEEDED, 9)])
def test_normalised(raw, protocol, choice, radius):
    before = raw.path.read_bytes()
    images = converted(protocol, choice, radius)
    mean, deviation = background(images, BOX / 2 if radius < 0 else radius)
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(deviation, 1, atol=1e-4)
    assert list(images.metadata["itemId"]) == list(range(1, COUNT + 1)) and images.pixel_size == PIXEL
    assert raw.path.read_bytes() == before
    assert any("were normalised" in line for line in protocol._summary())


def test_as_they_are(raw, protocol):
    converted(protocol, ALWAYS)
    images = converted(protocol, NEVER)         # what an earlier choice left is gone
    assert np.array_equal(images.read(slice(None)), open_images(str(raw.path)).read(slice(None)))
    assert not any("normalised" in line for line in protocol._summary())
    assert "normalised_particles.mrcs" not in os.listdir(protocol._getExtraPath())


def test_good_particles_are_left_alone(imported, tmp_path):
    protocol = new_ml2d(imported.project, imported.particles)
    protocol.setWorkingDir(os.path.relpath(tmp_path))
    protocol.makeWorkingDir()
    images = converted(protocol, WHEN_NEEDED)
    assert not any("normalised_particles" in image for image in images.metadata["image"])
    images = converted(protocol, ALWAYS)
    assert all("normalised_particles" in image for image in images.metadata["image"])


def test_the_choice_is_part_of_the_signature(protocol):
    protocol.normaliseParticles.set(NEVER)
    protocol.radius.set(9)
    never = protocol._signature()
    protocol.radius.set(10)
    assert protocol._signature() == never
    protocol.normaliseParticles.set(ALWAYS)
    ten = protocol._signature()
    protocol.radius.set(9)
    assert len({str(never), str(ten), str(protocol._signature())}) == 3


def test_warns_when_it_is_needed_and_not_wanted(protocol):
    protocol.normaliseParticles.set(NEVER)
    assert any("Let *Normalise the particles first?* do so" in line for line in protocol.warnings())
    for choice in (ALWAYS, WHEN_NEEDED):
        protocol.normaliseParticles.set(choice)
        assert not any("normalised:" in line for line in protocol.warnings())


def test_references_of_other_grey_values(raw):
    protocol = new_ml2d(raw.project, raw.particles, raw.averages)
    assert not any("grey values" in line for line in protocol.warnings())
    protocol.normaliseParticles.set(NEVER)
    warning, = (line for line in protocol.warnings() if "grey values" in line)
    assert "class images have a mean of" in warning and "particles one of 1.4e+02" in warning


def test_references_of_the_other_contrast(raw, imported, tmp_path):
    from pwem.protocols import ProtImportAverages
    negative = 1 - open_images(imported.averages.outputAverages.getFirstItem().getFileName()).read(slice(None))
    write_stack(tmp_path / "negative.mrcs", negative, PIXEL)
    wrong = run(raw.project, raw.project.newProtocol(ProtImportAverages, filesPath=str(tmp_path / "negative.mrcs"),
                                                     samplingRate=PIXEL))
    for new in (new_ml2d, new_mref):
        for particles in (raw.particles, imported.particles):
            assert not any("negative" in line for line in new(raw.project, particles, raw.averages).warnings())
            assert any("negative of the particles" in line for line in new(raw.project, particles, wrong).warnings())


def test_a_run_with_raw_particles(raw):
    """From the import to the classes, which keep the particles that were imported."""
    protocol = run(raw.project, new_ml2d(raw.project, raw.particles, numberOfClasses=1, restarts=1, maxIters=2,
                                         psiStep=20.0, eps=0.0, numberOfThreads=1))
    average = protocol.outputClasses.getFirstItem()
    index, path = average.getRepresentative().getLocation()
    image = open_images(path).read([index - 1])[0]
    assert abs(image[0, 0]) < 0.5 and image[BOX // 2, BOX // 2] > 1.5
    assert all("normalised" not in item.getFileName() for item in average)
    assert "normalised by their surroundings" in protocol._methods()[0]
