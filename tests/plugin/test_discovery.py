"""Scipion finds what the plugin brings (import errors only leave a line in its log, so name everything)."""
import inspect
import json
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest
from pyworkflow import Config
from pyworkflow.utils import parseBibTex
from pyworkflow.viewer import DESKTOP_TKINTER

import mlalign
import mlalign.bibtex

PROTOCOLS = {"MlalignProtML2D": "ML2D", "MlalignProtMLF2D": "MLF2D", "MlalignProtMLTomo": "ML tomo",
             "MlalignProtMref": "multi-ref ali2d", "MlalignProtRefine2D": "refine2d",
             "MlalignProtSelect": "select classes"}
LIMITS = {"highResLimit", "lowResLimit", "firstResLimit", "fixHigh", "maxFrequency"}
# wizard: {protocol: its parameters with it}
WIZARDS = {
    "MlalignRadiusWizard": {name: {"radius"} for name in set(PROTOCOLS) - {"MlalignProtSelect"}},
    "MlalignResolutionWizard": {"MlalignProtML2D": LIMITS, "MlalignProtMLF2D": LIMITS, "MlalignProtMLTomo": {"maxRes"}},
    "MlalignClassesWizard": {"MlalignProtML2D": {"numberOfClasses"}, "MlalignProtMLF2D": {"numberOfClasses"},
                             "MlalignProtMLTomo": {"numberOfReferences"}, "MlalignProtRefine2D": {"numberOfClassAvg"}},
    "MlalignStepWizard": {"MlalignProtML2D": {"psiStep"}, "MlalignProtMLF2D": {"psiStep"},
                          "MlalignProtMLTomo": {"angSampling", "psiSampling"}},
    "MlalignTiltWizard": {"MlalignProtMLTomo": {"missingAng"}},
}
TREE = {"Protocols SPA": {("2D", "Align"): ["MlalignProtMref"],
                          ("2D", "Classify"): ["MlalignProtML2D", "MlalignProtMLF2D", "MlalignProtMref",
                                               "MlalignProtRefine2D", "MlalignProtSelect"],
                          ("3D", "Classify"): ["MlalignProtMLTomo"]},
        "Tomography": {("Subtomogram averaging", "Classification and Alignment"): ["MlalignProtMLTomo",
                                                                                   "MlalignProtSelect"]}}
WITHOUT_DOI = {"Joyeux2002"}
VIEWS = {"Protocols SPA": "pwem", "Tomography": "tomo"}      # the package whose tree each extends


@pytest.fixture(scope="module")
def domain():
    return Config.getDomain()


def ours(classes):
    return {name: cls for name, cls in classes.items() if cls.__module__.startswith("mlalign.")}


def test_plugin(domain):
    module = domain.getPlugins()["mlalign"]
    plugin = module._pluginInstance
    assert module is mlalign and isinstance(plugin, mlalign.Plugin)
    assert plugin.getName() == "mlalign"
    assert plugin.getPath() == str(Path(mlalign.__file__).parent)
    assert plugin.validateInstallation() == []


def test_protocols(domain):
    assert {name: cls.getClassLabel(prependPackageName=False)
            for name, cls in ours(domain.getProtocols()).items()} == PROTOCOLS


def test_wizards(domain):
    found = ours(domain.getWizards())
    assert {name: {protocol.__name__: set(parameters) for protocol, parameters in cls._targets}
            for name, cls in found.items()} == WIZARDS
    for cls in found.values():
        for protocol, parameters in cls._targets:
            assert set(parameters) <= {name for name, _ in protocol().getDefinition().iterParams()}


def test_viewers(domain):
    for cls in ours(domain.getProtocols()).values():
        viewers = domain.findViewers(cls(), DESKTOP_TKINTER)
        assert viewers and viewers[0].__module__.startswith("mlalign.")


def test_names_are_ours_alone(domain):
    """Two plugins' classes of one name: the second is not found."""
    for classes in (domain.getProtocols(), domain.getWizards(), domain.getViewers()):
        assert all("mlalign" in name.lower() for name in ours(classes))


def test_tree(domain):
    parser = ConfigParser(interpolation=None)
    parser.optionxform = str
    assert parser.read(Path(mlalign.__file__).with_name("protocols.conf"))
    found = {view: dict(leaves(json.loads(text))) for view, text in parser.items("PROTOCOLS")}
    assert found == TREE
    named = [name for view in found.values() for names in view.values() for name in names]
    assert set(named) == set(PROTOCOLS)


def leaves(nodes, path=()):
    """(path of texts, names of the protocols there) of every node that holds protocols."""
    names = [node["value"] for node in nodes if node["tag"] == "protocol"]
    if names:
        yield path, names
    for node in nodes:
        if node["tag"] != "protocol":
            yield from leaves(node["children"], (*path, node["text"]))


@pytest.mark.parametrize("view", TREE)
def test_tree_uses_scipions_own_nodes(domain, view):
    package = pytest.importorskip(VIEWS[view])
    parser = ConfigParser(interpolation=None, comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read(Path(package.__file__).with_name("protocols.conf"))
    text = parser.get("PROTOCOLS", view)
    for path in TREE[view]:
        for node in path:
            assert f'"text": "{node}"' in text


def test_logo(domain):
    logo = Path(ours(domain.getProtocols())["MlalignProtML2D"].getPluginLogoPath())
    assert logo.parent == Path(mlalign.__file__).parent and logo.read_bytes()[:4] == b"\x89PNG"


def test_citations(domain):
    references = parseBibTex(mlalign.bibtex.__doc__)
    assert set(mlalign._references) <= set(references)
    for key, entry in references.items():
        assert key in WITHOUT_DOI or entry["doi"] in entry["url"]
        assert entry["year"] and entry["journal"] and entry["pages"]


def test_help_of_every_protocol_and_parameter(domain):
    for cls in ours(domain.getProtocols()).values():
        assert len(inspect.getdoc(cls)) > 500
        for name, param in cls().getDefinition().iterParams():
            if name not in ("hostName", "runName", "runMode", "numberOfThreads") and not name.startswith("_"):
                assert len(param.getHelp()) > 25, name


def test_importing_mlalign_does_not_import_scipion():
    code = "import sys, mlalign.cli; print({'pwem', 'pyworkflow', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
