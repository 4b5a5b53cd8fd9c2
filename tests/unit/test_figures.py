"""A classifier that is never wrong scores 100 on every folder, by whatever labels its splits are judged."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import aevlp
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data.formats.folder import FolderConfig
from aevlp.metrics import average_precision_per_class
from aevlp.tracking.epoch_table import results
from aevlp.training.figures import (
    by_known_labels,
    lost_classes,
    notes,
    pseudo_figures,
    require_choice,
    rests_on,
    rests_on_by_split,
    split_figures,
)

CLASSES = ("ant", "bee", "cat", "dog", "elk")
HUNDRED = pytest.approx(100, abs=1e-9)


@st.composite
def folders(draw):
    """Rows of a labels.csv, and the true labels of each photo: any split, any part known, full labels of any split."""
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    full = {split: draw(st.booleans()) for split in ("train", "val", "test")}
    absent = {split: draw(st.sampled_from(["", *CLASSES])) for split in full}  # a class that the split does not show
    rows, truth = [], {}
    for i in range(draw(st.integers(6, 24))):
        split = draw(st.sampled_from(["train", "train", "val", "test"]))
        labels = [name for name in CLASSES if name != absent[split] and numbers.random() < 0.4]
        labels = labels or [next(name for name in CLASSES if name != absent[split])]
        known = [name for name in labels if numbers.random() < 0.6] or labels[:1]
        known = [] if split == "train" and not full[split] and numbers.random() < 0.2 else known
        truth[f"{i}.png"] = labels
        rows.append([f"{i}.png", "|".join(known), split, "|".join(labels) if full[split] else ""])
    return rows, truth


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(folders())
def test_a_perfect_classifier_scores_100_on_every_folder(tmp_path, folder):
    rows, truth = folder
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "split", "labels"], *rows])
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    for name in truth:
        (tmp_path / name).touch()  # nothing is decoded
    try:
        data = registry.build("datasets", FolderConfig(name="folder", root=str(tmp_path)))
    except DataError as error:
        assume("is left to" not in str(error))  # nothing to train on, or to validate with
        raise
    config = aevlp.load_experiment("folder_an")
    require_choice(config, data)
    told = " ".join(notes(config, data))
    assert ("validation images are known" in told) == (data.val.targets is None) == by_known_labels(config, data)
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)):
        if split is None:
            continue
        files = [Path(split.images.name(row)).name for row in range(len(split))]
        actual = np.array([[label in truth[file] for label in CLASSES] for file in files])
        logits = np.where(actual, 1.0, -1.0) + np.linspace(-0.5, 0.5, actual.size).reshape(actual.shape)
        found = split_figures(name, split, logits, actual.astype(np.int8))
        assert found[f"{name}/labels_per_image"] == actual.sum() / len(files)
        assert found.get(f"{name}/agreement", 100) == 100
        assert found[f"{name}/known_recall_5"] == 100  # of five classes
        if split.targets is None:
            assert f"{name}/mAP" not in found
            assert found[f"{name}/mAP_observed"] <= 100 + 1e-9
        else:
            assert found[f"{name}/mAP"] == HUNDRED
            assert found[f"{name}/mAP_classes"] == actual.any(axis=0).sum()
            quality = pseudo_figures("pseudo", split, actual.astype(np.int8))
            assert quality.get("pseudo/positive/precision", 100) == 100
        if ((split.observed > 0) == actual).all():
            assert found[f"{name}/mAP_observed"] == HUNDRED
            assert found[f"{name}/known_recall_1"] == 100


def test_a_class_that_is_ranked_as_by_chance_is_named_and_one_that_is_learnt_or_rare_is_not():
    numbers = np.random.default_rng(0)
    targets = (numbers.random((1000, 4)) < [0.3, 0.3, 0.3, 0.01]).astype(np.uint8)
    logits = targets * 2 + numbers.normal(size=targets.shape)
    assert lost_classes(CLASSES[:4], targets, average_precision_per_class(targets, logits)) is None
    logits[:, [1, 3]] = numbers.normal(size=(1000, 2))  # the fourth has ten images: that it is lost cannot be told
    told = lost_classes(CLASSES[:4], targets, average_precision_per_class(targets, logits))
    assert re.fullmatch(r"1 of 4 classes is ranked as by chance on test: bee \((2[89]|3\d)\.\d\); try another seed", told)
    common = (numbers.random((1000, 1)) < 0.9).astype(np.uint8)  # no average precision of such a class is far above its share
    assert lost_classes(["ant"], common, average_precision_per_class(common, common)) is None
    nowhere = np.zeros_like(targets)  # a class without an image has no average precision
    assert lost_classes(CLASSES[:4], nowhere, average_precision_per_class(nowhere, logits)) is None


@pytest.mark.parametrize(("absent", "assumed"), [(("dog", "cat"), 0), (("dog", ""), 1), (("", ""), None)])
def test_a_lower_bound_is_what_counts_unknown_labels_as_absent(tmp_path, absent, assumed):
    """Before the run and in its last lines; None is where no class is judged on the photos it is known of."""
    rows = [["0.png", "cat", "", "train"]]
    for split in ("val", "test"):
        rows += [[f"{split}{word}.png", word, other, split] for word, other in zip(("cat", "dog"), absent, strict=True)]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "label", "absent", "split"], *rows])
    for name, *_ in rows:
        (tmp_path / name).touch()
    data = registry.build("datasets", FolderConfig(name="folder", root=str(tmp_path)))
    figures = {"best/epoch": 1, "best/val_mAP": 50.0, "best/val_mAP_observed": 50.0}
    for name, split in (("val", data.val), ("test", data.test)):
        figures |= split_figures(name, split, np.eye(2))
        assert figures.get(f"{name}/mAP_assumed") == assumed
    before = " ".join(notes(aevlp.load_experiment("folder_an"), data))
    last = results("finished", figures, 2, rests_on=rests_on_by_split(data))
    assert [line[2].endswith("of 2 photos") for line in last[:2]] == [True, True]
    after = " ".join(" ".join(line) for line in last)
    assert before.count("lower bound") == after.count("a lower bound") == (0 if assumed == 0 else 2)


@pytest.mark.parametrize(
    ("num_images", "positives", "told"),
    [
        (1, [1, 0], "of 1 photo"), (29, [20, 9], "of 29 photos"), (30, [20, 2], ""), (2000, [9, 0], ""),
        (2000, [1, 9, 1], "of 2,000 photos, 2 classes in one alone"),
    ],
)  # fmt: skip
def test_figures_that_rest_on_few_photos_say_so(num_images, positives, told):
    assert rests_on(num_images, np.array(positives)) == told
