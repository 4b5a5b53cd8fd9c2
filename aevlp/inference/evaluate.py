"""How good a trained model is on a split: mAP, precision, recall and F1 at thresholds, and figures by known labels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from aevlp.config.errors import AevlpError, DataError
from aevlp.data.build import build_dataset
from aevlp.data.dataset import Split, SPMLData, blind
from aevlp.data.features import stored_features
from aevlp.data.fingerprint import fingerprint
from aevlp.data.loaders import eval_loader
from aevlp.data.workers import deaths_told
from aevlp.inference.trained import DEFAULT_THRESHOLD, Scorer, Trained, with_data_names
from aevlp.labelers import build_labeler
from aevlp.metrics import (
    average_precision_per_class,
    known_label_quality,
    mean_over_classes,
    observed_average_precision_per_class,
)
from aevlp.metrics.observed import num_assumed_absent
from aevlp.metrics.thresholds import GRID, Quality, best_thresholds, quality_at, sigmoid
from aevlp.models._features import FeatureStore
from aevlp.runs.folder import score_arrays
from aevlp.training.begun_on import encoder_notes
from aevlp.training.figures import takes_last
from aevlp.training.labels_worth import settings_of
from aevlp.training.progress import progress_bar
from aevlp.training.signals import KEPT, RunStopped


@dataclass(frozen=True)
class Evaluation:
    """Everything `eval` tells; see `aevlp.metrics` for units and conventions. NaN is what cannot be known."""

    class_names: list[str]
    split: str
    num_images: int
    positives: np.ndarray
    precisions: np.ndarray
    """Average precision of each class."""
    by_threshold: dict[float, Quality]
    thresholds: np.ndarray
    """(C,) chosen on validation, 0.5 where that has no positive of the class."""
    unchosen: list[str]
    """Classes without a positive in validation."""
    at_best: Quality
    chosen_on: str
    notes: list[str]
    """What has to be told of the data, such as images left out, or that they are others than in training."""
    by_known: bool = False
    """Whether all figures are by known labels, as the split has no others: precision and F1 are NaN."""
    assumed: int = 0
    """Of these, the classes whose unknown labels count as absent; where there are some, mAP is a lower bound."""
    known: dict[str, float] = field(default_factory=dict)
    """`aevlp.metrics.known_label_quality`."""
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    """Logits and labels, as in the run's test_scores.npz."""
    chose_epoch: bool = True
    """Whether validation chose the epoch, and not only thresholds."""

    @property
    def mean_average_precision(self) -> float:
        """In percent, over the classes that occur, as in the run's summary."""
        return mean_over_classes(self.precisions)

    @property
    def num_occurring(self) -> int:
        """Classes that the mean is over."""
        return int((~np.isnan(self.precisions)).sum())


def evaluate(trained: Trained, split_name: str | None = None) -> Evaluation:
    """Score the split "train", "val" or "test" of the model's dataset, by its known labels where it has no full ones.

    Without a name it is test, or val where there is no test, which is told.

    Raises:
        DataError: there is no such split, or no image of it has a label.
        CheckpointError: the model does not fit the dataset.
    """
    data = build_dataset(trained.config.dataset)
    trained = with_data_names(trained, data.class_names)
    asked = split_name
    if split_name is None:
        split_name = "val" if data.test is None else "test"
    split: Split | None = {"train": data.train, "val": data.val, "test": data.test}[split_name]
    if split is None:
        raise DataError(f"the dataset has no {split_name} split; take --split val")
    by_known = split.targets is None
    labels = split.observed if split.targets is None else split.targets
    if not (labels > 0).any():
        raise DataError(f"no image of the {split_name} split has a label, so nothing can be measured on it")
    notes = notes_of(trained, data)
    chose_epoch = not takes_last(trained.config, data)
    if asked is None and data.test is None:
        chose = "the epoch" if chose_epoch else "thresholds"
        notes.append(f"the dataset has no test split: these are the figures of validation, which chose {chose}")
    logits = split_logits(trained, split, split_name)
    thresholds, chosen_on = trained.thresholds, "the run's validation scores"
    if thresholds is None:
        of_val = data.val.observed if data.val.targets is None else data.val.targets
        on_val = logits if split is data.val else split_logits(trained, data.val, "val")
        thresholds, chosen_on = best_thresholds(of_val, sigmoid(on_val)), "the validation split"
    unknown = np.isnan(thresholds)
    thresholds = np.where(unknown, DEFAULT_THRESHOLD, thresholds)
    probabilities = sigmoid(logits)
    pseudo = _labeler_says(trained, data, split, notes) if by_known else None
    precisions = (observed_average_precision_per_class if by_known else average_precision_per_class)(labels, logits)
    return Evaluation(
        data.class_names, split_name, len(split), (labels > 0).sum(axis=0), precisions,
        {threshold: _quality(labels, probabilities, threshold, by_known) for threshold in GRID},
        thresholds, [data.class_names[j] for j in np.flatnonzero(unknown)],
        _quality(labels, probabilities, thresholds, by_known), chosen_on, notes, by_known,
        num_assumed_absent(labels) if by_known else 0, known_label_quality(logits, split.observed, pseudo),
        score_arrays(split, logits), chose_epoch,
    )  # fmt: skip


def _quality(labels: np.ndarray, probabilities: np.ndarray, threshold: float | np.ndarray, by_known: bool) -> Quality:
    found = quality_at(labels, probabilities, threshold)
    if not by_known:
        return found
    # A label that is predicted, and not known, may be right: only recall can be told.
    nothing, nan = np.full(len(found.recall), np.nan), np.nan
    macro, micro = (nan, found.macro[1], nan), (nan, found.micro[1], nan)
    return replace(found, precision=nothing, f1=nothing, macro=macro, micro=micro)


def _labeler_says(trained: Trained, data: SPMLData, split: Split, notes: list[str]) -> np.ndarray | None:
    """Pseudo-labels of the split by the labeler of the run; None where it has none, may not be asked, or cannot be built."""
    config = trained.config
    if config.labeler.name == "none" or not config.trainer.evaluate_labeler:
        return None
    try:
        labeler = build_labeler(config, data, Accelerator().device)
        labeler.settle(settings_of(trained.summary))
        with progress_bar("encode views", len(split)) as progress:
            found = labeler.evaluate(blind(split), progress)
    except RunStopped:
        raise
    except AevlpError as error:
        notes.append(f"agreement with the labeler is not told: {error}")
        return None
    return None if found is None else found[1].numpy()


def notes_of(trained: Trained, data: SPMLData) -> list[str]:
    """What has to be told of the data: their own notes, and that they or the encoder are others than in training."""
    changed = "" if trained.data is None else fingerprint(data).difference(trained.data)
    told = [f"these are not the data that the run was trained on: {changed}"] if changed else []
    return data.notes + told + encoder_notes(trained.config, Path(trained.source), ("model",))


def split_logits(trained: Trained, split: Split, name: str) -> np.ndarray:
    """Logits (N,C) float32 of a split, whose features are looked up where the model takes them; `name` stands at the bar.

    Raises:
        DataError: it holds no image, or a logit is not finite.
        CheckpointError: the model does not fit the dataset.
    """
    config = trained.config
    if not len(split):
        raise DataError(f"the {name} split holds no image")
    if config.model.on_features and not trained.holds_extractor:
        store = FeatureStore.of_probe(config.model, config.dataset.image_size, Accelerator().device)
        with progress_bar(f"encode {name}", len(split), KEPT) as progress:
            split = store.of(split, False, progress)
    scorer = Scorer(trained, split.observed.shape[1], stored_features(split.images))
    batches = eval_loader(
        split, image_size=scorer.image_size, batch_size=config.trainer.eval_batch_size, num_workers=config.trainer.num_workers
    )
    with progress_bar(f"score {name}", len(split)) as progress, deaths_told():
        return scorer.all_logits(batches, progress)
