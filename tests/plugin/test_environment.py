"""What Scipion needs to run from pip packages alone."""
import os
import sys
from pathlib import Path

import pytest

from mlalign.environment import prepare_scipion, scipion_environment


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder and none of Scipion's variables."""
    for name in list(os.environ):
        if name.startswith("SCIPION_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_defaults(home):
    environment = scipion_environment()
    assert environment["SCIPION_HOME"].startswith(str(home))
    assert environment["SCIPION_USER_DATA"] == str(home / "ScipionUserData")
    assert environment["SCIPION_NOTIFY"] == "False"
    assert environment["SCIPION_PYTHON"] == sys.executable
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert list(home.iterdir()) == []


def test_what_the_user_set_is_kept(home, monkeypatch):
    monkeypatch.setenv("SCIPION_HOME", "/opt/scipion")
    monkeypatch.setenv("SCIPION_NOTIFY", "True")
    environment = scipion_environment()
    assert environment["SCIPION_HOME"] == "/opt/scipion" and environment["SCIPION_NOTIFY"] == "True"
    assert environment["SCIPION_HOSTS"] == "/opt/scipion/config/hosts.conf"


def test_prepare_creates_what_is_missing_and_keeps_what_is_there(home):
    environment = prepare_scipion()
    hosts = Path(environment["SCIPION_HOSTS"])
    assert "[localhost]" in hosts.read_text()
    assert Path(environment["SCIPION_USER_DATA"]).is_dir()
    hosts.write_text("[mine]\n")
    prepare_scipion()
    assert hosts.read_text() == "[mine]\n"
