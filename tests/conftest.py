"""Shared by all tests: runs in a temporary folder, no network, a digits experiment of seconds."""

from __future__ import annotations

import gc
import os
import signal

import pytest
import torch
from hypothesis import settings

from aevlp.config import registry

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# On tensors this small a second thread only waits for the first, busily: on a loaded machine that is five times the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start; tests/processors.py asks for two as well
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
settings.register_profile("suite", deadline=None, derandomize=True)  # a busy machine or another draw makes no test fail
settings.load_profile("suite")
# Under nohup, or in the background of a script, some are ignored, and the program leaves them so.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(_number, signal.SIG_DFL)

SMALL = (
    "dataset.image_size=32", "dataset.num_train=64", "dataset.num_val=40", "dataset.num_test=40", "trainer.batch_size=16",
    "trainer.eval_batch_size=40", "trainer.epochs=2", "trainer.log_every=2", "trainer.patience=null", "trainer.max_drop=null",
    "tracking.mode=off",
)  # fmt: skip


def pytest_collection_finish():
    """What is imported by now stays: left out of garbage collection, which then takes half the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """Around a test and the fixtures made for it, whatever their scope: what they change in this process is not for the next.

    The last bits hang on the number of threads: a process that a test starts has as many as this one began with.
    """
    environment, threads = dict(os.environ), torch.get_num_threads()
    components = {kind: dict(known) for kind, known in registry._components.items()}
    yielded = yield
    torch.set_num_threads(threads)
    for kind, known in registry._components.items():
        for name in known.keys() - components[kind].keys():
            if not known[name].build.__module__.startswith("aevlp."):  # of a plugin, which the next test has not loaded
                del known[name]
    os.environ.clear()
    os.environ.update(environment)
    return yielded


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("aevlp.config.registry.plugin_files", [])  # those that a test loads are not for the next


@pytest.fixture(scope="session", autouse=True)
def _scenes_drawn_once():
    """Runs of this process copy the scenes that an earlier one drew: drawing takes a third of a small run.

    Scene i is the same whatever is drawn beside it, see tests/unit/test_digits.py, which draws its own.
    """
    from aevlp.data import digits
    from aevlp.data.formats import digits as format_of_digits

    drawn = {}

    def draw_scenes(split, count):
        if split not in drawn or len(drawn[split].images) < count:
            drawn[split] = digits.draw_scenes(split, count)
        known = drawn[split]
        return digits.Scenes(known.images[:count].copy(), known.targets[:count].copy(), known.boxes[:count])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(format_of_digits, "draw_scenes", draw_scenes)
        yield


@pytest.fixture
def never_waits():
    """Fails a test that takes a minute, as one would that waits for the other end of a named pipe, or for an answer."""

    def too_long(*_):
        raise AssertionError("waits for a file or an answer")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def small():
    """Overrides that make any digits experiment run in seconds."""
    return list(SMALL)


@pytest.fixture
def said():
    """What a checkpoint store told the user."""
    return []


@pytest.fixture
def store(tmp_path, said):
    """An empty checkpoint store."""
    from aevlp.runs.checkpoints import CheckpointStore

    return CheckpointStore(tmp_path / "checkpoints", said.append)


@pytest.fixture
def float64(monkeypatch):
    """What trains and what encodes, all in float64: the same on every processor and at any number of threads.

    In float32 the last bit of a sum depends on the instructions, and eight steps make 2e-3 of it. Texts are cached in float32,
    so a labeler needs labeler.encoder.cache=false.
    """
    from aevlp.losses._memory import RememberingLoss
    from aevlp.vision_language.encoders import huggingface

    def load_in_float64(folder, source, load=huggingface._load):
        model, *others = load(folder, source)
        return model.double(), *others

    def remember_in_float64(loss, name, dtype, remember=RememberingLoss.remember):
        remember(loss, name, torch.float64 if dtype == torch.float32 else dtype)

    before = torch.get_default_dtype()
    monkeypatch.setattr(huggingface, "_load", load_in_float64)
    monkeypatch.setattr(RememberingLoss, "remember", remember_in_float64)
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory):
    """Folder of one finished small run with averaged weights, for all tests that only read it."""
    import small_runs

    import aevlp

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(tmp_path_factory.mktemp("trained")))
        return aevlp.train(
            small_runs.config("trainer.ema_decay=0.5", "trainer.learning_rate=0.01", "trainer.head_lr_mult=1")
        ).run_dir


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A folder with a prepared miniature of each dataset, to be used as $AEVLP_DATA."""
    from miniatures import MAKE

    from aevlp.cli import main

    root = tmp_path_factory.mktemp("data")
    for name, make in MAKE.items():
        make(root / name)
        assert main(["prepare", name, "--root", str(root / name)]) == 0
    return root


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A random tiny CLIP that knows the words of all class names."""
    from dual_encoders import save_clip
    from miniatures import ATTRIBUTES, COCO_CATEGORIES

    from aevlp.data.formats import coco, cub, nuswide, voc

    folder = tmp_path_factory.mktemp("clip")
    names = [
        *voc.CLASS_NAMES,
        *coco.CLASS_NAMES,
        *nuswide.CLASS_NAMES,
        *COCO_CATEGORIES.values(),
        *map(cub.prompt_name, ATTRIBUTES),
    ]
    save_clip(folder, " ".join(names).replace("_", " ").replace("::", " ").split())
    return folder
