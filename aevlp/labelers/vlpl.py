"""VLPL labels (Xing et al., CVPR Workshops 2024): a frozen vision-language model looks at the whole image.

A class is a pseudo-positive if the softmax over classes of cosine / temperature exceeds the threshold. That is DAMP with the
whole image as its only view, every class considered, and no negatives, so DAMP does the work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, field_validator

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.labelers._damp_config import DAMPConfig, Temperature
from aevlp.labelers.damp import DAMP
from aevlp.vision_language.encoders._base import AnyEncoder
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig
from aevlp.vision_language.label_graph import LabelGraphConfig


class VLPLConfig(ComponentConfig):
    """Settings of VLPL's labels. Defaults: as published for all four datasets."""

    encoder: AnyEncoder = HuggingFaceConfig(source="openai/clip-vit-large-patch14-336")
    """The vision-language model."""
    prompts: tuple[str, ...] = Field(("{}",), min_length=1)
    """Templates with {} for the class name. The bare name for VOC and COCO; for NUS-WIDE and CUB not published."""
    flip: bool = True
    """Mirror images by chance in each epoch where the dataset flips; false takes them as they are, and half the encoding."""
    temperature: Temperature = 0.01
    """Temperature of the softmax over classes; encoder: the one that the model was trained with (1 / exp of its logit scale)."""
    threshold: float = Field(0.3, ge=0, lt=1)
    """Probability above which a class is a pseudo-positive; at .3 there are at most three."""
    calibrate: int = Field(0, ge=0, le=1_000_000)
    """Training photos with a known label on which temperature and threshold are chosen, by known labels alone; 0: as given."""
    table_mb: int = Field(2048, ge=0)
    """Most that the cosines of all training views may take, in MB; beyond it they are computed from the cache as needed."""

    @field_validator("prompts")
    @classmethod
    def _hold_the_class_name(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        return DAMPConfig._hold_the_class_name(prompts)

    def as_damp(self) -> DAMPConfig:
        """The settings of DAMP that give VLPL's labels."""
        # DAMP takes scores from the threshold on, VLPL those above it: the next float32 makes the two equal.
        above = float(np.nextafter(np.float32(self.threshold), np.float32(1)))
        return DAMPConfig(
            name="damp", encoder=self.encoder, prompts=self.prompts, label_graph=LabelGraphConfig(enabled=False), grid=0,
            flip=self.flip,
            temperature=self.temperature, eta=0.0, threshold=above, top_k=2**31, negatives="off", negative_ratio=0.0,
            calibrate=self.calibrate, table_mb=self.table_mb,
        )  # fmt: skip


@register("labelers", "vlpl", config=VLPLConfig)
def build_vlpl(config: VLPLConfig, **runtime: Any) -> DAMP:
    """A DAMP labeler that assigns as VLPL does; `runtime` as for DAMP."""
    return DAMP(config.as_damp(), **runtime)
