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
