"""On what data and by which encoders a run was begun: written down with the first epoch, and compared when it goes on."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aevlp.config import registry
from aevlp.config.errors import AevlpError, ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.build import build_dataset
from aevlp.data.dataset import SPMLData
from aevlp.data.fingerprint import Fingerprint, fingerprint
from aevlp.reading import read_json
from aevlp.runs.folder import RunFolder
from aevlp.vision_language.encoders import EncoderConfig

ENCODERS_FILE = "encoders.json"
UNKNOWN_DATA = "an older version began this run and did not write down on what data; whether they have changed is not known"


def unchanged_data(config: ExperimentConfig, folder: RunFolder) -> SPMLData | None:
    """The data that the run was begun on; None where it does not tell, so that there is nothing to compare.

    Raises:
        ConfigError: they have changed.
    """
    begun_on = folder.read_fingerprint()
    if begun_on is None:
        return None
    data: SPMLData = build_dataset(config.dataset)
    changed = fingerprint(data).difference(begun_on)
    if changed:
        raise ConfigError(
            f"{folder.path.name}: its data have changed since it was begun: {changed}; restore them, or start a new run"
        )
    return data


def known_data(folder: RunFolder, data: SPMLData) -> Fingerprint | None:
    """What the run is trained on, written down where it is new; None where an older version began it."""
    found = folder.read_fingerprint()
    if found is None and not folder.has_begun:
        found = fingerprint(data)
        folder.write_fingerprint(found)
    return found


def write_encoders(config: ExperimentConfig, folder: RunFolder) -> None:
    """Write down the encoders of a run that begins and has some."""
    found = {} if folder.has_begun else _encoders(config)
    if found:
        folder.write(ENCODERS_FILE, (json.dumps(found, indent=1) + "\n").encode())


def encoder_notes(config: ExperimentConfig, run_dir: Path, sections: Sequence[str] = ("labeler", "model")) -> list[str]:
    """What to tell where an encoder is not the one that the run was begun with, as far as the run tells.

    Notes, as a file that was only added to an encoder's folder changes its hash as well.
    """
    path = run_dir / ENCODERS_FILE
    try:
        begun = {str(section): dict(hashes) for section, hashes in read_json(path).items()}
    except (FileNotFoundError, NotADirectoryError):  # of an older version, without encoders, or no run
        return []
    except (AttributeError, OSError, TypeError, ValueError) as error:
        return [f"{path}: cannot be read ({error}); whether the encoder has changed is not known"]
    return [
        f"{section}.encoder ({hashes['title']}) has other files than when the run was begun; what it says may differ"
        for section, hashes in _encoders(config, sections).items()
        if section in begun and begun[section] != hashes
    ]


def _encoders(config: ExperimentConfig, sections: Sequence[str] = ("labeler", "model")) -> dict[str, dict[str, str]]:
    """What embeddings of images and texts hang on, without loading weights: of labeler and model, where the cache keeps them.

    An encoder that cannot be had is left out: what is wrong with it is told where it is used.
    """
    found = {}
    for section in sections:
        settings = getattr(getattr(config, section), "encoder", None)
        if isinstance(settings, EncoderConfig) and settings.cache:
            with contextlib.suppress(AevlpError):
                encoder: Any = registry.build("encoders", settings, device=torch.device("cpu"))
                if not encoder.by_name:
                    hashes = {"images": encoder.fingerprint(), "texts": encoder.text_fingerprint()}
                    found[section] = {"title": encoder.title} | hashes
    return found
