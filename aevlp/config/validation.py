"""From a draft to a validated configuration, or to one message with a line for each mistake."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import ValidationError

from aevlp.command import COMMAND
from aevlp.config import registry
from aevlp.config.draft import Draft
from aevlp.config.errors import ConfigError, initials, nearest, shortened, suggest
from aevlp.config.schema import NUMBERS, WORD, Config, ExperimentConfig, SelectionConfig, TrackingConfig, TrainerConfig
from aevlp.masking import holds_secret

Model = TypeVar("Model", bound=Config)
_MESSAGES = {
    "missing": "is missing",
    "extra_forbidden": "unknown key",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list, such as [a, b]",
}

MAX_PROBLEMS = 20  # told at once
_HELD = "holds a password or a key, which config.yaml, W&B and reports would show; leave it to the environment"


def validate(draft: Draft) -> ExperimentConfig:
    """Validate every section; ConfigError naming all mistakes, each with its origin and dotted path."""
    values, known = dict(draft.values), ExperimentConfig.model_fields
    problems = [_problem(draft, key, f"unknown section{_instead(draft, key)}") for key in values if key not in known]
    for section, kind in registry.SECTIONS.items():
        if section not in values:
            problems.append(f"{section}: is missing; add one to `base:`, such as {section}/NAME")
            continue
        try:
            values[section] = _component(values[section], kind)
        except ValidationError as error:
            problems += _problems(draft, error, section, registry.settings(kind, values[section]["name"]))
        except ConfigError as error:
            problems.append(_problem(draft, f"{section}.name", str(error)))
    plain: dict[str, type[Config]] = {"trainer": TrainerConfig, "selection": SelectionConfig, "tracking": TrackingConfig}
    for section, model in plain.items():
        try:
            values[section] = model.model_validate({} if values.get(section) is None else values[section])
        except ValidationError as error:
            problems += _problems(draft, error, section, model)
    if not problems and hasattr(values["model"], "with_encoder_of"):
        try:
            values["model"] = values["model"].with_encoder_of(values["labeler"])
        except ValueError as error:  # of pydantic, too: what is wrong is then in the part that the labeler gave
            text = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
            problems.append(_problem(draft, "model", text.removeprefix("Value error, ")))
    if not problems:
        try:
            config = ExperimentConfig.model_validate(values)
        except ValidationError as error:
            problems = _problems(draft, error, "", ExperimentConfig)
        else:
            # As given, too: what is made a path in full is no address any more.
            held = dict.fromkeys([*_secrets(draft.values, ""), *_secrets(config.to_dict(), "")])
            problems = [_problem(draft, path, _HELD) for path in held]
    if problems:
        raise ConfigError(_told(problems))
    return config


def _secrets(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str) and holds_secret(value):
        yield path
    for key, below in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _secrets(below, f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}".removeprefix("."))


def validate_model(model: type[Model], draft: Draft) -> Model:
    """Validate a file of its own, such as a study; ConfigError as above."""
    try:
        return model.model_validate(draft.values)
    except ValidationError as error:
        raise ConfigError(_told(_problems(draft, error, "", model))) from error


def _told(problems: list[str]) -> str:
    more = [f"and {len(problems) - MAX_PROBLEMS} more like these"] if len(problems) > MAX_PROBLEMS else []
    return "\n".join(problems[:MAX_PROBLEMS] + more)


def _component(values: Any, kind: str) -> Config:
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise ConfigError(f"must be a name or a mapping with a name; see `{COMMAND} list {kind}`")
    return registry.settings(kind, values["name"]).model_validate(values)


def _problem(draft: Draft, path: str, text: str) -> str:
    origin = draft.origins.get(path)
    at = path
    while origin is None and at:
        at = at[: max(at.rfind("."), at.rfind("["), 0)]
        origin = draft.origins.get(at)
    return ": ".join(part for part in (origin, path, text) if part)


def _problems(draft: Draft, error: ValidationError, section: str, model: type[Config]) -> list[str]:
    result = []
    for detail in error.errors():
        path = section
        loc = tuple(step for step in detail["loc"] if step not in (WORD, NUMBERS))
        for step in loc:
            path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
        text = _MESSAGES.get(detail["type"], detail["msg"].removeprefix("Value error, "))
        if detail["type"] == "extra_forbidden":
            deeper = keys_below(draft.values, section, str(loc[-1])) if len(loc) == 1 else []
            known = [] if deeper else _fields_at(model, loc[:-1], draft.values.get(section))
            text += f"; did you mean {' or '.join(deeper)}?" if deeper else suggest(str(loc[-1]), known)
        elif detail["type"] not in ("missing", "value_error"):
            text = f"{text[0].lower()}{text[1:]} (got {shortened(repr(detail['input']))})"
        result.append(_problem(draft, path, text))
    return result


def keys_below(values: dict[str, Any], section: str, key: str) -> list[str]:
    """Dotted paths of what is called `key` in a part of a section: of a model on another, `model.backbone.weights`."""
    parts = values.get(section)
    inside = parts.items() if isinstance(parts, dict) else ()
    return [f"{section}.{name}.{key}" for name, part in inside if isinstance(part, dict) and key in part]


def _instead(draft: Draft, key: str) -> str:
    """What may be meant by a word that is no section: a section, or a setting in one."""
    said, origin = suggest(key, ExperimentConfig.model_fields), draft.origins.get(key, "")
    paths = [] if "did you mean" in said else settings_called(draft.values, key, nearly=True)
    if origin.startswith("--set "):
        paths = [f"--set {path}={origin.partition('=')[2]}" for path in paths]
    return f"; did you mean {' or '.join(paths)}?" if paths else said


def settings_called(values: dict[str, Any], key: str, *, nearly: bool = False) -> list[str]:
    """Dotted paths of the settings that a key may mean, in the sections of an experiment.

    Args:
        values: of the experiment, by section.
        key: a path or a section itself; or the name of settings, without its last s, or its initials, as `lr` of `learning_rate`.
        nearly: also names that are like it.
    """
    found: dict[str, list[str]] = {}
    for section in ExperimentConfig.model_fields:
        with contextlib.suppress(ConfigError):  # of a component that there is not, which is told beside
            settings = settings_in(values, section)
            for name in settings.model_fields if settings else ():
                found.setdefault(name, []).append(f"{section}.{name}")
    if key in registry.SECTIONS or any(key in paths for paths in found.values()):
        return [key]
    names = [name for name in found if key in (name, name.removesuffix("s"), initials(name))]
    names = names or (nearest(key, found) if nearly else [])
    return [path for name in names for path in found[name]]


def settings_in(values: dict[str, Any], section: str) -> type[Config] | None:
    """The class of the settings in a section, where it is known by now."""
    if section not in registry.SECTIONS:
        field = ExperimentConfig.model_fields.get(section)
        return type(field.default) if field is not None and isinstance(field.default, Config) else None
    part = values.get(section)
    name = part.get("name") if isinstance(part, dict) else None
    return registry.settings(registry.SECTIONS[section], name) if isinstance(name, str) else None


def _fields_at(model: type[Config], loc: tuple[int | str, ...], values: Any) -> list[str]:
    for step in loc:
        values = values.get(step) if isinstance(values, dict) else None
        if str(step) not in model.model_fields:  # the key of a mapping, such as the title of a suite's row
            continue
        annotation = model.model_fields[str(step)].annotation
        forms = [get_args(form)[0] if get_origin(form) is Annotated else form for form in (annotation, *get_args(annotation))]
        inner = next((form for form in forms if isinstance(form, type) and issubclass(form, Config)), None)
        if step in registry.PARTS and isinstance(values, dict):
            kind, default = registry.PARTS[str(step)]
            inner = registry.settings(kind, values.get("name", default))
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
