"""From what a converter yields to the rows of a table: which photo each name means, and whether all rows agree."""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from aevlp.config.errors import DataError
from aevlp.data.imports._base import Found, Report, Tally, split_of
from aevlp.data.locate import ABOVE, PhotoIndex, is_photo
from aevlp.data.several import several_in_one
from aevlp.data.table import BETWEEN, Row, merged, require_agreement, similar_names
from aevlp.folders import leads_outside
from aevlp.text import listed

ABSENT = "named, but there is no such photo"
SEVERAL = "named so that it may be any of several photos"
UNFIT = "with a name that a table cannot hold; rename it"
TWICE = "further {mentions of photos are|mention of a photo is} taken together with the first"
NOT_NAMED = "{photos are|photo is} there, and {are|is} not named"
NOT_FOLLOWED = "{links to folders, which are|link to a folder, which is} not followed"
_CONTROLS = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # the last are bytes of a file's name that are no UTF-8


@dataclass(frozen=True)
class Collected:
    """The rows of a table, and all class names."""

    rows: list[Row]
    """Sorted by name, so that a table does not depend on the order of an export; those of a table that was there keep theirs."""
    classes: list[str]
    further: list[list[str]] = field(default_factory=list)
    """Further columns, which mean nothing here and stay in a table that has them: their names, then the cells of each row."""


def collect(
    found: Iterable[Found], source: Path, photos: PhotoIndex, report: Report, *, partial: bool = False,
    kept: Container[str] = (), in_order: bool = False,
) -> Collected:  # fmt: skip
    """The rows of all photos that were found; what has no place in a table is told to the report.

    Args:
        found: what the converter yields.
        source: for messages.
        photos: those below the root.
        report: of the import.
        partial: photos that are absent are no fault.
        kept: names that stay as they are and are not looked for, as a table has them already.
        in_order: rows stay in the order in which their photos are named first.

    Raises:
        DataError: rows contradict each other, a class has a name that a table cannot hold, or nothing is left.
    """
    by_photo: dict[str, Found] = {}
    words: dict[str, str] = {}
    names: dict[str, str] = {}
    places = _Places(photos, report, report.notes if partial else report.left_out)
    for one in found:
        for word in one.row.words:
            if word not in words:
                words[word] = _fit_for_a_table(word, one.where)
        photo = one.row.image if one.row.image in kept else places.photo(one)
        if photo is None:
            continue
        other = names.setdefault(photo, one.row.image)
        if "" != _suffix(one.row.image) != _suffix(other) != "":  # 1.jpeg may be 1.jpg, but not where 1.jpg is named as well
            absent = other if _suffix(one.row.image) == _suffix(photo) else one.row.image
            places.absent.add(ABSENT, f"{absent} ({photo} is named itself)")
            if absent is not other:
                continue
            names[photo] = one.row.image
            by_photo.pop(photo, None)
        row = _renamed(one.row, photo, words)
        require_agreement(one.where, row)
        before = by_photo.get(photo)
        if before is not None:
            if not (row.split and before.row.split):
                row = replace(row, split=before.row.split or row.split)
                before = replace(before, row=replace(before.row, split=row.split))
            row = _sorted(merged(before.row, row, one.where, before.where))
            report.notes.add(TWICE, photo)
        by_photo[photo] = Found(before.file if before else one.file, row)  # that of the row's number
    _tell_of_photos(photos, by_photo, places.unfit, report)
    if not by_photo:
        raise DataError("; ".join([f"{source}: names no photo below {photos.root} (--root)", *report.left_out.lines()]))
    classes = {word for one in by_photo.values() for word in one.row.words}
    for name, parts in several_in_one(classes).items():
        parted = BETWEEN.join(parts)
        alone = f"if these are several labels, give the photo each by itself, in a CSV file as {parted}"
        several = alone if parted else "if that is no label, write nothing"
        raise DataError(f"{source}: class {name!r} would be read as several; {several}; if it is one class, rename it")
    for note in similar_names(classes):
        report.sentences.append(note)
    rows = [by_photo.pop(name).row for name in (list(by_photo) if in_order else sorted(by_photo))]
    told = {row.split for row in rows}
    if not kept and len(told) == 1 and told.isdisjoint({"", "train"}):  # an export of one split; a table means what it says
        report.sentences.append(
            f"all photos are of split {min(told)}: this is taken for all there is, and no split is written down"
        )
        rows = [replace(row, split="") for row in rows]
    return Collected([row if row.split else replace(row, split="train") for row in rows], sorted(classes))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].casefold() if is_photo(name) else ""


class _Places:
    """Which photo each name means."""

    def __init__(self, photos: PhotoIndex, report: Report, absent: Tally):
        self.photos, self.report, self.absent = photos, report, absent
        self.unfit: set[str] = set()
        self._beside: dict[Path, str] = {}
        self._roots = {os.path.abspath(photos.root), os.path.realpath(photos.root)}

    def photo(self, one: Found) -> str | None:
        """The photo that is meant; None, and told, where it is none that a table can name."""
        beside, name = self._folder(one.file), one.row.image
        if beside and f"{beside}/{name}" in self.photos:
            return self._fit(f"{beside}/{name}")
        for word in (name, *one.otherwise):
            meant = self.photos.find(word)
            several = self._likely(meant.photos, beside, one.row.split)
            if len(several) == 1:
                if meant.differs and not (meant.differs == ABOVE and self._is_path_to(word, several[0])):
                    self.report.notes.add(f"named with {meant.differs}", f"{word} is {several[0]}")
                return self._fit(several[0])
            if several:
                self.report.left_out.add(SEVERAL, f"{word} ({listed(several, 3, between=' or ')}; {one.where})")
                return None
        self.absent.add(ABSENT, f"{name} ({one.where})")
        return None

    def _folder(self, file: Path) -> str:
        if file not in self._beside:
            try:
                folder = file if file.is_dir() else file.parent
                self._beside = {file: folder.resolve().relative_to(self.photos.root.resolve()).as_posix()}
            except ValueError:  # the export lies elsewhere
                self._beside = {file: ""}
        return self._beside[file].removeprefix(".")

    def _is_path_to(self, name: str, photo: str) -> bool:
        """Whether a name, absolute or not, goes through the root to the photo."""
        paths = [f"{root}/{photo}" for root in self._roots]
        path = os.path.normpath(name)
        return path in paths or (not os.path.isabs(path) and any(full.endswith(f"/{path}") for full in paths))

    def _likely(self, several: tuple[str, ...], beside: str, split: str) -> tuple[str, ...]:
        """Of photos with names that fit equally, the one below the folder of the export, or below that of the split."""
        for fits in (
            lambda name: beside and name.startswith(f"{beside}/"),
            lambda name: split and split in map(split_of, name.split("/")[:-1]),
        ):
            if len(fitting := tuple(filter(fits, several))) == 1:
                return fitting
        return several

    def _fit(self, photo: str) -> str | None:
        if not _CONTROLS.search(photo) and photo == photo.strip() and not leads_outside(photo):
            return photo
        self.unfit.add(photo)
        self.report.left_out.add(UNFIT, repr(photo))
        return None


def _fit_for_a_table(word: str, where: str) -> str:
    name = word.strip()
    if BETWEEN in name:
        instead = name.replace(BETWEEN, "/")
        raise DataError(
            f"{where}: class {name!r} holds {BETWEEN}, which separates labels in a table; rename it, such as {instead!r}"
        )
    if not name or _CONTROLS.search(name):
        raise DataError(f"{where}: {word!r} is no name of a class")
    return name


def _renamed(row: Row, photo: str, words: dict[str, str]) -> Row:
    known, absent, labels = (tuple({words[word] for word in some}) for some in (row.known, row.absent, row.labels))
    return _sorted(Row(row.line, photo, known, absent, labels, row.split))


def _sorted(row: Row) -> Row:
    """The same, whatever the order it was told in."""
    return replace(row, known=tuple(sorted(row.known)), absent=tuple(sorted(row.absent)), labels=tuple(sorted(row.labels)))


def _tell_of_photos(photos: PhotoIndex, by_photo: dict[str, Found], unfit: set[str], report: Report) -> None:
    for name, why in photos.problems.items():
        report.left_out.add(why, name)
    for name in photos.listing.links:
        report.notes.add(NOT_FOLLOWED, name)
    for name in photos:
        if name not in by_photo and name not in unfit:
            report.notes.add(NOT_NAMED, name)
