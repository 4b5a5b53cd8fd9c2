"""What a model learns from: images, kept in a cache or not, or features of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from aevlp import ranks
from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError, UnavailableError
from aevlp.config.schema import ExperimentConfig
from aevlp.data.dataset import Split, SPMLData
from aevlp.data.features import stored_features, views_encoded
from aevlp.data.image_cache import cache_images
from aevlp.models._classifier import Classifier
from aevlp.models._features import FeatureStore


def feature_store(config: ExperimentConfig, device: torch.device, notify: Callable[[str], None]) -> FeatureStore | None:
    """Where features come from, of which nothing is computed yet; None of a model that learns from images.

    `notify` is told what the cache of features has to say.

    Raises:
        AevlpError: the encoder or the backbone is not there, or cannot be used.
    """
    if not config.model.on_features:
        return None
    with _told_of_model(config):
        return FeatureStore.of_probe(config.model, config.dataset.image_size, device, notify)


def model_inputs(
    config: ExperimentConfig, data: SPMLData, store: FeatureStore | None, progress: Callable[[int, int], None]
) -> tuple[SPMLData, list[str], dict[str, Any]]:
    """The data, notes for the user, and what a model on features is built with besides: those of training.

    Args:
        config: of the run.
        data: with images at their original size.
        store: of `feature_store`.
        progress: called with (images done, images in all); may raise to stop.
    """
    if store is None:
        return *cache_images(data, config), {}
    with _told_of_model(config):
        train = store.of(data.train, config.dataset.flip, progress)
        test = None if data.test is None else store.of(data.test, False, progress)
        found = replace(data, train=train, val=store.of(data.val, False, progress), test=test)
    return found, [], {"features": stored_features(train.images)}


def linear_inputs(
    config: ExperimentConfig, data: SPMLData, model: nn.Module, device: torch.device, notify: Callable[[str], None],
    progress: Callable[[int, int], None],
) -> SPMLData | None:  # fmt: skip
    """The data with features of the backbone, which stands still in linear epochs; None where images are needed there, too.

    That is with BoostLU, with a model of other kind, and on several ranks, where each parameter has to take part in a step.
    """
    settings: Any = config.model
    if not config.trainer.linear_epochs or not isinstance(model, Classifier) or model.boost is not None or ranks.count() > 1:
        return None
    store = FeatureStore.of_backbone(model, settings, config.dataset.image_size, device, notify)
    train = store.of(data.train, config.dataset.flip, progress)
    return replace(data, train=train, val=store.of(data.val, False, progress))


def looks_at_photos(config: ExperimentConfig) -> bool:
    """Whether the model can score photos of which nothing is known but pixels."""
    encoder: Any = getattr(config.model, "encoder", None)
    return encoder is None or not getattr(registry.get("encoders", encoder.name).build, "by_name", False)


@contextlib.contextmanager
def _told_of_model(config: ExperimentConfig) -> Iterator[None]:
    """Encoders call their settings labeler.encoder; here those of an encoder that the labeler does not have are model.encoder."""
    try:
        yield
    except (ConfigError, DataError, UnavailableError) as error:
        if getattr(config.labeler, "encoder", None) == getattr(config.model, "encoder", None):
            raise
        raise type(error)(str(error).replace("labeler.encoder", "model.encoder")) from error


def count_features(config: ExperimentConfig, data: SPMLData, device: torch.device) -> int:
    """Views to encode for features, besides those that the labeler counts as it needs them as well.

    `device` is that of the run: what it computes in, and so what is cached for it, hangs on it.
    """
    if not config.model.on_features:
        return 0
    own: Any = getattr(config.model, "encoder", None)
    counted = own is not None and own == getattr(config.labeler, "encoder", None)
    splits = [] if counted else [(data.train, config.dataset.flip)]
    if not (counted and config.trainer.evaluate_labeler):
        splits += [(split, False) for split in (data.val, data.test) if split is not None]
    store = FeatureStore.of_probe(config.model, config.dataset.image_size, device, lambda _: None)
    count = sum(store.count_missing(split, flip) for split, flip in splits)
    if counted and config.dataset.flip and not getattr(config.labeler, "flip", True):  # it takes no mirror images
        count += store.count_missing(data.train, True) - store.count_missing(data.train, False)
    return count


def encode_features(config: ExperimentConfig, split: Split, device: torch.device) -> int:
    """Compute the features of a split, whatever is cached, to see how long it takes; the number of views that were encoded."""
    store = FeatureStore.of_probe(config.model, config.dataset.image_size, device, lambda _: None)
    return views_encoded(store.of(split, config.dataset.flip, cached=False).images)
