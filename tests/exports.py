"""One small folder of photos, and what several programs would export of its labels."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

from miniatures import draw

CLASSES = ("zebra", "traffic light", "猫", "a, b")
LABELS = {
    "one.jpg": ("zebra",),
    "two.png": ("猫", "zebra"),
    "sub/three.jpg": ("traffic light", "a, b", "zebra"),
    "sub/deep/four.JPG": ("a, b",),
    "five.jpeg": (),
}


def make_photos(root: Path) -> Path:
    """The photos; the last has no label."""
    for i, name in enumerate(LABELS):
        path = root / name
        draw(path if path.suffix != ".JPG" else path.with_suffix(".jpg"), i)
        if path.suffix == ".JPG":
            path.with_suffix(".jpg").rename(path)
    return root


def coco(folder: Path, photos: Path) -> Path:
    """Ids with gaps, a crowd, a category that does not occur, fields that nobody asked for."""
    ids = {name: 10 * i + 7 for i, name in enumerate(CLASSES)}
    images = {name: 1000 - i for i, name in enumerate(LABELS)}
    annotations = [
        {"id": 99, "image_id": images[name], "category_id": ids[word], "iscrowd": 1, "segmentation": {"counts": [1]}}
        for name, words in LABELS.items() for word in (*words, *words[:1])
    ]  # fmt: skip
    return dump(folder / "export.json", {
        "info": {}, "licenses": [], "images": [{"id": image, "file_name": name, "license": 1} for name, image in images.items()],
        "annotations": annotations, "categories": [{"id": i, "name": name} for name, i in (ids | {"unused": 3}).items()],
    })  # fmt: skip


def voc(folder: Path, photos: Path) -> Path:
    """One file an image, in folders as the photos."""
    for name, words in LABELS.items():
        objects = "".join(f"<object><name>{word}</name><difficult>1</difficult></object>" for word in (*words, *words[:1]))
        path = (folder / name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<annotation><folder>x</folder><filename>{Path(name).name}</filename>{objects}</annotation>")
    return folder


def yolo(folder: Path, photos: Path) -> Path:
    """data.yaml, labels/ and images/; one photo has an empty file."""
    for name, words in LABELS.items():
        path = (folder / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{CLASSES.index(word)} .5 .5 .1 .1\n" for word in (*words, *words[:1])))
    (folder / "data.yaml").write_text("nc: 4\nnames:\n" + "".join(f"  {i}: '{name}'\n" for i, name in enumerate(CLASSES)))
    return folder


def labelstudio(folder: Path, photos: Path) -> Path:
    """Local files, an upload, a bucket; choices of several."""
    address = {
        "one.jpg": "/data/local-files/?d=one.jpg", "two.png": "/data/upload/1/0a1b2c3d-two.png",
        "sub/three.jpg": "s3://bucket/sub/three.jpg", "sub/deep/four.JPG": "https://host/x/sub/deep/four.JPG?token=1",
        "five.jpeg": "five.jpeg",
    }  # fmt: skip
    return dump(folder / "project.json", [
        {
            "id": 70 + i, "data": {"image": address[name], "note": "x"},
            "annotations": [{"was_cancelled": False, "result": [choices(*words)] if words else []}],
        } for i, (name, words) in enumerate(LABELS.items())
    ])  # fmt: skip


def choices(*words: str) -> dict:
    """A result of Label Studio."""
    return {"type": "choices", "from_name": "kind", "to_name": "image", "value": {"choices": list(words)}}


def table(folder: Path, photos: Path) -> Path:
    """Other names of columns, and another order."""
    path = folder / "mine.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["tags", "Filename"], *(["|".join(words), name] for name, words in reversed(LABELS.items()))])
    return path


def class_folders(folder: Path, photos: Path) -> Path:
    """Links to the photos in a folder for each of their classes: known labels, not all."""
    for name, words in LABELS.items():
        for word in words:
            place = folder / word / name
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(photos / name, place)
    return folder


def row(image, known=(), absent=(), labels=(), split="train") -> tuple:
    """What a table says of a photo."""
    return image, tuple(known), tuple(absent), tuple(labels), split


def dump(path: Path, data) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


ALL_LABELS: dict[str, Callable[[Path, Path], Path]] = {
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "labelstudio": labelstudio,
    "csv": table,
}
"""By kind: a function that writes an export of all labels, and returns what to name as SOURCE."""
