"""Settings of DAMP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from aevlp.config.schema import ComponentConfig
from aevlp.vision_language.encoders._base import AnyEncoder
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig
from aevlp.vision_language.label_graph import LabelGraphConfig
from aevlp.vision_language.prompts import PROMPT


def _above_0_or_encoder(value: Any) -> Any:
    if value != "encoder" and (not isinstance(value, int | float) or value <= 0):
        raise ValueError(f"must be a number above 0, or encoder (got {value!r})")
    return value


Temperature = Annotated[float | Literal["encoder"], BeforeValidator(_above_0_or_encoder)]


class DAMPConfig(ComponentConfig):
    """Settings of DAMP. Defaults: the values published for COCO, but VOC's 20 neighbours of the label graph (COCO: 62)."""

    encoder: AnyEncoder = HuggingFaceConfig()
    """The vision-language model."""
    prompts: tuple[str, ...] = Field((PROMPT,), min_length=1)
    """Templates with {} for the class name; several are averaged."""
    label_graph: LabelGraphConfig = LabelGraphConfig()
    """Residual on the text features."""
    grid: int = Field(4, ge=0, le=16)
    """Tiles per side; 0 looks at the whole image only."""
    temperature: Temperature = 0.01
    """Temperature of the softmax over classes; encoder: the one that the model was trained with (1 / exp of its logit scale)."""
    eta: float = Field(0.3, ge=0, le=1)
    """Cap of the gate between the largest and the smallest tile."""
    threshold: float = Field(0.5, ge=0, le=1)
    """Score from which a class becomes a pseudo-positive."""
    top_k: int = Field(3, ge=1)
    """Most classes considered per image; observed ones are not left out and use up places, unless skip_known."""
    skip_known: bool = False
    """Keep classes that are known to be absent out of the top_k; off as published."""
    flip: bool = True
    """Mirror views by chance in each epoch where the dataset flips; false takes them as they are, and half the encoding."""
    negatives: Literal["off", "on"] = "off"
    """off: as published, negatives stay neutral; on: they become -1."""
    negative_ratio: float = Field(0.3, ge=0, le=1)
    """Share of the classes, those with the smallest mean score, that are negatives."""
    calibrate: int = Field(0, ge=0, le=1_000_000)
    """Training photos with a known label on which temperature and threshold are chosen, by known labels alone; 0: as given."""
    table_mb: int = Field(2048, ge=0)
    """Most that the cosines of all training views may take, in MB; beyond it they are computed from the cache as needed."""

    @field_validator("prompts")
    @classmethod
    def _hold_the_class_name(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if "{}" not in prompt:
                raise ValueError(f"template {prompt!r} has no {{}} where the class name belongs")
        return prompts
