"""Precision by trial, fused optimisers and compilation."""

from __future__ import annotations

import copy
import json

import pytest
import small_runs as runs
import torch
from torch import nn

import aevlp
from aevlp.cli import main
from aevlp.config.schema import TrainerConfig
from aevlp.training import precision
from aevlp.training.optimizer import build_optimizer
from aevlp.training.run import resume


def measured(monkeypatch, fp32: float, bf16: float, calls: list | None = None) -> None:
    def times(steps):
        for step in steps.values():
            step()  # what it leaves behind must not reach the run
        if calls is not None:
            calls.append(sorted(steps))
        return {"fp32": fp32, "bf16": bf16}

    monkeypatch.setattr(precision, "time_steps", times)


@pytest.mark.parametrize(("fp32", "bf16", "chosen"), [(0.300, 0.100, "bf16"), (0.100, 0.300, "fp32"), (0.100, 0.095, "fp32")])
def test_auto_takes_what_is_faster_and_says_why(monkeypatch, capsys, fp32, bf16, chosen):
    measured(monkeypatch, fp32, bf16)
    result = aevlp.train(runs.config("trainer.precision=auto", "trainer.epochs=1"))
    said = capsys.readouterr().out
    assert f"precision: {chosen}, as " in said
    assert f"a step takes {1000 * bf16:.0f} ms in bf16 and {1000 * fp32:.0f} ms in fp32 (16 images of 32 px, cpu)" in said
    assert "precision: auto" in (result.run_dir / "config.yaml").read_text()
    assert json.loads((result.run_dir / "precision.json").read_text())["precision"] == chosen


@pytest.mark.processor
@pytest.mark.parametrize(("fp32", "bf16", "same"), [(0.1, 0.3, "fp32"), (0.3, 0.1, "bf16")])
def test_auto_is_the_precision_it_chose_to_the_bit(monkeypatch, fp32, bf16, same):
    runs.add_components(monkeypatch)
    expected = runs.outcome(aevlp.train(runs.config("model=dropout_cnn", f"trainer.precision={same}")).run_dir)
    measured(monkeypatch, fp32, bf16)
    found = runs.outcome(aevlp.train(runs.config("model=dropout_cnn", "trainer.precision=auto")).run_dir)
    assert runs.differences(found, expected) == [".summary.config_hash"]


def test_a_resumed_run_keeps_what_was_decided_whatever_would_be_faster_now(monkeypatch):
    calls: list = []
    measured(monkeypatch, 0.3, 0.1, calls)
    expected = runs.outcome(aevlp.train(runs.config("trainer.precision=auto")).run_dir)
    with monkeypatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(runs.only_run().parent / "second"))
        runs.after_step(patch, 4, runs.crash)
        with pytest.raises(runs.Crash):
            aevlp.train(runs.config("trainer.precision=auto"))
        run = runs.only_run()
    measured(monkeypatch, 0.1, 0.3, calls)
    resume(run)
    assert runs.differences(runs.outcome(run), expected) == []
    assert calls == [["bf16", "fp32"]] * 2


def test_a_trial_that_batch_norm_refuses_leaves_the_answer_to_training(capsys):
    words = ["trainer.precision=auto", "trainer.batch_size=1", "model=resnet50", "model.weights=none"]
    assert main(["--exp", "digits_an", "--set", *runs.FAST, *words]) == 2
    assert capsys.readouterr().err.startswith("error: batch norm cannot use a batch of 1 image at this size: choose another ")


def test_a_trial_times_in_turns_and_gives_medians():
    order = []
    times = precision.time_steps({name: lambda name=name: order.append(name) for name in ("fp32", "bf16")})
    assert order == ["fp32", "bf16"] * 6
    assert all(0 <= seconds < 0.1 for seconds in times.values())


def test_fp16_without_cuda_is_a_usage_error(capsys):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["--exp", "digits_gpr", "--set", *runs.FAST, "trainer.precision=fp16"]) == 2
    assert capsys.readouterr().err == (
        "error: trainer.precision: fp16 needs a CUDA device, this is cpu; use bf16, fp32 or auto\n"
    )


@pytest.mark.processor
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_fused_optimiser_takes_the_steps_of_the_plain_one(optimizer):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 4)).to(memory_format=torch.channels_last)
    plain = copy.deepcopy(model)
    config = TrainerConfig(optimizer=optimizer, learning_rate=0.01, weight_decay=0.01)
    fused = build_optimizer(config, model, nn.Module())
    assert fused.defaults["fused"]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    reference = kind(plain.parameters(), lr=0.01, weight_decay=0.01, **({"momentum": 0.9} if optimizer == "sgd" else {}))
    for _ in range(10):
        images = torch.randn(8, 3, 8, 8)
        for network, steps in ((model, fused), (plain, reference)):
            steps.zero_grad()
            network(images).square().mean().backward()
            steps.step()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_compiled_run_keeps_the_model_and_takes_the_odd_tail_uncompiled(monkeypatch):
    seen = []
    compile_with = torch.compile

    def eager(model, **options):
        compiled = compile_with(model, backend="eager", **options)
        return lambda images: seen.append(len(images)) or compiled(images)

    words = ("dataset.num_train=40", "trainer.ema_decay=0.5")
    expected = runs.outcome(aevlp.train(runs.config(*words)).run_dir)
    monkeypatch.setattr(torch, "compile", eager)
    result = aevlp.train(runs.config("trainer.compile=true", *words))
    assert seen == [16, 16] * 2  # the last 8 images of an epoch, validation and test are not among them
    found = runs.outcome(result.run_dir)
    assert found["weights"]["model"].keys() == expected["weights"]["model"].keys()
    for name, weight in expected["weights"]["model"].items():
        torch.testing.assert_close(found["weights"]["model"][name], weight, rtol=1e-4, atol=1e-5)
