"""What every configuration is, that of a component included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Config(BaseModel):
    """Base of all configuration: frozen, no unknown keys, finite numbers, no silent conversion of fractions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_not_one(cls, value: Any, info: ValidationInfo) -> Any:
        some = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        wrong = next((one for one in some if isinstance(one, bool)), None)
        if wrong is not None:
            kinds = list(_types(cls.model_fields[str(info.field_name)].annotation))
            if (int in kinds or float in kinds) and bool not in kinds:
                raise ValueError(f"must be {'a number, is' if wrong is value else 'numbers, holds'} {str(wrong).lower()}")
        return value


def _types(annotation: Any) -> Iterator[Any]:
    """The types that an annotation names, at any depth: `Annotated[int, ...] | None` names int."""
    yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


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
