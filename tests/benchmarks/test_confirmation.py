"""What a study gives away by its choice, with and without confirmation at equal cost: ten studies of short runs on drawn scenes.

Not part of the default run: `pytest -n 0 -s tests/benchmarks/test_confirmation.py` prints a table a dataset, in two minutes. The
sampler and the confirmation are those of a study; its runs are looked up in confirmation_*.csv, real runs of `digits_gpr` and
`scenes_gpr` on few scenes, 20 settings with 7 seeds each. `python tests/benchmarks/test_confirmation.py` trains those that the
files lack, at one to three CPU seconds each.
"""

import csv
import itertools
import shutil
from pathlib import Path

import numpy as np
import optuna
import pytest

import aevlp
import aevlp.training.run
from aevlp.reporting.statistics import mean_and_interval
from aevlp.sweeps.confirmation import begin
from aevlp.sweeps.ledger import CONFIRMS, ROUND
from aevlp.sweeps.samplers import build_sampler
from aevlp.sweeps.space import Space
from aevlp.sweeps.study_file import StudyConfig
from aevlp.sweeps.summary import best_trials

# On scenes nothing is learnt in 4 epochs at .001 and above (11 mAP where .0005 has 20), so theirs begin lower.
RATES = {"digits": (0.0005, 0.001, 0.002, 0.004, 0.008), "scenes": (0.000125, 0.00025, 0.0005, 0.001, 0.002)}
SMALL = {
    "digits": ("dataset.image_size=32", "dataset.num_train=160", "dataset.num_val=120", "dataset.num_test=240"),
    "scenes": ("dataset.image_size=64", "dataset.num_train=320", "dataset.num_val=240", "dataset.num_test=480"),
}
QUICK = (
    "trainer.epochs=4", "trainer.patience=null", "trainer.max_drop=null", "trainer.threads=1", "trainer.evaluate_labeler=false",
    "tracking.mode=off",
)  # fmt: skip
SEEDS, STUDIES, FRESH = 7, 10, 3
MANY = 40  # further draws of the same table: a better mean, with no interval that could be believed


def file_of(dataset):
    """Where the runs of a dataset are looked up."""
    return Path(__file__).with_name(f"confirmation_{dataset}.csv")


def space_of(dataset):
    """The settings of a dataset: 20 combinations."""
    return {"trainer.learning_rate": RATES[dataset], "trainer.head_lr_mult": (1, 10), "trainer.batch_size": (16, 32)}


def read(dataset):
    """Validation and test mAP (settings, seeds, 2)."""
    rows = csv.reader(file_of(dataset).open())
    found = {(*map(float, row[1:4]), int(row[0])): tuple(map(float, row[4:6])) for row in rows}
    settings = itertools.product(*space_of(dataset).values())
    return np.array([[found[(*map(float, setting), seed)] for seed in range(SEEDS)] for setting in settings])


def row_of(codes, choices):
    """Which row of the table has these values."""
    places = [list(known).index(codes[path]) for path, known in choices.items()]
    return int(np.ravel_multi_index(places, [len(known) for known in choices.values()]))


def study(values, choices, seed, trials, confirm=None, seeds_each=1):
    """Run a study on values (settings, seeds) of the table, whose settings are all combinations of choices (path: values).

    Returns:
        the row of the setting it picks, and how many runs it took.
    """
    space = {path: {"choice": list(known)} for path, known in choices.items()}
    config = StudyConfig(
        base="digits_gpr", space=space, seed=seed, seeds=seeds_each, confirm=confirm, sampler={"name": "tpe", "startup": 6}
    )
    found = optuna.create_study(study_name="replay", direction="maximize", sampler=build_sampler(config))
    found.set_user_attr("aevlp", {"metrics": ["best/val_mAP"]})
    parameters = Space(config.space).parameters
    base = (0.0005, 10, 32)  # of what there is, next to digits_gpr and scenes_gpr
    found.enqueue_trial(dict(zip(choices, base, strict=True)))
    confirmation = None if config.confirm is None else begin(found, config.confirm, seeds_each)
    runs = 0
    while True:
        is_searched = len(found.trials) >= trials and all(trial.state.is_finished() for trial in found.trials)
        repeat = None if confirmation is None else confirmation.next_run(is_searched=is_searched)
        if repeat is not None:
            codes = found.trials[repeat.user_attrs[CONFIRMS]].params
            repeat.study.tell(repeat, values[row_of(codes, choices), seeds_each + repeat.user_attrs[ROUND]])
            runs += 1
        elif is_searched:
            return row_of(best_trials(found)[0].params, choices), runs
        else:
            trial = found.ask()
            codes = {parameter.path: trial._suggest(parameter.name, parameter.distribution) for parameter in parameters}
            found.tell(trial, float(values[row_of(codes, choices), :seeds_each].mean()))
            runs += seeds_each


# Trials, leaders that are confirmed (none without), seeds of each trial; all at a cost of 30 or 24 runs.
WAYS = (
    ("30 trials of one seed", 30, None, 1), ("10 trials of three seeds", 10, None, 3),
    ("12 trials, confirmed {best: 5, seeds: 3}", 12, 5, 1),
    ("24 trials of one seed", 24, None, 1), ("8 trials of three seeds", 8, None, 3),
    ("12 trials, confirmed {best: 3, seeds: 3}", 12, 3, 1),
)  # fmt: skip


@pytest.mark.parametrize("dataset", SMALL)
def test_regret_with_and_without_confirmation(dataset):
    table = read(dataset)
    print(f"\n{dataset}")
    for name, trials, best, seeds_each in WAYS:
        lost, cost = [], []
        for number in range(MANY):
            # Each study searches and confirms with other seeds of the table; those that it never saw judge its choice.
            values = table[:, np.random.default_rng(number).permutation(SEEDS)]
            confirm = None if best is None else {"best": best, "seeds": FRESH}
            picked, runs = study(values[..., 0], space_of(dataset), number, trials, confirm, seeds_each)
            unseen = values[:, 1 + FRESH :].mean(axis=1)
            known = unseen[:, 0].argmax()
            lost.append(unseen[known] - unseen[picked])
            cost.append(runs)
        told = " ".join(f"{mean:5.2f} ± {half:.2f}" for mean, half in map(mean_and_interval, np.transpose(lost[:STUDIES])))
        many = " ".join(f"{mean:5.2f}" for mean in np.mean(lost, axis=0))
        print(f"{name:42} {np.mean(cost[:STUDIES]):5.1f} runs   validation, test mAP given away: {told}   of {MANY}: {many}")
        assert max(cost) <= 30
    spread = table.std(axis=1, ddof=1).mean(axis=0)
    print(f"seeds alone: {spread[0]:.2f} validation, {spread[1]:.2f} test mAP (standard deviation)")


def make():
    """Train what the file lacks."""
    build, made = aevlp.training.run.build_dataset, {}

    def once(config):
        """All runs have the same scenes."""
        key = config.model_dump_json()
        if key not in made:
            made[key] = build(config)
        return made[key]

    aevlp.training.run.build_dataset = once
    for dataset, small in SMALL.items():
        with file_of(dataset).open("a+") as file:
            file.seek(0)
            there = {tuple(row[:4]) for row in csv.reader(file)}
            for seed, *values in itertools.product(range(SEEDS), *space_of(dataset).values()):
                if (str(seed), *map(str, values)) in there:
                    continue
                words = [f"{path}={value}" for path, value in zip(space_of(dataset), values, strict=True)]
                result = aevlp.train(aevlp.load_experiment(f"{dataset}_gpr", [*small, *QUICK, *words, f"seed={seed}"]))
                shutil.rmtree(result.run_dir)
                print(seed, *values, result.best_val_map, result.test_map, sep=",", file=file, flush=True)


if __name__ == "__main__":
    make()
