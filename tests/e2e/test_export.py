"""`export`: a folder that `predict` and `eval` take for the run itself, and ONNX that computes the same."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import CheckpointError, DataError
from aevlp.inference import export as exporting
from aevlp.inference.evaluate import evaluate
from aevlp.inference.open import open_trained
from aevlp.inference.trained import build_model


@pytest.fixture(scope="module")
def exported(trained_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "digits"
    assert main(["export", str(trained_run), "-o", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def photo(trained_run, tmp_path_factory):
    data = registry.build("datasets", open_trained(str(trained_run)).config.dataset)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(data.test.images[0].permute(1, 2, 0).numpy()).save(path)
    return path


def test_predict_and_eval_take_the_export_for_the_run(trained_run, exported, photo, tmp_path):
    for source, name in ((trained_run, "run.csv"), (exported, "export.csv")):
        assert main(["predict", str(source), str(photo), "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "run.csv").read_bytes() == (tmp_path / "export.csv").read_bytes()
    run, export = (evaluate(open_trained(str(source)), "test") for source in (trained_run, exported))
    assert run.mean_average_precision == export.mean_average_precision
    np.testing.assert_array_equal(run.thresholds, export.thresholds)


def test_description_tells_what_is_needed_to_use_the_model(trained_run, exported):
    about = json.loads((exported / "model.json").read_text())
    summary = json.loads((trained_run / "summary.json").read_text())
    assert about["class_names"] == json.loads((trained_run / "classes.json").read_text())
    assert len(about["thresholds"]) == len(about["class_names"]) == 10
    assert (about["run_id"], about["config_hash"]) == (trained_run.name, summary["config_hash"])
    assert about["metrics"]["test/mAP"] == summary["test/mAP"]
    assert (about["model"], about["image_size"]) == ({"name": "small_cnn", "boost": None, "weights": "none"}, 32)
    assert {path.name for path in exported.iterdir()} == {
        "README.md", "config.yaml", "data.json", "model.json", "model.safetensors",
    }  # fmt: skip
    assert (exported / "data.json").read_text() == (trained_run / "data.json").read_text().strip()


def test_other_data_than_those_of_training_are_told(trained_run, exported):
    words = ["dataset.num_test=7"]
    told = [evaluate(open_trained(str(source), words), "test").notes for source in (trained_run, exported)]
    assert told[0] == told[1]
    assert "these are not the data that the run was trained on: 7 test images instead of" in told[1][-1]


def test_weights_are_the_average_of_the_best_epoch(trained_run, exported):
    best = load_file(trained_run / "checkpoints" / "best" / "ema.safetensors")
    found = load_file(exported / "model.safetensors")
    assert found.keys() == best.keys()
    assert all(torch.equal(found[name], best[name]) for name in best)


def test_python_of_the_readme_gives_the_scores_of_predict(exported, photo, tmp_path):
    code = re.search(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.DOTALL)[1]
    names = {}
    exec(code.replace("THIS_FOLDER", str(exported)).replace("photo.jpg", str(photo)), names)
    assert main(["predict", str(exported), str(photo), "-o", str(tmp_path / "s.csv")]) == 0
    scores = (tmp_path / "s.csv").read_text().splitlines()[1].split(",")[1:11]
    np.testing.assert_allclose(names["probabilities"].detach().numpy(), [float(value) for value in scores], rtol=1e-4)


def test_onnx_computes_what_torch_computes_at_any_batch_size(trained_run, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert main(["export", str(trained_run), "-o", str(tmp_path / "e"), "--onnx"]) == 0
    model = build_model(open_trained(str(tmp_path / "e")), 10)
    session = runtime.InferenceSession(tmp_path / "e" / "model.onnx")
    for batch in (1, 5, 40):
        images = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8)
        (found,) = session.run(["logits"], {"images": images.numpy()})
        np.testing.assert_allclose(found, model(images).detach().numpy(), rtol=1e-4, atol=1e-4)
    assert "onnxruntime.InferenceSession" in (tmp_path / "e" / "README.md").read_text()


def test_onnx_that_computes_something_else_leaves_nothing_behind(trained_run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    write = torch.onnx.export

    def write_another(model, *args, **kwargs):
        with torch.no_grad():
            model.head.bias += 0.001
        write(model, *args, **kwargs)
        with torch.no_grad():
            model.head.bias -= 0.001

    monkeypatch.setattr(torch.onnx, "export", write_another)
    assert main(["export", str(trained_run), "-o", str(tmp_path / "e"), "--onnx"]) == 1
    assert "differ by 0.001 from torch's, more than 0.0001; nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_model_without_an_onnx_form_leaves_nothing_behind(trained_run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    def refuse(*args, **kwargs):
        raise NotImplementedError("no such operator\nand a page more")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    assert main(["export", str(trained_run), "-o", str(tmp_path / "e"), "--onnx"]) == 1
    assert capsys.readouterr().err == (
        "error: the model cannot be written as ONNX (NotImplementedError: no such operator); nothing was written\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("found", "message"), [(torch.tensor([[1.0, 2.001]]), "differ by 0.001"), (torch.zeros(1, 3), "differ by nan")]
)
def test_logits_must_agree(found, message):
    exporting.compare(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.00005, 2.0]]))
    with pytest.raises(DataError, match=message):
        exporting.compare(torch.tensor([[1.0, 2.0]]), found)


def test_onnx_without_its_packages_says_how_to_install_them(trained_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(trained_run), "-o", str(tmp_path / "e"), "--onnx"]) == 1
    assert "--onnx needs onnx, onnxscript and onnxruntime: pip install 'aevlp[onnx]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(trained_run, exported, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in exported.iterdir()}
    assert main(["export", str(trained_run), "-o", str(exported)]) == 2
    assert "is there already; name a new folder" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in exported.iterdir()} == before
    assert main(["export", str(trained_run), "-o", str(tmp_path / "absent" / "e")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_full_disk_leaves_nothing_behind(trained_run, tmp_path, monkeypatch, capsys):
    def no_space(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting.Path, "write_text", no_space)
    assert main(["export", str(trained_run), "-o", str(tmp_path / "e")]) == 1
    assert capsys.readouterr().err == f"error: -o {tmp_path}/e: cannot be written: No space left on device\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["model.json", "model.safetensors", "thresholds", "classes", "missing"])
def test_a_damaged_export_is_refused(exported, tmp_path, damage):
    copy = shutil.copytree(exported, tmp_path / "copy")
    about = json.loads((copy / "model.json").read_text())
    if damage in ("model.json", "model.safetensors"):
        (copy / damage).write_bytes((copy / damage).read_bytes()[:100])
    elif damage == "missing":
        (copy / "model.safetensors").unlink()
    elif damage == "thresholds":
        (copy / "model.json").write_text(json.dumps(about | {"thresholds": [0.5]}))
    else:
        (copy / "model.json").write_text(json.dumps({name: value for name, value in about.items() if name != "class_names"}))
    with pytest.raises(CheckpointError, match="not a whole export"):
        open_trained(str(copy))


def test_a_file_is_no_run_to_export(tmp_path, capsys):
    (tmp_path / "best.pt").touch()
    assert main(["export", str(tmp_path / "best.pt"), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path}/best.pt: is a file; export takes a run, which tells class names\n"
