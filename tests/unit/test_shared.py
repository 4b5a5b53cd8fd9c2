"""Names and labels of many rows: what a started worker is sent of them, and that it reads the same."""

import copy
import os
import pickle
from multiprocessing import context, popen_spawn_posix
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
from PIL import Image

from aevlp.data.as_called import TablePhotos, all_names
from aevlp.data.dataset import Split
from aevlp.data.images import ImageFiles
from aevlp.data.loaders import TrainLoader
from aevlp.data.shared import SharedArray
from aevlp.data.table import Row


class Popen:
    """What starts a process while its arguments are pickled; it is sent copies of descriptors."""

    DupFd = staticmethod(popen_spawn_posix._DupFd)
    duplicate_for_child = staticmethod(os.dup)


@pytest.fixture
def send():
    """Pickles for a process that is being started, and gives what arrives there and the bytes on the way."""

    def send(value):
        context.set_spawning_popen(Popen)
        try:
            content = bytes(ForkingPickler.dumps(value))
        finally:
            context.set_spawning_popen(None)
        return pickle.loads(content), len(content)

    return send


@pytest.mark.parametrize("array", [np.arange(300_000), np.array(["straße", "x"] * 1000), np.eye(500, dtype=np.int8)])
def test_processes_share_one_memory_however_many_there_are(send, array):
    shared = SharedArray(array)
    arrived = [send(shared) for _ in range(2)]
    for other, size in arrived:
        assert size < 1000
        assert other.array.dtype == array.dtype
        np.testing.assert_array_equal(other.array, array)
    shared.array.flat[0] = array.flat[1]  # nobody does, and yet all would see it
    for other, _ in arrived:
        assert other.array.flat[0] == array.flat[1]


def test_elsewhere_an_array_is_pickled_by_value(send, monkeypatch):
    shared = SharedArray(np.arange(1000))
    for other in (pickle.loads(pickle.dumps(shared)), copy.deepcopy(shared)):
        np.testing.assert_array_equal(other.array, shared.array)
    np.testing.assert_array_equal(send(SharedArray(np.empty(0)))[0].array, [])
    monkeypatch.delattr(os, "memfd_create")  # macOS
    other, size = send(shared)
    np.testing.assert_array_equal(other.array, shared.array)
    assert size > 8000


def test_nor_is_it_sent_all_names_of_a_table(send, tmp_path):
    rows = [Row(i + 2, f"{i}.png") for i in range(20_000)]
    rows.append(Row(20_002, "x" * 5000 + ".png"))  # one long name widens no other
    assert all_names(rows).array.nbytes == 8 * len(rows)
    names, lines = [row.image for row in rows[1:]], np.array([row.line for row in rows[1:]])
    images, size = send(TablePhotos(tmp_path, names, tmp_path / "labels.csv", lines, all_names(rows)))
    assert size < 5000
    assert images.problem(6).endswith("7.png: listed in " + f"{tmp_path}/labels.csv:9, but there is no such file")
    for name in ("0.PNG", "x.png"):  # the first is of another row
        assert images._is_named(name.lower()) == (name == "0.PNG")


def test_a_worker_is_sent_neither_labels_nor_names_and_batches_have_the_labels_of_their_rows(send, tmp_path):
    names = [f"{i % 5}.png" for i in range(20_000)]
    for name in names[:5]:
        Image.new("RGB", (9, 9), int(name[0])).save(tmp_path / name)
    observed = np.random.default_rng(0).integers(-1, 2, (len(names), 80)).astype(np.int8)
    loader = TrainLoader(
        Split(ImageFiles(tmp_path, names), observed, None), image_size=8, flip=True, batch_size=7, num_workers=0, seed=0
    )
    dataset, size = send(loader._loader.dataset)
    assert size < 5000
    np.testing.assert_array_equal(dataset.images.names, names)
    assert dataset[1, 19_999][0].equal(loader._loader.dataset[1, 19_999][0])
    for number, batch in enumerate(loader.epoch(1)):
        np.testing.assert_array_equal(batch.observed.numpy(), observed[batch.index.numpy()])
        if number == 20:
            break
