"""Ranks: shares, sums and gradients over processes, and what the environment must say."""

from __future__ import annotations

import os
import signal

import many_ranks
import pytest
import small_runs as runs
import torch
from loss_params import PARAMS

from aevlp import ranks
from aevlp.cli import main
from aevlp.losses import build
from aevlp.random import epoch_order
from aevlp.training.run import registry
from aevlp.training.signals import RunStopped, StopFlag
from aevlp.whole_batch import batch_mean, share_of_batch

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="forked ranks cannot use a GPU")
COMMAND = ["--exp", "digits_gpr", "--set", *runs.FAST]
LAUNCH = "start with `torchrun --nproc_per_node=N run.py ...`, which sets them, or unset WORLD_SIZE for a single process"


def test_one_process_is_untouched():
    values = torch.randn(5, 3)
    assert (ranks.count(), ranks.rank(), ranks.is_main(), ranks.announced()) == (1, 0, True, 1)
    assert ranks.share(7) == slice(0, 7)
    assert ranks.add_up(values) is values
    assert ranks.assemble(values, slice(0, 5), 5) is values
    assert torch.equal(batch_mean(values), values.mean(0))


@pytest.mark.parametrize(("size", "world"), [(16, 2), (7, 3), (1, 2), (2, 5), (0, 2), (65_536, 8)])
def test_shares_are_contiguous_disjoint_and_even(monkeypatch, size, world):
    monkeypatch.setattr(ranks, "count", lambda: world)
    parts = [list(range(size))[ranks.share(size, rank)] for rank in range(world)]
    assert [thing for part in parts for thing in part] == list(range(size))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": None}, f"WORLD_SIZE=2 is set, but not RANK; {LAUNCH}"),
        ({"MASTER_ADDR": None, "MASTER_PORT": ""}, f"WORLD_SIZE=2 is set, but not MASTER_ADDR, MASTER_PORT; {LAUNCH}"),
        ({"WORLD_SIZE": "two"}, f"WORLD_SIZE=two must be a number; {LAUNCH}"),
        ({"WORLD_SIZE": "-1"}, f"WORLD_SIZE=-1 must be a number; {LAUNCH}"),
        ({"WORLD_SIZE": "0"}, f"RANK=0 must be below WORLD_SIZE=0; {LAUNCH}"),
        ({"WORLD_SIZE": "17"}, "trainer.batch_size: 16 images cannot be shared by 17 ranks; raise it or use fewer"),
    ],
)
def test_an_environment_that_does_not_fit_is_a_usage_error_of_one_line(monkeypatch, capsys, changes, message):
    for name, value in (many_ranks.environment(0, 2, 29500) | changes).items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    assert main(COMMAND) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert not os.path.exists(os.environ["AEVLP_RUNS"])


def test_a_mistake_that_all_ranks_make_is_reported_by_rank_0(monkeypatch, capsys):
    for rank, said in ((1, ""), (0, "error: unknown experiment 'digit'")):
        monkeypatch.setenv("RANK", str(rank))
        assert main(["--exp", "digit"]) == 2
        err = capsys.readouterr().err
        assert err.startswith(said) if said else err == ""


def test_a_rehearsal_takes_one_process(monkeypatch, capsys):
    for name, value in many_ranks.environment(0, 2, 29500).items():
        monkeypatch.setenv(name, value)
    assert main([*COMMAND, "--dry-run"]) == 2
    assert "--dry-run takes one process" in capsys.readouterr().err


@pytest.mark.processor
def test_loss_and_gradient_are_those_of_one_process_whatever_the_shares(tmp_path):
    torch.manual_seed(0)
    logits, observed = torch.randn(7, 5, dtype=torch.float32), torch.eye(7, 5)
    pseudo = torch.randint(-1, 2, (7, 5), dtype=torch.int8)
    loss = build("gpr", num_classes=5, num_samples=7, regularizer=3.0, expected_positives=1.5)

    def loss_and_gradient(rows: slice) -> dict[str, torch.Tensor]:
        own, weight = logits.clone().requires_grad_(), (rows.stop - rows.start) / 7
        with share_of_batch(rows.stop - rows.start, 7):
            value = loss(own[rows], observed[rows], pseudo[rows], epoch=2, num_epochs=8)
        (value * weight * ranks.count()).backward()
        return {
            "loss": ranks.add_up(value.detach() * weight),
            "gradient": ranks.add_up(own.grad / ranks.count()),
            "table": ranks.assemble(own.detach()[rows] > 0, rows, 7),
        }

    expected = loss_and_gradient(slice(0, 7))
    for found in many_ranks.on_ranks(3, tmp_path, lambda: loss_and_gradient(ranks.share(7))):
        torch.testing.assert_close(found["loss"], expected["loss"], rtol=1e-6, atol=0)
        torch.testing.assert_close(found["gradient"], expected["gradient"], rtol=1e-5, atol=1e-8)
        assert torch.equal(found["table"], logits > 0)


SUMS = {f"{name} sum": {"reduction": "sum"} for name in ("asl", "hill", "splc")}


@pytest.mark.processor
@pytest.mark.parametrize("images", [7, 2])
def test_every_loss_is_that_of_one_process_whatever_is_known(tmp_path, images):
    """Of two images one of three ranks has none, and gets a stand-in."""
    numbers = torch.Generator().manual_seed(0)
    logits, pseudo = torch.randn(7, 5, generator=numbers), torch.randint(-1, 2, (7, 5), generator=numbers, dtype=torch.int8)
    observed = torch.randint(-1, 2, (7, 5), generator=numbers, dtype=torch.int8)
    observed[0], observed[3], observed[6] = 0, -1, 1

    def values(rows: slice) -> dict[str, torch.Tensor]:
        found, size = {}, rows.stop - rows.start
        read = rows if size else slice(0, 1)
        for name in [*registry.names("losses"), *SUMS]:
            torch.manual_seed(0)
            loss = build(name.split()[0], num_classes=5, num_samples=7, **PARAMS.get(name, SUMS.get(name, {})))
            own = logits.clone().requires_grad_()
            with share_of_batch(size, images):
                value = loss(own[read], observed[read], pseudo[read], epoch=2, num_epochs=8, index=torch.arange(7)[read])
            (value * size / images * ranks.count()).backward()
            found[f"{name} value"] = ranks.add_up(value.detach() * size / images)
            found[f"{name} gradient"] = ranks.add_up(own.grad / ranks.count())
            if name == "ll_cp":
                found["ll_cp flipped"] = ranks.add_up(loss.flipped.float() * (size > 0))  # a row is its owner's, as in a run
        return found

    expected = values(slice(0, images))
    assert expected["ll_cp flipped"].any()
    for found in many_ranks.on_ranks(3, tmp_path, lambda: values(ranks.share(images))):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")


def test_ranks_read_their_shares_of_one_order_and_stop_together(tmp_path):
    from aevlp.data.loaders import TrainLoader, eval_loader

    data = registry.build("datasets", runs.config("dataset.num_train=33").dataset)

    def read() -> dict[str, object]:
        loader = TrainLoader(data.train, image_size=32, flip=True, batch_size=16, num_workers=0, seed=3)
        index = [batch.index.tolist() for batch in loader.epoch(2)]
        scored = sum(len(images) for images in eval_loader(data.val, image_size=32, batch_size=7, num_workers=0))
        owners = loader.owners(2, 3).tolist()
        with StopFlag() as stop:
            before = stop.came()
            if ranks.rank() == 1:
                signal.raise_signal(signal.SIGTERM)
            try:
                stop.check()
            except RunStopped as stopped:
                return {"index": index, "scored": scored, "owners": owners, "before": before, "code": stopped.exit_code}
        raise AssertionError("went on")

    first, second = many_ranks.on_ranks(2, tmp_path, read)
    order = epoch_order(33, 3, 2).tolist()
    assert [a + b for a, b in zip(first["index"], second["index"], strict=True)][:2] == [order[:16], order[16:32]]
    assert first["index"][2] == second["index"][2] == order[32:]  # one image left: a stand-in of weight 0 for the first rank
    assert first["owners"] == second["owners"]
    assert [row for row in range(33) if first["owners"][row] == 1] == sorted([row for part in second["index"] for row in part])
    assert first["scored"] + second["scored"] == len(data.val)
    assert (first["before"], second["before"]) == (False, False)
    assert (first["code"], second["code"]) == (143, 143)


def test_commands_of_one_process_say_so_and_a_lone_rank_is_no_rank(monkeypatch, capsys):
    monkeypatch.setenv("LOCAL_RANK", "0")  # as torchrun sets it for one process as well
    assert main(["list", "losses"]) == 0
    assert "LOCAL_RANK" not in os.environ
    for name, value in many_ranks.environment(0, 2, 29500).items():
        monkeypatch.setenv(name, value)
    for words in (["eval", "latest"], ["predict", "latest", "photo.png", "-o", "x"], ["suite", "table1", "--dataset", "digits"]):
        assert main(words) == 2
        assert "error: this command is of one process: start it without torchrun, or unset WORLD_SIZE" in capsys.readouterr().err
