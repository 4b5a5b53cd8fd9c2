"""Folders of the Hugging Face hub: from its cache, or by one download that is answered within 15 s where there is no network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.folders import user_path
from aevlp.network import require_reachable

FILE_TYPES = (".json", ".txt", ".safetensors", ".model")
"""What belongs to an encoder's folder; all else is left alone."""
TOKENIZERS = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""One of these is there where a folder has a tokenizer of transformers."""
_PATTERNS = tuple(f"*{suffix}" for suffix in FILE_TYPES)


def folder_in_full(source: str) -> str:
    """The whole path where `source` is a folder, or is written like one; anything else as it is."""
    path = user_path(source)
    return str(path.absolute()) if source[0] in "./~" or path.is_dir() else source


def what_is_missing(source: str, find: Callable[[], Path | None], instead: str) -> str | None:
    """What to tell where `find` finds no folder of `source` on this machine; None where it does."""
    try:
        found = find()
    except ConfigError as error:
        return str(error)
    return None if found is not None else f"encoder {source} is not on this machine either; {instead}"


def find_snapshot(
    source: str, revision: str | None, needs: Iterable[Sequence[str]], patterns: Sequence[str] = _PATTERNS,
    ignored: Sequence[str] = (),
) -> Path | None:  # fmt: skip
    """Folder of a hub id in the cache, without the network: None where it is not there, or not in full.

    Args:
        source: of the form owner/name.
        revision: branch, tag or commit.
        needs: groups of patterns; the folder must hold a file of each group (`holds`).
        patterns: of the files that a download would fetch.
        ignored: patterns of those that it would not fetch all the same.

    Raises:
        ConfigError: `source` is no hub id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(
            source, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ignored), local_files_only=True
        ))  # fmt: skip
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ConfigError(f"labeler.encoder.source: {source!r} is neither a folder here nor a hub id: {error}") from error
    # Other programs may have cached a part: the tokenizer alone, or configuration and weights. The hub's client need not know.
    return folder if all(holds(folder, group) for group in needs) else None


def holds(folder: Path, patterns: Sequence[str]) -> bool:
    """Whether a folder has a file of one of these patterns; an index of weights counts only with all parts that it names."""
    return any(_is_whole(path) for pattern in patterns for path in folder.glob(pattern))


def _is_whole(path: Path) -> bool:
    if path.name == "vocab.json":  # of byte pairs, and nothing without their merges
        return path.is_file() and path.with_name("merges.txt").is_file()
    if not path.name.endswith(".index.json"):
        return path.is_file()  # the cache holds links, which may lead nowhere
    try:
        parts = set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values())
        return all((path.parent / part).is_file() for part in parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def download(
    source: str, revision: str | None, instead: str, patterns: Sequence[str] = _PATTERNS, ignored: Sequence[str] = ()
) -> Path:
    """Folder of a hub id after a download.

    Args:
        source: of the form owner/name.
        revision: branch, tag or commit.
        instead: what to tell whoever cannot download.
        patterns: of the files that are wanted.
        ignored: patterns of those that are not wanted all the same.

    Raises:
        UnavailableError: it cannot be reached, answered within 15 s, or not be had.
    """
    from huggingface_hub import constants, snapshot_download

    what = f"part of encoder {source}" if _is_begun(source, revision) else f"encoder {source}"
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise UnavailableError(f"{what} is not in the local cache, and HF_HUB_OFFLINE=1 forbids a download; {instead}")
    require_reachable(constants.ENDPOINT, what, instead)
    try:
        return Path(snapshot_download(
            source, revision=revision, allow_patterns=list(patterns), ignore_patterns=list(ignored)
        ))  # fmt: skip
    except Exception as error:  # the hub's, the connection's and the disk's; all mean that there is no encoder
        raise UnavailableError(f"encoder {source} could not be downloaded ({error}); {instead}") from error


def _is_begun(source: str, revision: str | None) -> bool:
    """Whether anything of a hub id is in the cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot_download(source, revision=revision, allow_patterns=[], local_files_only=True)
    except LocalEntryNotFoundError:
        return False
    return True


def encoder_files(folder: Path, title: str, suffixes: Sequence[str] = FILE_TYPES) -> Sequence[Path]:
    """Files of a folder that an encoder hangs on; ConfigError where it cannot be read."""
    try:
        return [path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()]
    except OSError as error:
        raise ConfigError(f"labeler.encoder.source: {title} cannot be read: {error}") from error
