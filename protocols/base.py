"""What all protocols share: one command line, steps that know when to run again, runs that resume."""
import glob
import hashlib
import json
import os
import shlex
import signal
import time
from subprocess import CalledProcessError

from pyworkflow.utils import cleanPath

from mlalign import Plugin
from mlalign.programs.results import Run

READ_TOGETHER = 2**20       # bytes


class ProgramProtocol:
    """Mix-in for a protocol that runs one program of ``mlalign.programs``.

    The converted input, the program's files and ``run.json`` live in extra/. Every step gets the options
    and the signature of the input as arguments, so that Continue repeats all that depends on something
    changed. The run itself is resumed from the program's last checkpoint when only options named in
    ``RESUMABLE`` changed, else its old files are removed.

    A sub-class defines ``_program``, ``_prefix``, ``_inputPointers``, ``_options``, ``convertInputStep`` and
    ``createOutputStep``; and ``_root``, ``getRun`` and ``_goingOn`` where the program's files have other names.
    """

    _program = None         # the subcommand of ``mlalign``
    _prefix = None          # its files are extra/<_prefix>_…, unless _root says otherwise
    _seedOption = "--random_seed"
    # Options that say how far and how fast, not what is computed.
    RESUMABLE = ("--iter", "--eps", "--thr", "--gpu", "--memory", "--write_probs")

    # ---- for sub-classes to define

    def _inputPointers(self):
        """The pointers to the input sets in use."""
        raise NotImplementedError

    def _options(self):
        """The program's options in order: {option: value}, see :func:`command_line`."""
        raise NotImplementedError

    def convertInputStep(self, signature):
        raise NotImplementedError

    def createOutputStep(self, options, signature):
        raise NotImplementedError

    # ---- steps

    def _insertAllSteps(self):
        options, signature = self._options(), self._signature()
        self._insertFunctionStep(self.convertInputStep, signature, needsGPU=False)
        self._insertFunctionStep(self.runProgramStep, options, signature, needsGPU=self.usesGpu())
        self._insertFunctionStep(self.createOutputStep, options, signature, needsGPU=False)

    def runProgramStep(self, options, signature):
        state = self._prepareRun(options, signature)
        options = {**options, self._seedOption: state["seed"]}
        there = self.getRun().checkpoints()
        if there:
            options.update(self._goingOn(options, there[-1]))
        self._runProgram(command_line(options))

    def _goingOn(self, options, last):
        """The options by which the program goes on after its iteration ``last``."""
        # The iterations asked for may be fewer than those done already.
        return {"--restart": options["--iter"]} if options["--iter"] < last else {"--continue": True}

    def _whatIsComputed(self, options):
        """The part of the options that must be the same for a run to go on."""
        return {option: value for option, value in options.items() if option not in self.RESUMABLE}

    def _prepareRun(self, options, signature):
        """{identity, seed, root} of this run; the files of an earlier run that it cannot resume are removed."""
        identity = digest(self._whatIsComputed(options), signature)
        path = self._getExtraPath("run.json")
        if os.path.exists(path):
            with open(path) as file:
                state = json.load(file)
            if state["identity"] == identity:
                return state
            self._removeFiles(state.get("root", self._root()))      # perhaps of another program
        self._removeFiles(self._root())
        seed = options[self._seedOption]
        state = {"identity": identity, "seed": int(time.time()) if seed < 0 else seed, "root": self._root()}
        with open(path, "w") as file:
            json.dump(state, file)
        return state

    def _removeFiles(self, root):
        for path in glob.glob(glob.escape(root) + "*"):
            cleanPath(path)

    def _runProgram(self, arguments):
        """Run the program; its own error message becomes the protocol's."""
        try:
            # several processes: Scipion puts mpirun before, as its list of hosts says
            self.runJob(shlex.quote(Plugin.getProgram()), shlex.join([self._program, *arguments]),
                        numberOfMpi=max(1, self.numberOfMpi.get()))
        except CalledProcessError as error:
            raise RuntimeError(self._programError(error.returncode)) from error

    def _programError(self, status):
        """Why the program failed: its own error line, else the last it wrote to stderr."""
        if status in (137, -signal.SIGKILL):
            return f"{self._program} was killed, perhaps for lack of memory."
        if status == signal.SIGKILL and self.numberOfMpi > 1:       # as MPICH's mpirun tells it
            return (f"One of the {self.numberOfMpi} processes of {self._program} was killed, perhaps for lack of "
                    "memory; the run mode Continue goes on from the last iteration.")
        with open(self.getStderrLog()) as log:
            lines = [line.strip() for line in log if line.strip()] or ["no message"]
        own = [line for line in lines if line.startswith(f"{self._program}: error:")]
        return own[-1] if own else f"{self._program} failed with status {status}: {lines[-1]}"

    def _signature(self):
        """Changes when an input is another set, or the same one with other content; not when the project is copied."""
        files = [pointer.get().getFileName() for pointer in self._inputPointers()]
        return [[path, content(path)] for path in files]

    def _defineAll(self, outputs):
        """Define the outputs {name: set}, each made from all inputs."""
        for name, items in outputs.items():
            self._defineOutputs(**{name: items})
            for pointer in self._inputPointers():
                self._defineSourceRelation(pointer, items)

    # ---- files

    def _root(self):
        """Prefix of all the program's files."""
        return self._getExtraPath(f"{self._prefix}_")

    def getRun(self):
        """The :class:`~mlalign.programs.results.Run` of the program's files, there or still to come."""
        return Run(self._root())


class FolderProtocol(ProgramProtocol):
    """A protocol whose program has a folder, extra/<_prefix>, and is told in any case to go on with a run in it.

    A sub-class defines the attributes below besides what :class:`ProgramProtocol` needs.
    """

    _runClass = None        # of results.Run
    _filesClass = None      # takes the folder, and has forget(after=iteration)
    _lastOption = None      # how many iterations there shall be; 0: as many as it takes

    def _folder(self):
        return self._getExtraPath(self._prefix)

    def _root(self):
        return f"{self._folder()}/"

    def getRun(self):
        return self._runClass(self._root())

    def _goingOn(self, options, last):
        """Nothing to add; but iterations beyond those asked for must be gone, for the program keeps what is done."""
        wanted = options[self._lastOption]
        if 0 < wanted < last:
            self._filesClass(self._folder()).forget(after=wanted)
        return {}


def command_line(options):
    """The arguments for {option: value}: True is a flag, None and False are left out, a list is several values."""
    arguments = []
    for option, value in options.items():
        if value is None or value is False:
            continue
        arguments.append(option)
        if value is not True:
            values = value if isinstance(value, list) else [value]
            arguments += [f"{one:.10g}" if isinstance(one, float) else str(one) for one in values]
    return arguments


def content(path):
    """A short text that differs when a file holds something else."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(READ_TOGETHER):
            found.update(block)
    return found.hexdigest()[:16]


def digest(*parts):
    """A short text that differs when any part (of what JSON can hold) differs."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
