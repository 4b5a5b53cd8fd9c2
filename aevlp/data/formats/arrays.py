"""The community's `formatted_*.npy` arrays: image names and full labels of the official train and val (= test) sets.

    formatted_{train,val}_images.npy       (N,) names relative to the image folder
    formatted_{train,val}_labels.npy       (N,C) in {0,1}
    formatted_{train,val}_labels_obs.npy   (N,C) in {-1,0,1}: known to be absent, unknown, known; optional

Observed labels are read where dataset.known is single, then one positive an image at most, or given; else they are drawn, as
they are where there is no such file.

The official training set is divided 80/20 into train and validation; the official validation set is the test set.
"""

from __future__ import annotations

import io
import os
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from aevlp import files
from aevlp.command import COMMAND
from aevlp.config.errors import ConfigError, DataError
from aevlp.config.registry import register
from aevlp.config.schema import DatasetConfig, Draw, KnownLabels, LocalPath, PathBelow
from aevlp.data.dataset import Split, SPMLData, check_labels, check_observed
from aevlp.data.images import ImageFiles
from aevlp.data.npz import read_npy
from aevlp.data.prompt_names import FILE, read_prompt_names
from aevlp.data.protocol import draw_single_positives, observe, split_train_val
from aevlp.data.quarantine import read_quarantine, without_bad_images
from aevlp.folders import data_root, leads_outside
from aevlp.input import read_text

MAX_CLASSES = 50_000
UNFINISHED = ".unfinished"
"""In a folder of arrays while the files of one `prepare` take their places."""


class ArraysConfig(DatasetConfig):
    """Settings of a dataset given as formatted arrays."""

    root: LocalPath | None = None
    """Folder of the dataset; null takes $AEVLP_DATA/<name>."""
    arrays: LocalPath | None = None
    """Folder of the formatted arrays, where it is not the root (`prepare --out`)."""
    images: PathBelow | None = None
    """Folder of the image files, relative to the root; null takes the one of the official layout."""
    classes: PathBelow | None = None
    """File with one class name a line, relative to the arrays or absolute; null takes classes.txt, else the format's own list."""
    prompt_names: PathBelow | None = None
    """File with lines class,words: what the text encoder reads of a class; null takes prompt_names.csv where there is one."""
    on_bad_image: Literal["error", "quarantine"] = "error"
    """What to do about images that are absent or that `prepare` could not read: stop, or leave them out and say so."""
    max_quarantined: float = Field(0.01, ge=0, le=1)
    """Largest share of the images of a split that may be left out, or ten of them where that is more; 0 allows none."""


def write_arrays(folder: Path, split: str, names: np.ndarray, labels: np.ndarray) -> None:
    """Write names, labels and drawn observed labels of "train" or "val", each complete or not at all."""
    arrays = {"images": names, "labels": labels, "labels_obs": draw_single_positives(labels)}
    for part, array in arrays.items():
        files.write(folder / f"formatted_{split}_{part}.npy", array_bytes(array))


def array_bytes(array: np.ndarray) -> bytes:
    """Content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def refuse_unfinished(folder: Path) -> None:
    """DataError where a `prepare` died while it put its files in place, so that they may not belong together."""
    if (folder / UNFINISHED).exists():
        raise DataError(f"{folder}: `prepare` was ended while it put its files in place; run it again ({UNFINISHED} tells)")


def read_array(path: Path) -> np.ndarray:
    """One array, never unpickled; DataError where it is absent, cut short or holds objects."""
    if not path.exists():
        raise DataError(_no_such_file(path, f"{COMMAND} prepare"))
    return read_npy(path)


def _no_such_file(path: Path, command: str) -> str:
    return (
        f"{path}: no such file; dataset.root (or dataset.arrays) must be the folder of "
        f"formatted_{{train,val}}_{{images,labels}}.npy, which `{command}` writes"
    )


def read_names(folder: Path, split: str) -> np.ndarray:
    """Image names (N,) of "train" or "val"; DataError unless they are a list of at least one relative name."""
    path = folder / f"formatted_{split}_images.npy"
    names = read_array(path)
    if names.ndim != 1 or names.dtype.kind not in "US" or not len(names):
        raise DataError(f"{path}: must be a list of file names, is {names.dtype} of shape {names.shape}")
    try:
        names = names.astype(np.str_)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: holds a file name that is not ASCII, stored as bytes: {error}") from error
    for row, name in enumerate(names):
        if leads_outside(name):
            raise DataError(f"{path}: row {row} holds {str(name)!r}, which leads out of the image folder")
    return names


def read_arrays(
    folder: Path, split: str, class_names: list[str], known: KnownLabels = "single", draw: Draw = "uniform"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Names (N,), labels uint8 and observed labels int8 (N,C) of "train" or "val", checked against each other."""
    names = read_names(folder, split)
    path = folder / f"formatted_{split}_labels.npy"
    labels = check_labels(read_array(path), len(names), class_names, str(path))
    path = folder / f"formatted_{split}_labels_obs.npy"
    if not isinstance(known, str) or draw != "uniform" or not os.path.lexists(path):
        return names, labels, observe(labels, names.tolist(), class_names, known, draw)
    observed = check_observed(read_array(path), len(names), class_names, str(path))
    for said, wrong in (
        ("observes class {}, which the full labels do not hold", (observed > 0) & (labels == 0)),
        ("says that class {} is absent, which the full labels hold", (observed < 0) & (labels == 1)),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(f"{path}: row {row} {said.format(repr(class_names[column]))}")
    if known == "single":
        _require_single(path, observed, class_names)
    return names, labels, observed


def _require_single(path: Path, observed: np.ndarray, class_names: list[str]) -> None:
    remedy = "dataset.known is single; with dataset.known=given all that the file says is used"
    positives = (observed > 0).sum(axis=1)
    if (positives > 1).any():
        row = int(positives.argmax())
        raise DataError(f"{path}: row {row} observes {positives[row]} labels, and {remedy}")
    if (observed < 0).any():
        row, column = np.argwhere(observed < 0)[0]
        raise DataError(f"{path}: row {row} says that class {class_names[column]!r} is absent, and {remedy}")


def read_class_names(path: Path) -> list[str]:
    """Class names, one a line; DataError for an empty list or a name given twice."""
    try:
        class_names = [line.strip() for line in read_text(path, "utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of class names (dataset.classes): {error}") from error
    twice = [name for name, count in Counter(class_names).items() if count > 1]
    if twice or not class_names:
        raise DataError(f"{path}: " + (f"{min(twice)!r} appears twice" if twice else "names no class"))
    return check_number(class_names, path)


def prompt_names_of(
    config: ArraysConfig, folder: Path, class_names: Sequence[str], usual: Callable[[str], str] = str
) -> list[str]:
    """What the text encoder reads of each class: as dataset.prompt_names or prompt_names.csv in `folder` says, else as usual."""
    listed = folder / (config.prompt_names or FILE)
    given = read_prompt_names(listed, class_names) if config.prompt_names is not None or os.path.lexists(listed) else {}
    return [given.get(name) or usual(name) for name in class_names]


def check_number(class_names: list[str], path: Path) -> list[str]:
    """The names; DataError where they are more than a matrix of images and classes could be made for."""
    if len(class_names) > MAX_CLASSES:
        raise DataError(f"{path}: names {len(class_names):,} classes; at most {MAX_CLASSES:,}")
    return class_names


def dataset_root(config: ArraysConfig) -> Path:
    """Folder of the dataset; DataError saying how to name one."""
    if config.root is not None:
        root = Path(config.root)
    else:
        above = data_root()
        if above is None:
            raise ConfigError("no data folder: set dataset.root, or the environment variable AEVLP_DATA to the folder above it")
        root = above / config.name
    if not root.is_dir():
        where = "dataset.root" if config.root is not None else "AEVLP_DATA"
        raise DataError(f"{root}: there is no such folder ({where})")
    return root


def arrays_folder(config: ArraysConfig, root: Path) -> Path:
    """Folder of what `prepare` wrote."""
    return root if config.arrays is None else Path(config.arrays)


def build_formatted(
    config: ArraysConfig, *, images: Sequence[str] = ("",), class_names: Sequence[str] | None = None,
    prompt_name: Callable[[str], str] = str, notes: Sequence[str] = (),
) -> SPMLData:  # fmt: skip
    """Read the arrays that `prepare` wrote, or that the community publishes.

    Args:
        config: of the format.
        images: where the official layout may have the image files, relative to the root.
        class_names: the format's own list, used where neither dataset.classes nor a classes.txt names another.
        prompt_name: a class name as the text encoder should read it.
        notes: what the user should be told.

    Raises:
        DataError: arrays, images or class names are absent or contradict each other.
    """
    root = dataset_root(config)
    arrays = arrays_folder(config, root)
    refuse_unfinished(arrays)
    first = arrays / "formatted_train_images.npy"
    if config.name != "arrays" and not os.path.lexists(first):
        out = "" if config.arrays is None else f" --out {shlex.quote(str(arrays))}"
        raise DataError(_no_such_file(first, f"{COMMAND} prepare {config.name} --root {shlex.quote(str(root))}{out}"))
    listed = arrays / (config.classes or "classes.txt")
    if config.classes is not None or class_names is None or os.path.lexists(listed):
        class_names = read_class_names(listed)
    names, labels, observed = read_arrays(arrays, "train", list(class_names), config.known, config.draw)
    test_names, test_labels, test_observed = read_arrays(arrays, "val", list(class_names), config.known, config.draw)
    train_rows, val_rows = split_train_val(len(names))
    train_observed = labels.astype(np.int8) if config.train_labels == "full" else observed
    if config.images is not None:
        images = [config.images]
    folders = [root / folder for folder in images]
    folder = next((folder for folder in folders if os.path.isdir(folder)), folders[0])
    bad, said = read_quarantine(arrays), list(notes)

    def split(name: str, names: np.ndarray, rows: np.ndarray, observed: np.ndarray, labels: np.ndarray) -> Split:
        files = ImageFiles(folder, names.tolist())
        kept, note = without_bad_images(files, rows, bad, name, config.on_bad_image, config.max_quarantined)
        said.extend(note)
        left_out = frozenset(names[np.setdiff1d(rows, kept)].tolist())
        return Split(ImageFiles(folder, names[kept].tolist(), kept), observed[kept], labels[kept], left_out)

    return SPMLData(
        class_names=list(class_names),
        prompt_names=prompt_names_of(config, arrays, class_names, prompt_name),
        train=split("training", names, train_rows, train_observed, labels),
        val=split("validation", names, val_rows, observed, labels),
        test=split("test", test_names, np.arange(len(test_names)), test_observed, test_labels),
        notes=said,
    )


@register("datasets", "arrays", config=ArraysConfig)
def build_arrays(config: ArraysConfig) -> SPMLData:
    """Read the arrays of `dataset.root`."""
    return build_formatted(config)
