"""What W&B shows beyond numbers, made from files of the run folder: tables by class, sample images, the best checkpoint."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aevlp.data.npz import read_npz
from aevlp.metrics.mistakes import judge
from aevlp.metrics.thresholds import sigmoid
from aevlp.system import pointed

if TYPE_CHECKING:
    import wandb
    from PIL import Image

SECONDS_PER_MB = 0.5  # of an upload that is waited for
SHEET = (128, 128, 128)
SHADE = 0.62  # of a tile in which the labeler sees nothing
Table = list[dict[str, str]]


def git_commit(run_dir: Path) -> str | None:
    """Commit of the code, from environment.json; None where it is not told."""
    path = run_dir / "environment.json"
    git = json.loads(path.read_text()).get("git") if path.is_file() else None
    return git["commit"] if git else None


def send(run: wandb.Run, run_dir: Path, summary: dict[str, Any]) -> None:
    """Log everything that the folder of a finished run holds; returns when it has been taken, online by the server."""
    media = pseudo_table(run_dir) | test_table(run_dir) | sample_images(run_dir) | validation_table(run_dir)
    if media:
        run.log(media)
    artifact = best_checkpoint(run.id, run_dir, summary)
    if artifact is not None:
        logged = run.log_artifact(artifact, aliases=["best", "latest"])
        if not run.offline:
            logged.wait()


def pseudo_table(run_dir: Path) -> dict[str, wandb.Table]:
    """`pseudo/per_class`: pseudo-positives by epoch and class, with precision and recall in percent."""
    data = []
    for row in _rows(run_dir / "pseudo_per_class.csv"):
        assigned, correct, actual = (int(row[name]) for name in ("assigned", "correct", "actual"))
        shares = (100 * correct / whole if whole else None for whole in (assigned, actual))
        data.append([int(row["epoch"]), row["class"], *shares, assigned, actual])
    return _table("pseudo/per_class", ["epoch", "class", "precision", "recall", "assigned", "actual"], data)


def test_table(run_dir: Path) -> dict[str, wandb.Table]:
    """`test/per_class`: average precision in percent, None where no image shows the class, and number of positives by class."""
    rows = _rows(run_dir / "per_class.csv")
    data = [[row["class"], float(row["test_AP"]) if row["test_AP"] else None, int(row["test_positives"])] for row in rows]
    return _table("test/per_class", ["class", "AP", "positives"], data)


def sample_images(run_dir: Path) -> dict[str, list[wandb.Image]]:
    """`samples`: the images of samples.npz with their labels; beside each its tiles, as bright as a class is probable there."""
    path = run_dir / "samples.npz"
    if not path.is_file():
        return {}
    import wandb

    arrays = read_npz(path)
    samples = [_sample(arrays, i) for i in range(len(arrays["rows"]))]
    pictures = _of_one_size([picture for picture, _ in samples])
    captions = [caption for _, caption in samples]
    return {
        "samples": [wandb.Image(picture, caption=text, file_type="jpg") for picture, text in zip(pictures, captions, strict=True)]
    }


def validation_table(run_dir: Path) -> dict[str, wandb.Table]:
    """`val/photos`: the validation images of samples.npz, with labels, predictions and their probabilities in percent."""
    files = [run_dir / name for name in ("samples.npz", "val_scores.npz")]
    if not all(path.is_file() for path in files):
        return {}
    import wandb

    arrays, scores = (read_npz(path) for path in files)
    if "val_rows" not in arrays:
        return {}
    probabilities = sigmoid(scores["logits"])
    verdict = judge(probabilities, scores["observed"], scores.get("targets"))
    pictures = [_picture(arrays, i, "val_") for i in range(len(arrays["val_rows"]))]

    def told(row: int, *masks: np.ndarray) -> str:
        chosen = sorted(np.flatnonzero(np.logical_or.reduce([mask[row] for mask in masks])), key=lambda j: -probabilities[row, j])
        return ", ".join(f"{arrays['classes'][j]} {100 * probabilities[row, j]:.0f}" for j in chosen)

    kinds = {
        "truth" if "targets" in scores else "known": (verdict.right, verdict.missed),
        "predicted": (verdict.right, verdict.false, verdict.unknown), "false": (verdict.false,), "missed": (verdict.missed,),
    }  # fmt: skip
    rows = [
        [wandb.Image(picture, file_type="jpg"), str(arrays["val_names"][i]), *(told(row, *masks) for masks in kinds.values())]
        for i, (row, picture) in enumerate(zip(arrays["val_rows"].tolist(), _of_one_size(pictures), strict=True))
    ]
    return _table("val/photos", ["photo", "name", *kinds], rows)


def best_checkpoint(run_id: str, run_dir: Path, summary: dict[str, Any]) -> wandb.Artifact | None:
    """The weights of the best epoch with what they are, referred to and not copied; None where there are none."""
    files = sorted(pointed(run_dir / "checkpoints" / "best").glob("*.safetensors"))
    if not files:
        return None
    import wandb

    known = (
        "best/epoch",
        "best/val_mAP",
        "best/val_mAP_observed",
        "test/mAP",
        "test/mAP_observed",
        "config_hash",
        "experiment",
        "seed",
    )
    metadata = {name: summary[name] for name in known if summary.get(name) is not None} | {"git_commit": git_commit(run_dir)}
    artifact = wandb.Artifact(f"{run_id}-model", "model", metadata=metadata)
    for file in (*files, run_dir / "config.yaml"):
        artifact.add_file(str(file), policy="immutable", skip_cache=True)
    return artifact


def upload_seconds(run_dir: Path) -> float:
    """How long the upload of the best checkpoint is waited for."""
    files = pointed(run_dir / "checkpoints" / "best").glob("*.safetensors")
    return SECONDS_PER_MB * sum(file.stat().st_size for file in files) / 1e6


def _rows(path: Path) -> Table:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(name: str, columns: list[str], data: list[list[Any]]) -> dict[str, wandb.Table]:
    if not data:
        return {}
    import wandb

    return {name: wandb.Table(columns=columns, data=data, log_mode="MUTABLE")}


def _picture(arrays: dict[str, np.ndarray], i: int, of: str = "") -> Image.Image:
    from PIL import Image

    first, last = arrays[f"{of}offsets"][i : i + 2]
    return Image.open(io.BytesIO(arrays[f"{of}jpeg"][first:last].tobytes())).convert("RGB")


def _of_one_size(pictures: list[Image.Image]) -> list[Image.Image]:
    """Each in the middle of a grey sheet that holds the largest: W&B wants all images of a panel to be of one size."""
    from PIL import Image

    width, height = (max((picture.size[side] for picture in pictures), default=0) for side in (0, 1))
    sheets = []
    for picture in pictures:
        sheet = Image.new("RGB", (width, height), SHEET)
        sheet.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
        sheets.append(sheet)
    return sheets


def _sample(arrays: dict[str, np.ndarray], i: int) -> tuple[Image.Image, str]:
    names, observed, positive = arrays["classes"], arrays["observed"][i] == 1, arrays["pseudo"][i] > 0
    actual = arrays["targets"][i] == 1 if "targets" in arrays else None
    groups = {"observed": observed}
    if actual is None:
        groups["pseudo"] = positive & ~observed
    else:
        right, false, missed = positive & actual, positive & ~actual, actual & ~positive
        groups |= {"right": right & ~observed, "false": false & ~observed, "missed": missed & ~observed}
    picture = _picture(arrays, i)
    caption = "; ".join(f"{kind}: {', '.join(names[mask])}" for kind, mask in groups.items() if mask.any())
    interesting = [j for kind in ("false", "missed", "right", "pseudo", "observed") for j in np.flatnonzero(groups.get(kind, []))]
    if "views" in arrays and arrays["views"].shape[1] > 1 and interesting:
        picture = _beside(picture, arrays["views"][i, 1:, interesting[0]].astype(np.float32))
        caption += f"; tiles: {names[interesting[0]]}"
    return picture, caption


def _beside(picture: Image.Image, tiles: np.ndarray) -> Image.Image:
    from PIL import Image

    side = round(len(tiles) ** 0.5)
    shade = Image.fromarray(np.uint8(255 * (1 - SHADE * (1 - tiles.clip(0, 1))).reshape(side, side)))
    mask = shade.resize(picture.size, Image.Resampling.NEAREST)
    both = Image.new("RGB", (2 * picture.width, picture.height))
    both.paste(picture, (0, 0))
    both.paste(picture, (picture.width, 0), mask)
    return both
