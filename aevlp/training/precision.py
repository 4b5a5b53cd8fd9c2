"""Arithmetic of the classifier: what was asked for, or, for `auto`, what a trial on this device found to be faster."""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aevlp import ranks
from aevlp.config.errors import CheckpointError, ConfigError
from aevlp.config.schema import ExperimentConfig
from aevlp.reading import read_json
from aevlp.runs.folder import RunFolder
from aevlp.training.task import TOO_FEW_VALUES

FILE_NAME = "precision.json"
GAIN = 0.9  # fp32 is the more exact: anything else has to save a tenth of its time
_TRIAL_SECONDS, _TRIAL_STEPS = 10.0, 5
_TRIAL_PIXELS = 2**20  # on CPU, where 5 images of 448 px keep all cores as busy as 16, and ResNet-50 takes a second for each
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def decide(config: ExperimentConfig, model: nn.Module, device: torch.device, folder: RunFolder) -> tuple[str, str]:
    """Collective. fp32, bf16 or fp16, and why. A run decides once: `auto` leaves precision.json, which a resumed run reads.

    Raises:
        ConfigError: this device cannot compute with what was asked for or decided.
    """
    wanted = config.trainer.precision
    if wanted != "auto":
        _require(wanted, device, "trainer.precision")
        return wanted, "as configured"
    if ranks.from_main((folder.path / FILE_NAME).exists()):
        chosen, reason = read_decision(folder.path) or ("", "")
        _require(chosen, device, str(folder.path / FILE_NAME))
        return chosen, reason
    chosen, reason = ranks.from_main(_faster(config, model, device) if ranks.is_main() else None)
    folder.write(FILE_NAME, (json.dumps({"precision": chosen, "reason": reason}) + "\n").encode())
    return chosen, reason


def read_decision(run_dir: Path) -> tuple[str, str] | None:
    """What `auto` came to in a run, and why; None where nothing was to be decided."""
    path = run_dir / FILE_NAME
    try:
        decision = read_json(path)
        return str(decision["precision"]), str(decision["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); write the run's precision into config.yaml") from error


def _require(precision: str, device: torch.device, where: str) -> None:
    if precision not in ("fp32", *_DTYPES):
        raise ConfigError(f"{where}: unknown precision {precision!r}")
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"{where}: fp16 needs a CUDA device, this is {device.type}; use bf16, fp32 or auto")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise ConfigError(f"{where}: this GPU has no bf16; use fp16, fp32 or auto")


def _faster(config: ExperimentConfig, model: nn.Module, device: torch.device) -> tuple[str, str]:
    if config.model.on_features:
        return "fp32", "as a head on stored features has little to compute"
    if device.type not in ("cpu", "cuda"):
        return "fp32", f"as mixed precision is not used on {device.type}"
    half = "bf16" if device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    batch = -(-config.trainer.batch_size // ranks.count())
    size = config.dataset.image_size
    while device.type == "cpu" and batch > 2 and batch * size * size > _TRIAL_PIXELS:
        batch = max(2, batch // 2)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):  # a trial leaves no trace in the run
        layout = torch.channels_last if config.trainer.channels_last else torch.contiguous_format
        trial = copy.deepcopy(model).to(device).to(memory_format=layout).train()
        images = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, device=device).contiguous(memory_format=layout)
        try:
            seconds = time_steps({name: _stepper(trial, images, name) for name in ("fp32", half)})
        except ValueError as error:
            if TOO_FEW_VALUES not in str(error):
                raise
            return "fp32", "as batch norm cannot use such a batch"  # which training says with what to do
    slow, fast = 1000 * seconds["fp32"], 1000 * seconds[half]
    measured = f"a step takes {fast:.0f} ms in {half} and {slow:.0f} ms in fp32 ({batch} images of {size} px, {device.type})"
    return (half, f"as {measured}") if fast < GAIN * slow else ("fp32", f"as {half} saves less than a tenth: {measured}")


def _stepper(model: nn.Module, images: torch.Tensor, precision: str) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        with torch.autocast(images.device.type, _DTYPES.get(precision, torch.bfloat16), enabled=precision != "fp32"):
            result = model(images)
        logits = result[0] if isinstance(result, tuple) else result
        logits.float().square().mean().backward()
        if images.is_cuda:
            torch.cuda.synchronize()

    return step


def time_steps(steps: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median seconds of each step, taken in turns: one to warm up, then at most 5 or 10 s in all, but one at least."""
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    ends = time.perf_counter() + _TRIAL_SECONDS
    for turn in range(_TRIAL_STEPS):
        if turn and time.perf_counter() > ends:
            break
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in times.items()}
