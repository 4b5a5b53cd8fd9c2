"""A run made with a plugin is opened again without it, and what a model of a plugin is given then."""

import shutil

import pytest
import small_runs as runs
from doc_checks import parts_put_back
from PIL import Image

from aevlp.cli import main
from aevlp.config import registry
from aevlp.runs import plugins
from aevlp.sweeps.study import study_folder

LOSS = """
from aevlp.config.registry import register
from aevlp.losses.an import ANConfig, ANLoss

@register("losses", "mine", config=ANConfig)
class MineLoss(ANLoss):
    pass
"""
MODEL = """
from pathlib import Path

from torch import nn

from aevlp.config.errors import ConfigError
from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.models._classifier import Classifier

class TinyConfig(ComponentConfig):
    weights: {kind}

@register("models", "tiny", config=TinyConfig)
def build_tiny(config, *, num_classes, image_size):
    if config.weights != "none" and not Path(str(config.weights)).exists():
        raise ConfigError(f"weights {{config.weights}} are gone")
    return Classifier(nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU()), 8, num_classes)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with a loss and a model of plugins, the files of which have gone."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "loss.py").write_text(LOSS)
    (folder / "model.py").write_text(MODEL.format(kind="str"))
    (folder / "weights.pt").touch()
    words = ["--plugin", str(folder / "loss.py"), "--exp", "digits_an", "--plugin", str(folder / "model.py")]
    with pytest.MonkeyPatch.context() as patch, parts_put_back():
        patch.setenv("AEVLP_RUNS", str(folder / "runs"))
        patch.setattr(registry, "plugin_files", [])
        assert main([*words, "--set", *runs.FAST, "loss=mine", "model=tiny", f"model.weights={folder}/weights.pt"]) == 0
    for file in folder.glob("*.*"):
        file.unlink()
    return next((folder / "runs").iterdir())


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """The run, in a folder of runs of its own; what a command loads is not for the next."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.png")
    return shutil.copytree(made, tmp_path / "runs" / made.name, symlinks=True)


def do(*words, code=0):
    """One command as a process of its own would run it, as far as parts are concerned."""
    with parts_put_back():
        assert main([str(word) for word in words]) == code


COMMANDS = {
    "eval": ["eval", "{run}"], "predict": ["predict", "{run}", "photo.png", "-o", "s.csv"],
    "export": ["export", "{run}", "-o", "model"], "resume": ["--resume", "{run}", "--set", "trainer.epochs=3"],
    "show": ["show", "--exp", "{run}/config.yaml"],
    "label": ["label", "--exp", "{run}/config.yaml", "-o", "found.csv", "--set", "labeler=damp", "labeler.encoder.source=bundled",
              "labeler.label_graph.enabled=false"],
}  # fmt: skip


def test_it_is_opened_again_by_its_copies(run, capsys):
    assert [path.name for path in plugins.kept(run)] == ["loss.py", "model.py"]
    assert (run / "plugins" / "loss.py").read_text() == LOSS
    for name, words in COMMANDS.items():
        if name != "resume":
            do(*(word.format(run=run) for word in words))
            assert "note" not in capsys.readouterr().err, name


def test_weights_that_a_model_began_with_are_needed_to_train_on_and_not_to_use_it(run, made, capsys):
    weights = made.parents[1] / "weights.pt"
    do("eval", run)
    do(*(word.format(run=run) for word in COMMANDS["resume"]), code=2)
    assert capsys.readouterr().err == f"error: weights {weights} are gone\n"
    weights.touch()
    try:
        do(*(word.format(run=run) for word in COMMANDS["resume"]))
    finally:
        weights.unlink()
    assert "epochs: 3" in (run / "config.yaml").read_text()


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_code_that_came_with_a_run_from_elsewhere_is_not_run_by_itself(words, run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "mine"))
    (run / "plugins" / "loss.py").write_text("raise SystemExit('was run')")
    command = [word.format(run="runs/" + run.name) for word in words]
    do(*command, code=2)
    copies = " ".join(f"--plugin runs/{run.name}/plugins/{name}.py" for name in ("loss", "model"))
    assert capsys.readouterr().err == (
        f"error: runs/{run.name}: needs code that came with it, which is run by itself only below {tmp_path}/mine/; "
        f"read it, and add {copies}\n"
    )
    if words[0] != "--resume":
        (run / "plugins" / "loss.py").write_text(LOSS)
        do(*command, *copies.split())


def test_a_plugin_that_is_given_wins_and_is_told_where_it_differs(run, tmp_path, capsys):
    (tmp_path / "loss.py").write_text(LOSS)
    do("eval", run, "--plugin", "loss.py")
    assert capsys.readouterr().err == ""
    (tmp_path / "loss.py").write_text(f"{LOSS}print('given')\n")
    do("--plugin", "loss.py", "eval", run)
    out, err = capsys.readouterr()
    assert out.startswith("given\n")
    assert err == f"note  --plugin loss.py is taken, and is not what {run.name} was made with, {run}/plugins/loss.py\n"
    (tmp_path / "renamed.py").write_text(LOSS + MODEL.format(kind="str"))
    do("eval", run, "--plugin", "renamed.py")  # knows all that is needed: no copy is loaded
    assert capsys.readouterr().err == ""


def test_an_export_carries_them(run, tmp_path, monkeypatch, capsys):
    do("export", run, "-o", "model")
    assert "plugins/loss.py" in (tmp_path / "model" / "README.md").read_text()
    do("predict", "model", "photo.png", "-o", "s.csv", code=2)
    assert "add --plugin model/plugins/loss.py --plugin model/plugins/model.py\n" in capsys.readouterr().err
    do("predict", "model", "photo.png", "-o", "s.csv", "--plugin", "model/plugins/loss.py", "--plugin", "model/plugins/model.py")


def test_a_setting_called_weights_may_be_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL.format(kind="bool").replace('config.weights != "none"', "False"))
    do("--plugin", "model.py", "--exp", "digits_an", "--set", *runs.FAST, "model=tiny", "model.weights=true")
    do("eval", "latest")


def test_two_plugins_of_one_name_are_refused(tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("")
    do("list", "--plugin", tmp_path / "a" / "mine.py", "--plugin", tmp_path / "b" / "mine.py", code=2)
    told = f"error: --plugin {tmp_path}/b/mine.py: {tmp_path}/a/mine.py has the same name; rename one of them\n"
    assert capsys.readouterr().err == told


def test_a_study_goes_on_without_the_plugin_it_was_begun_with(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loss.py").write_text(LOSS)
    (tmp_path / "mine.yaml").write_text("base: digits_an\nloss: {name: mine}\n")
    (tmp_path / "study.yaml").write_text("base: mine.yaml\nspace: {trainer.learning_rate: {float: [0.001, 0.01]}}\n")
    words = ["--in-process", "--no-confirm", "--tracking", "off", "--set", *runs.FAST, "loss=mine", "trainer.epochs=1"]
    do("sweep", "run", "study.yaml", "--trials", "1", *words, "--plugin", "loss.py")
    (tmp_path / "loss.py").unlink()
    do("sweep", "run", "study.yaml", "--trials", "2", *words)
    do("sweep", "best", "study", "--save", "best.yaml")
    command = (tmp_path / "best.yaml").read_text().splitlines()[1]
    assert command.endswith(f"--exp best.yaml --plugin {study_folder('study') / 'plugins' / 'loss.py'}")
    trials = list((study_folder("study") / "trials").iterdir())
    assert [[path.name for path in plugins.kept(trial)] for trial in trials] == [["loss.py"]] * 2


def test_a_part_that_has_the_name_of_a_part_of_another_kind_is_loaded_again(tmp_path, monkeypatch):
    plugin = tmp_path / "labeler.py"
    plugin.write_text("""
from aevlp.config.registry import register
from aevlp.labelers.none import NoLabeler, NoneConfig

register("labelers", "gpr", config=NoneConfig)(NoLabeler)
""")
    monkeypatch.setattr(registry, "plugin_files", [])
    with parts_put_back():
        assert main(["--plugin", str(plugin), "--exp", "digits_an", "--set", *runs.FAST, "labeler=gpr"]) == 0
    plugin.unlink()
    monkeypatch.setattr(registry, "plugin_files", [])
    with parts_put_back():
        assert main(["eval", "latest"]) == 0
