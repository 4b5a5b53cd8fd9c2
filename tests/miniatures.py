"""Tiny datasets in their official layouts, with the traps of the real ones; each returns the folder to give as --root.

And digit scenes in memory.
"""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from aevlp.config import registry
from aevlp.data.dataset import Split
from aevlp.data.digits import draw_scenes
from aevlp.data.formats import voc
from aevlp.data.images import ArrayImages

COCO_CATEGORIES = {1: "person", 3: "car", 7: "train", 44: "bottle", 90: "toothbrush"}  # ids with gaps, as the real ones
ATTRIBUTES = (
    "has_bill_shape::curved_(up_or_down)", "has_bill_shape::dagger", "has_wing_color::blue", "has_wing_color::brown",
    "has_tail_shape::forked_tail", "has_size::large_(16_-_32_in)", "has_size::small_(5_-_9_in)", "has_eye_color::red",
)  # fmt: skip


def scenes(count):
    """Training scenes, of each of which the first of its digits is known."""
    drawn = draw_scenes("train", count)
    observed = np.zeros_like(drawn.targets, dtype=np.int8)
    observed[np.arange(count), drawn.targets.argmax(axis=1)] = 1
    return Split(ArrayImages(drawn.images), observed, None)


def draw(path, seed):
    """A photo of 40x30 pixels or so."""
    numbers = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers.integers(0, 256, (30 + seed % 5, 40 - seed % 3, 3), dtype=np.uint8)).save(path)


def write_table(root, *lines, encoding="utf-8"):
    """Write labels.csv and ten photos, 0.png to 9.png; returns the folder."""
    (root / "labels.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
    for i in range(10):
        draw(root / f"{i}.png", i)
    return root


def load_folder(root, **settings):
    """The dataset of a folder with a table."""
    return registry.build("datasets", registry.get("datasets", "folder").config(name="folder", root=str(root), **settings))


def make_voc(root, train=14, val=6):
    """VOC 2012: one list a class and split; 0 is "difficult"; the lists are not sorted; some images have no positive."""
    lists = root / "VOCdevkit/VOC2012/ImageSets/Main"
    lists.mkdir(parents=True)
    numbers = np.random.default_rng(1)
    for split, count in (("train", train), ("val", val)):
        images = [f"20{numbers.integers(7, 12):02d}_{i:06d}" for i in numbers.permutation(count + 2) + 100 * (split == "val")]
        words = numbers.choice([-1, 0, 1], p=[0.7, 0.15, 0.15], size=(count + 2, 20))
        words[:-2, 0] |= 1 * (words[:-2] == 1).any(axis=1) ^ 1  # all but two have a positive: -1 | 1 is -1, 0 | 1 is 1
        words[:-2, 1][~(words[:-2] == 1).any(axis=1)] = 1
        words[-2:] = np.where(words[-2:] == 1, 0, words[-2:])
        for column, name in enumerate(voc.CLASS_NAMES):
            lines = [f"{image} {words[i, column]:2d}" for i, image in enumerate(images)]
            (lists / f"{name}_{split}.txt").write_text("\n".join(lines) + "\n")
        for i, image in enumerate(images):
            draw(root / f"VOCdevkit/VOC2012/JPEGImages/{image}.jpg", i)
    return root


def make_coco(root, train=14, val=6):
    """COCO 2014: ids that sort differently as strings, crowds, images without an annotation and without a size."""
    numbers = np.random.default_rng(2)
    (root / "annotations").mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        ids = [9, 25, 100, 1000, 30, 200000, *range(301, 301 + count)][:count]
        annotations = [
            {"id": n, "image_id": int(image), "category_id": int(numbers.choice(list(COCO_CATEGORIES))), "iscrowd": n % 2}
            for n, image in enumerate(numbers.permutation(ids * 3))
        ]
        names = {image: f"COCO_{split}2014_{image:012d}.jpg" for image in [*ids, 5555]}  # the last has no annotation
        content = {
            "images": [{"id": image, "file_name": name} for image, name in names.items()],
            "annotations": annotations,
            "categories": [{"id": key, "name": name} for key, name in COCO_CATEGORIES.items()],
        }
        (root / f"annotations/instances_{split}2014.json").write_text(json.dumps(content))
        for image, name in names.items():
            draw(root / f"{split}2014" / name, image)
    return root


def make_cub(root, nested=False, train=14, test=6):
    """CUB-200-2011, as it unpacks or one level deeper; some label lines have a word too many, as in the release."""
    numbers = np.random.default_rng(3)
    outer = root / "CUB_200_2011" if nested else root
    folder = outer / "CUB_200_2011"
    (folder / "attributes").mkdir(parents=True)
    (outer / "attributes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(ATTRIBUTES, start=1)))
    count = train + test
    names = [f"{i % 3 + 1:03d}.Bird/{i:04d}.jpg" for i in range(count)]
    is_train = numbers.permutation([1] * train + [0] * test)
    (folder / "images.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(names, start=1)))
    (folder / "train_test_split.txt").write_text("".join(f"{i} {word}\n" for i, word in enumerate(is_train, start=1)))
    lines = []
    for image in range(1, count + 1):
        present = numbers.integers(0, 2, len(ATTRIBUTES))
        present[image % len(ATTRIBUTES)] = 1
        lines += [f"{image} {j} {present[j - 1]} {1 + j % 4} {j}.5{' 0' * (j == 4)}" for j in range(1, len(ATTRIBUTES) + 1)]
    (folder / "attributes/image_attribute_labels.txt").write_text("\n".join(lines) + "\n")
    for i, name in enumerate(names):
        draw(folder / "images" / name, i)
    return root


def make_nuswide(root, train=14, val=6):
    """The community's arrays; a fifth of the images has no positive."""
    numbers = np.random.default_rng(4)
    for split, count in (("train", train), ("val", val)):
        labels = (numbers.random((count, 81)) < 0.05).astype(np.float64)
        labels[:, 3], labels[::5] = 1, 0
        names = [f"{split}/{i:04d}_photo.jpg" for i in range(count)]
        for i, name in enumerate(names):
            draw(root / "Flickr" / name, i)
        np.save(root / f"formatted_{split}_labels.npy", labels)
        np.save(root / f"formatted_{split}_images.npy", np.array(names))
    return root


def make_folder(root, train=14, test=6):
    """Photos in sub-folders, and labels.csv with full labels for all."""
    classes, numbers, lines = ("red", "green", "blue"), np.random.default_rng(5), ["image,label,split,labels"]
    for i in range(train + test):
        labels = [name for name in classes if numbers.random() < 0.4] or [classes[i % 3]]
        draw(root / f"photos/{i}.png", i)
        lines.append(f"photos/{i}.png,{labels[0]},{'train' if i < train else 'test'},{'|'.join(labels)}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


MAKE = {"voc": make_voc, "coco": make_coco, "cub": make_cub, "nuswide": make_nuswide, "folder": make_folder}
