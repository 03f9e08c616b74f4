"""What a search evaluates: numbers that are the same on every machine, where seconds are not."""
from dataclasses import dataclass, fields


@dataclass
class Counts:
    """What an E-step evaluated; counts of disjoint sets of images add up.

    flops: floating-point operations of matrix products: of images with templates, and of all angles from those; and
    of their adjoint, where posteriors are so broad that all cells are averaged.
    coarse_cells, swept_cells: cells whose score came from such products, on a fast search's coarse grid and on the
    grid itself.  fine_cells: cells scored one by one.  fine_rows: the pairs of an image with a template and its mirror
    state that they belong to, each of which costs as much as some dozen cells.  kept_cells: those with weight in the
    averages, where these are not all.  blocks: of images searched together.  turns: of images to an angle, for fine
    cells, where each costs as much as some six of them.
    """

    flops: float = 0.0
    coarse_cells: int = 0
    swept_cells: int = 0
    fine_cells: int = 0
    fine_rows: int = 0
    kept_cells: int = 0
    blocks: int = 0
    turns: int = 0

    def add(self, other):
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
