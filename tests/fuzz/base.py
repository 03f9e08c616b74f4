"""What is fuzzed: makes damaged files or words from good ones, and reads them."""
from mlalign.tests.fuzz.mutation import mutated


class Target:
    """One reader.  ``make`` gives cases (bytes); ``feed`` writes one to ``path`` and reads it.

    folder: where its files go.  A sub-class says: name, of the table; suffix of the file; text, whether words and lines
    are damaged besides bytes; odd, how many of the good files are good for a part of :meth:`read` only; :meth:`good`,
    the files that are damaged; :meth:`read`.
    """

    name, suffix, text = "", ".dat", False
    odd = 0

    def __init__(self, folder):
        self.folder = folder
        self.path = folder / f"case{self.suffix}"
        self.seeds = self.good()

    def good(self):
        """Contents of files (list of bytes) that are as they should be."""
        raise NotImplementedError

    def make(self, rng):
        return mutated(rng, self.seeds, self.text)

    def feed(self, data):
        self.path.write_bytes(data)
        self.read(str(self.path))

    def read(self, path):
        """Read a file and check what was read: UserError for what is refused, WrongAcceptance for what is wrong."""
        raise NotImplementedError


class TextTarget(Target):
    text = True
