"""Reading YAML without its traps: plain data only, YAML 1.2 scalars, no duplicate keys, no aliases, no tags, no inf or nan.

PyYAML's own SafeLoader reads `1e-4` as a string, `off` as False, and keeps the last of two equal keys silently.
"""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

from aevlp.config.errors import ConfigError

MAX_BYTES = 250_000  # read in 3 s at most: PyYAML takes 40 microseconds a word
MAX_DEPTH = 20
MAX_PATH = 300  # letters of a dotted path, which every value inside carries
MAX_DIGITS = 300
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_STANDARD = "tag:yaml.org,2002:"
_TAGS = {_STANDARD + word for word in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")}
_NOT_FINITE = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$")


def read_yaml(text: str, source: str) -> tuple[Any, dict[str, int]]:
    """Parse one document.

    Args:
        text: the document.
        source: its name in error messages.

    Returns:
        the data (dict, list, str, int, float, bool, None), and the line number of every dotted path in it.

    Raises:
        ConfigError: naming source and line.
    """
    if len(text) > MAX_BYTES:
        raise too_large(source)
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{source}, line {line}: not valid YAML: {error.problem}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source}, line {line}: not valid YAML: {error.reason}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: nested deeper than {MAX_DEPTH} levels") from error
    except (ValueError, OverflowError) as error:  # an escape such as "\UFFFFFFFF"
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    lines: dict[str, int] = {}
    return (None if root is None else _Reader(source, lines).convert(root, "", 0)), lines


def too_large(source: str) -> ConfigError:
    """The error for a document that is not even looked at."""
    return ConfigError(f"{source}: larger than {MAX_BYTES} bytes, which no configuration is")


class _Loader(yaml.SafeLoader):
    """Gives up on a deep document while it composes it, when the cost of each word has not yet grown with the depth."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.depth > MAX_DEPTH + 2:  # the reader says better what is only a little too deep
            raise RecursionError
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Quotes words such as "1e5", which PyYAML takes for words but the reader for numbers."""


_Dumper.add_implicit_resolver(_STANDARD + "float", _FLOAT, list("-+.0123456789"))


def _list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    on_one_line = not any(isinstance(item, list | dict) for item in data)
    return dumper.represent_sequence(f"{_STANDARD}seq", data, flow_style=on_one_line)


_Dumper.add_representer(list, _list)


def write_yaml(data: Any) -> str:
    """Text from which `read_yaml` reads equal data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False)


class _Reader:
    def __init__(self, source: str, lines: dict[str, int]):
        self.source, self.lines = source, lines
        self.seen: set[int] = set()

    def fail(self, node: yaml.Node, problem: str) -> ConfigError:
        return ConfigError(f"{self.source}, line {node.start_mark.line + 1}: {problem}")

    def check(self, node: yaml.Node, depth: int) -> None:
        if id(node) in self.seen:
            raise self.fail(node, "anchors and aliases are not supported; write the value out")
        if depth > MAX_DEPTH:
            raise self.fail(node, f"nested deeper than {MAX_DEPTH} levels")
        if node.tag not in _TAGS:
            raise self.fail(node, f"the tag {node.tag.replace(_STANDARD, '!!')} is not allowed; write a plain value")
        self.seen.add(id(node))

    def convert(self, node: yaml.Node, path: str, depth: int) -> Any:
        self.check(node, depth)
        if len(path) > MAX_PATH:
            raise self.fail(node, f"the dotted path {path[:30]}... is longer than {MAX_PATH} letters")
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(node.value)]
        return self.scalar(node)

    def mapping(self, node: yaml.MappingNode, path: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.fail(key_node, "a key must be a plain word")
            self.check(key_node, depth)
            key = self.text(key_node)
            if key in result:
                raise self.fail(key_node, f"{key!r} appears twice; keep one of the two")
            below = f"{path}.{key}" if path else key
            result[key] = self.convert(value_node, below, depth + 1)
            self.lines[below] = key_node.start_mark.line + 1
        return result

    def scalar(self, node: yaml.Node) -> Any:
        text = self.text(node)
        if getattr(node, "style", None) in ("'", '"', "|", ">"):
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if _FLOAT.match(text):
            if len(text) > MAX_DIGITS or math.isinf(float(text)):
                raise self.fail(node, f"{text[:20]} is too large for a number")
            return int(text) if _INTEGER.match(text) else float(text)
        if _NOT_FINITE.match(text):
            raise self.fail(node, f"{text} is not a finite number")
        return text

    def text(self, node: yaml.Node) -> str:
        """The letters of a word, all of which can be written again: escapes can name others."""
        try:  # JSON writes a letter beyond U+FFFF as two escapes, each for half of it
            text = str(node.value).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise self.fail(node, "holds a zero byte, or half of a letter")
        return text
