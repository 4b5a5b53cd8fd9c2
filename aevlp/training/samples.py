"""samples.npz: a few images as a report shows them: training ones with what the labeler saw, validation ones with mistakes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from aevlp import ranks
from aevlp.data.dataset import blind
from aevlp.data.image_cache import uncached
from aevlp.data.images import jpeg, picture_of
from aevlp.data.npz import read_npz
from aevlp.data.rows import take_rows
from aevlp.metrics.mistakes import most_mistaken
from aevlp.metrics.thresholds import sigmoid
from aevlp.random import generator
from aevlp.training.trainer import Trainer

MAX_IMAGES = 32
MAX_SIDE = 256  # pixels; with MAX_IMAGES about 0.5 MB of JPEG
MAX_VIEW_BYTES = 4_000_000  # 1,000 classes on a grid of 16 are 0.5 MB an image
SAMPLE = 1200  # not the run's seed: all runs on a dataset show the same images


def sample_rows(num_images: int, count: int = MAX_IMAGES) -> list[int]:
    """Rows of the training images to show, in ascending order; they depend on the two numbers alone."""
    return sorted(int(row) for row in generator(SAMPLE, num_images).permutation(num_images)[:count])


def write_samples(trainer: Trainer) -> None:
    """Write samples.npz into the run folder, from the weights that were tested. Nothing in it is an object array.

    rows int64 (N); names and classes str; jpeg uint8, all files after each other, the i-th at offsets[i]:offsets[i+1];
    observed and pseudo int8, targets uint8 (N,C), scores float16 (N,C) in [0,1]; views float16 (N,1+grid*grid,C), the
    labeler's class probabilities of the whole image and of each tile. `targets` and `views` only where they are known.
    Of validation images val_rows, val_names, val_jpeg and val_offsets: their labels and scores are those of val_scores.npz.
    """
    train = trainer.data.train
    rows = sample_rows(len(train))
    views = trainer.task.labeler.view_scores(torch.tensor(rows))
    if views is not None:
        rows = rows[: max(1, MAX_VIEW_BYTES // (2 * views[0].numel()))]
    originals = uncached(train.images)
    files = [_jpeg(originals[row]) for row in rows]
    logits = trainer.predict(take_rows(blind(train), np.array(rows)), "samples")
    known = _validation(trainer) | ({} if train.targets is None else {"targets": train.targets[rows]})
    if views is not None:
        known["views"] = views[: len(rows)].cpu().numpy().astype(np.float16)
    trainer.folder.write_arrays(
        "samples.npz",
        rows=np.array(rows, dtype=np.int64),
        names=np.array([train.images.name(row) for row in rows], dtype=np.str_),
        classes=np.array(trainer.data.class_names, dtype=np.str_),
        jpeg=np.frombuffer(b"".join(files), dtype=np.uint8),
        offsets=np.cumsum([0, *map(len, files)], dtype=np.int64),
        observed=train.observed[rows],
        pseudo=trainer.task.pseudo[rows].cpu().numpy(),
        scores=torch.sigmoid(torch.from_numpy(logits)).numpy().astype(np.float16),
        **known,
    )


def _validation(trainer: Trainer) -> dict[str, np.ndarray]:
    """The validation images that the best epoch's scores are most wrong about."""
    scores = trainer.folder.path / "val_scores.npz"
    if not ranks.is_main() or not scores.is_file():
        return {}
    arrays, val = read_npz(scores), trainer.data.val
    rows = most_mistaken(sigmoid(arrays["logits"]), arrays["observed"], arrays.get("targets"), MAX_IMAGES)
    originals = uncached(val.images)
    files = [_jpeg(originals[row]) for row in rows]
    return {
        "val_rows": np.array(rows, dtype=np.int64),
        "val_names": np.array([val.images.name(row) for row in rows], dtype=np.str_),
        "val_jpeg": np.frombuffer(b"".join(files), dtype=np.uint8),
        "val_offsets": np.cumsum([0, *map(len, files)], dtype=np.int64),
    }


def _jpeg(image: Tensor) -> bytes:
    picture = picture_of(image)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return jpeg(picture)
