"""Folders of the Hugging Face hub: from its cache, or by one download that is answered within 15 s where there is no network."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
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


def find_snapshot(source: str, revision: str | None, patterns: Sequence[str] = _PATTERNS) -> Path | None:
    """Folder of a hub id in the cache, without the network: None where none, or none of its weights, is there.

    Raises:
        ConfigError: `source` is no hub id.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=list(patterns), local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ConfigError(f"labeler.encoder.source: {source!r} is neither a folder here nor a hub id: {error}") from error
    # Other programs may have cached no more than the tokenizer.
    weights = [pattern for pattern in patterns if pattern.endswith((".safetensors", ".bin"))] or patterns
    return folder if any(path for pattern in weights for path in folder.glob(pattern)) else None


def download(source: str, revision: str | None, instead: str, patterns: Sequence[str] = _PATTERNS) -> Path:
    """Folder of a hub id after a download.

    Args:
        source: of the form owner/name.
        revision: branch, tag or commit.
        instead: what to tell whoever cannot download.
        patterns: of the files that are wanted.

    Raises:
        UnavailableError: it cannot be reached, answered within 15 s, or not be had.
    """
    from huggingface_hub import constants, snapshot_download

    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise UnavailableError(f"encoder {source} is not in the local cache, and HF_HUB_OFFLINE=1 forbids a download; {instead}")
    require_reachable(constants.ENDPOINT, f"encoder {source}", instead)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # the hub's, the connection's and the disk's; all mean that there is no encoder
        raise UnavailableError(f"encoder {source} could not be downloaded ({error}); {instead}") from error


def encoder_files(folder: Path, title: str, suffixes: Sequence[str] = FILE_TYPES) -> Sequence[Path]:
    """Files of a folder that an encoder hangs on; ConfigError where it cannot be read."""
    try:
        return [path for path in folder.iterdir() if path.suffix in suffixes and path.is_file()]
    except OSError as error:
        raise ConfigError(f"labeler.encoder.source: {title} cannot be read: {error}") from error
