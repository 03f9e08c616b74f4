"""Strings that name a module and its options."""
import pytest

from mlalign.programs.errors import UserError
from mlalign.programs.modifiers import Modifier, parse


@pytest.mark.parametrize("text, name, options", [
    ("ccc", "ccc", {}),
    ("frc:nweight=1:maxres=8.5", "frc", {"nweight": 1, "maxres": 8.5}),
    ("ctf.weight.autofilt", "ctf.weight.autofilt", {}),
    ("a:yes=true:no=False:low=-3:tiny=1e-3:half=.5", "a",
     {"yes": True, "no": False, "low": -3, "tiny": 1e-3, "half": 0.5}),
    ('a:b="two words":c="1"', "a", {"b": "two words", "c": "1"}),
    ('a:file="x:y.hdf":sum=1=2', "a", {"file": "x:y.hdf", "sum": "1=2"}),
    (" dot:normalize=1 ", "dot", {"normalize": 1}),
])
def test_values_have_the_types_that_they_look_like(text, name, options):
    got = parse("--simcmp", text)
    assert got == Modifier(name, options)
    assert [type(value) for value in got.options.values()] == [type(value) for value in options.values()]


@pytest.mark.parametrize("text", [None, "", " ", "None"])
def test_none_is_none(text):
    assert parse("--simralign", text) is None


@pytest.mark.parametrize("text, culprit", [
    ("frc:nweight", "'nweight'"), ("frc:=1", "'=1'"), ("frc:nweight=", "'nweight='"), ("frc:", "''"),
    ("frc:maxres=8:maxres=9", "'maxres' is given twice"), ("frc:max res=8", "'max res=8'"), (":a=1", "''"),
    ("fr c", "'fr c'"),
])
def test_what_is_malformed_is_named(text, culprit):
    with pytest.raises(UserError) as error:
        parse("--simcmp", text)
    message = str(error.value)
    assert message.startswith(f"--simcmp {text}: {culprit}") and ", expected " in message


def test_as_text_again():
    assert str(parse("--simcmp", "frc:nweight=1:maxres=8")) == "frc:nweight=1:maxres=8"
