"""What a head on stored features costs beside fine-tuning: its features, and an epoch of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aevlp.data.dataset import SPMLData

EPOCHS = 20  # of configs/trainer/probe.yaml


def measure_probe(words: Sequence[str], experiment: str, data: SPMLData, root: Path, stop: Any) -> dict[str, float]:
    """Seconds a training image: features of it and its mirror image, decoded and encoded anew; and an epoch of the head.

    The views that the labeler needs are in the cache by then, so that the second is an epoch as in a warm run.
    """
    from aevlp import load_experiment
    from aevlp.models._features import FeatureStore
    from aevlp.runs.folder import RunFolder
    from aevlp.tracking import Trackers
    from aevlp.training.run import build_trainer

    own = [word for word in words if not word.startswith("model.")]  # those of ResNet-50
    config = load_experiment(experiment, [*own, "model=probe", "trainer=probe", f"trainer.epochs={EPOCHS}"])
    trainer = build_trainer(config, data, RunFolder.create(config, root), Trackers([]), stop)
    epochs = []
    for _ in range(3):
        began = time.perf_counter()
        trainer.train_epoch()
        epochs.append(time.perf_counter() - began)
        trainer.progress.batches_done = 0
    warm = os.environ["AEVLP_CACHE"]
    os.environ["AEVLP_CACHE"] = str(root / "cold")
    try:
        store = FeatureStore.of_probe(config.model, config.dataset.image_size, trainer.task.device)
        store.of(data.train, False)  # loads the encoder; the mirror images are still to be encoded
        began = time.perf_counter()
        store.of(data.train, True)
        seconds = time.perf_counter() - began
    finally:
        os.environ["AEVLP_CACHE"] = warm
    return {"features": 2 * seconds / len(data.train), "head": min(epochs) / len(data.train)}


def over_a_head(stages: Mapping[str, float], probe: Mapping[str, float], epochs: int, encoded: bool = False) -> float:
    """Seconds of `epochs` of fine-tuning by those of a head; labels cost both the same.

    `stages` are those of a fine-tuning step. The head pays for its features, where nobody has `encoded` the views yet, and for
    all its epochs.
    """
    each = sum(stages[stage] for stage in ("decode", "resize", "forward", "loss", "backward", "optimizer"))
    return epochs * each / ((0 if encoded else probe["features"]) + EPOCHS * probe["head"])
