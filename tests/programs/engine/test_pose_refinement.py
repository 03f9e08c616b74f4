"""Poses off the grid: those that were planted, found again from nearby; quadratics, whose tops are known."""
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mlalign.programs.engine import pose_refinement
from mlalign.programs.engine.pose_refinement import FARTHEST, Refinement, _summit
from mlalign.programs.geometry3d import angular_distance
from mlalign.tests.programs.engine.subtomogram_scenes import REGIONS, Scene

COUNT, DEGREES, VOXELS = 6, 5.0, 0.4
STENCIL = pose_refinement._STENCIL


@pytest.fixture(scope="module", params=["everything", "wedges"])
def scene(request):
    """Particles without noise; the model's noise says how much to make of them."""
    return Scene(REGIONS[request.param], COUNT, 0.3, noise=np.zeros(()))


@pytest.fixture(scope="module")
def bank(scene, workers):
    return scene.estimator(workers).bank


@pytest.fixture(scope="module")
def start(scene):
    """Poses 5 degrees and 0.4 voxels off those that were planted."""
    rng = np.random.default_rng(5)
    axes, ways = rng.standard_normal((2, COUNT, 3))
    poses = scene.poses().copy()
    turns = Rotation.from_rotvec(np.deg2rad(DEGREES) * axes / np.linalg.norm(axes, axis=1)[:, None]).as_matrix()
    poses.matrices = turns @ poses.matrices
    poses.shifts = poses.shifts + VOXELS * ways / np.linalg.norm(ways, axis=1)[:, None]
    return poses


def errors(scene, poses):
    """Median errors in degrees and voxels."""
    return (np.median(angular_distance(poses.matrices, scene.rotations)),
            np.median(np.linalg.norm(poses.shifts - scene.shifts, axis=1)))


def refined(scene, bank, start, workers, step=10.0, sigma_offset=1e3, **options):
    model = replace(scene.truth(), sigma_offset=sigma_offset)
    return Refinement(bank, model, scene.coverage, **options).run(start, scene.half_of, step, workers)


def log_posterior(scene, bank, poses):
    """Of every particle where it is: (COUNT,)."""
    refinement = Refinement(bank, replace(scene.truth(), sigma_offset=1e3), scene.coverage)
    templates = refinement._templates(np.tile(np.eye(3), (len(STENCIL), 1, 1)))
    return np.array([refinement._one(poses, scene.half_of, templates, 0.01, 0.01, i)[0] for i in range(COUNT)])


@pytest.mark.parametrize("correlate", [False, True])
def test_planted_poses_are_found(correlate, scene, bank, start, workers):
    """By most particles; with a wedge missing, turns and shifts of a few stay mixed up for long."""
    angle, shift = errors(scene, start)
    assert angle == pytest.approx(DEGREES) and shift == pytest.approx(VOXELS)
    found = start
    for step in (10.0, 5.0, 2.5):
        found = refined(scene, bank, found, workers, step, correlate=correlate)
    angle, shift = errors(scene, found)
    assert angle < DEGREES / 5 and shift < VOXELS / 5


def test_the_posterior_comes_near_its_top(scene, bank, start, workers):
    """Of every particle, in one go."""
    top = log_posterior(scene, bank, scene.poses())
    before, after = (top - log_posterior(scene, bank, poses)
                     for poses in (start, refined(scene, bank, start, workers)))
    assert (before > 20).all() and (after < before / 5).all()


def test_poses_that_are_right_stay(scene, bank, workers):
    angle, shift = errors(scene, refined(scene, bank, scene.poses(), workers))
    assert angle < 0.3 and shift < 0.03


def test_start_is_not_changed(scene, bank, start, workers):
    before = start.copy()
    refined(scene, bank, start, workers)
    for name, value in vars(before).items():
        np.testing.assert_array_equal(getattr(start, name), value, err_msg=name)


def test_shifts_alone(scene, bank, start, workers):
    shifted = scene.poses().copy()
    shifted.shifts = start.shifts
    found = refined(scene, bank, shifted, workers, turn=False)
    np.testing.assert_array_equal(found.matrices, shifted.matrices)
    assert errors(scene, found)[1] < VOXELS / 5


def test_the_prior_draws_shifts_to_the_origin(scene, bank, start, workers):
    free = refined(scene, bank, start, workers)
    drawn = refined(scene, bank, start, workers, sigma_offset=0.05)
    assert np.linalg.norm(drawn.shifts, axis=1).mean() < np.linalg.norm(free.shifts, axis=1).mean() - 0.05


def test_the_classes_and_halves_own_reference_counts(scene, bank, start, workers):
    """References of the other half or class that are nonsense change nothing."""
    truth = scene.truth()
    vectors = np.repeat(truth.vectors, 2, 0)
    vectors[0, 1], vectors[1, 0] = 0, 0
    ours = start.copy()
    ours.ref = scene.half_of.copy()                             # half 0 in class 0, half 1 in class 1
    both = Refinement(bank, replace(truth, sigma_offset=1e3), scene.coverage)
    split = Refinement(bank, replace(truth, vectors=vectors, sigma_offset=1e3), scene.coverage)
    one, other = (refinement.run(ours, scene.half_of, 10.0, workers) for refinement in (both, split))
    np.testing.assert_allclose(one.matrices, other.matrices, atol=1e-5)
    np.testing.assert_allclose(one.shifts, other.shifts, atol=1e-5)


# ---- the fit

def quadratic(hessian, top, places=STENCIL):
    return 3 + 0.5 * np.einsum("pi,ij,pj->p", places - top, hessian, places - top)


def test_summit_of_a_quadratic():
    rng = np.random.default_rng(2)
    for _ in range(20):
        root, top = rng.standard_normal((3, 3)), rng.uniform(-0.8, 0.8, 3)
        np.testing.assert_allclose(_summit(quadratic(-root @ root.T - 0.1 * np.eye(3), top)), top, atol=1e-8)


def test_summit_that_is_far_away():
    top = np.array([3.0, 4, 0])
    np.testing.assert_allclose(_summit(quadratic(-np.eye(3), top)), top * FARTHEST / 5, atol=1e-8)


def test_no_summit_on_a_saddle():
    values = quadratic(np.diag([-1.0, -1, 2]), np.array([0.3, 0.0, 0.2]))
    np.testing.assert_array_equal(_summit(values), STENCIL[values.argmax()])


def test_stencil():
    assert len(STENCIL) == 19 and len(np.unique(STENCIL, axis=0)) == 19 and not STENCIL[0].any()
    np.testing.assert_array_equal(sorted((STENCIL**2).sum(1)), [0] + [1] * 6 + [2] * 12)
