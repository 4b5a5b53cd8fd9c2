"""Checkpoints of the published code: a pickled pair of a state dict and its settings, read without running anything.

The AEVLP code saves `torch.save((model.state_dict(), P), file)` with P a munch.Munch of plain settings. Its network is the
same as ours under other names, and so are those of the codes it grew from, which nest it deeper.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.config.loading import load_experiment
from aevlp.inference.trained import Trained
from aevlp.tensor_file import load_tensors

EXPERIMENTS = {"pascal": "voc_gpr", "voc": "voc_gpr", "coco": "coco_gpr", "nuswide": "nuswide_gpr", "cub": "cub_gpr"}
_RULES = (
    (re.compile(r"(?:\w+\.)*feature_extractor\.(\d+\..+)"), "backbone."),
    (re.compile(r"(?:\w+\.)*linear_classifier\.(weight|bias)"), "head."),
)


def read_published(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and settings of a checkpoint file; a plain state dict has no settings.

    Raises:
        CheckpointError: unreadable, holding anything but tensors and plain settings, or of another form. Nothing in the
            file is executed.
    """
    # Stand-ins by name: neither class is imported, and a plain mapping does what is needed of both.
    known: list[Any] = [(OrderedDict, "munch.Munch"), (OrderedDict, "argparse.Namespace")]
    try:
        with torch.serialization.safe_globals(known):
            content = load_tensors(path)
    except Exception as error:  # torch raises a dozen types; none of them executed anything
        # Not the words of torch, which recommend to switch the check for pickled code off.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it holds {found[1]}, which is not plain data" if found else f"it cannot be read ({type(error).__name__})"
        raise CheckpointError(f"{path}: was not loaded: {what}; a pair of state dict and settings is expected") from error
    weights, settings = content if isinstance(content, tuple | list) and len(content) == 2 else (content, {})
    if not isinstance(weights, dict) or not weights or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):  # fmt: skip
        raise CheckpointError(f"{path}: must hold a state dict, names to tensors, or a pair of one and its settings")
    if not isinstance(settings, dict):
        raise CheckpointError(f"{path}: its settings must be a mapping, are {type(settings).__name__}")
    return dict(weights), {**vars(settings), **settings} if isinstance(settings, OrderedDict) else dict(settings)


def translate(weights: dict[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors under the names of `aevlp.models`; names that no rule knows stay, and are refused when loaded."""
    result: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        own = name.removeprefix("module.")
        for pattern, prefix in _RULES:
            if match := pattern.fullmatch(own):
                own = prefix + match[1]
                break
        if own in result:
            raise CheckpointError(f"{where}: two of its tensors stand for {own}, the second is {name}")
        result[own] = tensor
    return result


def open_published(path: Path, experiment: str | None, overrides: Iterable[str]) -> Trained:
    """The checkpoint as a trained model of `experiment`, or of the one its settings name."""
    weights, settings = read_published(path)
    if experiment is None:
        dataset = settings.get("dataset")
        if not isinstance(dataset, str) or dataset not in EXPERIMENTS:
            said = "has no settings" if dataset is None else f"is of dataset {dataset!r}"
            raise ConfigError(f"{path}: {said}; name its experiment with --exp, one of {', '.join(EXPERIMENTS.values())}")
        experiment = EXPERIMENTS[dataset]
    translated = translate(weights, str(path))
    head, classes = translated.get("head.weight"), settings.get("num_classes")
    if head is not None and head.ndim != 2:
        raise CheckpointError(f"{path}: its head must be a matrix, has shape {tuple(head.shape)}")
    if head is not None and isinstance(classes, int) and head.shape[0] != classes:
        raise CheckpointError(f"{path}: its settings say {classes} classes, its head has {head.shape[0]}")
    config = load_experiment(experiment, overrides)
    if hasattr(config.model, "weights"):  # initial ones, not needed
        config = load_experiment(experiment, [*overrides, "model.weights=none"])
    architecture, depth = settings.get("arch"), getattr(config.model, "depth", None)
    if architecture in ("resnet50", "resnet101") and depth is not None and architecture != f"resnet{depth}":
        raise ConfigError(f"{path}: its settings say {architecture}, {config.name} is resnet{depth}; --set model={architecture}")
    return Trained(str(path), config, translated, None, None, {})
