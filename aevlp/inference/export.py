"""A trained model as a folder that stands alone: weights, a description, how to load them; ONNX on request.

model.safetensors   weights of the epoch that is kept, the average where there was one
model.json          architecture, preprocessing, class names, thresholds, metrics, identity of the run
config.yaml         the whole experiment, for `eval`
data.json           hashes of the data that it was trained on, by which `eval` knows others
encoder/            of a head on features of an encoder: the files of that
plugins/            where it needs parts from outside the package: their code
model.onnx          with --onnx
README.md           how to load it
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import aevlp
from aevlp import files
from aevlp.command import COMMAND
from aevlp.config.errors import DataError, UnavailableError
from aevlp.config.yaml_reading import write_yaml
from aevlp.data.fingerprint import DATA_FILE
from aevlp.inference.sources import DESCRIPTION
from aevlp.inference.trained import Trained, build_model
from aevlp.models._features import ENCODER
from aevlp.output import not_writable, require_new_folder
from aevlp.runs import plugins

TOLERANCE = 1e-4  # between the logits of torch and ONNX Runtime, absolute or relative
PREPROCESSING = (
    "RGB, squashed to image_size x image_size (bilinear with antialiasing, aspect ratio not kept), uint8 (N,3,S,S) in 0..255; "
    "the model normalises by itself and returns logits (N,C), probabilities are their sigmoid"
)


def export(trained: Trained, folder: Path, onnx: bool = False) -> None:
    """Write the folder, complete or not at all.

    Raises:
        ConfigError: the folder exists already, or the one above it does not.
        CheckpointError: the run's class names are unknown, or its weights do not fit.
        UnavailableError: the extra `onnx` is not installed.
        DataError: the folder cannot be written, or the ONNX file computes something else than the model.
    """
    from safetensors.torch import save

    names = trained.names()
    require_new_folder(folder)
    model: Any = build_model(trained, len(names))
    try:
        files.remove_leftovers(folder.parent)
        with files.replacing(folder) as aside:
            aside.mkdir()
            state = model.keep(aside) if hasattr(model, "keep") else model.state_dict()
            weights = save({name: tensor.contiguous() for name, tensor in state.items()})
            (aside / "model.safetensors").write_bytes(weights)
            size = getattr(model, "image_size", trained.config.dataset.image_size)
            about = describe(trained, names, size)
            (aside / DESCRIPTION).write_text(json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8")
            (aside / "config.yaml").write_text(write_yaml(trained.config.to_dict()), encoding="utf-8")
            if trained.data is not None:
                (aside / DATA_FILE).write_text(json.dumps(trained.data.to_dict(), indent=1), encoding="utf-8")
            plugins.keep(aside)
            (aside / "README.md").write_text(
                readme(about, onnx, plugins.kept(aside), (aside / ENCODER).is_dir()), encoding="utf-8"
            )
            if onnx:
                write_onnx(model, size, aside / "model.onnx")
    except OSError as error:
        raise not_writable(f"-o {folder}", error) from error


def describe(trained: Trained, class_names: list[str], image_size: int) -> dict[str, Any]:
    """Content of model.json."""
    config, summary = trained.config, trained.summary
    thresholds, run_id = trained.thresholds, summary.get("run_id") or Path(trained.source).resolve().name
    return {
        "aevlp_version": aevlp.__version__, "experiment": config.name, "run_id": run_id,
        "config_hash": summary.get("config_hash"), "model": config.model.model_dump(mode="json"),
        "image_size": image_size, "preprocessing": PREPROCESSING, "class_names": class_names,
        "thresholds": None if thresholds is None else [None if np.isnan(value) else float(value) for value in thresholds],
        "thresholds_are": "probabilities of highest F1 on validation, class by class; null: no positive there, take 0.5",
        "metrics": {name: value for name, value in summary.items() if name.startswith(("best/", "test/", "labeler/"))},
    }  # fmt: skip


def readme(about: dict[str, Any], onnx: bool, code: Sequence[Path] = (), holds_encoder: bool = False) -> str:
    """Content of README.md."""
    size = about["image_size"]
    text = f"""# {about["experiment"]}

{len(about["class_names"])} classes, images of {size}x{size} pixels.
Written by aevlp {about["aevlp_version"]} from run {about["run_id"]}.

    {COMMAND} predict THIS_FOLDER photos/ -o scores.csv
    {COMMAND} eval THIS_FOLDER

In Python:

```python
import torch
from PIL import Image
from aevlp.data.decoding import as_shown
from aevlp.data.images import resize
from aevlp.inference.open import open_trained
from aevlp.inference.trained import build_model

trained = open_trained("THIS_FOLDER")
model = build_model(trained, len(trained.class_names))
image = torch.from_numpy(as_shown(Image.open("photo.jpg"))[0]).permute(2, 0, 1)
probabilities = model(resize(image[None], {size})).sigmoid()[0]
```

Input: {about["preprocessing"]}.
Class names and thresholds are in {DESCRIPTION}, in the order of the outputs.
"""
    for path in code:
        text += f"""
It needs `plugins/{path.name}`: add `--plugin THIS_FOLDER/plugins/{path.name}` to each command; in Python,
`aevlp.config.registry.load_plugin` comes first.
"""
    if about["model"].get("encoder") and not holds_encoder:
        text += """
Its features are those of the encoder that config.yaml names (model.encoder), which is not part of this folder.
"""
    if onnx:
        text += f"""
Without torch, `model.onnx` computes the same (checked with ONNX Runtime to {TOLERANCE:g}):

```python
import onnxruntime
session = onnxruntime.InferenceSession("THIS_FOLDER/model.onnx")
logits = session.run(["logits"], {{"images": images}})[0]   # images: uint8 (N,3,{size},{size})
```
"""
    return text


def write_onnx(model: Any, image_size: int, path: Path) -> None:
    """The model as one ONNX file, `images` uint8 (N,3,S,S) to `logits` (N,C), any N; checked against torch.

    Raises:
        UnavailableError: onnx, onnxscript or onnxruntime is not installed.
        DataError: the model cannot be written as ONNX, or ONNX Runtime computes something else than torch.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise UnavailableError("--onnx needs onnx, onnxscript and onnxruntime: pip install 'aevlp[onnx]'") from error
    model = model.cpu().eval()
    if hasattr(model, "in_float32"):  # ONNX Runtime has few kernels for bf16
        model.in_float32()
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, image_size, image_size), dtype=torch.uint8, generator=numbers)
    try:
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model, (images,), path, input_names=["images"], output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},), dynamo=True, external_data=False, verbose=False,
            )  # fmt: skip
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # torch, onnxscript and onnxruntime raise dozens of types; this model has no ONNX form
        line = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise DataError(
            f"the model cannot be written as ONNX ({type(error).__name__}: {line[:200]}); nothing was written"
        ) from error
    for batch in (images, images[:1], images.repeat(2, 1, 1, 1)):
        with torch.inference_mode():
            compare(model(batch), torch.from_numpy(session.run(["logits"], {"images": batch.numpy()})[0]))


def compare(expected: Tensor, found: Tensor) -> None:
    """DataError unless two sets of logits agree to `TOLERANCE`."""
    if expected.shape != found.shape or not torch.allclose(expected, found, rtol=TOLERANCE, atol=TOLERANCE):
        largest = float((expected - found).abs().max()) if expected.shape == found.shape else float("nan")
        raise DataError(
            f"ONNX Runtime gives logits that differ by {largest:.2g} from torch's, more than {TOLERANCE:g}; nothing was written"
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # torch.onnx tells every step of its way.
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
