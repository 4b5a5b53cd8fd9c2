"""A run killed at any effect on its files, or half-way through any content, and resumed is the run that was never killed.

`pytest -m kill` goes through all points, about 600, in 15 minutes on a core; the ordinary suite takes ten of them.
"""

from __future__ import annotations

import random

import kill_points
import pytest


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Outcome of the run, and the names of its effects."""
    return kill_points.uninterrupted(tmp_path_factory.mktemp("uninterrupted"))


def failures(folder, outcome, names, points):
    found = {}
    for number, half in points:
        differences = kill_points.killed_and_gone_on(folder / f"{number}{half}", (number, half), outcome)
        if differences:
            found[f"{'half-way through' if half else 'before'} {number} {names[number - 1]}"] = differences
    return found


def test_the_run_writes_labels_rows_checkpoints_and_samples_and_prunes(expected):
    outcome, names = expected
    assert {name.split()[0] for name in names} >= {"mkdir", "open", "write", "pwrite", "replace", "fsync", "unlink", "rmdir"}
    assert {"checkpoints/epoch-001", "checkpoints/epoch-003", "checkpoints/epoch-004"} < set(outcome["files"])
    assert "checkpoints/epoch-002" not in outcome["files"]
    assert "samples/views" in outcome["arrays"]


def test_a_run_killed_at_some_points_and_resumed_equals_one_never_killed(expected, tmp_path):
    outcome, names = expected
    points = kill_points.points(names)
    # Most effects are rows of the embedding cache, which are alike: two of those, and eight of the others.
    rows = [point for point in points if names[point[0] - 1].startswith("pwrite")]
    others = [point for point in points if point not in rows]
    draw = random.Random(0)
    assert failures(tmp_path, outcome, names, draw.sample(rows, 2) + draw.sample(others, 8)) == {}


@pytest.mark.kill
def test_a_run_killed_at_any_point_and_resumed_equals_one_never_killed(expected, tmp_path):
    outcome, names = expected
    assert failures(tmp_path, outcome, names, kill_points.points(names)) == {}
