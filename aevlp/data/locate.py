"""The photos below a folder, and which of them a name means that was written elsewhere.

Tables and exports name photos as the machine knew them that made them: with its own folders before, or without any, with
backslashes, in another case or Unicode form, without a suffix, or with .jpeg for .jpg.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aevlp.data.decoding import HEIC_SUFFIXES
from aevlp.folders import leads_outside
from aevlp.input import require_file

SUFFIXES = HEIC_SUFFIXES | {".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
CASE, UNICODE, SLASHES, NO_SUFFIX = "another case", "another Unicode form", "backslashes", "no suffix"
SIGNS, SUFFIX = "other signs or spaces", "another suffix"
ABOVE, FEWER = "folders that are not below the root", "fewer folders"
_SIMPLE = re.compile(r"[a-z0-9._/-]*")
_ALIKE = {"jpeg": "jpg", "jpe": "jpg", "tiff": "tif"}
_DROPPED = re.compile(r"[^\w.-]")


@dataclass(frozen=True)
class Listing:
    """What lies below a folder, at any depth, without what begins with a dot. Names are relative to it, with `/`."""

    files: list[str] = field(default_factory=list)
    """Regular files, sorted within each folder."""
    strange: dict[str, str] = field(default_factory=dict)
    """What is neither file nor folder, or a folder that cannot be read; and what it is."""
    links: list[str] = field(default_factory=list)
    """Links to folders. They are not followed: they may lead anywhere, and in a circle."""


def look_below(root: Path) -> Listing:
    """List a folder, without opening any file."""
    found, waiting = Listing(), [""]
    while waiting:
        folder = waiting.pop()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            found.strange[folder or "."] = f"cannot be read: {error.strerror}"
            continue
        below = []
        for entry in entries:
            name = f"{folder}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                below.append(f"{name}/")
            elif entry.is_file(follow_symlinks=False):
                found.files.append(name)
            elif entry.is_symlink() and os.path.isdir(entry.path):
                found.links.append(name)
            else:
                try:
                    require_file(entry.path)
                    found.files.append(name)
                except OSError as error:
                    found.strange[name] = error.strerror or str(error)
        waiting += reversed(below)
    return found


def walk_order(name: str) -> list[tuple[bool, str]]:
    """Sorts names as a listing does: the files of a folder, then what lies in its folders."""
    *folders, file = name.split("/")
    return [*((True, folder) for folder in folders), (False, file)]


def is_photo(name: str) -> bool:
    """Whether a name ends as those of pictures do."""
    return f".{name.rpartition('.')[2].lower()}" in SUFFIXES


@dataclass(frozen=True, slots=True)
class Meant:
    """The photos that a name may mean: one, several that fit as well, or none; and what the name has that theirs have not."""

    photos: tuple[str, ...]
    differs: str = ""


class PhotoIndex:
    """The photos below a folder by their names.

    A million of them take 250 MB: their names, and by the stem of each, as most would write it, the one or several that have it.
    """

    def __init__(self, root: Path, listing: Listing | None = None):
        self.root = root
        self.listing = listing or look_below(root)
        self.problems = {
            name: why for name, why in self.listing.strange.items() if is_photo(name) or name.endswith("/") or name == "."
        }
        self._by_stem: dict[str, str | dict[str, None]] = {}
        self._by_name: dict[str, dict[str, list[str]]] = {}  # of stems that several have, once one of them is looked for
        for name in filter(is_photo, self.listing.files):
            key = _key(name)
            there = self._by_stem.setdefault(key, name)
            if isinstance(there, dict):
                there[name] = None
            elif there is not name:
                self._by_stem[key] = {there: None, name: None}

    def __iter__(self) -> Iterator[str]:
        """All names."""
        for there in self._by_stem.values():
            yield from (there,) if isinstance(there, str) else there

    def __contains__(self, name: str) -> bool:
        """Whether that is the name of a photo, to the letter."""
        return name in self._of(name)

    def find(self, name: str) -> Meant:
        """The photos that `name` means. A name below the root means that photo, and nothing else.

        Other folders before a name count as long as one name is the end of the other: `/home/me/a/1.jpg` may mean `a/1.jpg`,
        and `1.jpg` may mean it, but `b/1.jpg` may not.
        """
        same_stem = self._of(name)
        if name in same_stem:
            return Meant((name,))
        # Behind a link to a folder, or written as ./1.jpg; but on a disk that knows no case each name has a file in any.
        if not leads_outside(name) and self._is_file(name) and not self._is_listed(name, same_stem):
            return Meant((posixpath.normpath(name),))
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts:
            return Meant(())
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            if tail in same_stem:
                return Meant((tail,), SLASHES if start == 0 and "\\" in name else ABOVE)
        whole = "/".join(parts)
        # First those of the same folders, which are few: frames of films have the same stems in thousands of folders.
        for files in (self._same_name(name, whole), same_stem):
            for differs, written in _WRITTEN.items() if is_photo(name) else _WITHOUT_SUFFIX.items():
                asked = written(whole)
                others = {file: written(file) for file in files}
                shared = {
                    file: min(len(other), len(asked))
                    for file, other in others.items() if _ends(other, asked) or _ends(asked, other)
                }  # fmt: skip
                if shared:
                    longest = max(shared.values())
                    best = tuple(file for file, length in shared.items() if length == longest)
                    return Meant(best, differs or (SLASHES if "\\" in name else FEWER))
        return Meant(())

    def _of(self, name: str) -> tuple[str, ...] | dict[str, None]:
        there = self._by_stem.get(_key(name), {})
        return (there,) if isinstance(there, str) else there

    def _same_name(self, name: str, whole: str) -> Iterable[str]:
        """Of several photos with the stem of `name`, those that are `whole` in whatever way both are written."""
        stem, files = _key(name), self._of(name)
        if len(files) < 2:
            return ()
        if stem not in self._by_name:
            groups = self._by_name[stem] = {}
            for file in files:
                groups.setdefault(_simplified(_stem(file)), []).append(file)
        return self._by_name[stem].get(_simplified(_stem(whole)), ())

    def _is_listed(self, name: str, files: Iterable[str]) -> bool:
        """Whether one of `files` has that name in another case or Unicode form, and is the same file."""
        plain = posixpath.normpath(name)
        others = [file for file in files if file != plain and _folded(file) == _folded(plain)]
        try:
            return any(os.path.samefile(self.root / file, self.root / name) for file in others)
        except OSError:  # removed meanwhile
            return False

    def _is_file(self, name: str) -> bool:
        try:
            return is_photo(name) and bool(require_file(self.root / name))
        except (OSError, ValueError):
            return False


def _stem(name: str) -> str:
    return name.rpartition(".")[0] if is_photo(name) else name


def _key(name: str) -> str:
    return _simplified(_stem(name.replace("\\", "/").rpartition("/")[2]))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _simplified(name: str) -> str:
    """As servers simplify names, with one more word for each of a space and a sign that they drop."""
    if _SIMPLE.fullmatch(name):
        return name
    return "/".join(_DROPPED.sub("", part.replace(" ", "_")) for part in _folded(name).split("/"))


def _suffix_alike(name: str) -> str:
    """A name of which the suffix is spelled as most do, of formats that have several."""
    stem, _, suffix = _folded(name).rpartition(".")
    return f"{stem}.{_ALIKE.get(suffix, suffix)}"


# In this order: what differs least comes first.
_WRITTEN: dict[str, Callable[[str], str]] = {"": str, UNICODE: _plain, CASE: _folded, SIGNS: _simplified, SUFFIX: _suffix_alike}
_WITHOUT_SUFFIX: dict[str, Callable[[str], str]] = {NO_SUFFIX: lambda name: _folded(_stem(name))}


def _ends(name: str, end: str) -> bool:
    """Whether a name ends in whole parts as the other does."""
    return name.endswith(end) and (len(name) == len(end) or name[-len(end) - 1] == "/")
