"""Both sides, one after the other; ratios first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from aevlp.bench.composition import CARDS, CORES, EPOCHS, TRIALS, Stages, compose
from aevlp.bench.feeding import IN_TURN
from aevlp.bench.kernels import compare_losses, compare_views
from aevlp.bench.material import write_photos, write_untrained_clip
from aevlp.bench.probe import over_a_head
from aevlp.bench.side import experiment
from aevlp.config.errors import AevlpError
from aevlp.data.formats.coco import CLASS_NAMES
from aevlp.folders import python_path
from aevlp.layout import NONE, Sheet
from aevlp.runs.snapshot import environment
from aevlp.terminal import Terminal

BATCH = 16  # of coco_gpr, for which costs are composed
STAGES = ("decode", "resize", "views", "encode", "prompts", "assign", "forward", "loss", "backward", "optimizer", "cache")


def bench(
    images: int, batch: int, output: Path | None = None, changes: Sequence[str] = (), device: str | None = None
) -> dict[str, Any]:
    """Measure, print and, with `output`, write JSON.

    Args:
        images: photos of the real pair of two epochs.
        batch: images per step while measuring.
        output: file for everything that was measured.
        changes: `--set` words for both sides.
        device: cpu or cuda; None takes a CUDA device where there is one.
    """
    console, device = Terminal(), device or ("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        material = Path(folder)
        experiment(material, batch, changes)  # a wrong word is told before anything is written
        console.tell(f"{images} photos of 640x480, untrained CLIP ViT-B/16 and ResNet-50 as in coco_gpr; about ten minutes")
        write_photos(material / "photos", images, list(CLASS_NAMES))
        write_untrained_clip(material / "encoder", list(CLASS_NAMES))
        sides = {name: _measure(name, material, batch, changes, device) for name in ("aevlp", "baseline", "feeding")}
    result = {
        "machine": _machine(device), "images": images, "batch": batch, **sides, "loss": compare_losses(device),
        "views": compare_views(),
    }  # fmt: skip
    result["ratios"] = ratios(result)
    result["cards"] = cards(result)
    if output is not None:
        output.write_text(json.dumps(result, indent=1) + "\n")
    show(console, result)
    return result


def _measure(side: str, material: Path, batch: int, changes: Sequence[str], device: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "aevlp.bench.side", side, str(material), str(batch), *changes]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": python_path()}
    # The second as of a Mac's own GPU, which the first does not hide.
    environment |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"} if device == "cpu" else {}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise AevlpError(f"bench: the side {side} failed:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _machine(device: str) -> dict[str, Any]:
    known = environment()
    gpu = torch.cuda.get_device_name() if device == "cuda" else None
    keep = ("processor", "cpu_count", "platform", "python", "packages")
    return {key: known[key] for key in keep} | {"gpu": gpu, "threads": torch.get_num_threads()}


def baseline_cost(side: dict[str, Any], epochs: int, batch: int) -> float:
    """Seconds per training image: everything in every epoch."""
    return epochs * (sum(side["per_image"].values()) + sum(side["per_step"].values()) / batch)


def project_cost(side: dict[str, Any], epochs: int, trials: int = 1) -> float:
    """Seconds per training image: views once, the rest in every epoch of every trial."""
    stages = side["per_image"]
    once = stages["decode"] + stages["views"] + stages["encode"]
    each = sum(stages[stage] for stage in ("decode", "resize", "assign", "forward", "loss", "backward", "optimizer"))
    return once + trials * (stages["cache"] + epochs * each)


def ratios(result: dict[str, Any]) -> dict[str, float]:
    """What the first table shows; above 1 means that this project is cheaper."""
    plain, own, loss, views = (result[key] for key in ("baseline", "aevlp", "loss", "views"))
    pair_epochs, batch = 2, result["batch"]
    return {
        "run of 8 epochs": baseline_cost(plain, EPOCHS, BATCH) / project_cost(own, EPOCHS),
        "sweep of 10 trials": TRIALS * baseline_cost(plain, EPOCHS, BATCH) / project_cost(own, EPOCHS, TRIALS),
        "real pair of 2 epochs": plain["pair_seconds"] / own["pair_seconds"],
        "baseline pair over its composition": plain["pair_seconds"] / result["images"] / baseline_cost(plain, pair_epochs, batch),
        "aevlp pair over its composition": own["pair_seconds"] / result["images"] / project_cost(own, pair_epochs),
        "view preparation": views["baseline_seconds"] / views["aevlp_seconds"],
        "GPR loss, 64x312": loss["baseline_seconds"] / loss["aevlp_seconds"],
        "peak memory": plain["peak_memory_mb"] / own["peak_memory_mb"],
        f"{EPOCHS} epochs of ResNet-50 over a head on features": over_a_head(plain["per_image"], own["probe"], EPOCHS),
        "aevlp over aevlp: the same": over_a_head(own["per_image"], own["probe"], EPOCHS),
        "aevlp over aevlp: the same, the labeler has encoded": over_a_head(own["per_image"], own["probe"], EPOCHS, encoded=True),
    }


def cards(result: dict[str, Any]) -> dict[str, dict[str, float]]:
    """`compose` for cards of so many views a second."""
    stages = result["baseline"]["per_image"]
    step = sum(stages[stage] for stage in ("forward", "loss", "backward", "optimizer"))
    step_in_views = step / stages["encode"] * result["baseline"]["encodes_per_image_and_epoch"]
    return {str(card): compose(Stages(**result["feeding"]["stages"]), step_in_views, card) for card in CARDS}


def show(console: Terminal, result: dict[str, Any]) -> None:
    """Print ratios, stages and machine."""
    plain, own, machine = result["baseline"], result["aevlp"], result["machine"]
    rows = [[name, f"{value:.2f}"] for name, value in result["ratios"].items()]
    console.table(Sheet("", ["baseline / aevlp", "ratio"], rows))
    console.tell(
        f"encodes per image  {own['encodes_per_image']:.0f} in all, {own['encodes_per_image_when_warm']:.0f} when warm; "
        f"baseline {plain['encodes_per_image_and_epoch']} an epoch"
    )
    console.tell(f"syncs in the loss  {result['loss']['aevlp_syncs']}; baseline {result['loss']['baseline_syncs']}")
    plain_stages = plain["per_image"] | {key: value / BATCH for key, value in plain["per_step"].items()}
    sides = (plain_stages, own["per_image"])
    rows = [[stage, *(f"{1000 * side[stage]:.2f}" if stage in side else NONE for side in sides)] for stage in STAGES]
    rows.append(["peak memory, MB", f"{plain['peak_memory_mb']:.0f}", f"{own['peak_memory_mb']:.0f}"])
    console.table(Sheet("", ["ms per image", "baseline", "aevlp"], rows))
    console.tell(f"data wait  {100 * own['data_wait']:.1f} % of an epoch; precision {own['precision']}")
    console.tell(
        "The baseline pays every stage in every epoch; aevlp pays decode, views and encode (both flips) once.", style="dim"
    )
    busy = result["feeding"]["busy"]
    rows = [[rate, *(f"{100 * share:.0f} %" for share in shares.values())] for rate, shares in busy.items()]
    console.tell(
        f"one core decodes and cuts {result['feeding']['one_core']:.0f} views a second; how busy a stand-in encoder is kept:"
    )
    columns = [name if name == IN_TURN else f"workers {name}" for name in next(iter(busy.values()))]
    console.table(Sheet("", ["rate / one core's", *columns], rows))
    console.tell(f"computed, not measured: baseline / aevlp on a card of so many views a second, {CORES} cores beside it")
    rows = [[card, *(f"{ratio:.1f}" for ratio in found.values())] for card, found in result["cards"].items()]
    console.table(Sheet("", ["views a second", *next(iter(result["cards"].values()))], rows))
    console.tell(f"{machine['gpu'] or machine['processor']}, {machine['threads']} threads, torch {machine['packages']['torch']}")
