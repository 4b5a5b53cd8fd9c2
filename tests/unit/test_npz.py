"""Arrays from files of strangers: read as numpy would, or refused in one line, at a bounded cost."""

import io
import os
import zipfile
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aevlp.config.errors import DataError
from aevlp.data.npz import read_npy, read_npz

ARRAYS = {
    "logits": np.arange(12, dtype=np.float32).reshape(3, 4) / 7,
    "targets": np.eye(3, 4, dtype=np.uint8),
    "names": np.array(["zebra", "ȷ̇", ""]),
    "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "epoch": np.array(3),
    "nothing": np.empty((0, 4), dtype=np.int8),
}


def packed(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def member(content, compression=zipfile.ZIP_DEFLATED, name="a.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def array_bytes(array, **kwargs):
    buffer = io.BytesIO()
    np.save(buffer, array, **kwargs)
    return buffer.getvalue()


def header_of(descr="'<f4'", shape="(3,)"):
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def refused(read, path, message):
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: not a readable .np")
    assert len(str(caught.value).splitlines()) == 1


def test_reads_what_numpy_writes(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **ARRAYS)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.save(tmp_path / "a.npy", array)
        for read in (found[name], read_npy(tmp_path / "a.npy")):
            np.testing.assert_array_equal(read, array)
            assert (read.dtype, read.shape) == (array.dtype, array.shape)
            assert read.flags.writeable


def read_or_refused(read, path):
    try:
        return read(path)
    except DataError:
        refused(read, path, "not a readable")
    return None


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_is_refused_in_one_line_or_reads_as_numbers_and_words(tmp_path_factory, data):
    content = bytearray(packed(**ARRAYS))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    found = read_or_refused(read_npz, path) or {}
    for array in found.values():  # a flip in a name or a date is no damage to an array, which a checksum guards
        assert any(np.array_equal(array, whole) for whole in ARRAYS.values())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_array_is_refused_in_one_line_or_is_numbers_and_words(tmp_path_factory, data):
    content = bytearray(array_bytes(data.draw(st.sampled_from(list(ARRAYS.values())))))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, min(len(content), 128) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    path.write_bytes(content)
    found = read_or_refused(read_npy, path)
    if found is not None:
        assert found.nbytes <= len(content)
        str(found.tolist()).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a zip file"),
        (array_bytes(np.arange(3)), "not a zip file"),
        (member(b"text"), "'a.npy': no array"),
        (member(b""), "'a.npy': no array"),
        (member(array_bytes(np.array([{}]), allow_pickle=True)), "'a.npy': holds Python objects"),
        (member(array_bytes(np.zeros(2, "M8[s]"))), "neither numbers nor words"),
        (member(array_bytes(np.zeros(2, "i4,f4"))), "neither numbers nor words"),
        (member(header_of() + bytes(8)), "declares 12 bytes of data, holds 8"),
        (member(header_of() + bytes(16)), "declares 12 bytes of data, holds 16"),
        (member(header_of(shape="(1000000000000000000,)")), "impossible shape"),
        (member(header_of(shape="(4294967296, 4294967296)")), "impossible shape"),
        (member(header_of(shape="(0, 1000000000000000000)")), "impossible shape"),
        (member(header_of(shape="(-3,)")), "impossible shape"),
        (member(header_of(descr="'<U0'", shape="(1000000000000,)")), "impossible shape"),
        (member(header_of(shape="1" * 100)), "no array"),
        (member(header_of(shape="(" * 60)), "no array"),
        (member(header_of(descr="'<U1'", shape="(1,)") + b"\xff\xff\xff\xff"), "no Unicode"),
        (member(header_of(descr="'<U1'", shape="(1,)") + b"\x00\xd8\x00\x00"), "no Unicode"),
        (member(array_bytes(np.zeros(9)), zipfile.ZIP_LZMA), "packed in a way that numpy does not write"),
        (member(array_bytes(np.zeros(9)), zipfile.ZIP_BZIP2), "packed in a way that numpy does not write"),
    ],
)
def test_what_is_no_plain_array_is_refused(tmp_path, content, message):
    (tmp_path / "a.npz").write_bytes(content)
    refused(read_npz, tmp_path / "a.npz", message)


def patched(offset, value, size=2):
    """An archive whose one member has other fields: in its own header, and in the table at the end."""
    content = bytearray(member(array_bytes(np.zeros(1000))))
    for start, shift in ((content.index(b"PK\x03\x04"), 0), (content.index(b"PK\x01\x02"), 2)):
        content[start + offset + shift : start + offset + shift + size] = value.to_bytes(size, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(6, 1), "encrypted"),
        (patched(8, 98), "packed in a way that numpy does not write"),
        (patched(4, 99), "zip file version 9.9|not a readable"),
        (patched(14, 0, 4), "Bad CRC-32"),
        (patched(22, 200, 4), "Bad CRC-32"),
    ],
)
def test_a_member_with_other_fields_is_refused(tmp_path, content, message):
    (tmp_path / "a.npz").write_bytes(content)
    refused(read_npz, tmp_path / "a.npz", message)


def test_what_unpacks_to_more_than_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_bytes(packed(a=np.zeros(1_000_000), b=np.zeros(1_000_000)))
    read_npz(tmp_path / "a.npz", 17_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    refused(partial(read_npz, limit=9_000_000), tmp_path / "a.npz", "it unpacks to 16,000,256 bytes; at most 9,000,000 are read")


def test_a_member_that_holds_more_than_it_declares_is_unpacked_no_further(tmp_path, monkeypatch):
    content = bytearray(member(array_bytes(np.zeros(10_000_000))))
    for start, shift in ((content.index(b"PK\x03\x04"), 0), (content.index(b"PK\x01\x02"), 2)):
        content[start + 22 + shift : start + 26 + shift] = (200).to_bytes(4, "little")
    (tmp_path / "a.npz").write_bytes(content)
    asked, real = [], zipfile._get_decompressor

    def counting(*args):
        inner = real(*args)

        class Counting:
            eof, unconsumed_tail = False, b""

            def decompress(self, data, size=None):
                asked.append(len(unpacked := inner.decompress(data, size)))
                return unpacked

        return Counting()

    monkeypatch.setattr(zipfile, "_get_decompressor", counting)
    refused(read_npz, tmp_path / "a.npz", "Bad CRC-32")
    assert sum(asked) <= 4096


@pytest.mark.parametrize("read", [read_npz, read_npy])
def test_only_regular_files_are_opened(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.npz")
    refused(read, tmp_path / "pipe.npz", "is a named pipe, not a file")
    refused(read, tmp_path, "is a folder, not a file")
    refused(read, tmp_path / "absent.npz", "No such file")
    refused(read, tmp_path / ("x" * 300), "File name too long")
    refused(read, tmp_path / "a\0b", "null")
