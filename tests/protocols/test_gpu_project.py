"""A protocol that runs on a GPU, which a stand-in for CuPy plays."""
from pathlib import Path

from mlalign.tests.programs.engine.strict_cupy import install
from mlalign.tests.protocols.scipion import new_ml2d, run


def test_a_run_on_a_gpu(imported, tmp_path, monkeypatch):
    install(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)                           # for the form's check
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    protocol = new_ml2d(imported.project, imported.particles, numberOfClasses=2, restarts=1, maxIters=1,
                        useGpu=True, gpuList="2")
    assert protocol.validate() == []
    run(imported.project, protocol)
    assert protocol.outputClasses.getSize() == 2 and (tmp_path / "gpu2").exists()
    assert ", on GPU 2 (stand-in)" in Path(f"{protocol._root()}run.log").read_text()
