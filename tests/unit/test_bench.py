"""The benchmark: both sides compute the same, stages add up, and the command says what it measured."""

import json
import random
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from aevlp.bench import compare, composition, feeding, material, side
from aevlp.bench.baseline import masked_gpr_loss, pillow_views
from aevlp.bench.compare import baseline_cost, cards, project_cost, ratios
from aevlp.bench.kernels import SyncCounter
from aevlp.cli import main
from aevlp.config.errors import AevlpError, ConfigError
from aevlp.data.formats.arrays import read_names
from aevlp.data.images import IMAGENET_MEAN, IMAGENET_STD
from aevlp.data.protocol import split_train_val
from aevlp.losses.gpr import GPRConfig, gpr_loss
from aevlp.terminal import Terminal
from aevlp.vision_language.views import cut_views

SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def test_both_losses_agree_and_only_the_baselines_waits_for_values():
    torch.manual_seed(0)
    logits = torch.randn(8, 20, requires_grad=True)
    observed = torch.nn.functional.one_hot(torch.arange(8), 20)
    pseudo = torch.randint(-1, 2, (8, 20)) * (1 - observed)
    config = GPRConfig(name="gpr", regularizer=0.01, expected_positives=2.0, q3=1.5)
    found, syncs = [], []
    for loss in (masked_gpr_loss, gpr_loss):
        with SyncCounter() as counter:
            value = loss(logits, observed, pseudo, config, epoch=3, num_epochs=8)
            (gradient,) = torch.autograd.grad(value, logits)
        found.append((value, gradient))
        syncs.append(counter.count)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-7)
    assert syncs[0] > 10
    assert syncs[1] == 0


def test_the_baselines_views_are_ours_up_to_rounding(monkeypatch):
    monkeypatch.setattr(random, "random", lambda: 1.0)  # no flip
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((323, 241))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    ours = cut_views(torch.from_numpy(np.array(image)).permute(2, 0, 1), 3, 64)
    theirs = (pillow_views(image, 3, 64) * std + mean) * 255
    assert (ours - theirs).abs().mean() < 1.5


def test_costs_are_composed_from_stages():
    per_image = dict.fromkeys(("decode", "resize", "views", "encode", "assign", "forward", "loss", "backward", "optimizer"), 1.0)
    plain = {"per_image": per_image | {"forward": 3.0}, "per_step": {"prompts": 16.0}, "pair_seconds": 88.0}
    plain["peak_memory_mb"] = 10.0
    own = {"per_image": per_image | {"cache": 0.5}, "pair_seconds": 69.0, "peak_memory_mb": 5.0}
    own["probe"] = {"features": 2.0, "head": 0.1}
    assert baseline_cost(plain, epochs=8, batch=16) == 8 * (11 + 1)
    assert project_cost(own, epochs=8) == 3 + 0.5 + 8 * 7
    assert project_cost(own, epochs=8, trials=10) == 3 + 10 * (0.5 + 8 * 7)
    pairs = {"baseline_seconds": 3.0, "aevlp_seconds": 1.5}
    found = ratios({"baseline": plain, "aevlp": own, "loss": pairs, "views": pairs, "images": 4, "batch": 8})
    assert found["run of 8 epochs"] == 96 / 59.5
    assert found["baseline pair over its composition"] == 88 / 4 / 26
    assert found["peak memory"] == found["view preparation"] == 2
    assert found["8 epochs of ResNet-50 over a head on features"] == 8 * 8 / (2 + 20 * 0.1)
    assert found["aevlp over aevlp: the same"] == 8 * 6 / (2 + 20 * 0.1)
    assert found["aevlp over aevlp: the same, the labeler has encoded"] == 8 * 6 / (20 * 0.1)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_both_sides_compute_on_the_device_that_is_told(device, tmp_path, monkeypatch):
    """Of one that has no GPU of CUDA, but perhaps another, as a Mac does."""
    seen = []

    def run(command, env, **_):
        seen.append(env)
        return subprocess.CompletedProcess(command, 0, "{}\n", "")

    for name, value in (("CUDA_VISIBLE_DEVICES", "0"), ("ACCELERATE_USE_CPU", "false")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(compare.subprocess, "run", run)
    assert compare._measure("aevlp", tmp_path, 2, [], device) == {}
    hidden = {"cpu": ("", "true"), "cuda": ("0", "false")}
    assert (seen[0]["CUDA_VISIBLE_DEVICES"], seen[0]["ACCELERATE_USE_CPU"]) == hidden[device]


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9])
def test_so_many_photos_train_as_were_asked_for(tmp_path, monkeypatch, count):
    monkeypatch.setattr(material, "draw_photo", lambda _: b"")
    material.write_photos(tmp_path, count, ["cat", "dog"])
    names = read_names(tmp_path, "train")
    train, val = split_train_val(len(names), 0.2, 1200)
    assert len(train) == count
    assert len(val) == len(names) - count


@pytest.mark.parametrize("name", ["baseline", "aevlp"])
def test_a_side_measures_every_stage(name, tmp_path, monkeypatch, capsys):
    classes = ["person", "car", "cup"]
    monkeypatch.setattr(material, "TEXT", material.TEXT | SMALL | {"vocab_size": 16})
    monkeypatch.setattr(material, "VISION", material.VISION | SMALL | {"image_size": 32})
    material.write_photos(tmp_path / "photos", 2, classes)
    material.write_untrained_clip(tmp_path / "encoder", classes)
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.argv", ["side", name, str(tmp_path), "2", "dataset.image_size=64"])
    capsys.readouterr()
    side.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    stages = {"decode", "resize", "views", "encode", "assign", "forward", "loss", "backward", "optimizer"}
    assert set(found["per_image"]) == stages | ({"cache"} if name == "aevlp" else set())
    assert all(seconds > 0 for seconds in found["per_image"].values())
    assert found["pair_seconds"] > 0
    if name == "aevlp":
        assert found["encodes_per_image"] == 2 * 17
        assert found["encodes_per_image_when_warm"] == 0
        assert 0 < found["probe"]["head"] < found["probe"]["features"] < 10
    else:
        assert found["encodes_per_image_and_epoch"] == 17


def test_a_stand_in_is_busy_for_its_rate_and_is_waited_for_in_turn_alone(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(feeding.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(feeding.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    views = torch.zeros(8, 3, 2, 2)
    late, in_turn = feeding.StandIn(4.0, in_turn=False), feeding.StandIn(4.0, in_turn=True)
    late.encode_images(views)
    first = late.event()
    late.encode_images(views)
    assert (clock[0], late.busy) == (100, 4)
    first.record()  # now, after both
    first.synchronize()
    assert clock[0] == 104
    in_turn.encode_images(views)
    assert clock[0] == 106


def test_feeding_is_measured_without_a_gpu_and_cards_are_computed_from_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(side, "FED", 2)
    monkeypatch.setattr(composition, "CACHED_ROWS", 4)
    monkeypatch.setattr("sys.argv", ["side", "feeding", str(tmp_path), "2"])
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "elsewhere"))
    capsys.readouterr()
    side.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["one_core"] > 0
    assert [list(shares) for shares in found["busy"].values()] == [["in turn", "0", "1", "2"]] * 3
    assert all(0 < share <= 1 for shares in found["busy"].values() for share in shares.values())
    assert all(seconds > 0 for seconds in found["stages"].values())
    ratios = cards({"feeding": found, "baseline": {
        "per_image": {"encode": 17.0, "forward": 1.0, "loss": 0.0, "backward": 1.0, "optimizer": 0.0},
        "encodes_per_image_and_epoch": 17,
    }})  # fmt: skip
    assert list(ratios) == ["2000", "5000", "8000", "10000"]
    assert ratios["2000"] == composition.compose(composition.Stages(**found["stages"]), 2.0, 2000)


def test_every_table_is_shown(capsys):
    per_image = dict.fromkeys(("decode", "resize", "views", "encode", "assign", "forward", "loss", "backward", "optimizer"), 1.0)
    stages = dict.fromkeys(composition.Stages.__dataclass_fields__, 0.001)
    busy = {"0.5": {"in turn": 0.6, "0": 0.9, "1": 0.97, "2": 0.98}, "1.0": {"in turn": 0.5, "0": 0.8, "1": 0.9, "2": 1.0}}
    result = {
        "baseline": {"per_image": per_image, "per_step": {"prompts": 1.0}, "peak_memory_mb": 1.0,
                     "encodes_per_image_and_epoch": 17},
        "aevlp": {"per_image": per_image | {"cache": 1.0}, "peak_memory_mb": 1.0, "encodes_per_image": 34, "data_wait": 0.0,
                  "encodes_per_image_when_warm": 0, "precision": "bf16"},
        "feeding": {"one_core": 5432.1, "busy": busy, "stages": stages},
        "loss": {"aevlp_syncs": 0, "baseline_syncs": 30}, "ratios": {"run of 8 epochs": 6.0},
        "machine": {"gpu": None, "processor": "a processor", "threads": 2, "packages": {"torch": "2"}},
    }  # fmt: skip
    compare.show(Terminal(), result | {"cards": cards(result)})
    shown = capsys.readouterr().out
    for words in (
        "one core decodes and cuts 5432 views",
        "workers 2",
        "97 %",
        "computed, not measured",
        "labels of 10 trials",
        "8000",
    ):
        assert words in shown


def test_a_photo_takes_the_longer_of_card_and_cores():
    stages = composition.Stages(
        baseline_label=0.032,
        baseline_classify=0.016,
        label=0.008,
        label_alone=0.001,
        identity=0.0008,
        cached=0.0001,
        classify=0.004,
    )
    found = composition.compose(stages, step_in_views=3.0, card=1000, cores=16)  # the card is slower than the cores
    assert found["labels of 8 epochs"] == pytest.approx(8 * 0.017 / (0.034 + 0.0002))
    assert found["labels of 10 trials"] == pytest.approx(80 * 0.017 / (0.034 + 0.002))
    assert found["run of 8 epochs"] == pytest.approx(8 * 0.020 / (0.034 + 0.0002 + 8 * 0.003))
    assert found["sweep of 10 trials"] == pytest.approx(80 * 0.020 / (0.034 + 10 * (0.0002 + 8 * 0.003)))
    fast = composition.compose(stages, step_in_views=3.0, card=1e9, cores=16)  # the cores alone count
    assert fast["labels of 8 epochs"] == pytest.approx(8 * 0.002 / (0.001 + 0.0002))
    assert fast["run of 8 epochs"] == pytest.approx(8 * 0.003 / (0.001 + 0.0002 + 8 * 0.00025))


def test_wrong_numbers_and_folders_are_usage_errors(tmp_path, capsys):
    assert main(["bench", "--images", "4", "--batch-size", "8"]) == 2
    assert main(["bench", "-o", str(tmp_path / "absent/bench.json")]) == 2
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "loss.roh=1"], "--set loss.roh=1: loss.roh: unknown key; did you mean 'rho'?"),
        (["--set", "loss=an"], "bench: the baseline is of loss gpr, not an; leave --set loss=an out"),
        (["--set", "labeler=vlpl"], "bench: the baseline is of labeler damp, not vlpl; leave --set labeler=vlpl out"),
        (["--set", "model=small_cnn"], "bench: the baseline is of model resnet, not small_cnn; leave --set model=small_cnn out"),
        (["--set", "model.depth=101"], "bench: the baseline is of model.depth 50, not 101; leave --set model.depth=101 out"),
        (
            ["--set", "dataset.flip=false"],
            "bench: the baseline is of dataset.flip true, not false; leave --set dataset.flip=false out",
        ),
        (
            ["--set", "trainer.optimizer=sgd"],
            "bench: the baseline is of trainer.optimizer adam, not sgd; leave --set trainer.optimizer=sgd out",
        ),
        (
            ["--set", "trainer.batch_size=4"],
            "bench: the baseline is of trainer.batch_size 8, not 4; leave --set trainer.batch_size=4 out",
        ),
        (["--set", "dataset=digits"], "bench: the baseline is of dataset arrays, not digits; leave --set dataset=digits out"),
    ],
)
def test_what_the_baseline_cannot_do_is_told_before_anything_is_written(words, told, monkeypatch, capsys):
    monkeypatch.setattr(compare, "write_photos", None)
    assert main(["bench", "--device", "cpu", *words]) == 2
    assert capsys.readouterr().err == f"error: {told}\n"


def test_another_encoder_than_the_baselines_is_refused(tmp_path):
    told = f"bench: the baseline is of labeler.encoder.source {tmp_path}/encoder, not openai/clip-vit-base-patch16; leave --set"
    with pytest.raises(ConfigError, match=told):
        side.experiment(tmp_path, 8, ["labeler.encoder.source=openai/clip-vit-base-patch16"])
    with pytest.raises(ConfigError, match=r"bench: the baseline is of labeler\.encoder huggingface, not open_clip; leave --set"):
        side.experiment(tmp_path, 8, ["labeler.encoder={name: open_clip, source: a/b}"])


def test_a_side_that_runs_out_of_memory_says_what_to_do(tmp_path, monkeypatch, capsys):
    def measure(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(side, "measure_project", measure)
    monkeypatch.setattr("sys.argv", ["side", "aevlp", str(tmp_path), "2"])
    with pytest.raises(SystemExit) as stopped:
        side.main()
    told = capsys.readouterr().err
    assert (stopped.value.code, told) == (1, "the GPU ran out of memory; free some, or set --batch-size to a smaller number\n")
    failed = subprocess.CompletedProcess([], 1, "", told)
    monkeypatch.setattr(compare.subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(AevlpError, match=f"^bench: the side aevlp failed:\n{told.strip()}$"):
        compare._measure("aevlp", tmp_path, 2, [], "cpu")


def test_a_plugin_is_not_measured(tmp_path, capsys):
    (tmp_path / "mine.py").touch()
    assert main(["bench", "--plugin", str(tmp_path / "mine.py")]) == 2
    assert "leave --plugin out" in capsys.readouterr().err


def test_a_side_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    with pytest.raises(AevlpError) as raised:
        compare._measure("no_side", tmp_path, 2, [], "cpu")
    assert "KeyError: 'no_side'" in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_card_that_is_not_there_is_a_usage_error(capsys):
    assert main(["bench", "--device", "cuda"]) == 2
    assert capsys.readouterr().err == "error: bench: no CUDA device here; leave --device out\n"
