"""What Scipion does when it installs the plugin's binaries: the programs' inner loops are compiled."""
from scipion.install.funcs import VOID_TGZ

from mlalign import Plugin


class Recorder:
    """Stands for Scipion's installer."""

    def addPackage(self, name, **options):
        self.name, self.options = name, options


def test_scipion_compiles_the_inner_loops():
    installer = Recorder()
    Plugin.defineBinaries(installer)
    assert installer.name == "mlalign" and installer.options["default"]
    assert installer.options["tar"] == VOID_TGZ                # nothing is fetched
    [(command, target)] = installer.options["commands"]
    assert command == f'"{Plugin.getProgram()}" compile && touch {target}'
