"""The label graph against a loop in float64, and what a relation file may be."""

import numpy as np
import pytest
import torch

from aevlp.config.errors import DataError
from aevlp.vision_language.label_graph import LabelGraphConfig, adjacency, residual

pytestmark = pytest.mark.processor


def relation_like_the_published(classes, seed=0):
    """Symmetric, unit diagonal, other entries between .43 and 1."""
    upper = np.triu(np.random.default_rng(seed).uniform(0.43, 0.99, (classes, classes)), 1)
    return upper + upper.T + np.eye(classes)


def loop_adjacency(relation, neighbors, strength):
    """Keep the largest entries of a row, drop the class itself, scale to `strength`, put the rest on the class."""
    classes = len(relation)
    result = np.zeros((classes, classes))
    for i in range(classes):
        largest = sorted(range(classes), key=lambda j: -relation[i, j])[:neighbors]
        others = [j for j in largest if j != i]
        total = sum(relation[i, j] for j in others)
        for j in others:
            result[i, j] = strength * relation[i, j] / total
        result[i, i] = 1 - strength
    return result


def loop_residual(features, graph, weights):
    """A·leaky(A·leaky(A·T·W1)·W2)·W3, one entry at a time."""
    hidden = features.astype(np.float64)
    for layer, weight in enumerate(weights):
        mixed = np.array([sum(graph[i, k] * hidden[k] for k in range(len(hidden))) for i in range(len(hidden))])
        hidden = np.array([[sum(row * weight[:, d]) for d in range(weight.shape[1])] for row in mixed])
        if layer < 2:
            hidden = np.array([[v if v > 0 else 0.2 * v for v in row] for row in hidden])
    return hidden


def drawn_weights(width, seed):
    """Uniform in ±1/sqrt(output width), layer after layer from one generator."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(width, 2 * width), (2 * width, 2 * width), (2 * width, width)]
    return [(torch.rand(shape, generator=generator).double().numpy() * 2 - 1) / np.sqrt(shape[1]) for shape in shapes]


def text_features(classes=7, width=6, seed=0):
    """Features that share most of their direction, as those of class names do."""
    numbers = np.random.default_rng(seed)
    return (8 * (numbers.normal(size=width) + 0.5 * numbers.normal(size=(classes, width)))).astype(np.float32)


@pytest.mark.parametrize(
    ("classes", "neighbors", "strength"), [(20, 20, 0.2), (20, 7, 0.2), (5, 2, 0.5), (6, 99, 1.0), (4, 3, 0.0)]
)
def test_adjacency_equals_the_loop(classes, neighbors, strength):
    relation = relation_like_the_published(classes)
    found = adjacency(torch.from_numpy(relation).float(), neighbors, strength)
    np.testing.assert_allclose(found.numpy(), loop_adjacency(relation, neighbors, strength), atol=1e-6)
    np.testing.assert_allclose(found.sum(dim=1).numpy(), 1, atol=1e-6)


def test_each_row_keeps_the_class_itself_and_its_nearest_neighbours():
    found = adjacency(torch.from_numpy(relation_like_the_published(9)).float(), 4, 0.2)
    assert ((found > 0).sum(dim=1) == 4).all()
    np.testing.assert_allclose(found.diagonal().numpy(), 0.8, atol=1e-6)


@pytest.mark.parametrize("case", ["only itself", "nothing similar", "negative"])
def test_rows_without_a_similar_class_stay_with_the_class(case):
    relation = {"only itself": 0.5 + torch.eye(4), "nothing similar": torch.eye(4), "negative": 2 * torch.eye(4) - 1}[case]
    found = adjacency(relation, 1 if case == "only itself" else 4, 0.2)
    np.testing.assert_allclose(found.numpy(), np.eye(4), atol=1e-6)


def test_mixed_signs_give_weights_between_0_and_1():
    relation = torch.tensor([[1.0, 0.3, -0.2999], [0.3, 1.0, 0.1], [-0.2999, 0.1, 1.0]])
    found = adjacency(relation, 3, 0.2)
    np.testing.assert_allclose(found.numpy(), [[0.8, 0.2, 0], [0.15, 0.8, 0.05], [0, 0.2, 0.8]], atol=1e-6)


def test_residual_equals_the_loop_on_cosines():
    features = text_features()
    units = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)
    graph = loop_adjacency(np.clip(units @ units.T, 0, None), 4, 0.2)
    expected = loop_residual(features, graph, drawn_weights(features.shape[1], seed=11))
    found = residual(torch.from_numpy(features), LabelGraphConfig(neighbors=4), seed=11)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


def test_residual_equals_the_loop_on_a_relation_file(tmp_path):
    features, relation = text_features(), relation_like_the_published(7, seed=5)
    np.save(tmp_path / "relation.npy", relation)
    config = LabelGraphConfig(neighbors=3, strength=0.4, relation=str(tmp_path / "relation.npy"))
    expected = loop_residual(features, loop_adjacency(relation, 3, 0.4), drawn_weights(6, seed=2))
    np.testing.assert_allclose(residual(torch.from_numpy(features), config, seed=2).numpy(), expected, rtol=1e-4, atol=1e-4)


def test_residual_hangs_on_the_seed_alone():
    features = torch.from_numpy(text_features())
    torch.manual_seed(1)
    first = residual(features, LabelGraphConfig(), seed=3)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, residual(features, LabelGraphConfig(), seed=3))
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.allclose(first, residual(features, LabelGraphConfig(), seed=4))


def test_residual_is_about_a_tenth_of_the_features():
    features = torch.from_numpy(text_features(classes=20, width=512))
    ratio = residual(features, LabelGraphConfig(), seed=0).norm(dim=1) / features.norm(dim=1)
    assert 0.05 < ratio.min()
    assert ratio.max() < 0.15


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f8", "<f2", "i8", "u2"])
def test_a_relation_may_be_of_any_numeric_type(tmp_path, dtype):
    features, relation = torch.from_numpy(text_features()), np.round(4 * relation_like_the_published(7))
    results = []
    for name, array in (("plain", relation), ("typed", relation.astype(dtype))):
        np.save(tmp_path / f"{name}.npy", array)
        results.append(residual(features, LabelGraphConfig(relation=str(tmp_path / f"{name}.npy")), seed=0))
    assert torch.equal(*results)


BAD = {
    "shape": np.ones((7, 6)), "vector": np.ones(49), "another class count": np.eye(8), "bool": np.eye(7, dtype=bool),
    "text": np.full((7, 7), "a"), "complex": np.eye(7, dtype=complex), "not a number": np.where(np.eye(7) == 1, np.nan, 1.0),
    "infinite": np.where(np.eye(7) == 1, np.inf, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_relation_that_does_not_fit_is_refused(tmp_path, case):
    np.save(tmp_path / "relation.npy", BAD[case])
    with pytest.raises(DataError, match=r"labeler\.label_graph\.relation: .*relation\.npy must be a finite \(7,7\) matrix"):
        residual(torch.from_numpy(text_features()), LabelGraphConfig(relation=str(tmp_path / "relation.npy")), seed=0)


def test_a_relation_file_that_is_no_array_is_refused(tmp_path):
    path = tmp_path / "relation.npy"
    config, features = LabelGraphConfig(relation=str(path)), torch.from_numpy(text_features())
    with pytest.raises(DataError, match=r"relation\.npy: not a readable"):
        residual(features, config, seed=0)
    for content in (b"", b"text", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"relation\.npy: not a readable"):
            residual(features, config, seed=0)
    np.savez(tmp_path / "archive.npz", a=np.eye(7))
    (tmp_path / "archive.npz").rename(path)
    with pytest.raises(DataError, match=r"relation\.npy: not a readable \.npy array: an archive"):
        residual(features, config, seed=0)
    np.save(path, np.array([[None] * 7] * 7), allow_pickle=True)
    with pytest.raises(DataError, match=r"relation\.npy: not a readable"):
        residual(features, config, seed=0)
