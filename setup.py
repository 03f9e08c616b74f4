"""Maps the repository's folders to one installed package, ``mlalign``.

The version is read as text: importing the package would need its dependencies at build time.
"""
import re
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (ROOT / "plugin" / "__init__.py").read_text())[1]

# package -> folder.  Every package is listed: one that is missing here is missing from the wheel.
PACKAGES = {
    "mlalign": "plugin",
    "mlalign.wizards": "plugin/wizards",
    "mlalign.protocols": "protocols",
    "mlalign.viewers": "viewers",
    "mlalign.viewers.gallery": "viewers/gallery",
    "mlalign.viewers.tomo": "viewers/tomo",
    "mlalign.programs": "programs",
    "mlalign.programs.engine": "programs/engine",
    "mlalign.programs.formats": "programs/formats",
    "mlalign.tests": "tests",
    "mlalign.tests.plugin": "tests/plugin",
    "mlalign.tests.protocols": "tests/protocols",
    "mlalign.tests.viewers": "tests/viewers",
    "mlalign.tests.programs": "tests/programs",
    "mlalign.tests.programs.engine": "tests/programs/engine",
    "mlalign.tests.programs.formats": "tests/programs/formats",
    "mlalign.tests.faults": "tests/faults",
    "mlalign.tests.fuzz": "tests/fuzz",
}

setup(
    version=VERSION,
    packages=list(PACKAGES),
    package_dir=PACKAGES,
    package_data={"mlalign": ["protocols.conf", "*.png", "*.svg", "templates/*"]},
)
