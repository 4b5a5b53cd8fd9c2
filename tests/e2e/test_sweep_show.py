"""`sweep show`: what differs between trials, in columns; what it hangs on."""

from __future__ import annotations

import io
import re

import optuna
import pytest

from aevlp.layout import NONE
from aevlp.sweeps.ledger import WORDS
from aevlp.sweeps.study import MARK
from aevlp.sweeps.summary import show
from aevlp.terminal import Terminal


@pytest.fixture
def study():
    """Twelve trials by hand: the rate decides, one setting never changes, one is a share, one has a condition, one has cases."""
    made = optuna.create_study(study_name="by hand", direction="maximize")
    made.set_user_attr(MARK, {"metrics": ["best/val_mAP"]})
    distributions = {
        "trainer.learning_rate": optuna.distributions.FloatDistribution(0, 1),
        "model.learning_rate": optuna.distributions.FloatDistribution(0, 1),
        "loss.lambda2 / loss.lambda1": optuna.distributions.FloatDistribution(0, 1),
        "labeler.top_k": optuna.distributions.IntDistribution(3, 9),
        "head": optuna.distributions.CategoricalDistribution(["slow", "fast"]),
        "loss.rho": optuna.distributions.FloatDistribution(0, 1),
    }
    for i in range(12):
        odd = i % 2
        params = {
            "trainer.learning_rate": i / 12, "model.learning_rate": (5 * i % 12) / 12, "loss.lambda2 / loss.lambda1": 0.5,
            "labeler.top_k": 3, "head": ("slow", "fast")[odd], **({"loss.rho": 0.7} if odd else {}),
        }  # fmt: skip
        words = [
            f"trainer.learning_rate={i}e-4", f"model.learning_rate={5 * i % 12}e-3", f"loss.lambda2={0.01 * i:.2f}",
            "labeler.top_k=3", *(["loss.rho=0.7", "trainer.head_lr_mult=2"] * odd),
        ]  # fmt: skip
        chosen = {name: distributions[name] for name in params}
        made.add_trial(optuna.trial.create_trial(value=float(i), params=params, distributions=chosen, user_attrs={WORDS: words}))
    return made


def shown(study, width, limit=20):
    file = io.StringIO()
    show(study, Terminal(file=file, width=width, force_terminal=True, no_color=True, color_system=None), limit)
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())


def test_what_differs_has_a_column_and_what_does_not_is_said_once(study):
    text = shown(study, 200)
    head, best, second = (re.split(r"  +", line.strip()) for line in text.splitlines()[1:4])
    assert {*head[2:]} == {"trainer.learning_rate", "model.learning_rate", "lambda2", "head", "rho"}
    row = dict(zip(head, best, strict=True))
    assert row["trial"] == "11 *"
    assert row["trainer.learning_rate"] == "11e-4"
    assert row["lambda2"] == "0.11"
    assert (row["head"], row["rho"]) == ("fast", "0.7")
    assert dict(zip(head, second, strict=True))["rho"] == NONE
    assert text.count("labeler.top_k=3") == 1
    assert "the same in all of these: labeler.top_k=3" in text


def test_importances_have_a_heading_and_say_of_what(study):
    lines = [line for line in shown(study, 80).splitlines() if line]
    title = lines.index("what best/val_mAP hangs on: share of each setting (PED-ANOVA, 12 trials)")
    assert lines[title + 1].split() == ["setting", "share"]
    assert lines[title + 2].split()[0] == "trainer.learning_rate"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_runs_over_the_terminal(study, width):
    assert max(map(len, shown(study, width).splitlines())) <= width


def test_one_trial_shows_all_its_settings(study):
    text = shown(study, 200, limit=1)
    assert "the same in all" not in text
    assert "top_k" in text
