"""The study of a row is called by what is tuned: another space is another study, and nothing else is one."""

from __future__ import annotations

import hashlib
import itertools

import pytest
import suite_runs as suites

from aevlp.config.errors import ConfigError
from aevlp.data.fingerprint import Fingerprint, SplitFingerprint
from aevlp.machine import Machine
from aevlp.suites import tune
from aevlp.suites.plan import load_plan
from aevlp.sweeps.study import study_folder
from aevlp.terminal import Terminal

ALPHA = "loss.alpha: {float: [0.01, 0.2], log: true}"
SPLIT = SplitFingerprint(10, "names", "observed", "targets")
DATA = Fingerprint(10, "classes", "prompts", SPLIT, SPLIT, SPLIT)


def prepared(folder, tuned=ALPHA, *, row="", trials=4, words=(), data=None):
    """The study of the one row of a suite."""
    text = f"rows: {{EM: {{method: em, tune: {{{tuned}}}{row}}}}}\n"
    plan = load_plan(suites.write(folder, text, "mine"), "digits", 1, words=words)
    for job in plan.jobs:
        job.data = data
    (found,) = tune.prepare(plan, trials)
    return found


def test_whatever_changes_what_is_tuned_changes_the_name_of_the_study(tmp_path):
    ways = {
        "as it is": {},
        "range": {"tuned": "loss.alpha: {float: [0.01, 0.3], log: true}"},
        "scale": {"tuned": "loss.alpha: {float: [0.01, 0.2]}"},
        "another": {"tuned": "trainer.weight_decay: {float: [0.0, 0.2]}"},
        "one more": {"tuned": f"{ALPHA}, trainer.weight_decay: {{float: [0.0, 0.2]}}"},
        "rate": {"tuned": f"{ALPHA}, trainer.learning_rate: {{times: [0.5, 2], log: true}}"},
        "row": {"row": ", set: [trainer.batch_size=8]"},
        "trials": {"trials": 5},
    }
    names = {way: prepared(tmp_path, **changes).name for way, changes in ways.items()}
    assert all(name.startswith("mine-digits-em-") for name in names.values())
    for (one, name), (other, its) in itertools.combinations(names.items(), 2):
        assert name != its, (one, other)
    assert all(len(name) <= 60 for name in names.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"data": DATA},  # as where they can be read here
        {"words": ("tracking.project=other",)},
        {"words": ("trainer.num_workers=1",)},
        {"tuned": "loss.alpha: {log: true, float: [0.010, 0.2]}"},
    ],
)
def test_what_is_not_tuned_does_not_change_it(tmp_path, changes):
    assert prepared(tmp_path, **changes).name == prepared(tmp_path).name


@pytest.mark.parametrize("data", [None, DATA])
def test_a_study_that_was_called_without_its_space_goes_on_while_that_is_the_same(tmp_path, data):
    found = prepared(tmp_path, data=data)
    key = found.line.jobs[0].config.hash + ("" if data is None else data.hash)
    older = f"mine-digits-em-{hashlib.sha256(key.encode()).hexdigest()[:6]}-4"
    assert found.name != older
    study_folder(older).mkdir(parents=True)
    (study_folder(older) / "study.yaml").write_bytes(found.file.read_bytes())
    again = prepared(tmp_path, data=data)
    assert (again.name, again.file.stem) == (older, older)
    other = prepared(tmp_path, "loss.alpha: {float: [0.01, 0.3], log: true}", data=data)
    assert other.name not in (found.name, older)
    (study_folder(older) / "study.yaml").write_text("space: [")
    assert prepared(tmp_path, data=data).name == found.name


def test_advice_to_take_a_flag_that_a_suite_lacks_says_what_to_do_here(tmp_path, monkeypatch):
    def refuse(*_words, name, **_settings):
        raise ConfigError(f"study {name}: its data have changed since it was begun; restore them, or give --name NEW")

    monkeypatch.setattr(tune, "run_study", refuse)
    found = prepared(tmp_path)
    plan = load_plan(suites.write(tmp_path), "digits", 1)
    tune.tune(plan, [found], 1, machine=Machine.of(1, None), console=Terminal(quiet=True))
    assert found.line.tuning_failure.endswith(f"give --name NEW; a suite has no --name: move {study_folder(found.name)} away")
