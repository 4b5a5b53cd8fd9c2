"""A server that does not answer costs a run 15 seconds at most, whenever it fell silent. The clock here is a number."""

from __future__ import annotations

import contextlib
import types

import pytest

from aevlp.config.schema import TrackingConfig
from aevlp.tracking import RunInfo, WandbTracker, patience, wandb_media
from aevlp.tracking import wandb as wandb_module
from aevlp.tracking.patience import Patience


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(patience, "time", clock)
    return clock


def test_waits_share_one_budget_and_keep_what_is_for_later(clock):
    budget = Patience(15)
    for most, keep, expected in ((3, 7, 3), (float("inf"), 8, 4), (3, 7, 1), (3, 7, 0), (float("inf"), 0, 7), (1, 0, 0)):
        with budget.wait(most, keep=keep) as seconds:
            assert seconds == expected
            clock.now += seconds
    assert budget.left == 0


def test_what_is_allowed_beyond_the_budget_is_used_first(clock):
    budget = Patience(15)
    for took, left in ((60, 15), (104, 11)):
        with budget.wait(keep=7, more=100) as seconds:
            assert seconds == 108
            clock.now += took
        assert budget.left == left


def test_a_wait_that_fails_counts_as_well(clock):
    budget = Patience(15)
    with contextlib.suppress(TimeoutError), budget.wait():
        clock.now += 6
        raise TimeoutError
    assert budget.left == 9


class Server:
    """What W&B's server does, in seconds of the clock: None is silence, so that a wait lasts as long as it may."""

    def __init__(self, clock, first, opens, last):
        self.clock, self.probes, self.opens = clock, [first, last], opens
        self.finish_timeout = 0.0

    def probe(self, url, seconds):
        took = self.probes.pop(0)
        self.clock.now += seconds if took is None else took
        return "silent" if took is None else None

    def init(self, *, mode, settings, **_):
        if mode == "online":
            limit = settings.init_timeout
            self.clock.now += limit if self.opens is None or self.opens > limit else self.opens
            if self.opens is None or self.opens > limit:
                raise TimeoutError("Run initialization has timed out")
            self.finish_timeout = settings.finish_timeout
        run_settings = types.SimpleNamespace(sync_dir="run", base_url="http://server")
        return types.SimpleNamespace(
            settings=run_settings,
            url="",
            define_metric=lambda *_, **__: None,
            finish=self.finish,
            summary={},
            log=lambda row: None,
        )

    def finish(self, exit_code):
        self.clock.now += self.finish_timeout
        if self.finish_timeout:
            raise TimeoutError("Timed out finishing run.")


def waited(clock, monkeypatch, tmp_path, server, send):
    """Seconds that a run waits for a server."""
    import wandb

    settings = types.SimpleNamespace(mode="online", base_url="http://server")
    monkeypatch.setattr(wandb, "setup", lambda: types.SimpleNamespace(settings=settings, ensure_service=lambda: None))
    monkeypatch.setattr(wandb, "init", server.init)
    monkeypatch.setattr(wandb_module, "_probe", server.probe)
    monkeypatch.setattr(wandb_module, "_stop_service", lambda: None)
    monkeypatch.setattr(wandb_module, "_has_credentials", lambda settings: True)
    monkeypatch.setattr(wandb_media, "send", send)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    began = clock.now
    tracker = WandbTracker(TrackingConfig())
    tracker.notify = lambda text: None
    tracker.start(RunInfo("id", "digits", tmp_path, {}, 1, 1, None, []))
    tracker.finish("finished", {})
    return clock.now - began


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("last", [None, 0.1, 0.9])
@pytest.mark.parametrize("opens", [None, 0.5, 4.0, 6.5, 60.0])
@pytest.mark.parametrize("first", [None, 0.1, 2.5])
def test_whenever_it_falls_silent_a_run_waits_no_longer_than_it_has_patience(clock, monkeypatch, tmp_path, first, opens, last):
    budgets = []
    monkeypatch.setattr(wandb_module, "Patience", lambda seconds: budgets.append(Patience(seconds)) or budgets[0])

    def silence(*_):
        clock.now += max(0.0, budgets[0].left - wandb_module.FINISH_SECONDS)

    assert waited(clock, monkeypatch, tmp_path, Server(clock, first, opens, last), silence) <= 15


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_server_that_answers_gets_the_time_that_large_weights_take(clock, monkeypatch, tmp_path):
    granted = []
    monkeypatch.setattr(wandb_media, "upload_seconds", lambda folder: 100.0)
    join = wandb_module.threading.Thread.join
    monkeypatch.setattr(
        wandb_module.threading.Thread, "join", lambda self, timeout: granted.append(timeout) or join(self, timeout)
    )
    waited(clock, monkeypatch, tmp_path, Server(clock, 0.5, 1.0, 0.5), lambda *_: None)
    assert granted[-1] == 100 + 15 - 0.5 - 1 - 0.5 - wandb_module.FINISH_SECONDS
