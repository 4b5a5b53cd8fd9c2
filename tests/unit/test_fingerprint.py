"""The fingerprint of a dataset: what changes it, what does not, and what it says of a change."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from miniatures import draw

from aevlp.config import registry
from aevlp.config.errors import CheckpointError
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.fingerprint import ROWS, Fingerprint, fingerprint, fingerprint_of
from aevlp.reporting.same_data import data_notes
from aevlp.runs.folder import RunFolder

TABLE = (
    "image,label,split,labels", "a.png,cat,train,cat|dog", "b.png,dog,train,dog", "c.png,cat,train,cat", "d.png,cat,val,cat",
    "e.png,dog,val,dog|cat", "f.png,dog,test,dog", "g.png,cat,test,cat|dog",
)  # fmt: skip


class Names:
    """Images that have names and nothing else."""

    def __init__(self, names):
        self.names = names

    def __len__(self):
        return len(self.names)

    def name(self, row):
        return self.names[row]


@pytest.fixture
def folder(tmp_path):
    """Write labels.csv below a folder of photos; returns that folder."""

    def write(*lines, name="photos"):
        for i, photo in enumerate("abcdefgh"):
            if not (tmp_path / name / f"{photo}.png").exists():
                draw(tmp_path / name / f"{photo}.png", i)
        (tmp_path / name / "labels.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write


def settings_of(root, **more):
    return registry.get("datasets", "folder").config(name="folder", root=str(root), **more)


def of(root, **more):
    return fingerprint_of(settings_of(root, **more))


@st.composite
def datasets(draw_):
    """Any small dataset as plain lists: class and prompt names, and of each split names, observed and full labels."""
    classes = draw_(st.integers(1, 3))
    text = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=3)

    def split():
        count = draw_(st.integers(1, 4))
        labels = st.lists(st.lists(st.integers(0, 1), min_size=classes, max_size=classes), min_size=count, max_size=count)
        return [draw_(st.lists(text, min_size=count, max_size=count)), draw_(labels), draw_(st.none() | labels)]

    words = st.lists(text, min_size=classes, max_size=classes)
    return [draw_(words), draw_(words), split(), split(), split() if draw_(st.booleans()) else None]


def built(content, dtype=np.uint8, order="C"):
    def split(part):
        names, observed, targets = part
        return Split(
            Names(names), np.array(observed, dtype=dtype, order=order),
            None if targets is None else np.array(targets, dtype=dtype, order=order),
        )  # fmt: skip

    return SPMLData(content[0], content[1], *(None if part is None else split(part) for part in content[2:]))


@settings(max_examples=150, deadline=None)
@given(datasets(), datasets())
def test_two_datasets_have_one_fingerprint_exactly_where_they_are_equal_and_otherwise_the_difference_is_told(first, second):
    one, other = fingerprint(built(first)), fingerprint(built(second))
    assert (one.hash == other.hash) == (first == second)
    assert bool(one.difference(other)) == (first != second)
    assert fingerprint(built(first, np.int64, "F")) == one  # neither type nor place in memory
    assert Fingerprint.from_dict(one.to_dict()) == one


@settings(max_examples=150, deadline=None)
@given(datasets(), st.data())
def test_any_single_change_is_noticed(content, data):
    before = fingerprint(built(content))
    changed = [list(part) if isinstance(part, list) else part for part in content]
    place = data.draw(st.sampled_from([i for i, part in enumerate(content) if part is not None]))
    if place < 2:
        row = data.draw(st.integers(0, len(content[place]) - 1))
        changed[place][row] += "x"
    else:
        part = data.draw(st.sampled_from([i for i in range(3) if content[place][i] is not None]))
        row = data.draw(st.integers(0, len(content[place][0]) - 1))
        rows = [list(line) if part else line for line in content[place][part]]
        if part == 0:
            rows[row] += "x"
        else:
            rows[row][-1] = 1 - rows[row][-1]
        changed[place][part] = rows
    after = fingerprint(built(changed))
    assert after.hash != before.hash
    assert after.difference(before)


def test_names_are_not_run_together():
    def of_names(names):
        return fingerprint(built([["a"], ["a"], [names, [[1], [1]], None], [["v"], [[1]], None], None]))

    assert len({of_names(names).hash for names in (["ab", "c"], ["a", "bc"], ["\udc80", "c"], ["c", "ab"])}) == 4


def test_rows_beyond_those_that_are_hashed_at_a_time_count():
    def of_labels(labels):
        split = Split(Names([""] * len(labels)), labels, None)
        return fingerprint(SPMLData(["a"], ["a"], split, split, None))

    labels = np.zeros((ROWS + 2, 1), np.uint8)
    changed = labels.copy()
    changed[-1] = 1
    assert of_labels(labels).train.observed != of_labels(changed).train.observed


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("c.png,cat,train,cat\n", "", "2 training images instead of 3"),
        ("f.png,dog,test,dog\ng.png,cat,test,cat|dog\n", "", "no test images instead of 2"),
        ("c.png,cat,train", "c.png,cat,val", "2 training images instead of 3, 3 validation images instead of 2"),
        ("a.png,cat,train,cat|dog", "a.png,dog,train,cat|dog", "other observed labels of training images"),
        ("c.png,cat,train,cat", "c.png,cat,train,cat|dog", "other full labels of training images"),
        ("c.png,cat,train,cat", "c.png,cat,train,", "no full labels of training images"),
        ("b.png,dog,train", "h.png,dog,train", "other training images, or in another order"),
        ("g.png,cat,test,cat|dog", "g.png,bird,test,bird|dog", "3 classes instead of 2"),
    ],
)  # fmt: skip
def test_what_changed_in_a_table_is_told(folder, old, new, told):
    text = "\n".join(TABLE) + "\n"
    assert text.count(old) == 1
    before = of(folder(*TABLE))
    after = of(folder(*text.replace(old, new).splitlines()))
    assert after.difference(before).startswith(told)


def test_the_order_of_rows_and_the_names_of_classes_count(folder):
    before = of(folder(*TABLE))
    swapped = of(folder(TABLE[0], TABLE[2], TABLE[1], *TABLE[3:]))
    assert swapped.difference(before) == "other training images, or in another order"
    (folder(*TABLE) / "classes.txt").write_text("dog\ncat\n")
    assert of(folder(*TABLE)).difference(before).startswith("other class names, or in another order")
    data = registry.build("datasets", settings_of(folder(*TABLE)))
    prompts = dataclasses.replace(data, prompt_names=["a dog", "a cat"])
    assert fingerprint(prompts).difference(fingerprint(data)) == "other names of the classes for the text encoder"


def test_where_the_files_lie_and_how_the_table_is_laid_out_does_not_count(folder):
    before = of(folder(*TABLE))
    cells = [line.split(",") for line in TABLE]
    turned = of(folder(*(";".join((split, labels, label, image)) for image, label, split, labels in cells)))
    moved = folder(*TABLE, name="elsewhere")
    assert turned == before
    assert of(moved) == before
    assert of(moved, image_size=64, flip=False) == before


def test_images_that_are_left_out_do_not_count(folder):
    before = of(folder(*TABLE[:3], *TABLE[4:]))
    root = folder(*TABLE)
    (root / "c.png").unlink()
    assert of(root, on_bad_image="quarantine", max_quarantined=0.5) == before


def test_data_that_are_drawn_need_no_look():
    assert fingerprint_of(registry.get("datasets", "digits").config(name="digits")) is None


def test_a_damaged_record_is_told(folder, tmp_path):
    run = RunFolder(tmp_path)
    assert run.read_fingerprint() is None
    found = of(folder(*TABLE))
    run.write_fingerprint(found)
    assert run.read_fingerprint() == found
    path = tmp_path / "data.json"
    whole = path.read_bytes()
    for content in (b"", whole[:-9], whole.replace(b'"images": 3', b'"images": 8'), b"[]", b"{}", b"null", b"\xff", b'"train"'):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"data\.json: cannot be read \(.*; remove it"):
            run.read_fingerprint()


def test_runs_that_know_labels_by_other_protocols_are_told_so(folder):
    root = folder("image,split,labels", "a.png,train,cat|dog", "b.png,train,dog", "c.png,train,cat", "d.png,val,cat|dog")

    def run(**dataset):
        data = of(root, **dataset)
        config = {"dataset": settings_of(root, **dataset).model_dump(mode="json")}
        return SimpleNamespace(config=config, data=data, data_fingerprint=data.hash)

    runs = {
        "share": run(known={"share": 0.5}), "numbers": run(known={"positives": 1, "negatives": 1}, draw="rare"),
        "all": run(known="given"), "full": run(train_labels="full"), "before": run(), "single": run(),
    }  # fmt: skip
    for key in ("known", "draw"):
        del runs["before"].config["dataset"][key]
    assert data_notes(runs, "single") == [
        "share: other data than single: known labels by share 0.5 instead of single",
        "numbers: other data than single: known labels by positives 1, negatives 1, rare instead of single",
        "all: other data than single: known labels by given instead of single",
    ]
