"""Runs in a Scipion project without its window: what the demo and templates do.

Scipion's environment must be set (:func:`mlalign.environment.set_scipion_environment`) before any of this is called:
pyworkflow reads it when it is imported, hence inside the functions.
"""
import os
import re
import time
from pathlib import Path

from mlalign.programs.errors import UserError
from mlalign.project import create_project

PATIENCE = 0.5      # seconds between looks at a run


def open_project(name):
    """The project of this name, made when there is none; its folder becomes the working folder."""
    from pyworkflow.project import Manager
    create_project(name)
    project = Manager().loadProject(name)
    os.chdir(project.path)
    return project


def execute(project, protocol):
    """Run a protocol to its end, telling of each iteration; the protocol, or a UserError that says why it failed."""
    project.launchProtocol(protocol)
    watch(project, protocol)
    return succeeded(protocol)


def watch(project, protocol):
    """Wait for the protocol's end, telling of each iteration of the program that it runs (if it runs one)."""
    run, told = protocol.getRun() if hasattr(protocol, "getRun") else None, 0
    while protocol.isActive():
        time.sleep(PATIENCE)
        project._updateProtocol(protocol, checkPid=True)
        iterations = run.iterations() if run else []
        if iterations and iterations[-1] > told:
            told = iterations[-1]
            print(f"   iteration {told}: {iteration_words(run.info(told))}", flush=True)


def iteration_words(info):
    """What an iteration reports ({label: number}), in a line."""
    words = []
    if "logLikelihood" in info:
        words.append(f"log-likelihood {info['logLikelihood']:.8g}")
    if "meanCC" in info:
        words.append(f"mean correlation {info['meanCC']:.3f}")
    if "changed" in info:
        words.append(f"{100 * info['changed']:.1f} % of the particles changed class")
    return ", ".join(words)


def succeeded(protocol):
    """The protocol; a UserError that says where to look when it failed."""
    if protocol.isFailed() or protocol.isAborted():
        message = re.sub("\x1b.*?m", "", protocol.getErrorMessage())      # colours of a terminal
        raise UserError(f"{protocol.getObjLabel()}: {message}; see {Path(protocol.getStderrLog()).resolve()}")
    return protocol
