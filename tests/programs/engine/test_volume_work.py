"""What an E-step over subtomograms does, counted: cells, floating-point operations, calls.  None of it may grow.

Counts say the same on every machine, times do not.  Where a number here falls for good, lower it.
"""
from collections import Counter

import numpy as np
import pytest

from mlalign.programs.engine.ball import Ball
from mlalign.programs.engine.harmonics import Compared, Orders
from mlalign.programs.engine.orientation_search import Templates
from mlalign.programs.engine.volume_estimator import Plan, Poses
from mlalign.tests.programs.engine.subtomogram_scenes import COARSE, SHIFTS, WEDGES, Scene

PARTICLES, CLASSES = 8, 2
CELLS = PARTICLES * CLASSES * len(COARSE) * len(SHIFTS)
SCORES, SPREAD = 0.77e6, 1.39e6         # floating-point operations of the products in an E-step


class Work(Counter):
    """Counts of what is done while methods are watched."""

    def watch(self, monkeypatch, owner, name, cost):
        """Add what cost(*arguments) of every call gives, a dict."""
        method = getattr(owner, name)

        def watched(*arguments):
            self.update(cost(*arguments))
            return method(*arguments)
        monkeypatch.setattr(owner, name, watched)


def flops(orders, rows, templates, angles, parts=1):
    """Of :meth:`Orders.scores`, or of its adjoint: one product for order 0, two for each other, and the angles'.

    parts: two where each template is compared in halves, for that which is half a turn about x apart.
    """
    lengths = [part.stop - part.start for part in orders.slices]
    return 2 * rows * templates * (2 * sum(lengths) - lengths[0] + parts * angles * (2 * orders.highest + 1))


@pytest.fixture
def work(monkeypatch):
    work = Work()
    work.watch(monkeypatch, Templates, "log_posterior", lambda found, particle, templates: {
        "searches": 1, "cells": len(found.orientations.angles) * len(particle.rows) * len(templates)})
    work.watch(monkeypatch, Orders, "scores", lambda orders, x, templates, table, *out: {
        "scores": flops(orders, len(x), len(templates), len(table), 1 + templates.halves)})
    work.watch(monkeypatch, Orders, "spread", lambda orders, weights, x, table, sums: {
        "spread": flops(orders, len(x), len(sums), len(table))})
    work.watch(monkeypatch, Orders, "turned", lambda orders, vectors, rotations: {
        "turns": 1, "turned": max(len(vectors), len(rotations))})
    work.watch(monkeypatch, Ball, "shifted", lambda ball, samples, shifts, *centre: {"moved": 1, "copies": len(shifts)})
    work.watch(monkeypatch, Ball, "samples", lambda ball, volumes: {"transforms": len(volumes)})
    return work


@pytest.fixture
def scene():
    """Particles in noise that leaves more than one pose possible."""
    return Scene(WEDGES, PARTICLES, 12.0, COARSE)


def e_step(estimator, scene, model):
    estimator.expect(model, Poses.unknown(PARTICLES), Plan(COARSE, SHIFTS), scene.half_of)


def test_an_e_step_looks_at_every_cell_once_and_its_products_do_not_grow(work, scene, workers):
    estimator, model = scene.estimator(workers), scene.truth()
    work.clear()
    e_step(estimator, scene, model)
    assert work["searches"] == PARTICLES and work["cells"] == CELLS
    assert work["scores"] <= SCORES
    assert work["spread"] <= SPREAD


def test_what_is_spread_follows_the_width_of_the_posterior(work, workers):
    spread = []
    for sigma in (0.5, 12.0):
        scene = Scene(WEDGES, PARTICLES, sigma, COARSE)
        estimator = scene.estimator(workers)
        work.clear()
        e_step(estimator, scene, scene.truth())
        spread.append(work["spread"])
    assert spread[0] <= 0.02 * spread[1]


def test_particles_are_read_once_and_moved_once(work, scene, workers):
    estimator = scene.estimator(workers)
    model = scene.truth()
    assert work["transforms"] == PARTICLES + CLASSES                 # those of the true references, too
    for _ in range(3):
        e_step(estimator, scene, model)
    assert work["transforms"] == PARTICLES + CLASSES
    assert work["moved"] == PARTICLES and work["copies"] == PARTICLES * len(SHIFTS)


def test_references_are_turned_once_an_e_step_and_their_sums_once_a_half(work, scene, workers):
    estimator = scene.estimator(workers)
    for model, halves in ((scene.truth(), 1), (scene.start(halves=2), 2)):
        work.clear()
        e_step(estimator, scene, model)
        templates = 2 * CLASSES * halves                             # of vectors and of their power
        assert work["turns"] == templates + 2 * CLASSES * 2          # and their sums, of both halves
        assert work["turned"] <= len(COARSE.matrices) * work["turns"]


@pytest.mark.parametrize("halves", [False, True])
def test_the_counts_are_those_of_the_products(scene, monkeypatch, halves):
    """The formula of the operations, beside shapes of the products that are really made."""
    orders, made, matmul = scene.ball.layout, [], np.matmul
    table = orders.angular_table(COARSE.angles)

    def watched(a, b, out=None):
        product = matmul(a, b, out=out)
        made.append(2 * product.size * a.shape[-1])
        return product

    monkeypatch.setattr(np, "matmul", watched)
    orders.scores(np.ones((3, orders.size), np.float32),
                  Compared(orders, np.ones((5, orders.size), np.float32), halves), table)
    assert sum(made) == flops(orders, 3, 5, len(table), 1 + halves)
