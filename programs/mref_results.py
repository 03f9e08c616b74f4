"""What mref_ali2d has written, for readers: a run of a 2-D program with correlations instead of likelihoods."""
from .results import PER_CLASS, Run


class MrefRun(Run):
    """The files of one run of mref_ali2d; ``oroot`` is its output folder and a slash."""

    info_labels = ("meanCC", "changed", "seconds")
    class_labels = (*PER_CLASS, "maxCC")

    @classmethod
    def of_run(cls, run):
        """The same files as a run of mref_ali2d; None when another program wrote them."""
        return cls(run.oroot) if "meanCC" in run.info(run.newest()) else None
