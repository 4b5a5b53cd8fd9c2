"""The community's `formatted_*.npy` arrays: image names and full labels of the official train and val (= test) sets.

    formatted_{train,val}_images.npy       (N,) names relative to the image folder
    formatted_{train,val}_labels.npy       (N,C) in {0,1}
    formatted_{train,val}_labels_obs.npy   (N,C) in {-1,0,1}; optional, drawn where absent

The official training set is divided 80/20 into train and validation; the official validation set is the test set.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.config.schema import DatasetConfig
from aevlp.data.dataset import Split, SPMLData, check_labels
from aevlp.data.images import ImageFiles
from aevlp.data.protocol import draw_single_positives, split_train_val


class ArraysConfig(DatasetConfig):
    """Settings of a dataset given as formatted arrays."""

    root: str | None = None
    """Folder that holds the arrays; null takes $AEVLP_DATA/<name>."""
    images: str = ""
    """Folder of the image files, relative to the root."""
    classes: str = "classes.txt"
    """File with one class name a line, relative to the root or absolute."""


def write_arrays(folder: Path, split: str, names: np.ndarray, labels: np.ndarray) -> None:
    """Write names, labels and drawn observed labels of "train" or "val", each complete or not at all."""
    arrays = {"images": names, "labels": labels, "labels_obs": draw_single_positives(labels)}
    for part, array in arrays.items():
        path = folder / f"formatted_{split}_{part}.npy"
        aside = path.with_suffix(".tmp")
        with aside.open("wb") as file:
            np.save(file, array)
        os.replace(aside, path)


def read_array(path: Path) -> np.ndarray:
    """One array, never unpickled; DataError where it is absent, cut short or holds objects."""
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such file; dataset.root must be the folder of formatted_{{train,val}}_{{images,labels}}.npy"
        ) from error
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy array: {error}") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: not a readable .npy array, but an archive of several")
    return array


def read_arrays(folder: Path, split: str, class_names: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Names (N,), labels and observed labels (N,C) uint8 of "train" or "val", checked against each other."""
    path = folder / f"formatted_{split}_images.npy"
    names = read_array(path)
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise DataError(f"{path}: must be a list of file names, is {names.dtype} of shape {names.shape}")
    try:
        names = names.astype(np.str_)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: holds a file name that is not ASCII, stored as bytes: {error}") from error
    path = folder / f"formatted_{split}_labels.npy"
    labels = check_labels(read_array(path), len(names), class_names, str(path))
    path = folder / f"formatted_{split}_labels_obs.npy"
    if not path.exists():
        return names, labels, draw_single_positives(labels)
    raw = read_array(path)
    observed = check_labels(np.where(raw == -1, 0, raw) if raw.dtype.kind in "biuf" else raw, len(names), class_names, str(path))
    if (observed > labels).any():
        row, column = np.argwhere(observed > labels)[0]
        raise DataError(f"{path}: row {row} observes class {class_names[column]!r}, which the full labels do not hold")
    if (observed.sum(axis=1) > 1).any():
        row = int(np.argmax(observed.sum(axis=1)))
        raise DataError(f"{path}: row {row} observes {observed[row].sum()} labels; here at most one is known of an image")
    return names, labels, observed


def read_class_names(path: Path) -> list[str]:
    """Class names, one a line; DataError for an empty list or a name given twice."""
    try:
        class_names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of class names (dataset.classes): {error}") from error
    twice = {name for name in class_names if class_names.count(name) > 1}
    if twice or not class_names:
        raise DataError(f"{path}: " + (f"{sorted(twice)[0]!r} appears twice" if twice else "names no class"))
    return class_names


def dataset_root(config: ArraysConfig) -> Path:
    """Folder of the dataset; DataError saying how to name one."""
    if config.root is not None:
        return Path(config.root).expanduser()
    if "AEVLP_DATA" not in os.environ:
        raise ConfigError("no data folder: set dataset.root, or the environment variable AEVLP_DATA to the folder above it")
    return Path(os.environ["AEVLP_DATA"]) / config.name


@register("datasets", "arrays", config=ArraysConfig)
def build_arrays(config: ArraysConfig) -> SPMLData:
    """Read the arrays of `dataset.root`."""
    root = dataset_root(config)
    class_names = read_class_names(root / config.classes)
    names, labels, observed = read_arrays(root, "train", class_names)
    train_rows, val_rows = split_train_val(len(names))
    train_observed = labels if config.train_labels == "full" else observed
    test_names, test_labels, test_observed = read_arrays(root, "val", class_names)

    def files(names: np.ndarray, rows: np.ndarray | None = None) -> ImageFiles:
        images = ImageFiles(root / config.images, (names if rows is None else names[rows]).tolist(), rows)
        images.require_all()  # now, rather than after hours of training
        return images

    return SPMLData(
        class_names=class_names,
        prompt_names=class_names,
        train=Split(files(names, train_rows), train_observed[train_rows], labels[train_rows]),
        val=Split(files(names, val_rows), observed[val_rows], labels[val_rows]),
        test=Split(files(test_names), test_observed, test_labels),
    )
