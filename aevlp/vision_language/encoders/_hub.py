"""Folders of the Hugging Face hub: from its cache, or by one download that is answered within 15 s where there is no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.network import require_reachable

FILE_TYPES = (".json", ".txt", ".safetensors", ".model")
"""What belongs to an encoder's folder; all else is left alone."""
_PATTERNS = [f"*{suffix}" for suffix in FILE_TYPES]


def find_snapshot(source: str, revision: str | None) -> Path | None:
    """Folder of a hub id in the cache, without the network; None where its weights are not there, ConfigError for no hub id."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=_PATTERNS, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    except HFValidationError as error:
        raise ConfigError(f"labeler.encoder.source: {source!r} is neither a folder here nor a hub id: {error}") from error
    return folder if any(folder.glob("*.safetensors")) else None  # other programs may have cached no more than the tokenizer


def download(source: str, revision: str | None, instead: str) -> Path:
    """Folder of a hub id after a download.

    Args:
        source: of the form owner/name.
        revision: branch, tag or commit.
        instead: what to tell whoever cannot download.

    Raises:
        UnavailableError: it cannot be reached, answered within 15 s, or not be had.
    """
    from huggingface_hub import constants, snapshot_download

    if os.environ.get("HF_HUB_OFFLINE") == "1":
        raise UnavailableError(f"encoder {source} is not in the local cache, and HF_HUB_OFFLINE=1 forbids a download; {instead}")
    require_reachable(constants.ENDPOINT, f"encoder {source}", instead)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=_PATTERNS))
    except Exception as error:  # the hub's, the connection's and the disk's; all mean that there is no encoder
        raise UnavailableError(f"encoder {source} could not be downloaded ({error}); {instead}") from error


def encoder_files(folder: Path, title: str) -> Sequence[Path]:
    """Files of a folder that an encoder hangs on; ConfigError where it cannot be read."""
    try:
        return [path for path in folder.iterdir() if path.suffix in FILE_TYPES and path.is_file()]
    except OSError as error:
        raise ConfigError(f"labeler.encoder.source: {title} cannot be read: {error}") from error
