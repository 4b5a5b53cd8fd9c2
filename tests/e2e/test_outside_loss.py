"""A loss from outside the package: one file and one fragment, no edit elsewhere, and everything the package's own have."""

import sys

import pytest
import small_runs as runs
import torch

from aevlp import losses
from aevlp.cli import main
from aevlp.config import registry
from aevlp.training.run import resume

LOSS = '''"""Assume negative that averages each image's targets with what was predicted when it was last seen."""

import torch
from pydantic import Field

from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.losses._memory import RememberingLoss
from aevlp.losses._terms import cross_entropy


class EchoConfig(ComponentConfig):
    share: float = Field(0.5, ge=0, le=1)
    """Share of the remembered prediction."""


@register("losses", "echo", config=EchoConfig)
class EchoLoss(RememberingLoss):
    def __init__(self, config, num_classes=None, num_samples=None):
        super().__init__(config, num_classes, num_samples)
        self.remember("last", torch.float32)

    def forward(self, logits, observed, pseudo, *, index=None, **_):
        rows = self.rows(index)
        target = torch.where(observed > 0, 1.0, self.config.share * self.last[rows])
        self.last[rows] = torch.sigmoid(logits.detach().float())
        return cross_entropy(logits.float(), target, 1e-5).mean()
'''


@pytest.fixture
def echo(tmp_path, monkeypatch):
    """A working folder with the loss and its fragment."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "echo.py").write_text(LOSS)
    (tmp_path / "configs" / "loss").mkdir(parents=True)
    (tmp_path / "configs" / "loss" / "gentle_echo.yaml").write_text("# A quiet echo.\nname: echo\nshare: 0.2\n")
    plugins = list(registry.plugin_files)
    yield tmp_path / "echo.py"
    registry.plugin_files[:] = plugins
    registry._components["losses"].pop("echo", None)
    sys.modules.pop("aevlp_plugin_echo", None)


def train(*words):
    return main(["--exp", "digits_gpr", "--plugin", "echo.py", "--set", *runs.FAST, *words])


def test_it_is_trained_stopped_and_resumed_like_any_other(echo, monkeypatch):
    assert train("loss=gentle_echo") == 0
    whole = runs.only_run()
    assert "share: 0.2" in (whole / "config.yaml").read_text()
    monkeypatch.setenv("AEVLP_RUNS", str(echo.parent / "other"))
    with pytest.MonkeyPatch.context() as patch:
        runs.signal_after_step(patch, 4)
        assert train("loss=gentle_echo") == 143
    stopped = runs.only_run()
    assert runs.newest(stopped).state()["task"]["loss"]["last"].any()
    resume(stopped)
    assert runs.differences(runs.outcome(stopped), runs.outcome(whole)) == []


def test_its_mistakes_are_told_as_those_of_the_package(echo, capsys):
    assert train("loss=gentle_echo", "loss.share=2") == 2
    assert "loss.share: input should be less than or equal to 1" in capsys.readouterr().err
    assert "echo" in registry.names("losses")
    with pytest.raises(ValueError, match="loss echo remembers every training image"):
        losses.build("echo")
    loss = losses.build("echo", num_classes=2, num_samples=3)
    with pytest.raises(ValueError, match="call it with index"):
        loss(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(1, 2), epoch=1, num_epochs=1)
