"""What every configuration is, that of a component included."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Config(BaseModel):
    """Base of all configuration: frozen, no unknown keys, finite numbers, no silent conversion of fractions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_one(cls, value: Any, info: ValidationInfo) -> Any:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and {int, float} & {annotation, *get_args(annotation)}:
            raise ValueError(f"must be a number, is {str(value).lower()}")
        return value


class ComponentConfig(Config):
    """Base of the configuration of a registered component."""

    name: str
    """Registered name, as printed by `run.py list`."""

    needs_full_labels: ClassVar[bool] = False
    """Of a loss: whether it asks for `dataset.train_labels: full`."""
    needs_outputs: ClassVar[tuple[str, ...]] = ()
    """Of a loss: outputs of the model beside the logits."""
    gives_outputs: ClassVar[tuple[str, ...]] = ()
    """Of a model: the outputs beside the logits that it has in training."""
    on_features: ClassVar[bool] = False
    """Of a model: whether it learns from features of images that are computed once and kept."""
