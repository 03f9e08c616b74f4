"""Modules named on the command line: what they become here, what is told, what is refused."""
import numpy as np
import pytest

from mlalign.programs import modules2d
from mlalign.programs.engine import averagers
from mlalign.programs.engine.centring import centre
from mlalign.programs.engine.comparators import Ccc, Dot, Frc, OptVariance, Phase, SqEuclidean
from mlalign.programs.engine.processors import process
from mlalign.programs.errors import UserError
from mlalign.programs.modules2d import Aligner2d, Modules

READERS = {"aligner": (modules2d.ALIGNERS, modules2d.NEAREST_ALIGNERS),
           "refiner": (modules2d.REFINERS, modules2d.NEAREST_REFINERS),
           "comparator": (modules2d.COMPARATORS, modules2d.NEAREST_COMPARATORS),
           "averager": (modules2d.AVERAGERS, modules2d.NEAREST_AVERAGERS),
           "processor": (modules2d.NORMALIZATIONS, modules2d.NEAREST_PROCESSORS),
           "centring": (modules2d.CENTRINGS, {})}


def read(kind, text, size=64, **known):
    """What a string becomes, and the notices."""
    modules = Modules(size, **known)
    return getattr(modules, kind)("--option", text), modules.notices


def refused(kind, text, **known):
    with pytest.raises(UserError) as error:
        read(kind, text, **known)
    message = str(error.value)
    assert message.startswith(f"--option {text}: ") and "expected " in message and "\n" not in message
    return message


@pytest.mark.parametrize("text, expected", [
    ("rotate_translate_tree", Aligner2d(True, True, True)),
    ("rotate_translate_tree:flip=0", Aligner2d(True, False, True)),
    ("rotate_translate_tree:maxshift=7:maxres=10", Aligner2d(True, True, True, 7, 0.2)),
    ("rotate_translate_flip:maxshift=-1", Aligner2d(True, True, True)),
    ("rotate_translate:maxshift=4.5", Aligner2d(True, False, True, 4.5)),
    ("rotate_translate_bispec", Aligner2d(True, False, True)),
    ("rotational", Aligner2d(True, False, False)),
    ("rotate_flip", Aligner2d(True, True, False)),
    ("translational:maxshift=3:nozero=0", Aligner2d(False, False, True, 3)),
    ("None", Aligner2d(False, False, False)),
])
def test_aligners(text, expected):
    assert read("aligner", text, pixel_size=2.0) == (expected, [])


@pytest.mark.parametrize("text, expected", [
    ("ccc", Ccc()), ("ccc:negative=1", Ccc()), ("dot", Dot()), ("dot:normalize=1", Dot(normalize=True)),
    ("sqeuclidean:normto=1", SqEuclidean(normto=True)), ("sqeuclidean", SqEuclidean()),
    ("frc", Frc(low=0.01, high=0.25)), ("frc:nweight=1:sweight=0", Frc(False, nweight=True, low=0.01, high=0.25)),
    ("frc:minres=-1:pmax=16", Frc(low=0, high=0.25)),
    ("frc:maxres=20:ampweight=1", Frc(True, True, low=0.01, high=0.1)),
    ("phase", Phase(low=0.004, high=0.2)), ("phase:maxres=8", Phase(low=0.004, high=0.25)),
    ("optvariance", OptVariance()), ("optvariance:matchfilt=0:invert=true", OptVariance(False, True)),
    ("optvariance:radweight=0:matchamp=0", OptVariance()),
])
def test_comparators(text, expected):
    assert read("comparator", text, pixel_size=2.0) == (expected, [])


def test_limits_in_angstrom_need_a_pixel_size():
    assert "maxres needs the pixel size" in refused("comparator", "frc:maxres=8")
    assert "minres needs the pixel size" in refused("comparator", "phase:minres=90")
    assert "maxres needs the pixel size" in refused("aligner", "rotate_translate_tree:maxres=10")
    frc, notices = read("comparator", "frc")
    assert frc == Frc() and len(notices) == 2 and "8 Å" in notices[1]
    assert read("comparator", "frc:pmin=2:pmax=16") == (Frc(low=2 / 64, high=0.25), [])


def test_weights_by_snr_need_ctfs():
    assert "CTFs" in refused("comparator", "frc:snrweight=1", pixel_size=2.0)
    assert read("comparator", "phase:snrweight=1:minres=0:maxres=0", ctf=True)[0] == Phase(snrweight=True)


def test_local_refinement():
    refiner, notices = read("refiner", "refine")
    assert (refiner.step, refiner.precision, refiner.maxiter, refiner.maxshift) == ((1, 1, 5), 0.04, 28, 16)
    refiner, _ = read("refiner", "refine:stepx=2:stepaz=0:maxiter=5:maxshift=3:precision=0.1")
    assert (refiner.step, refiner.precision, refiner.maxiter, refiner.maxshift) == ((2, 1, 0), 0.1, 5, 3)
    assert read("refiner", "None") == (None, []) and not notices


def test_a_refiner_refines():
    from mlalign.tests.programs.engine.test_local_refinement import Start
    start = Start()
    refiner, _ = read("refiner", "refine:maxshift=4", size=32)
    got, expected = refiner(*start.common, start.placed, Ccc()), start.refine(Ccc(), maxshift=4)
    assert (got.x == expected.x).all() and (got.psi == expected.psi).all() and (got.x != start.placed.x).any()


@pytest.mark.parametrize("name", list(averagers.OPTIONS))
def test_averagers(name):
    got, notices = read("averager", name)
    assert (got.name, got.options, notices) == (name, averagers.OPTIONS[name], [])
    assert hasattr(averagers.make(got.name, got.options), "finish")


def test_averagers_options():
    assert read("averager", "mean:ignore0=1")[0].options == {"ignore0": True}
    assert read("averager", "ctf.auto:snr=2")[0].options == {"snr": 2.0}


@pytest.mark.parametrize("text", [*modules2d.NORMALIZATIONS, "normalize.circlemean:radius=-5", "None"])
def test_processors_run(text):
    got, notices = read("processor", text)
    images = np.random.default_rng(0).standard_normal((2, 16, 16)).astype(np.float32)
    more = {"to": images} if text == "normalize.toimage" else {}
    done = process(got and got.name, images, **(got.options if got else {}), **more)
    assert done.shape == images.shape and not notices


def test_centring():
    image = np.exp(-((np.mgrid[:32, :32] - 16) ** 2).sum(0) / 20)
    for text in ("xform.center", "xform.centerofmass", "xform.centeracf", "nocenter", "None"):
        name, notices = read("centring", text)
        assert name == (text if text != "None" else "nocenter") and not notices
        assert np.hypot(*centre(name, image)) < 0.5
    assert "fractions" in read("centring", "xform.centeracf:int_shift_only=1")[1][0]


@pytest.mark.parametrize("kind", list(READERS))
def test_an_unknown_name_is_told_what_there_is(kind):
    message = refused(kind, "nothing.such")
    for name, module in READERS[kind][0].items():
        assert name in message and all(option in message for option in module.options)
    assert "there is no" in message and ("None" in message) == (kind not in ("comparator", "averager"))


@pytest.mark.parametrize("kind, name", [(kind, name) for kind, (_, nearest) in READERS.items() for name in nearest])
def test_what_is_not_here_is_taken_for_the_nearest(kind, name):
    got, notices = read(kind, f"{name}:something=3", pixel_size=2.0)
    nearest = READERS[kind][1][name]
    assert got == read(kind, nearest, pixel_size=2.0)[0] and name not in READERS[kind][0]
    assert notices[0] == f"--option: {nearest} is taken for {name}, being the nearest there is"
    assert len(notices) == 2 and "something has no effect" in notices[1]


@pytest.mark.parametrize("kind", list(READERS))
def test_options_without_effect_are_told(kind):
    for name, module in READERS[kind][0].items():
        for key, option in module.options.items():
            got, notices = read(kind, f"{name}:{key}=1", pixel_size=2.0, ctf=True) if option.idle else (None, None)
            if option.idle:
                assert got == read(kind, name, pixel_size=2.0)[0]
                assert notices == [f"--option: {key} has no effect, {option.idle}"]


@pytest.mark.parametrize("kind", list(READERS))
def test_options_that_cannot_be_are_refused(kind):
    for name, module in READERS[kind][0].items():
        for key, option in module.options.items():
            if option.refused:
                other = {bool: int(not option.default), int: 1, float: 0.5, str: "file.hdf"}[type(option.default)]
                assert option.refused in refused(kind, f"{name}:{key}={other}", pixel_size=2.0)


@pytest.mark.parametrize("kind, text, expected", [
    ("comparator", "ccc:what=1", "ccc has no option 'what', expected mask, negative"),
    ("averager", "median:what=1", "median has no option 'what', expected none"),
    ("aligner", "rotate_translate_tree:flip=2", "expected 0 or 1"),
    ("aligner", "rotate_translate_tree:maxshift=far", "expected a number"),
    ("refiner", "refine:maxiter=2.5", "expected an integer"), ("refiner", "refine:maxiter=0", "expected at least 1"),
    ("refiner", "refine:stepaz=100", "expected 0 to 90"), ("refiner", "refine:precision=0", "expected at least 0.0001"),
    ("comparator", "dot:normalize=yes", "expected 0 or 1"), ("comparator", "None", "no comparator is given"),
    ("averager", "", "no averager is given"), ("comparator", "frc:pmax", "not a pair"),
    ("comparator", "frc:pmax=true", "expected a number"),
])
def test_values_that_do_not_fit(kind, text, expected):
    assert expected in refused(kind, text, pixel_size=2.0)


@pytest.mark.parametrize("kind, texts", [
    ("aligner", ["rotate_translate_tree", "rotate_translate_flip"]), ("refiner", ["None", "refine"]),
    ("comparator", ["ccc", "dot", "frc:nweight=1", "dot:normalize=1"]), ("centring", ["xform.center"]),
    ("averager", ["ctf.weight.autofilt", "mean"]), ("processor", ["normalize.edgemean"])])
def test_usual_command_lines_need_no_notice(kind, texts):
    assert not [notice for text in texts for notice in read(kind, text, pixel_size=2.0)[1]]
