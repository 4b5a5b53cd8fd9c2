"""Arrays out of .npy and .npz files that anybody may have written: bounded, checked, never unpickled.

`np.load` unpacks and allocates whatever a file declares, and fails on a damaged one in a dozen different ways.
"""

from __future__ import annotations

import io
import lzma
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from aevlp.config.errors import DataError
from aevlp.input import open_file

MAX_BYTES = 1 << 30  # of all arrays of an .npz together, unpacked: 50 times what a run writes
KINDS = "biufSU"  # numbers and words: all that a run writes
_DAMAGE = (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error)


def read_npz(path: Path, limit: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """All arrays of an .npz file by name, at most `limit` bytes together.

    Raises:
        DataError: whatever is wrong with the file, in one line; it is read only as far as `limit` allows.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            unpacked = sum(member.file_size for member in members)
            if unpacked > limit:
                raise ValueError(f"it unpacks to {unpacked:,} bytes; at most {limit:,} are read")
            return {member.filename.removesuffix(".npy"): _member(archive, member, limit) for member in members}
    except (*_DAMAGE, MemoryError) as error:
        raise DataError(f"{path}: not a readable .npz file: {_reason(error)}") from error


def read_npy(path: Path) -> np.ndarray:
    """The array of a .npy file, which must be as large as it declares.

    Raises:
        DataError: whatever is wrong with the file, in one line.
    """
    try:
        with open_file(path) as file:
            content = file.read()
        if content.startswith(b"PK"):
            raise ValueError("an archive of several arrays")
        return _array(content, MAX_BYTES)
    except (OSError, ValueError, MemoryError) as error:
        raise DataError(f"{path}: not a readable .npy array: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    text = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
    return " ".join(text.split())


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, limit: int) -> np.ndarray:
    try:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("packed in a way that numpy does not write")
        with archive.open(member) as stream:
            # Never read(): that unpacks all there is, and only then cuts it to the declared size.
            array = _array(stream.read(member.file_size), limit)
        if array.dtype.kind not in KINDS:
            raise ValueError(f"holds {array.dtype}, neither numbers nor words")
        return array
    except _DAMAGE as error:
        raise ValueError(f"{member.filename!r}: {_reason(error)}") from error


def _array(content: bytes, limit: int) -> np.ndarray:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = read_header(stream)
    except Exception as error:  # the header is Python source: what damage to it raises is nearly any exception there is
        raise ValueError("no array, or its header is damaged") from error
    if dtype.hasobject:
        raise ValueError("holds Python objects")
    # A shape such as (0, 10**18) takes no byte, and a loop over its columns for ever.
    if not dtype.itemsize or min(shape, default=0) < 0 or math.prod(max(1, side) for side in shape) > max(limit, len(content)):
        raise ValueError(f"declares the impossible shape {shape} of {dtype}")
    declared, there = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if declared != there:
        raise ValueError(f"declares {declared:,} bytes of data, holds {there:,}")
    array = np.frombuffer(content, dtype, math.prod(shape), stream.tell()) if declared else np.empty(0, dtype)
    if dtype.kind == "U":
        letters = array.view(np.dtype("u4").newbyteorder(dtype.byteorder))
        if ((letters > 0x10FFFF) | ((letters >= 0xD800) & (letters < 0xE000))).any():
            raise ValueError("holds words that are no Unicode")
    return (array.reshape(shape[::-1]).T if columns_first else array.reshape(shape)).copy()


def require(arrays: dict[str, np.ndarray], forms: dict[str, str]) -> None:
    """Raise ValueError unless the arrays of these names have their forms.

    A form is the kinds that numpy's `dtype.kind` may be, and a letter for each axis, equal where they must be as long: with
    {"scores": "f NC", "rows": "iu N"} there is a row for each of the N lines of scores. An array whose form ends in ? may lack.
    """
    sides: dict[str, int] = {}
    for name, form in forms.items():
        kinds, axes = form.removesuffix("?").split()
        array = arrays.get(name)
        if array is None:
            if not form.endswith("?"):
                raise ValueError(f"{name} is missing")
            continue
        fits = array.dtype.kind in kinds and array.ndim == len(axes)
        if not fits or any(sides.setdefault(axis, side) != side for axis, side in zip(axes, array.shape, strict=True)):
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, which does not fit {_form(kinds, axes, sides)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} holds values that are no finite numbers")


def _form(kinds: str, axes: str, sides: dict[str, int]) -> str:
    words = {"b": "bool", "i": "int", "u": "uint", "f": "float", "U": "str"}
    return f"{'/'.join(words[kind] for kind in kinds)} ({', '.join(str(sides.get(axis, axis)) for axis in axes)})"
