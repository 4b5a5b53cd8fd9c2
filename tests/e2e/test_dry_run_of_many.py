"""`suite --dry-run` and `sweep run --dry-run`: what is there, what is left, what it takes; nothing is trained."""

from __future__ import annotations

import re

import pytest
import suite_runs as suites
import sweep_runs as sweeps

from aevlp.cli import main
from aevlp.config.errors import UnavailableError
from aevlp.folders import runs_root
from aevlp.sweeps.study import study_folder
from aevlp.training import estimate

ROWS = "rows: {AN: an, WAN: wan, AEVLP: gpr, SMILE: smile}\n"


@pytest.fixture
def rehearsed(monkeypatch):
    """Names of the experiments that were rehearsed."""
    names, rehearse = [], estimate.rehearse
    monkeypatch.setattr(estimate, "rehearse", lambda config, **how: names.append(config.name) or rehearse(config, **how))
    return names


def test_a_suite_tells_what_is_there_and_what_the_rest_takes_and_trains_nothing(tmp_path, rehearsed, capsys):
    path = suites.write(tmp_path, ROWS)
    assert main(["--exp", "digits_an", "--set", *suites.SMALL, "tracking.mode=off"]) == 0
    before = sorted(runs_root().rglob("*"))
    capsys.readouterr()
    assert suites.run(path, "--dry-run", "--workers", "2") == 0
    out = capsys.readouterr().out
    assert sorted(runs_root().rglob("*")) == before
    assert rehearsed == ["digits_an", "digits_gpr", "digits_smile"]  # what costs alike, once
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.split()[:1] and line.split()[0] in ROWS}
    assert rows["AN"][1:4] == ["1", "1", "1"]  # done, to begin, epochs
    assert rows["WAN"][1:4] == ["0", "2", "1"]
    assert rows["AN"][4] == rows["WAN"][4]
    assert re.search(r"time +about \d+:\d\d, 2 at a time", out)
    one, two = re.search(r"memory +([\d,]+) MB a run, ([\d,]+) MB for 2 at a time", out).groups()
    assert int(two.replace(",", "")) == pytest.approx(2 * int(one.replace(",", "")), abs=1)
    assert "rests on  3 rehearsals of two steps and one validation batch" in out
    assert re.search(r"disk +at most [1-9]\d* MB of checkpoints", out)


def test_views_that_differ_are_counted_and_those_that_are_shared_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))
    on, off = "labeler.flip=true, dataset.flip=true", "labeler.flip=false, dataset.flip=true"
    counts = []
    for rows in (f"{{A: {{method: gpr, set: [{on}]}}}}", f"{{B: {{method: gpr, set: [{off}]}}}}",
                 f"{{B: {{method: gpr, set: [{off}]}}, A: {{method: gpr, set: [{on}]}}}}",
                 f"{{B: {{method: gpr, set: [{off}]}}, C: {{method: gpr, set: [{off}, loss.rho=1]}}}}"):  # fmt: skip
        assert suites.run(suites.write(tmp_path, f"rows: {rows}\n"), "--dry-run", seeds=1) == 0
        counts.append(int(re.search(r"encode +([\d,]+) views", capsys.readouterr().out)[1].replace(",", "")))
    mirrored, plain, both, shared = counts
    assert mirrored > plain > 0
    assert both == mirrored + plain  # B is not forgotten beside A, nor A beside B
    assert shared == plain


def test_a_suite_that_is_done_rehearses_nothing(tmp_path, rehearsed, monkeypatch, capsys):
    path = suites.write(tmp_path, "rows: {AN: an}\n")
    suites.InThisProcess(monkeypatch)
    assert suites.run(path, seeds=1) == 0
    assert suites.run(path, "--dry-run", seeds=1) == 0
    assert rehearsed == []
    assert "no run is left" in capsys.readouterr().out


def test_every_row_that_cannot_run_is_told_at_once(tmp_path, capsys):
    rows = [f"{title}: {{method: {method}, set: [labeler.encoder.source={source}]}}"
            for title, method, source in (("AEVLP", "gpr", "no/one"), ("VLPL", "vlpl", "no/two"))]  # fmt: skip
    text = f"rows: {{AN: an, {', '.join(rows)}}}"
    assert suites.run(suites.write(tmp_path, text), "--dry-run", seeds=1) == 1
    said = capsys.readouterr()
    for title, source in (("AEVLP", "no/one"), ("VLPL", "no/two")):
        assert f"{title} cannot run: encoder {source} is not in the local cache" in said.out
    assert "2 of 3 rows cannot run" in said.err
    assert re.search(r"^AN +0 +1", said.out, re.MULTILINE)


def test_a_reason_is_told_once_in_one_line_with_all_rows_that_have_it(tmp_path, monkeypatch, capsys):
    def fail(config, **_):
        raise UnavailableError("no weights\nno encoder either")

    monkeypatch.setattr(estimate, "rehearse", fail)
    assert suites.run(suites.write(tmp_path, ROWS), "--dry-run", seeds=1) == 1
    said = capsys.readouterr()
    assert "AN, WAN, AEVLP, SMILE cannot run: no weights; no encoder either\n" in said.out
    assert said.out.count("no weights") == 1
    assert "failed    none of the runs that are left can be made" in said.out
    assert "no run is left" not in said.out
    assert "4 of 4 rows cannot run" in said.err


def test_trials_of_tuning_and_what_confirms_them_are_counted(tmp_path, capsys):
    assert suites.run(suites.write(tmp_path, "rows: {AN: an}\n"), "--dry-run", "--tune", "4", seeds=2) == 0
    assert re.search(r"^AN +0 +2 +12 ", capsys.readouterr().out, re.MULTILINE)
    assert not runs_root().exists()


def test_a_study_tells_its_trials_and_what_changes_their_cost(tmp_path, rehearsed, capsys):
    space = "space:\n  trainer.epochs: {int: [1, 40]}\n  labeler.grid: {int: [2, 3]}\n"
    path = sweeps.write(tmp_path, f"base: digits_gpr\nset: [{', '.join(suites.SMALL)}]\n{space}sampler: random\ntrials: 3\n")
    assert main(["sweep", "run", path, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert not study_folder("tiny").exists()
    assert re.search(r"trials +3: 0 done, 3 left", out)
    low, high = re.search(r"(\d+:\d\d) to (\d+:\d\d) by trainer.epochs", out).groups()
    assert low < high
    assert "by labeler.grid" not in out  # it changes what is encoded, and not a step
    views = re.search(r"encode +([\d,]+) views", out)
    assert int(views[1].replace(",", "")) > 0
    assert len(rehearsed) == 1


def test_a_dry_run_of_a_study_knows_what_was_done_and_refuses_what_the_study_would(tmp_path, capsys):
    path = sweeps.write(tmp_path)
    assert sweeps.run(path, "--trials", "1") == 0
    capsys.readouterr()
    assert sweeps.run(path, "--dry-run") == 0
    assert re.search(r"trials +3: 1 done, 2 left", capsys.readouterr().out)
    assert sweeps.run(path, "--dry-run", "--set", "trainer.epochs=3") == 2
    assert "begun with another space, base or objective" in capsys.readouterr().err


def test_what_is_known_of_the_images_is_not_rehearsed_twice(tmp_path, rehearsed, capsys):
    text = "columns: {any: [dataset.draw=uniform], rare: [dataset.draw=rare]}\nrows: {AN: an, AEVLP: gpr}\n"
    assert suites.run(suites.write(tmp_path, text), "--dry-run", seeds=1) == 0
    assert rehearsed == ["digits_an", "digits_gpr"]
    views = [line.split()[-1] for line in capsys.readouterr().out.splitlines() if line.startswith("AEVLP")]
    assert len(views) == 2
    assert views[0] == views[1]


def test_a_suite_tells_what_it_takes_on_a_card_that_is_not_here(tmp_path, rehearsed, capsys):
    path = suites.write(tmp_path, "rows: {AN: an, AEVLP: gpr}\n")
    assert suites.run(path, "--dry-run", "--card", "nvidia rtx-4090", "--workers", "2") == 0
    out = capsys.readouterr().out
    assert re.search(r"time +about \d+:\d\d on RTX 4090, 2 at a time, a card each", out)
    assert re.search(r"memory +[\d,]+ MB a run as rehearsed here; RTX 4090 has 24 GB", out)
    assert "no RTX 4090 was measured: it sustains 10% of its 165 TFLOP/s in training and 30% in encoding" in out
    assert re.search(r"disk +at most \d+ MB of checkpoints, 3 a run, and \d+ MB of embeddings at 1 kB a view", out)
    assert rehearsed == ["digits_an", "digits_gpr"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--card", "H100"), "--card: only tells what a suite would take; it goes with --dry-run"),
        (("--card", "H10", "--dry-run"), "--card H10: is not known; did you mean 'H100'"),
        (("--card", "a toaster", "--dry-run"), "--card a toaster: is not known; known: A10, "),
    ],
)
def test_a_card_that_is_not_known_or_not_asked_about_is_a_usage_error(words, told, tmp_path, rehearsed, capsys):
    assert suites.run(suites.write(tmp_path, ROWS), *words) == 2
    assert told in capsys.readouterr().err
    assert rehearsed == []
