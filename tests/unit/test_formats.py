"""VOC, COCO and CUB: arrays equal to an independent loop over the official files."""

import json

import numpy as np
import pytest
from miniatures import make_coco, make_cub, make_nuswide, make_voc

from aevlp.config import registry
from aevlp.config.schema import ComponentConfig
from aevlp.data.formats import cub
from aevlp.data.prepare import prepare
from aevlp.data.protocol import split_train_val


def drawn(labels):
    """The draw, in the community's own terms: labels -1 and 1, positives shuffled, then negatives."""
    generator, signed = np.random.RandomState(1200), np.where(labels == 0, -1, labels)
    observed = np.zeros_like(labels)
    for i in range(len(signed)):
        for sign, count in ((1, 1), (-1, 0)):
            found = np.nonzero(signed[i] == sign)[0]
            generator.shuffle(found)
            observed[i, found[:count]] = sign
    return observed


def check_arrays(folder, split, names, labels):
    """Files on disk equal the expected arrays to the bit, dtype included."""
    for part, expected in (("images", np.array(names)), ("labels", labels), ("labels_obs", drawn(labels))):
        found = np.load(folder / f"formatted_{split}_{part}.npy")
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_voc_arrays_equal_a_loop_over_the_image_sets(tmp_path, capsys):
    root = make_voc(tmp_path)
    prepare("voc", root)
    lists = root / "VOCdevkit/VOC2012/ImageSets/Main"
    classes = sorted({path.stem.rpartition("_")[0] for path in lists.iterdir()})
    for split, count in (("train", 14), ("val", 6)):
        positives = {}
        for name in classes:
            for line in (lists / f"{name}_{split}.txt").read_text().splitlines():
                image, label = line.split()
                positives.setdefault(image + ".jpg", set())
                if int(label) == 1:
                    positives[image + ".jpg"].add(name)
        names = sorted(image for image, found in positives.items() if found)
        assert len(names) == count
        labels = np.array([[1.0 if name in positives[image] else 0.0 for name in classes] for image in names])
        check_arrays(root, split, names, labels)
    assert (root / "classes.txt").read_text().split() == classes
    assert "next         python run.py --exp voc_gpr" in capsys.readouterr().out


def test_coco_arrays_equal_a_loop_over_the_annotations_in_the_order_of_ids_as_strings(tmp_path):
    root, out = make_coco(tmp_path / "coco"), tmp_path / "out"
    prepare("coco", root, out)
    for split, count in (("train", 14), ("val", 6)):
        content = json.loads((root / f"annotations/instances_{split}2014.json").read_text())
        order = [category["id"] for category in content["categories"]]
        ids = sorted({str(annotation["image_id"]) for annotation in content["annotations"]})
        assert len(ids) == count
        assert ids != sorted(ids, key=int)
        labels = np.zeros((count, 5))
        for annotation in content["annotations"]:
            labels[ids.index(str(annotation["image_id"])), order.index(annotation["category_id"])] = 1
        check_arrays(out, split, [f"{split}2014/COCO_{split}2014_{int(i):012d}.jpg" for i in ids], labels)
    assert not list(root.glob("*.npy"))


@pytest.mark.parametrize("nested", [False, True])
def test_cub_arrays_equal_a_loop_over_the_attribute_labels_in_both_nestings(tmp_path, nested):
    root = make_cub(tmp_path, nested)
    prepare("cub", root)
    folder = next(path.parent for path in root.rglob("images.txt"))
    is_train = [line.split()[1] for line in (folder / "train_test_split.txt").read_text().splitlines()]
    names = [line.split()[1] for line in (folder / "images.txt").read_text().splitlines()]
    present = {}
    for line in (folder / "attributes/image_attribute_labels.txt").read_text().splitlines():
        image, attribute, value, *_ = line.split()
        present[int(image), int(attribute)] = int(value)
    for split, word in (("train", "1"), ("val", "0")):
        rows = [i for i in range(len(names)) if is_train[i] == word]
        labels = np.array([[present[i + 1, j + 1] for j in range(8)] for i in rows])
        assert labels.dtype == np.int64
        check_arrays(root, split, [names[i] for i in rows], labels)
    data = load("cub", root)
    assert data.train.images[0].shape[0] == 3
    assert data.class_names[0] == "has_bill_shape::curved_(up_or_down)"
    assert data.prompt_names == [
        "curved bill", "dagger bill", "blue wing", "brown wing", "forked_tail tail", "large size::large", "small size::small",
        "red eye",
    ]  # fmt: skip


def load(name, root, **settings):
    config: ComponentConfig = registry.get("datasets", name).config(name=name, root=str(root), **settings)
    return registry.build("datasets", config)


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("has_head_pattern::malar", "malar head"),
        ("has_upper_tail_color::buff", "buff upper"),
        ("has_bill_length::about_the_same_as_head", "about_the_same_as_head bill"),
        ("has_size::very_large_(32_-_72_in)", "very_large size::very"),
        ("has_shape::upright-perching_water-like", "upright-perching_water-like shape::upright-perching"),
        ("hooked bill", "hooked bill"),
    ],
)
def test_prompts_put_attributes_into_words(attribute, name):
    assert cub.prompt_name(attribute) == name


def test_nuswide_keeps_its_arrays_and_says_what_cannot_be_verified(tmp_path, capsys):
    root = make_nuswide(tmp_path)
    before = {path.name: path.read_bytes() for path in root.glob("*.npy")}
    prepare("nuswide", root)
    output = capsys.readouterr().out
    assert "alphabetical order, which nothing in the arrays confirms" in output
    assert {name: (root / name).read_bytes() for name in before} == before
    check_arrays(root, "train", np.load(root / "formatted_train_images.npy"), np.load(root / "formatted_train_labels.npy"))
    data = load("nuswide", root)
    assert len(data.class_names) == 81 == len(set(data.class_names))
    assert data.notes
    (root / "own.txt").write_text("\n".join(reversed(data.class_names)))
    assert not load("nuswide", root, classes="own.txt").notes


def test_the_prepared_dataset_has_the_protocols_split_and_the_draw_made_before_it(tmp_path):
    root, out = make_coco(tmp_path / "coco"), tmp_path / "out"
    prepare("coco", root, out)
    data = load("coco", root, arrays=str(out))
    train, val = split_train_val(14)
    labels, observed = (np.load(out / f"formatted_train_{part}.npy") for part in ("labels", "labels_obs"))
    np.testing.assert_array_equal(data.train.observed, observed[train])
    np.testing.assert_array_equal(data.val.targets, labels[val])
    assert data.class_names == ["person", "car", "train", "bottle", "toothbrush"]
    assert len(data.test) == 6


def test_published_observed_labels_are_kept_and_used(tmp_path, capsys):
    root = make_voc(tmp_path)
    prepare("voc", root)
    labels = np.load(root / "formatted_train_labels.npy")
    other = np.zeros_like(labels)
    other[np.arange(len(labels)), labels.argmax(axis=1)] = 1
    np.save(root / "formatted_train_labels_obs.npy", other)
    capsys.readouterr()
    prepare("voc", root)
    assert "formatted_train_labels_obs.npy was there, is another draw than ours, and is kept" in capsys.readouterr().out
    np.testing.assert_array_equal(load("voc", root).train.observed, other[split_train_val(14)[0]])


def test_the_report_counts_images_classes_and_positives(tmp_path, capsys):
    prepare("nuswide", make_nuswide(tmp_path))
    output = capsys.readouterr().out
    assert "official train" in output
    labels = np.load(tmp_path / "formatted_train_labels.npy")
    row = next(line for line in output.splitlines() if line.startswith("official train"))
    assert row.split()[2:6] == ["14", "81", f"{labels.sum() / 14:.2f}", "3"]
    assert "published results use 150000 and 60260 images, these are 14 and 6" in output
    assert "20 of 20 can be read" in output
