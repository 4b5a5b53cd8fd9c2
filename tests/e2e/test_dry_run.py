"""`--dry-run`: every part once, and nothing left behind."""

import re
from dataclasses import replace

import pytest
import torch

from aevlp import load_experiment
from aevlp.cli import main
from aevlp.config.finding import EXPERIMENTS, files
from aevlp.training import dry_run as module
from aevlp.training.estimate import costs_alike
from aevlp.training.task import Task


def test_it_tells_time_and_memory_and_leaves_nothing(small, capsys, tmp_path):
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *small]) == 0
    output = capsys.readouterr().out
    assert re.search(r"step +\d+ ms for 16 images", output)
    assert re.search(r"views +10 per training image", output)
    assert re.search(r"memory +\d+ MB", output)
    assert re.search(r"cosines +0\.0 MB of the whole run, kept in memory", output)
    assert re.search(r"whole run +about \d+:\d\d to encode views, \d+:\d\d for 2 epochs", output)
    assert not (tmp_path / "runs").exists()


def test_cosines_beyond_the_budget_are_told(small, capsys):
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *small, "labeler.table_mb=0"]) == 0
    assert "0.0 MB of the whole run, over labeler.table_mb=0: computed as needed" in capsys.readouterr().out


def test_pseudo_labels_that_nothing_learns_from_are_told(small, capsys):
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *small, "loss=an"]) == 0
    assert "loss an does not read pseudo-labels" in capsys.readouterr().out


def test_it_times_encoding_and_counts_what_is_cached(small, capsys, monkeypatch):
    few = [*small, "dataset.num_train=32", "dataset.num_val=8", "dataset.num_test=8"]
    counted = []
    count = module._views_to_encode
    monkeypatch.setattr(module, "_views_to_encode", lambda *words: counted.append(count(*words)) or counted[-1])
    main(["cache", "build", "--exp", "digits_gpr", "--set", *few, "dataset.num_test=4"])
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *few, "trainer.batch_size=8"]) == 0
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *few, "labeler.encoder.cache=false"]) == 0
    assert counted == [40, 480]
    assert capsys.readouterr().out.count("views        10 per training image") == 2


@pytest.mark.parametrize("images", [64, 20, 10])
def test_what_only_the_first_step_and_validation_cost_is_not_counted(small, monkeypatch, images):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    sizes = []

    def slow_once(owner, name, size):
        work, seconds = getattr(owner, name), [1000.0]

        def timed(self, given, *more, **named):
            now[0] += seconds.pop() if seconds else 4.0
            sizes.append((name, size(given)))
            return work(self, given, *more, **named)

        monkeypatch.setattr(owner, name, timed)

    slow_once(Task, "step", lambda batch: len(batch.image))
    slow_once(module.Trainer, "predict", len)
    found = module.rehearse(load_experiment("digits_an", [*small, f"dataset.num_train={images}"]))
    assert (found.step_seconds, found.evaluate_seconds) == (4.0, 4.0 / 40)
    whole = min(images, 16)
    assert [size for name, size in sizes if name == "step"][1] == whole
    assert sizes[-1] == ("predict", 40)


def test_a_rehearsal_leaves_the_number_of_threads_to_the_next(small):
    before = torch.get_num_threads()
    module.rehearse(load_experiment("digits_an", [*small, f"trainer.threads={before + 1}"]))
    assert torch.get_num_threads() == before


def test_a_checkpoint_that_does_not_come_back_equal_is_an_error(small, capsys, monkeypatch):
    def restore(self, checkpoint):
        for parameter in self.task.model.parameters():
            parameter.data.add_(1)

    monkeypatch.setattr(module.Trainer, "restore", restore)
    assert main(["--exp", "digits_an", "--dry-run", "--set", *small]) == 1
    assert "weights changed by saving and loading" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(name for name in files(EXPERIMENTS) if name.startswith("digits_")))
def test_every_digits_experiment_trains(name, small, capsys):
    assert main(["--exp", name, "--set", *small, "trainer.epochs=1", "trainer.evaluate_labeler=false"]) == 0
    assert "finished" in capsys.readouterr().out


def test_a_loss_that_is_not_finite_and_labels_that_do_not_fit_are_told_by_a_rehearsal(small, capsys, tmp_path):
    plugin = tmp_path / "wrong.py"
    plugin.write_text("""
import dataclasses
import torch
from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.data.formats.digits import DigitsConfig, build_digits

@register("losses", "wrong", config=ComponentConfig)
class Wrong(torch.nn.Module):
    def __init__(self, config, **runtime):
        super().__init__()

    def forward(self, logits, observed, pseudo, **named):
        return logits.sum() / 0

@register("datasets", "short", config=DigitsConfig)
def build_short(config):
    data = build_digits(config)
    return dataclasses.replace(data, train=dataclasses.replace(data.train, observed=data.train.observed[1:]))
""")
    words = ["--exp", "digits_an", "--dry-run", "--plugin", str(plugin), "--set", *small]
    assert main([*words, "loss=wrong"]) == 1
    assert "loss wrong: gave" in capsys.readouterr().err
    assert main([*words[: -len(small)], "dataset=short", *small]) == 1
    assert "observed labels of the training split: has 63 rows for 64 images" in capsys.readouterr().err


def test_labels_that_stand_far_down_are_found(small, monkeypatch):
    whole = module.build_dataset(load_experiment("digits_gpr", small).dataset)
    hidden = [replace(split, observed=split.observed.copy()) for split in (whole.train, whole.val)]
    for split in hidden:
        split.observed[:-2] = 0
    monkeypatch.setattr(module, "build_dataset", lambda _: replace(whole, train=hidden[0], val=hidden[1]))
    assert main(["--exp", "digits_gpr", "--dry-run", "--set", *small, "trainer.batch_size=4", "trainer.eval_batch_size=4"]) == 0


def test_the_epoch_that_costs_most_is_rehearsed_and_cheaper_ones_and_passes_are_counted_apart(small, monkeypatch):
    epochs, step = [], Task.step

    def counted(self, batch, *, epoch, **more):
        epochs.append(epoch)
        return step(self, batch, epoch=epoch, **more)

    monkeypatch.setattr(Task, "step", counted)
    words = [*small, "trainer.epochs=5", "trainer.linear_epochs=2"]
    found = module.rehearse(load_experiment("digits_an", words))
    assert epochs == [3, 3, 1]
    config = load_experiment("digits_em_apl", [*words, "loss.warmup=3"])
    looks = module.rehearse(config)
    assert (found.look_backs, looks.look_backs) == (0, 3)
    fixed = replace(looks, step_seconds=3.0, linear_step_seconds=1.0, evaluate_seconds=0.5, num_train=32, num_val=10)
    on_images = replace(fixed, stored=0)
    assert on_images.training_seconds(config.trainer) == 2 * (2 * 1 + 3 * 3) + 0.5 * (5 * 10 + 3 * 32)
    # Features of a backbone that stands still are computed once, and validate two of the five epochs.
    assert fixed.stored == config.dataset.num_train + config.dataset.num_val
    assert fixed.training_seconds(config.trainer) == 2 * (2 * 1 + 3 * 3) + 0.5 * (fixed.stored + 3 * 10 + 3 * 32)
    assert not costs_alike(config, load_experiment("digits_an", words))
    assert not costs_alike(load_experiment("digits_an", words), load_experiment("digits_an", words[:-1]))
