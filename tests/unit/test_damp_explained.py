"""The view that spoke for a pseudo-label, against a loop over images, classes and tiles."""

import math

import numpy as np
import oracles
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aevlp.labelers._damp_explained import explain
from aevlp.labelers.damp import assign, scores

pytestmark = pytest.mark.processor

SETTINGS = {"temperature": 0.05, "eta": 0.3}
ASSIGN = {"threshold": 0.1, "top_k": 3, "negative_ratio": 0.4, "negatives": "on"}


def draw(seed, tiles, classes=7, batch=4):
    numbers = np.random.default_rng(seed)
    cosines = numbers.uniform(0.1, 0.35, (batch, tiles + 1, classes)).astype(np.float32)
    observed = np.zeros((batch, classes), np.float32)
    observed[np.arange(batch - 1), numbers.integers(classes, size=batch - 1)] = 1  # the last image has no label
    return torch.from_numpy(cosines), torch.from_numpy(observed)


def loop(cosines, observed, pseudo):
    """(row, column, sign, score, view, whole, tile) of every pseudo-label, in float64."""
    found = []
    for i in range(len(cosines)):
        q = [oracles.softmax(view, SETTINGS["temperature"]) for view in cosines[i].double().tolist()]
        known = [q[0][j] for j in range(len(q[0])) if observed[i, j] > 0]
        gate = min(max(known, default=0.0), SETTINGS["eta"])
        for j, sign in enumerate(pseudo[i].tolist()):
            if sign == 0:
                continue
            tiles = [view[j] for view in q[1:]]
            if not tiles:
                found.append((i, j, sign, q[0][j], 0, q[0][j], math.nan))
                continue
            largest, smallest = tiles.index(max(tiles)), tiles.index(min(tiles))
            spoke = largest if max(tiles) > gate else smallest
            tile = tiles[spoke] if sign > 0 else sum(tiles) / len(tiles)
            found.append((i, j, sign, (q[0][j] + tile) / 2, spoke + 1 if sign > 0 else -1, q[0][j], tile))
    return found


@settings(deadline=None, derandomize=True, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), tiles=st.sampled_from([0, 1, 4, 9]))
def test_explanation_equals_the_loop(seed, tiles):
    cosines, observed = draw(seed, tiles)
    pseudo = assign(cosines, observed, **SETTINGS, **ASSIGN)
    found = explain(cosines, observed, pseudo, **SETTINGS)
    columns = (found.row, found.column, found.sign, found.score, found.view, found.whole, found.tile)
    expected = loop(cosines, observed, pseudo)
    assert len(found.row) == len(expected) > 0
    for column, values in zip(columns, zip(*expected, strict=True), strict=True):
        np.testing.assert_allclose(column.numpy(), values, rtol=2e-5)
    assert found.grid**2 == tiles


def test_scores_are_those_that_decided():
    cosines, observed = draw(5, 9)
    pseudo = assign(cosines, observed, **SETTINGS, **ASSIGN)
    found = explain(cosines, observed, pseudo, **SETTINGS)
    score, mean_score = scores(cosines, observed, **SETTINGS)
    expected = torch.where(pseudo > 0, score, mean_score)[found.row, found.column]
    torch.testing.assert_close(found.score, expected)
    assert set(found.sign.tolist()) == {-1, 1}


@pytest.mark.parametrize("eta", [0.3, 0.05])
def test_below_the_gate_the_smallest_tile_speaks(eta):
    # Class 1 in the tiles: 0.1, 0.2, 0.05, 0.1; the observed class 0 has 0.5 in the whole image.
    q = torch.tensor([[[0.5, 0.3, 0.2], [0.5, 0.1, 0.4], [0.5, 0.2, 0.3], [0.9, 0.05, 0.05], [0.5, 0.1, 0.4]]])
    found = explain(
        torch.log(q), torch.tensor([[1.0, 0, 0]]), torch.tensor([[0, 1, 0]], dtype=torch.int8), temperature=1.0, eta=eta
    )
    below = eta == 0.3
    assert found.view.tolist() == [3 if below else 2]
    assert found.tile.tolist() == pytest.approx([0.05 if below else 0.2])
