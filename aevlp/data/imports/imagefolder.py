"""Photos in folders named after their class, with or without train/, val/ and test/ above them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from aevlp.config.errors import DataError
from aevlp.config.registry import register
from aevlp.data.column_names import is_of_label, is_of_predict
from aevlp.data.csv_lines import first_line
from aevlp.data.imports._add import KEPT
from aevlp.data.imports._base import Found, ImportConfig, Report, split_of
from aevlp.data.imports.answers import AnswersImport
from aevlp.data.locate import is_photo, look_below
from aevlp.data.prompt_names import FILE as PROMPT_NAMES
from aevlp.data.table import TABLES, Row

ANNOTATIONS = (".json", ".xml", ".csv", ".yaml", ".yml", ".names")
OWN = (*TABLES, PROMPT_NAMES, "quarantine.json")  # what this program writes there, or reads; see `_is_own` for more


class ImageFolderImport(ImportConfig):
    """There is nothing to set."""

    @classmethod
    def recognises(cls, source: Path, files: list[str]) -> bool:
        """A folder of folders of photos, without any file of annotations."""
        if not source.is_dir():
            return False
        parts = [name.split("/") for name in files if is_photo(name)]
        labelled = {name.rpartition("/")[2].lower() for name in files if name.endswith(".txt")}
        if any(name.lower().endswith(ANNOTATIONS) and not _is_own(source, name) for name in files):
            return False
        if "labels" in {part for words in parts for part in words[:-1]}:
            return False
        stems = {words[-1].rpartition(".")[0].lower() + ".txt" for words in parts}
        return any(len(words) > 1 for words in parts) and not labelled & stems


def _is_own(folder: Path, name: str) -> bool:
    """Whether a file below a folder is one that this program wrote or reads: a table, one kept beside it, answers, guesses."""
    if name in OWN or name.endswith(".quarantine.csv") or KEPT.fullmatch(name):
        return True
    path = folder / name
    if not name.lower().endswith(".csv"):
        return False
    try:
        header = first_line(path)
        return AnswersImport.recognises(path, []) or is_of_label(header) or is_of_predict(path, header)
    except (DataError, FileNotFoundError):
        return False


@register("imports", "imagefolder", config=ImageFolderImport)
def read_imagefolder(config: ImageFolderImport, *, source: Path, report: Report) -> Iterator[Found]:
    """The first folder is the class, or the second where all first ones are splits; one known label each."""
    if not source.is_dir():
        raise DataError(f"{source}: is no folder")
    listing = look_below(source)
    photos = [name.split("/") for name in filter(is_photo, listing.files)]
    # A class may be called train; it then stands beside others.
    inside = [words for words in photos if len(words) > 1]  # a logo beside the folders says nothing of them
    divided = all(split_of(words[0]) for words in inside) and any(len(words) > 2 for words in inside)
    level = 1 if divided else 0
    classes = {words[level] for words in photos if len(words) > level + 1}
    if not classes:
        raise DataError(f"{source}: has no folders of photos; those that lie in it directly have no class")
    if len(classes) == 1:
        report.sentences.append(f"all photos are of one class, {min(classes)}: is it {source / min(classes)} that is meant?")
    for words in photos:
        name, split = "/".join(words), (split_of(words[0]) or "") if divided and len(words) > 1 else ""
        if len(words) > level + 2:
            report.notes.add("deeper than in the folder of their class, whose name is the label", name)
        yield Found(source, Row(0, name, (words[level],) if len(words) > level + 1 else (), split=split))
