"""Gives Scipion its folders before a test module imports anything of it."""
from mlalign.tests.protocols import scipion  # noqa: F401
