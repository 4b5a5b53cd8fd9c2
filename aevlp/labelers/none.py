"""No pseudo-labels."""

from __future__ import annotations

from typing import Any

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.labelers._base import Labeler


class NoneConfig(ComponentConfig):
    """The absent labeler has no settings."""


@register("labelers", "none", config=NoneConfig)
class NoLabeler(Labeler):
    """Leaves every unobserved label unknown."""

    def __init__(self, config: NoneConfig, **_: Any):
        self.config = config
