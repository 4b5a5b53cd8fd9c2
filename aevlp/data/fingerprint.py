"""What a run was trained on, told apart by a few hashes: class and prompt names, and of each split its images and labels.

The rows of a dataset as it was loaded count, and their order, since draws and the order of training hang on it; images left
out as unreadable do not. Where the files lie and how a table is laid out does not count. Pixels do not either: to read them
would cost as much as an epoch. A photo replaced under its name is noticed by the embedding cache, not here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from aevlp.config.schema import DatasetConfig

if TYPE_CHECKING:
    from aevlp.data.dataset import Split, SPMLData

DATA_FILE = "data.json"
ROWS = 65_536  # hashed at a time, so that 1.7 million rows of 300 classes are not copied whole
TITLES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class SplitFingerprint:
    """Number of images of a split; hashes of their names, observed and full labels, None where the latter are not known."""

    images: int
    names: str
    observed: str
    targets: str | None


@dataclass(frozen=True)
class Fingerprint:
    """Number of classes, hashes of their names and of those that the text encoder reads, and the splits."""

    classes: int
    class_names: str
    prompt_names: str
    train: SplitFingerprint
    val: SplitFingerprint
    test: SplitFingerprint | None

    @property
    def hash(self) -> str:
        """Short hash of it all."""
        return _hash([json.dumps(asdict(self), sort_keys=True).encode()])[:12]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to data.json."""
        return {"fingerprint": self.hash, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Fingerprint:
        """The inverse of `to_dict`; ValueError where the data are damaged, which their own hash tells."""
        try:
            values = {field.name: data[field.name] for field in fields(cls)}
            found = cls(**values | {name: values[name] and SplitFingerprint(**values[name]) for name in TITLES})
            if found.hash != data["fingerprint"]:
                raise ValueError("does not fit its own hash")
        except (KeyError, TypeError) as error:
            raise ValueError(f"is not the fingerprint of a dataset ({type(error).__name__}: {error})") from error
        return found

    def difference(self, before: Fingerprint, *, observed: Container[str] = tuple(TITLES)) -> str:
        """In what it differs from `before`, for people; empty where it does not.

        Args:
            before: the fingerprint to compare with.
            observed: splits whose observed labels count; those of training differ between `train_labels: single` and `full`, all
                between two ways of `dataset.known`.
        """
        said = []
        if self.classes != before.classes:
            said.append(f"{self.classes} classes instead of {before.classes}")
        elif self.class_names != before.class_names:
            said.append("other class names, or in another order")
        elif self.prompt_names != before.prompt_names:
            said.append("other names of the classes for the text encoder")
        for key, title in TITLES.items():
            said += _difference(title, getattr(self, key), getattr(before, key), key in observed)
        return ", ".join(said)


def _difference(title: str, now: SplitFingerprint | None, before: SplitFingerprint | None, observed: bool) -> list[str]:
    counts = [0 if split is None else split.images for split in (now, before)]
    if counts[0] != counts[1]:
        return [f"{counts[0] or 'no'} {title} images instead of {counts[1] or 'none'}"]
    if now is None or before is None:
        return []
    if now.names != before.names:
        return [f"other {title} images, or in another order"]
    said = [f"other observed labels of {title} images"] if observed and now.observed != before.observed else []
    if now.targets != before.targets:
        how = "no" if now.targets is None else "other" if before.targets else "new"
        said.append(f"{how} full labels of {title} images")
    return said


def fingerprint(data: SPMLData) -> Fingerprint:
    """Of loaded data."""
    return Fingerprint(
        len(data.class_names), _hash(_joined(data.class_names)), _hash(_joined(data.prompt_names)),
        _of_split(data.train), _of_split(data.val), None if data.test is None else _of_split(data.test),
    )  # fmt: skip


def fingerprint_of(config: DatasetConfig) -> Fingerprint | None:
    """Of data that are not loaded yet; None where the configuration alone says what they are.

    Raises:
        AevlpError: they are absent or wrong.
    """
    from aevlp.data.build import build_dataset  # which imports torch

    return None if is_told(config) else fingerprint(build_dataset(config))


def is_told(config: DatasetConfig) -> bool:
    """Whether a configuration alone says what the data are."""
    return config.drawn and config.answers is None


def _of_split(split: Split) -> SplitFingerprint:
    names = _joined(map(split.images.name, range(len(split))))
    targets = None if split.targets is None else _hash(_rows(split.targets))
    return SplitFingerprint(len(split), _hash(names), _hash(_rows(split.observed)), targets)


def _hash(parts: Iterable[Any]) -> str:
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part)
    return found.hexdigest()


def _joined(names: Iterable[str]) -> Iterator[bytes]:
    """Names as bytes; those of files hold no NUL, but may hold halves of surrogates."""
    return (f"{name}\0".encode(errors="surrogatepass") for name in names)


def _rows(labels: np.ndarray) -> Iterator[np.ndarray]:
    """Labels (N,C) as they count: values, not their type or place in memory."""
    return (np.ascontiguousarray(labels[i : i + ROWS], dtype=np.int8) for i in range(0, len(labels), ROWS))
