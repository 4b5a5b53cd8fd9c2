"""What a suite refuses before it begins."""

from __future__ import annotations

import json

import pytest
import suite_runs as suites

from aevlp.config.errors import ConfigError
from aevlp.suites.plan import load_plan


@pytest.mark.parametrize("words", [["seed=7"], [" seed = 7"], ["trainer.epochs=2", "seed=7"]])
@pytest.mark.parametrize(
    "text",
    [suites.SUITE, "rows: {A: {method: an, set: WORDS}}\n", "rows: {A: {method: an, on: {digits: WORDS}}}\n",
     "set: WORDS\nrows: {A: an}\n", "columns: {c: WORDS}\nrows: {A: an}\n",
     "rows: {A: {method: an, own_stop_rule: WORDS}}\n"],
)  # fmt: skip
def test_a_seed_is_no_word_of_a_suite_wherever_it_stands(text, words, tmp_path):
    said = "seed=7: a suite runs seeds 0 to N-1; use --seeds" if words[0] != " seed = 7" else "seed = 7: a suite runs seeds"
    with pytest.raises(ConfigError) as caught:
        load_plan(
            suites.write(tmp_path, text.replace("WORDS", json.dumps(words))), "digits", 1, own_stop_rules=True,
            words=words if "WORDS" not in text else (),
        )  # fmt: skip
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("path", ["tracking.group", "tracking.job_type", "tracking.name"])
def test_what_a_suite_gives_its_runs_itself_is_refused(tmp_path, path):
    with pytest.raises(ConfigError, match=f"^--set {path}=mine: a suite gives this to each of its runs itself; leave it out$"):
        load_plan(suites.write(tmp_path, suites.SUITE), "digits", 1, words=[f"{path}=mine"])


def test_a_row_that_was_asked_for_and_is_not_for_the_dataset_is_told(tmp_path):
    path = suites.write(tmp_path, "rows: {A: an, R: {method: role, only: [voc, coco]}}\n")
    assert load_plan(path, "digits", 1, rows=["A", "R"]).notes == ["R is left out: it is only for voc, coco"]
    assert load_plan(path, "digits", 1).notes == []


def test_rows_that_differ_in_where_their_data_lie_alone_are_no_twins(tmp_path):
    path = suites.write(tmp_path, "rows: {A: an, B: {method: an, set: [dataset.arrays=PLACE]}}\n".replace("PLACE", str(tmp_path)))
    first, second = (line.jobs[0].config for line in load_plan(path, "coco", 1).lines)
    assert (first.dataset.arrays, second.dataset.arrays) == (None, str(tmp_path))
    assert first.hash == second.hash


def test_runs_of_a_suite_have_their_epochs_planned_at_once(tmp_path):
    """So that they are found again: a new run drops what an extended one tells."""
    path = suites.write(tmp_path, "rows: {A: an}\n")
    extended, plain = (load_plan(path, "digits", 1, words=words).jobs[0] for words in (["trainer.earlier_epochs=[4]"], []))
    assert extended.config.hash == plain.config.hash
