"""The compute programs.  They know nothing of Scipion and run from a shell without it."""
