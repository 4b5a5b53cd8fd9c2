"""From a name and `--set` words to a validated ExperimentConfig, remembering where every value came from.

Order, later wins: defaults, fragments of configs/ in the order of `base:`, the experiment file, `--set`.
Mappings merge, lists replace. A component named differently replaces the whole component, so no value of the old one
is left behind.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aevlp import folders
from aevlp.config import registry
from aevlp.config.draft import Draft, is_another
from aevlp.config.errors import ConfigError, suggest
from aevlp.config.finding import display, experiment_name, files, find_experiment, known_file
from aevlp.config.schema import Config, ExperimentConfig
from aevlp.config.validation import settings_in, validate
from aevlp.config.yaml_reading import MAX_BYTES, read_yaml, too_large
from aevlp.input import open_file

FRAGMENT_SECTIONS = (*registry.SECTIONS, "trainer", "tracking")
_SET_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*|\[\d{1,9}\])*$")


MAX_FILES = 100  # of one experiment
MAX_OVERRIDES = 1000  # each costs as much as there are values


@dataclass
class Resolved:
    """A validated configuration, and the origin of every dotted path that was set (others are defaults)."""

    config: ExperimentConfig
    origins: dict[str, str]


def load_experiment(name_or_path: str | Path, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Load an experiment by name or path, with overrides such as "loss.rho=0.8" or "loss=an".

    Raises:
        ConfigError: naming file, line, dotted path and, for a misspelt word, the nearest valid one.
    """
    return resolve(name_or_path, overrides).config


def resolve(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Resolved:
    """Like `load_experiment`, and also say where each value came from."""
    path = find_experiment(str(name_or_path))
    draft = Draft(values={"name": experiment_name(path)})
    _add_experiment(draft, path, ())
    words = [overrides] if isinstance(overrides, str) else list(overrides)
    if len(words) > MAX_OVERRIDES:
        raise ConfigError(f"{len(words)} changes by --set; at most {MAX_OVERRIDES}")
    for word in words:
        _add_override(draft, word)
    lacking = [section for section in registry.SECTIONS if section not in draft.values]
    if lacking and "base" not in draft.origins:
        raise ConfigError(
            f"{display(path)}: has no `base:` and no {', '.join(lacking)}; begin it with the experiment that it changes, such as "
            "`base: digits_gpr`, or with parts, such as `base: [dataset/digits, model/small_cnn, labeler/damp, loss/gpr]`"
        )
    return Resolved(validate(draft), draft.origins)


def from_dict(values: dict[str, Any], source: str) -> ExperimentConfig:
    """Validate resolved values, such as those of a run's config.yaml."""
    return validate(Draft(values, dict.fromkeys(values, source)))


def read_mapping(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The mapping in a YAML file, and the file and line of each dotted path; ConfigError where it cannot be read."""
    shown = display(path)
    try:
        with open_file(path) as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise too_large(shown)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}: cannot be read: {error}") from error
    data, lines = read_yaml(text, shown)
    if not isinstance(data, dict):
        raise ConfigError(f"{shown}: must hold `key: value` lines")
    return data, {dotted: f"{shown}:{line}" for dotted, line in lines.items() if dotted}


def _add_experiment(draft: Draft, path: Path, above: tuple[Path, ...]) -> None:
    if path in above:
        raise ConfigError(f"{display(path)}: `base` leads back to the file itself")
    data, lines = _read_for(draft, path)
    bases = data.pop("base", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{lines['base']}: base: must be a list of names, such as [dataset/digits, model/small_cnn]")
    for base in bases:
        section, slash, name = base.partition("/")
        if slash and not base.endswith((".yaml", ".yml")):
            _add_fragment(draft, section, name, where=lines["base"])
        else:
            beside = path.parent / folders.user_path(base, lines["base"])  # a file is named relative to the one that names it
            found = beside.resolve() if os.path.isfile(beside) else find_experiment(base, f"{lines['base']}: ")
            _add_experiment(draft, found, (*above, path))
    merged = set()
    for section, value in data.items():
        if isinstance(value, str) and section in FRAGMENT_SECTIONS:
            _add_named(draft, section, value, lines[section])
        else:
            draft.merge(section, value, {})
            merged.add(section)
    draft.origins |= {path: origin for path, origin in lines.items() if path not in data or path in merged}


def _read_for(draft: Draft, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    draft.files += 1
    if draft.files > MAX_FILES:
        raise ConfigError(f"{display(path)}: more than {MAX_FILES} files by way of `base`")
    return read_mapping(path)


def _add_fragment(draft: Draft, section: str, name: str, where: str) -> None:
    if section not in FRAGMENT_SECTIONS:
        raise ConfigError(f"{where}: unknown section {section!r}{suggest(section, FRAGMENT_SECTIONS)}")
    path = known_file(f"configs/{section}", name, f"{where}: ")
    if path is None:
        raise ConfigError(f"{where}: unknown fragment '{section}/{name}'{suggest(name, files(f'configs/{section}'))}")
    data, lines = _read_for(draft, path)
    draft.merge(section, data, {f"{section}.{path}": origin for path, origin in lines.items()})


def _add_named(draft: Draft, section: str, name: str, where: str) -> None:
    """A plain word stands for a fragment, or for a component with its defaults; `timm/NAME` for a timm backbone."""
    if draft.values.pop(section, None) is not None:
        draft.forget(section)
    if name in files(f"configs/{section}"):
        _add_fragment(draft, section, name, where)
        return
    kind = registry.SECTIONS.get(section)
    component, slash, argument = name.partition("/")
    known = {*files(f"configs/{section}"), *(registry.names(kind) if kind else ())}
    if kind is None or component not in known:
        raise ConfigError(f"{where}: unknown {section} {name!r}{suggest(name, known)}")
    values = {"name": component} | ({"backbone": argument} if slash else {})
    draft.merge(section, values, {f"{section}.{key}": where for key in values})


def _add_override(draft: Draft, override: str) -> None:
    path, equals, text = override.partition("=")
    path, where = path.strip(), f"--set {override}"
    if not equals or not _SET_PATH.match(path):
        raise ConfigError(f"{where}: write it as path=value, for example loss.rho=0.8, loss=an or loss.beta[1]=8")
    value = value_of(text, where)
    section, _, key = path.partition(".")
    if section in registry.SECTIONS and key == "name":
        path = section  # another name is another component: no value of the old one stays
    if path in FRAGMENT_SECTIONS:
        if not isinstance(value, str):
            raise ConfigError(f"{where}: give the name of a {path}; single values are set as {path}.KEY=VALUE")
        _add_named(draft, path, value, where)
        return
    *parents, last = re.findall(r"\w+|\[\d+\]", path)
    target: Any = draft.values
    for i, step in enumerate(parents):
        if isinstance(target, dict) and step not in target:
            target[step] = _defaults(draft, parents[: i + 1])
            draft.origins[".".join(parents[: i + 1])] = where
        target = _descend(target, step, where)
    if last.startswith("["):
        _descend(target, last, where)
        target[int(last[1:-1])] = value
    elif isinstance(target, dict):
        if parents and is_another(parents[-1], target, {last: value}):
            target.clear()
            draft.forget(".".join(parents))
            draft.origins[".".join(parents)] = where
        target[last] = value
    else:
        raise ConfigError(f"{where}: {path.rpartition('.')[0]} is a single value and has no keys")
    draft.forget(path)
    draft.origins |= {path: where, path.partition("[")[0]: where}
    draft.origins |= {f"{path}.{key}": where for key in value} if isinstance(value, dict) else {}


def value_of(text: str, where: str) -> Any:
    """What a word says. It has no comments, as a file has: `set #2` is one name."""
    value, _ = read_yaml(text, where)
    text = text.strip()
    is_plain = isinstance(value, str) or ("#" in text and not isinstance(value, dict | list))
    return text if is_plain and text[:1] not in tuple("'\"!|>") else value


def setting_value(path: Path | str) -> str:
    """A path for the shell and for `--set`, which would read the folder `2024` as a number."""
    text = str(path)
    try:
        is_read_so = value_of(text, "") == text
    except ConfigError:
        is_read_so = False
    return shlex.quote(text if is_read_so else json.dumps(text, ensure_ascii=False))


def _defaults(draft: Draft, parents: list[str]) -> Any:
    """Default of a value no file sets, so that `--set loss.beta[1]=8` can edit one entry of it."""
    settings = settings_in(draft.values, parents[0]) if len(parents) == 2 else None
    known = None if settings is None else settings.model_fields.get(parents[1])
    default = None if known is None else known.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, Config):
        return default.model_dump()
    return list(default) if isinstance(default, tuple | list) else {}


def _descend(target: Any, step: str, where: str) -> Any:
    if step.startswith("["):
        index = int(step[1:-1])
        if not isinstance(target, list) or index >= len(target):
            length = f"a list of {len(target)}" if isinstance(target, list) else "not a list"
            raise ConfigError(f"{where}: {step} does not exist; the value is {length}")
        return target[index]
    if not isinstance(target, dict):
        raise ConfigError(f"{where}: {step} lies inside a single value, which has no keys")
    return target[step]
