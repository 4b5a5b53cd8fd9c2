"""What is refused of a study's file, before anything runs or is written."""

from __future__ import annotations

import pytest
import sweep_runs as sweeps

from aevlp.config.errors import ConfigError
from aevlp.sweeps.plan import Plan
from aevlp.sweeps.study_file import load_study


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("loss.rhoo: {float: [0, 1]}", "tiny.yaml:4: space.loss.rhoo: --set loss.rhoo=0.0: loss.rhoo: unknown key; did you mean"),
        ("los.rho: {float: [0, 1]}", "unknown section; did you mean 'loss'?"),
        ("loss.beta[7]: {float: [0, 1]}", "does not exist; the value is a list of 4"),
        ("loss.rho: {float: [1, 1]}", "tiny.yaml:4: space.loss.rho: the range [1, 1] is empty"),
        ("loss.rho: {float: [0, 1], log: true}", "a log range must lie above 0, starts at 0"),
        ("loss.rho: {float: [0.5, 1.5]}", "loss.rho: input should be less than or equal to 1 (got 1.5)"),
        ("loss.rho: {choice: [0.5, high]}", "choice mixes types: 0.5, 'high'"),
        ("loss.rho: {choice: [0.5, true]}", "choice mixes types"),
        ("loss: {choice: [gpr, grp]}", "unknown loss 'grp'; did you mean 'gr' or 'gpr'?"),
        ("loss.rho: {float: [0, 1], int: [0, 1]}", "exactly one of float, int, choice, fraction_of, cases; has float and int"),
        ("loss.rho: {flaot: [0, 1]}", "space.loss.rho.flaot: unknown key"),
        ("loss.rho: {fraction_of: loss.lambda1}", "fraction_of, low and high come together"),
        ("loss.rho: {fraction_of: loss.alpha, low: 0.1, high: 0.9}", "loss.alpha is no number of the base"),
        ("loss.rho: {float: [0, 1], when: {loss.lambda1: 1}}", "when names 'loss.lambda1', which is not in the space"),
        ("loss.rho: {choice: [0.5, 0.5]}", "names a value twice"),
        ("views: {cases: {with: [], without: [labeler.gird=0]}}", "tiny.yaml:4: space.views: --set labeler.gird=0: "),
        ("views: {cases: {with: [], without: [labeler.grid=-7]}}", "labeler.grid: input should be greater than or equal to"),
        ("views: {cases: {with: [], without: [labeler.grid 0]}}", "tiny.yaml:4: space.views: case without: labeler.grid 0: "),
        ("seed: {choice: [0, 1, 2]}", "tiny.yaml:4: space.seed: seed is not searched; `seeds: N` gives each trial N seeds"),
        ("some: {cases: {a: [], b: [ seed = 3]}}", "tiny.yaml:4: space.some: seed is not searched"),
        ("tracking.group: {choice: [a, b]}", "tracking.group is not searched; the study gives it to each run itself"),
        ("trainer.batch_size: {float: [16, 64]}", "tiny.yaml:4: space.trainer.batch_size: --set trainer.batch_size=34.34: "),
        ("loss.rho: {float: [0, 1]}\nstart: [[], [loss.lamda2=3]]", "tiny.yaml:5: start: --set loss.lamda2=3: "),
        ("loss.rho: {choice: [0.5, 1.0]}\nsampler: grid\nstart: [[loss.rho=0.5]]", "a grid tries every combination"),
        ("loss.rho: {fraction_of: labeler.negatives, low: 0, high: 1}\n  labeler.negatives: {choice: [off, on]}", "no number"),
        ("loss.rho: {fraction_of: views, low: 0, high: 1}\n  views: {cases: {a: [], b: [labeler.grid=2]}}", "no number in each"),
        ("loss.rho: {fraction_of: trainer.max_drop, low: 0, high: 1}\n  trainer.max_drop: {choice: [1.0, null]}", "is no number"),
        ("loss.rho: {fraction_of: loss.lambda1, low: 0.2, high: 1}\n  loss.lambda1: {fraction_of: loss.rho, low: 0.2, high: 1}",
         "tiny.yaml:3: space: each of these needs another of them first, or is undone by it: loss.rho, loss.lambda1; leave"),
        ("loss.q2: {fraction_of: loss.rho, low: 0, high: 1}\n  loss.rho: {fraction_of: loss.lambda1, low: 0.2, high: 1}\n"
         "  loss.lambda1: {fraction_of: loss.rho, low: 0.2, high: 1}", "undone by it: loss.rho, loss.lambda1; leave one out"),
        ("loss.rho: {fraction_of: loss.rho, low: 0.2, high: 1}", "space.loss.rho: fraction_of names the parameter itself"),
        ("loss.rho: {float: [0, 1]}\nobjective: val/mAPP", "no run logs 'val/mAPP'; did you mean 'val/mAP'"),
        ("loss.rho: {float: [0, 1]}\nobjective: test/mAP", "would choose settings by the test images"),
        ("loss.rho: {float: [0, 1]}\ntrials: 0", "trials: input should be greater than or equal to 1 (got 0)"),
        ("loss.rho: {float: [0, 1]}\nsampler: tpee", "sampler.name: input should be 'tpe'"),
        ("loss.rho: {float: [0, 1]}\nsampler: grid", "the grid sampler needs a choice or cases"),
        ("loss.rho: {float: [0, 1]}\nobjective: [val/mAP, train/loss]", "with several objectives"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_is_refused_with_file_line_and_path(tmp_path, line, message):
    path = sweeps.write(tmp_path, f"# A study.\nbase: digits_gpr\nspace:\n  {line}\n")
    with pytest.raises(ConfigError) as refused:
        Plan.load(path)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("choice: [off, on]", "onn", "onn; it has no such value; did you mean 'on'?"),
        ("choice: [off, on]", "true", "True; it has no such value; known: off, on"),
        ("cases: {with: [], without: [labeler.grid=0]}", "wihtout", "wihtout; it has no such value; did you mean 'without'?"),
        ("cases: {with: [], without: [labeler.grid=0]}", "null", "None; it has no such value"),
        ("int: [2, 6]", "7", "7; it has no such value"),
        ("int: [2, 6], step: 2", "3", "3; it has no such value"),
        ("int: [2, 6]", "two", "two; it has no such value"),
        ("float: [0.5, 1]", "2", "2; it has no such value"),
        ("float: [0.5, 1]", "null", "None; it has no such value"),
        ("fraction_of: loss.lambda1, low: 0.2, high: 0.9", "0.5", "0.5; that is a share of loss.lambda1; name a choice or cases"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused_with_line_and_path(tmp_path, kind, value, message):
    text = f"base: digits_gpr\nspace:\n  loss.rho: {{float: [0, 1], when: {{other: {value}}}}}\n  other: {{{kind}}}\n"
    with pytest.raises(ConfigError) as refused:
        Plan.load(sweeps.write(tmp_path, text))
    assert f"space.loss.rho: when asks for other: {message}" in str(refused.value)


def test_a_space_with_some_invalid_combinations_is_allowed_and_one_without_a_valid_one_is_not(tmp_path):
    text = "base: digits_gpr\nspace:\n  loss.lambda1: {float: [0.1, 0.9]}\n  loss.lambda2: {float: [0.1, 0.9]}\n"
    assert Plan.load(sweeps.write(tmp_path, text)).name == "tiny"
    text = "base: digits_gpr\nspace:\n  loss.lambda1: {float: [0.1, 0.2]}\n  loss.lambda2: {float: [0.3, 0.9]}\n"
    with pytest.raises(ConfigError, match=r"must not be below lambda2.*\(no combination tried is valid\)"):
        Plan.load(sweeps.write(tmp_path, text))


def test_unknown_studies_and_bases_are_named(tmp_path):
    with pytest.raises(ConfigError, match="unknown study 'digits_gpt'; did you mean 'digits_gpr'"):
        load_study("digits_gpt")
    path = sweeps.write(tmp_path, "base: digits_gprr\nspace: {loss.rho: {float: [0, 1]}}")
    with pytest.raises(ConfigError, match=r"tiny.yaml:1: unknown experiment 'digits_gprr'; did you mean 'digits_gpr'"):
        Plan.load(path)
