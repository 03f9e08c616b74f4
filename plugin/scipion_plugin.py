"""The plugin as Scipion sees it; ``mlalign.Plugin`` imports this module on first use only."""
import importlib.util
import os
import shutil
import sys

import pwem
from pyworkflow.utils import Environ

NEEDED_MODULES = ("numba", "finufft", "emtable", "mrcfile", "h5py")


class Plugin(pwem.Plugin):
    """No variables, and nothing to fetch: the programs are Python and live in the same environment as Scipion.

    What Scipion installs as their binaries is compiled from them on the spot.
    """

    __module__ = "mlalign"      # Scipion looks for logo, protocols.conf and templates beside this module
    _url = "https://github.com/scipion-em/scipion-em-mlalign"

    @classmethod
    def _defineVariables(cls):
        pass

    @classmethod
    def getEnviron(cls):
        """That of Scipion, in which mpirun is the one beside our Python, if there is one: that of mpi4py's library."""
        environ = Environ(os.environ)
        environ.update({"PATH": os.path.dirname(sys.executable)}, position=Environ.BEGIN)
        return environ

    @classmethod
    def defineBinaries(cls, env):
        done = "compiled"
        env.addPackage("mlalign", version=cls.getActiveVersion(), tar="void.tgz", default=True,
                       commands=[(f'"{cls.getProgram()}" compile && touch {done}', done)])

    @classmethod
    def getActiveVersion(cls, home=None, versions=None):
        from mlalign import __version__
        return __version__

    @classmethod
    def getProgram(cls):
        """Absolute path of the ``mlalign`` command that belongs to the running Python, else its name."""
        beside = os.path.join(os.path.dirname(sys.executable), "mlalign")
        return beside if os.path.exists(beside) else "mlalign"

    @classmethod
    def validateInstallation(cls):
        """What is missing to run any protocol of this plugin, as a list of messages."""
        errors = [f"The Python package '{name}' is missing: {sys.executable} -m pip install {name}"
                  for name in NEEDED_MODULES if importlib.util.find_spec(name) is None]
        if shutil.which(cls.getProgram()) is None:
            errors.append(f"The command 'mlalign' is neither beside {sys.executable} nor on the PATH: "
                          "install scipion-em-mlalign into the environment that runs Scipion.")
        return errors
