"""What the text encoder reads in the place of class names: lines `class,words` of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aevlp.config.errors import DataError, suggest
from aevlp.data.csv_lines import rows_of

FILE = "prompt_names.csv"


def read_prompt_names(path: Path, class_names: Sequence[str]) -> dict[str, str]:
    """Words by class name; classes may be left out, or have no words.

    Raises:
        DataError: naming the line, where it is not two fields, names no class, or one for the second time.
    """
    found: dict[str, str] = {}
    try:
        for line, fields in rows_of(path):
            name, words = (field.strip() for field in (*fields, "")[:2])
            if len(fields) != 2:
                raise DataError(
                    f"{path}:{line}: must be class,words, has {len(fields)} fields; a field with a comma needs quotes"
                )
            if line == 1 and (name.casefold(), words.casefold()) == ("class", "words"):
                continue
            if name not in class_names:
                raise DataError(f"{path}:{line}: {name!r} is no class here{suggest(name, class_names)}")
            if name in found:
                raise DataError(f"{path}:{line}: {name!r} has words already")
            found[name] = words
    except OSError as error:
        raise DataError(f"{path}: cannot be read (dataset.prompt_names): {error.strerror or error}") from error
    return {name: words for name, words in found.items() if words}
