"""The map of refine2d's particles: what it shows, and that it can be read with few and with very many particles."""
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from mlalign.programs.errors import UserError
from mlalign.programs.formats.hdf import hdf_writer
from mlalign.programs.results import FINAL
from mlalign.tests.viewers.fabricate import make_run
from mlalign.tests.viewers.refine2d_files import LEFT_OUT, SHARE, coordinates, make_refine2d
from mlalign.viewers import particle_map, style
from mlalign.viewers.particle_map import COLORS, ParticleMap


@pytest.fixture(scope="module")
def made(tmp_path_factory, references):
    return make_refine2d(tmp_path_factory.mktemp("refine2d") / "r2d_01", references)


@pytest.fixture(scope="module")
def made_by_ml2d(tmp_path_factory, references):
    return make_run(tmp_path_factory.mktemp("ml2d"), references, iterations=1)[0]


def drawn(shown, names=("map",), size=(9, 7.2), **options):
    figure = Figure(size)
    FigureCanvasAgg(figure)
    particle_map.draw(figure, shown, names, **options)
    figure.canvas.draw()
    return figure.axes


def crowd(count, classes, eigenimages=6):
    """Many particles in overlapping classes."""
    rng = np.random.default_rng(1)
    middle = rng.normal(0, 1, (classes, eigenimages))
    refs = rng.integers(1, classes + 1, count)
    values = middle[refs - 1] + rng.normal(0, 0.3, (count, eigenimages))
    return ParticleMap(4, values.astype(np.float32), refs, np.full(eigenimages, 0.1))


def numbers(axes):
    """{class: where its number was written, in pixels}"""
    texts = [text for text in axes.texts if text.get_text().isdigit()]
    return {int(text.get_text()): text.get_window_extent() for text in texts}


# ---- what is read

@pytest.mark.parametrize("result, cycle", [(2, 2), (FINAL, 3)])
def test_coordinates_are_those_of_the_files(made, result, cycle):
    run, rows = made
    shown = ParticleMap.of_run(run, result, (3, 1))
    np.testing.assert_array_equal(shown.values, coordinates(cycle, rows["ref"]))
    np.testing.assert_array_equal(shown.classes, [*rows["ref"], *[0] * LEFT_OUT])
    np.testing.assert_allclose(shown.share, SHARE, rtol=1e-6)
    assert shown.axes == (3, 1) and shown.shown is result


@pytest.mark.parametrize("axes", [(0, 1), (1, 4)])
def test_no_such_eigenimage(made, axes):
    with pytest.raises(UserError, match="expected 1 to 3"):
        ParticleMap.of_run(made[0], axes=axes)


def test_missing_file(tmp_path, references):
    run, _ = make_refine2d(tmp_path, references, cycles=1)
    run.cycle_file("classmx_YY.hdf").unlink()
    with pytest.raises(UserError, match=r"classmx_01.hdf: no such file"):
        ParticleMap.of_run(run)


def test_files_that_disagree(tmp_path, references):
    run, _ = make_refine2d(tmp_path, references, cycles=1)
    with hdf_writer(run.cycle_file("classmx_YY.hdf")) as out:
        out.append(np.zeros((7, 1)))
    with pytest.raises(UserError, match="7 images, expected 125"):
        ParticleMap.of_run(run)


# ---- what is drawn

def test_every_classified_particle_where_it_is(made):
    shown = ParticleMap.of_run(made[0], axes=(2, 3))
    axes, = drawn(shown)
    points = np.asarray(axes.collections[0].get_offsets())
    wanted = shown.values[shown.classes > 0][:, [1, 2]]
    np.testing.assert_allclose(points[np.argsort(points[:, 0])], wanted[np.argsort(wanted[:, 0])], rtol=1e-6)
    assert axes.get_xlabel() == "eigenimage 2 (30 % of the averages' variance)"
    assert axes.get_ylabel().startswith("eigenimage 3 (10 %") and axes.get_title(loc="right") == "final result"
    assert "120 particles in 6 classes" in [text.get_text() for text in axes.texts]


def test_points_have_the_colours_of_their_classes(made):
    shown = ParticleMap.of_run(made[0])
    axes, = drawn(shown)
    colors = shown.colors()
    assert len(set(colors.values())) == len(colors) == 6
    x, y, classes = shown.points((1, 2), 1000)
    scatter = axes.collections[0]
    np.testing.assert_allclose(scatter.get_offsets(), np.stack([x, y], 1), rtol=1e-6)
    for color, one in zip(scatter.get_facecolors(), classes):
        np.testing.assert_allclose(color[:3], to_rgba(colors[one])[:3], atol=1e-6)


def test_a_number_stands_at_the_centre_of_its_class(made):
    shown = ParticleMap.of_run(made[0])
    axes, = drawn(shown)
    found = numbers(axes)
    assert set(found) == set(range(1, 7))
    for one, box in found.items():
        centre = np.median(shown.values[shown.classes == one][:, :2], axis=0)
        off = np.subtract(axes.transData.transform(centre), [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
        assert np.hypot(*off) < 25


def test_same_scale_along_both_axes(made):
    axes, = drawn(ParticleMap.of_run(made[0]), size=(9, 4))
    (x0, y0), (x1, y1) = axes.transData.transform([[0, 0], [1, 1]])
    assert x1 - x0 == pytest.approx(y1 - y0)


def test_one_map_for_every_pair(made):
    shown = ParticleMap.of_run(made[0])
    figure_axes = drawn(shown, ["mapPairs"])
    assert [axes.get_title(loc="left") for axes in figure_axes] == ["1 and 2", "1 and 3", "2 and 3"]
    assert particle_map.panels(shown, ["map", "mapPairs"]) == 4
    assert figure_axes[2].get_xlabel() == "eigenimage 2 (30 %)" and not numbers(figure_axes[2])
    first = [set(map(tuple, axes.collections[0].get_facecolors())) for axes in figure_axes]
    assert first[0] == first[1] == first[2]


def test_many_particles_and_classes_can_be_read():
    """Numbers do not overlap, most classes have one, and crowded points are small, lonely ones large."""
    shown = crowd(50_000, 200)
    axes, = drawn(shown)
    found = numbers(axes)
    assert len(found) > 160
    boxes = [box.shrunk(0.9, 0.7) for box in found.values()]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1:])
    scatter = axes.collections[0]
    areas, points = scatter.get_sizes(), np.asarray(scatter.get_offsets())
    assert len(points) == 50_000 and areas.min() >= particle_map.SMALLEST and areas.max() <= particle_map.LARGEST
    inner, outer = (np.quantile(np.hypot(*points.T), share) for share in (0.2, 0.999))
    distance = np.hypot(*points.T)
    assert np.median(areas[distance > outer]) > 2 * np.median(areas[distance < inner])


def test_too_many_particles_are_sampled(monkeypatch):
    monkeypatch.setattr(particle_map, "MOST_POINTS", 500)
    axes, = drawn(crowd(2000, 5))
    assert len(axes.collections[0].get_offsets()) == 500
    assert "2,000 particles in 5 classes, 500 of them drawn" in [text.get_text() for text in axes.texts]


def test_neighbours_differ_in_colour():
    rng = np.random.default_rng(2)
    places = {one: tuple(spot) for one, spot in enumerate(rng.uniform(0, 1, (200, 2)), 1)}
    colors = particle_map.choose_colors(places)
    assert set(colors) == set(places) and set(colors.values()) == set(COLORS)
    spots = np.array(list(places.values()))
    apart = np.hypot(*(spots[:, None] - spots[None]).transpose(2, 0, 1))
    np.fill_diagonal(apart, np.inf)
    named = np.array(list(colors.values()))
    same = np.where(named[:, None] == named[None], apart, np.inf).min(axis=1)
    assert np.median(same) > 3 * np.median(apart.min(axis=1))


def test_few_classes_have_colours_of_their_own():
    places = dict.fromkeys(range(1, len(COLORS) + 1), (0.0, 0.0))
    assert len(set(particle_map.choose_colors(places).values())) == len(COLORS)


def test_centres_are_medians_the_largest_class_first():
    x, y = np.array([0.0, 1, 2, 9, 5]), np.array([0.0, 0, 3, 9, 5])
    assert list(particle_map.centres(x, y, np.array([2, 2, 2, 4, 4])).items()) == [(2, (1.0, 0.0)), (4, (7.0, 7.0))]


@pytest.mark.parametrize("classes", [[0, 0, 0], [1, 1, 1], [1, 0, 0]])
def test_hardly_anything_to_draw(classes):
    shown = ParticleMap(1, np.zeros((3, 2), np.float32), np.array(classes), np.full(2, np.nan))
    axes, = drawn(shown, style=style.DARK)
    assert bool(numbers(axes)) == bool(np.any(classes)) and axes.get_xlabel() == "eigenimage 1"
    assert np.any(classes) or "no particle has a class" in axes.texts[0].get_text()


# ---- in the gallery

def test_gallery_has_a_page_with_the_map(made, open_window):
    run, _ = made
    window = open_window(run.classes_file())
    assert [page.name for page in window.plots] == ["Convergence", "Poses", "Map"]
    window.set_page(3)
    axes, = window.plots[2].widget.canvas.figure.axes
    assert axes.get_title(loc="left") == "Particle map" and axes.get_title(loc="right") == "final result"
    window.iterations.slider.setValue(0)
    assert window.plots[2].widget.canvas.figure.axes[0].get_title(loc="right") == "iteration 1"


def test_gallery_of_another_program_has_no_map(open_window, made_by_ml2d):
    assert "Map" not in [page.name for page in open_window(made_by_ml2d.classes_file()).plots]
