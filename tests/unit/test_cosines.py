"""Cosines from a table and from the cache, a batch at a time: the same bits, and what is told where the cache is damaged."""

import os
import shutil

import miniatures
import numpy as np
import pytest
import small_runs as runs
import torch

import aevlp
from aevlp.cli import main
from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.data.dataset import Split
from aevlp.data.digits import CLASS_NAMES
from aevlp.data.images import ArrayImages
from aevlp.labelers._cosines import cosines_of
from aevlp.labelers.damp import DAMP, DAMPConfig
from aevlp.training.run import resume
from aevlp.vision_language.embedding_cache import stores
from aevlp.vision_language.encoders.huggingface import HuggingFace

COUNT = 70  # two chunks


@pytest.fixture(scope="module")
def scenes():
    return miniatures.scenes(COUNT)


@pytest.fixture
def said():
    return []


@pytest.fixture
def prepared(said, scenes):
    def prepared(table_mb=0, grid=2, flip=True, images=scenes, **encoder):
        config = DAMPConfig(
            name="damp", grid=grid, temperature=0.14, threshold=0.3, negatives="on", table_mb=table_mb,
            label_graph={"enabled": False}, encoder={"source": "bundled", **encoder},
        )  # fmt: skip
        labeler = DAMP(config, prompt_names=list(CLASS_NAMES), flip=flip, seed=0, device=torch.device("cpu"), notify=said.append)
        labeler.prepare(images)
        return labeler

    return prepared


def labels(labeler, split, index, epoch=1):
    index = torch.as_tensor(index)
    return labeler.label(index, torch.from_numpy(split.observed)[index], epoch=epoch)


@pytest.mark.processor
@pytest.mark.parametrize(("grid", "flip"), [(2, True), (2, False), (0, True), (0, False), (3, True)])
def test_labels_from_the_cache_are_those_from_the_table_to_the_bit_in_any_batches(prepared, scenes, grid, flip, monkeypatch):
    table, streamed = prepared(2048, grid, flip), prepared(0, grid, flip)
    assert table._streamed is None
    assert not len(streamed._cosines)
    seen = []
    for labeler in (table, streamed):
        assign = labeler.assign
        monkeypatch.setattr(labeler, "assign", lambda cosines, observed, f=assign: seen.append(cosines) or f(cosines, observed))
    numbers = np.random.default_rng(0)
    for epoch in (1, 2):
        order = numbers.permutation(COUNT)
        for size in (1, 7, 16, COUNT):
            for first in range(0, COUNT, size):
                index = order[first : first + size]
                pair = [labels(labeler, scenes, index, epoch) for labeler in (table, streamed)]
                assert torch.equal(*pair)
                assert torch.equal(seen[-1], seen[-2])
    assert labels(table, scenes, range(COUNT)).any()
    rows = torch.tensor([3, 60, 5])
    assert torch.equal(table.view_scores(rows), streamed.view_scores(rows))


@pytest.mark.processor
@pytest.mark.parametrize("width", [5, 64, 512])
@pytest.mark.parametrize("classes", [1, 10, 81])
def test_cosines_of_an_image_do_not_depend_on_its_neighbours(width, classes):
    numbers = torch.Generator().manual_seed(0)
    embeddings = torch.randn(9, 2, 5, width, generator=numbers).half()
    text = torch.randn(classes, width, generator=numbers)
    whole = cosines_of(embeddings, text)
    assert torch.equal(whole, torch.cat([cosines_of(embeddings[i : i + 1], text) for i in range(9)]))
    assert torch.equal(whole[:, :1], cosines_of(embeddings[:, :1], text))
    exact = embeddings.double() @ text.double().T
    torch.testing.assert_close(whole.double(), exact, atol=1e-4 * width**0.5, rtol=0)


def test_a_table_within_the_budget_is_kept_and_one_beyond_is_not_and_says_its_size(prepared, said):
    images = np.zeros((200, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(200)
    split = Split(ArrayImages(images), np.zeros((200, 10), np.int8), None)
    labeler = prepared(2048, images=split)
    assert len(labeler._cosines) == 200
    assert not any("cosines" in line for line in said)
    assert labeler.table_mb(200) == labeler._cosines.numel() * 4 / 2**20
    assert len(prepared(1, images=split)._cosines) == 200  # 80 kB
    assert prepared(0, images=split)._streamed is not None
    assert said[-1] == (
        "cosines of all training views take 0 MB, labeler.table_mb allows 0: they are computed from the cache as needed"
    )


def test_nothing_is_encoded_and_no_encoder_loaded_as_long_as_the_cache_is_there(prepared, scenes, monkeypatch):
    prepared()
    monkeypatch.setattr(HuggingFace, "_load", None)
    labeler = prepared()
    labels(labeler, scenes, range(COUNT))
    assert labeler.num_images_encoded == 0


def truncated(folder):
    os.truncate(folder / "rows", 100)


def unmarked(folder):
    os.truncate(folder / "marks", 8)


def emptied(folder):
    (folder / "rows").write_bytes(b"")


@pytest.mark.parametrize("damage", [truncated, unmarked, emptied, shutil.rmtree])
def test_a_cache_cut_short_or_removed_while_labels_are_read_is_told_and_its_rows_are_encoded_again(
    prepared, scenes, said, damage
):
    labeler = prepared()
    expected = labels(labeler, scenes, range(COUNT))
    said.clear()
    encoded = labeler.embedder.num_images_encoded
    for folder in stores():
        if "texts" not in (folder / "meta.json").read_text():
            damage(folder)
    for _ in range(2):
        assert torch.equal(labels(labeler, scenes, range(COUNT)), expected)
    again = labeler.embedder.num_images_encoded - encoded
    if damage is shutil.rmtree:  # open files live on
        assert said == []
        assert again == 0
    else:
        assert "embedding cache: rows that were there are no longer; they are encoded again" in said
        assert (COUNT - 1) * 10 <= again <= COUNT * 10
        assert all("\n" not in line for line in said)
    assert labeler.embedder.num_images_encoded - encoded == again


def test_without_a_cache_a_table_beyond_the_budget_is_refused_before_anything_is_encoded(prepared, scenes):
    with pytest.raises(ConfigError) as refused:
        prepared(0, cache=False)
    assert str(refused.value) == (
        "labeler.table_mb=0: the cosines of all views take 0 MB, and labeler.encoder.cache=false leaves nothing to compute them "
        "from; set labeler.encoder.cache=true, or labeler.table_mb=1"
    )
    assert len(prepared(1, cache=False)._cosines) == COUNT


def test_images_that_are_not_cached_are_refused_likewise_and_no_cache_is_advised(prepared, scenes, said):
    class Plain(ArrayImages):
        identity = None

    plain = Split(Plain(scenes.images.images), scenes.observed, None)
    with pytest.raises(ConfigError) as refused:
        prepared(0, images=plain)
    assert str(refused.value) == (
        "labeler.table_mb=0: the cosines of all views take 0 MB, and images without identity() leave nothing to compute them "
        "from; set labeler.table_mb=1"
    )
    labeler = prepared(1, images=plain)
    assert labeler.num_images_encoded == len(plain) * 10


def test_a_cache_that_cannot_keep_the_images_is_told_before_training(prepared, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UnavailableError, match=r"but 70 of 70 images could not be kept there; free some space, set AEVLP_CACHE"):
        prepared()


def test_runs_of_both_are_equal_to_the_bit_with_and_without_workers_and_resumed():
    words = (
        "loss=gpr", "labeler=damp", "labeler.encoder.source=bundled", "labeler.label_graph.enabled=false", "labeler.grid=2",
        "labeler.threshold=0.3", "dataset.num_train=24", "dataset.flip=true", "trainer.batch_size=8", "trainer.epochs=2",
    )  # fmt: skip

    def outcome(*more):
        return aevlp.train(runs.config(*words, *more)).run_dir

    expected = runs.outcome(outcome())
    for more in (("labeler.table_mb=0",), ("labeler.table_mb=0", "trainer.num_workers=2")):
        assert runs.differences(runs.outcome(outcome(*more)), expected) == []
    resumed = resume(outcome("labeler.table_mb=0", "trainer.epochs=1"), epochs=2)
    assert torch.equal(torch.from_numpy(resumed.pseudo_labels), expected["task"]["pseudo"])


def test_vlpl_takes_the_budget_too(small, capsys):
    assert main(["--exp", "digits_gpr", "--set", *small, "labeler=vlpl", "labeler.encoder.source=bundled",
                 "labeler.table_mb=0", "trainer.epochs=1"]) == 0  # fmt: skip
    assert "labeler.table_mb allows 0" in capsys.readouterr().out
