"""Ways to damage one file, drawn by a seed: what a disk, a crash, an editor or a stranger may leave in its place."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

STRANGE = (
    None, True, False, 0, -1, 7, 2**31, 10**30, 10**400, 0.5, -1e308, float("nan"), float("inf"), "", "word", "0.5",
    "\x1b[31mred", "\ud800", "\u202e", "/dev/zero", "../../..", "a" * 5000, [], [1], [[1], 2], ["a", None], {}, {"name": 1},
    {"a": {"b": []}}, {"": ""},
)  # fmt: skip
TEXTS = (
    "\n", "null", "true", "1", "NaN", "-Infinity", '"word"', "[]", "{}", "[1, 2]", '[{"a": 1}]', '{"a": 1}', "{" * 5000,
    "[" * 100_000, '{"a":' * 3000, "9" * 5000, "\0", "\0" * 1000, "a,b\n1,2\n", "\ufeff{}", "a: 1\na: 2\n", "&a [*a]",
    "!!python/object:os.system", "\r", '"', "a\tb", "'" * 99, ",,,,\n", "class,test_AP,test_positives\nx,nan,inf\n",
    "x" * 200_000 + ",1\n",
)  # fmt: skip
SPARSE = 1 << 40


def put(path: Path, content: bytes) -> None:
    """In place of the file, which may have further links."""
    _clear(path)
    path.write_bytes(content)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flip(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 1, 2, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    put(path, bytes(content))


def cut(path: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    put(path, content[: draw.randrange(len(content))])


def swap(path: Path, draw: random.Random) -> None:
    others = sorted(other for other in path.parent.iterdir() if other.is_file() and other != path)
    put(path, draw.choice(others).read_bytes())


def text(path: Path, draw: random.Random) -> None:
    put(path, draw.choice(TEXTS).encode())


def empty(path: Path, draw: random.Random) -> None:
    put(path, b"")


def missing(path: Path, draw: random.Random) -> None:
    _clear(path)


def folder(path: Path, draw: random.Random) -> None:
    _clear(path)
    path.mkdir()


def dangling(path: Path, draw: random.Random) -> None:
    _clear(path)
    path.symlink_to("nowhere")


def loop(path: Path, draw: random.Random) -> None:
    _clear(path)
    path.symlink_to(path.name)


def pipe(path: Path, draw: random.Random) -> None:
    _clear(path)
    os.mkfifo(path)


def device(path: Path, draw: random.Random) -> None:
    _clear(path)
    path.symlink_to("/dev/zero")


def sparse(path: Path, draw: random.Random) -> None:
    """As large as a disk, and nothing in it; or its old content before that."""
    content = draw.choice((b"", path.read_bytes()))
    put(path, content)
    os.truncate(path, SPARSE)


def types(path: Path, draw: random.Random) -> None:
    """Whole by its format, with something else in one place."""
    change = {
        ".json": _json, ".jsonl": _lines, ".log": _lines, ".yaml": _yaml, ".csv": _csv, ".npz": _npz, ".pt": _state,
        ".safetensors": _weights,
    }  # fmt: skip
    change.get(path.suffix, _json)(path, draw)
    manifest = path.with_name("manifest.json")
    if path.suffix in (".pt", ".safetensors") and manifest.is_file():  # a stranger's hash is right
        known, content = json.loads(manifest.read_text()), path.read_bytes()
        known["files"][path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        put(manifest, json.dumps(known).encode())


DAMAGES = (flip, cut, swap, text, empty, missing, folder, dangling, loop, pipe, device, sparse, types)


def _changed(data: Any, draw: random.Random, strange: tuple[Any, ...] = STRANGE) -> Any:
    """The data with one part, at any depth, replaced, removed or renamed."""
    if not isinstance(data, dict | list) or not data or draw.random() < 0.1:
        return draw.choice(strange)
    key = draw.choice(list(data)) if isinstance(data, dict) else draw.randrange(len(data))
    data = type(data)(data)
    what = draw.random()
    if what < 0.1:
        del data[key]
    elif what < 0.2 and isinstance(data, dict):
        data[draw.choice(("name", "x", "", "train/loss", "state"))] = data.pop(key)
    else:
        data[key] = _changed(data[key], draw, strange)
    return data


def _json(path: Path, draw: random.Random) -> None:
    put(path, json.dumps(_changed(json.loads(path.read_bytes()), draw)).encode())


def _lines(path: Path, draw: random.Random) -> None:
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    number = draw.randrange(len(rows))
    rows[number] = _changed(rows[number], draw)
    put(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def _yaml(path: Path, draw: random.Random) -> None:
    data = _changed(yaml.safe_load(path.read_bytes()), draw)
    put(path, yaml.safe_dump(data, sort_keys=False).encode(errors="replace"))


def _csv(path: Path, draw: random.Random) -> None:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    row = draw.choice(rows[: draw.choice((1, len(rows)))])
    column = draw.randrange(len(row))
    what = draw.randrange(4)
    if what == 0:
        row[column] = draw.choice(("", "x", "-1", "nan", "inf", "1e999", "9" * 400, "0x1", "\x1b[2J", "\0", "a" * 200_000, "²"))
    elif what == 1:
        del row[column]
    elif what == 2:
        row.insert(column, "more")
    else:
        for other in rows:
            del other[column : column + 1]
    file_text = io.StringIO()
    csv.writer(file_text, lineterminator="\n").writerows(rows)
    put(path, file_text.getvalue().encode())


def _npz(path: Path, draw: random.Random) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    name = draw.choice(list(arrays))
    array = arrays[name]
    kinds = ("<U3", "f2", "f8", "c16", "i8", "u1", "?", "O", "M8[s]", "S2")
    with np.errstate(all="ignore"):
        choices = [
            lambda: array.ravel(), lambda: array[None], lambda: array.T, lambda: array[:0], lambda: array[..., :1],
            lambda: array[:1], lambda: np.array(array.item(0)), lambda: np.concatenate([array, array]), lambda: np.array(None),
            lambda: np.full_like(array, draw.choice((0, 1, 7))), lambda: np.empty((0, 0)),
            lambda: np.full(array.shape, draw.choice((np.nan, np.inf, -np.inf, -1, 2.0**62, 1e300))),
            lambda: np.random.default_rng(draw.randrange(99)).integers(-3, 300, array.shape),
            lambda: array.astype(draw.choice(kinds)), lambda: np.zeros(array.shape, draw.choice(kinds)),
            lambda: np.zeros(array.shape, [("a", "i4"), ("b", "f4")]),
        ]  # fmt: skip
        try:
            arrays[name] = draw.choice(choices)()
        except (ValueError, TypeError, IndexError):
            del arrays[name]
    buffer = io.BytesIO()
    draw.choice((np.savez, np.savez_compressed))(buffer, **arrays)
    if draw.random() < 0.2:
        with zipfile.ZipFile(buffer, "a") as archive:
            archive.writestr(
                draw.choice(("notes.txt", "logits", "classes", "../x.npy", "a.npy")),
                draw.choice((b"", b"text", b"\x93NUMPY\1\0")),
            )
    put(path, buffer.getvalue())


def _state(path: Path, draw: random.Random) -> None:
    strange = (*STRANGE, torch.zeros(3), torch.full((2, 2), torch.nan), torch.zeros(0, dtype=torch.int8))
    torch.save(_changed(torch.load(path, weights_only=True), draw, strange), buffer := io.BytesIO())
    put(path, buffer.getvalue())


def _weights(path: Path, draw: random.Random) -> None:
    from safetensors.torch import load, save

    tensors = load(path.read_bytes())
    name = draw.choice(list(tensors))
    tensor = tensors.pop(name)
    choices = (
        lambda: {}, lambda: {name: tensor.flatten()}, lambda: {name: tensor.to(torch.int8)}, lambda: {name: tensor[None]},
        lambda: {name: torch.full_like(tensor, torch.nan)}, lambda: {f"{name}.x": tensor}, lambda: {name: tensor.double()},
    )  # fmt: skip
    try:
        new = draw.choice(choices)()
    except RuntimeError:  # no NaN among integers
        new = {}
    put(path, save(tensors | {key: value.contiguous() for key, value in new.items()}))
