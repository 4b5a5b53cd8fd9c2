"""Parts of one's own that give something else than they must: told in a line that names the part, before anything is saved."""

from dataclasses import dataclass

import numpy as np
import pytest
import small_runs as runs
import torch

import aevlp
from aevlp.config import registry
from aevlp.config.errors import ConfigError, DataError, TrainingError
from aevlp.config.schema import DatasetConfig
from aevlp.data.dataset import Split, SPMLData
from aevlp.labelers import Labeler
from aevlp.models._classifier import Classifier


def add(monkeypatch, kind, build, config=runs.PlainConfig):
    monkeypatch.setitem(registry._components[kind], "own", registry.Component("own", config, build))


@pytest.mark.parametrize(
    ("compute", "given"),
    [
        (lambda logits, observed: (logits - observed) ** 2, r"float32 of shape \(16, 10\) on cpu"),
        (lambda logits, observed: (logits**2).mean().item(), "float"),
        (lambda logits, observed: (logits.detach() ** 2).mean(), r"float32 of shape \(\) on cpu, without gradient"),
        (lambda logits, observed: np.float32(1), "float32"),
    ],
)
def test_a_loss_that_gives_no_scalar_with_a_gradient(compute, given, monkeypatch):
    class Own(torch.nn.Module):
        def forward(self, logits, observed, pseudo, **_):
            return compute(logits, observed)

    add(monkeypatch, "losses", lambda config, **_: Own())
    with pytest.raises(TrainingError, match=rf"^loss Own: must give a scalar tensor that follows from the logits.*gave {given}$"):
        aevlp.train(runs.config("loss=own"))


@pytest.mark.parametrize(
    ("compute", "given"),
    [
        (lambda observed: observed > 0, r"bool of shape \(16, 10\) on cpu"),
        (lambda observed: torch.full(observed.shape, 0.7), r"float32 of shape \(16, 10\) on cpu"),
        (lambda observed: np.zeros(observed.shape, dtype=np.int8), "ndarray"),
        (lambda observed: torch.zeros(10, dtype=torch.int8), r"int8 of shape \(10,\) on cpu"),  # would be spread over the batch
        (lambda observed: None, "NoneType"),
    ],
)
def test_a_labeler_that_gives_no_int8_of_the_batch(compute, given, monkeypatch):
    class Own(Labeler):
        def label(self, index, observed, *, epoch, images=None):
            return compute(observed)

    add(monkeypatch, "labelers", lambda config, **_: Own())
    with pytest.raises(
        TrainingError, match=rf"^labeler Own: label\(\) must give an int8 tensor of shape \(16, 10\).*gave {given}$"
    ):
        aevlp.train(runs.config("labeler=own"))


@pytest.mark.parametrize(
    ("compute", "given"),
    [
        (lambda logits: torch.cat([logits, logits[:, :1]], dim=1), r"float32 of shape \(16, 11\) on cpu"),
        (lambda logits: logits[:, 0], r"float32 of shape \(16,\) on cpu"),
        (lambda logits: logits > 0, r"bool of shape \(16, 10\) on cpu"),
        (lambda logits: {"logits": logits}, "dict"),
    ],
)
def test_a_model_that_gives_no_logits_of_the_batch(compute, given, monkeypatch):
    class Own(Classifier):
        def forward(self, images):
            return compute(super().forward(images))

    add(monkeypatch, "models", lambda config, *, num_classes, **_: Own(torch.nn.Conv2d(3, 4, 8, stride=8), 4, num_classes))
    message = rf"^model Own: must give logits, a float tensor of shape \(16, 10\) for 16 images and 10 classes; gave {given}$"
    with pytest.raises(TrainingError, match=message):
        aevlp.train(runs.config("model=own"))


@dataclass
class Gray:
    """Thirty images, all the same."""

    image: object

    def __len__(self):
        return 30

    def __getitem__(self, row):
        return self.image

    def name(self, row):
        return f"gray {row}"


LABELS = np.eye(3, dtype=np.uint8)[np.arange(30) % 3]
IMAGE = torch.zeros(3, 40, 40, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"image": IMAGE.permute(1, 2, 0)},
            r"images of the training split must be torch.uint8 \(3,H,W\); gray 0 is a Tensor of ",
        ),
        ({"image": IMAGE / 255}, r"gray 0 is a Tensor of torch.float32 \(3, 40, 40\)"),
        ({"image": IMAGE.numpy()}, r"gray 0 is a ndarray of uint8 \(3, 40, 40\)"),
        ({"image": None}, r"gray 0 is a NoneType of \? \(\)"),
        ({"observed": LABELS[:20]}, "observed labels of the training split: has 20 rows for 30 images"),
        ({"observed": LABELS[:, :2]}, "observed labels of the training split: has 2 columns, but the class list names 3 classes"),
        ({"observed": LABELS * 2}, "observed labels of the training split: row 0, column 0 holds 2; labels must be -1, 0 or 1"),
        ({"targets": LABELS / 2}, "full labels of the training split: row 0, column 0 holds 0.5; labels must be 0 or 1"),
        ({"prompts": ["one"]}, "the dataset has 1 prompt names for 3 classes"),
    ],
)
def test_a_dataset_that_gives_other_images_or_labels(changed, message, monkeypatch):
    parts = {"image": IMAGE, "observed": LABELS, "targets": LABELS, "prompts": ["one", "two", "three"], **changed}
    split = Split(Gray(parts["image"]), parts["observed"], parts["targets"])
    data = SPMLData(["one", "two", "three"], parts["prompts"], split, split, None)
    add(monkeypatch, "datasets", lambda config: data, DatasetConfig)
    words = [word for word in runs.FAST if not word.startswith("dataset.num")]
    with pytest.raises(DataError, match=message):
        aevlp.train(aevlp.load_experiment("digits_gpr", ["dataset=own", *words]))


@pytest.mark.parametrize(
    "words", ["InvalidCxxCompiler: No working C++ compiler found in ('g++',)", "Failed to find C compiler. Please specify via CC"]
)
def test_a_machine_without_a_compiler_is_told_so_in_a_line(words, monkeypatch):
    def fail(image):
        raise RuntimeError(words)

    monkeypatch.setattr(torch, "compile", lambda model, **_: fail)
    with pytest.raises(ConfigError, match=r"^trainer\.compile=true: there is no C\+\+ compiler on this machine; install one"):
        aevlp.train(runs.config("trainer.compile=true"))
