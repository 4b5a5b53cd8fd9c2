"""What a command prints on terminals of 80, 100 and 160 columns, against what it writes into a pipe: the same words, whole."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from types import SimpleNamespace

import hand_made
import pytest
import suite_runs
from miniatures import MAKE

from aevlp.cli import main
from aevlp.config.loading import load_experiment
from aevlp.layout import NONE
from aevlp.runs.folder import RunFolder
from aevlp.suites.plan import load_plan
from aevlp.sweeps.confirmation import begin
from aevlp.sweeps.ledger import WORDS
from aevlp.sweeps.study_file import ConfirmConfig
from aevlp.sweeps.summary import show
from aevlp.sweeps.view import View
from aevlp.terminal import Terminal

ESCAPES = r"\x1b\[[\d;?]*[a-zA-Z]"
WIDTHS = (80, 100, 160)
LONG = "my_experiment_with_a_name_of_eighty_letters_" + "x" * 36
EXPERIMENTS = (
    "digits_gpr",
    "digits_em",
    "digits_vlpl",
    "digits_role",
    "digits_mime",
    "digits_smile",
    "digits_ll_cp",
    "digits_an",
)


@pytest.fixture(params=WIDTHS)
def both(request, capsys, monkeypatch):
    """Runs something; returns the width, its lines on a terminal of that width and in a pipe."""

    def run(act):
        found = []
        for force in ("1", ""):
            monkeypatch.setenv("FORCE_COLOR", force)
            capsys.readouterr()
            act()
            found.append(re.sub(ESCAPES, "", capsys.readouterr().out).splitlines())
        return request.param, *found

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(request.param))
    return run


def fits(found, count=Counter):
    """No line is wider than the terminal, and no word is missing or broken; `count=set` where equal words are told once."""
    width, terminal, pipe = found
    assert [line for line in terminal if len(line) > width and len(line.split()) > 1] == []  # a word, such as a path, is not cut
    here, there = (count(word for line in lines for word in line.split() if word != NONE) for lines in (terminal, pipe))
    assert not there - here
    return terminal, pipe


def succeed(*words):
    assert main(list(words)) == 0


@pytest.fixture
def eight_runs(tmp_path):
    """Finished runs of eight experiments with two seeds, one with a name of 80 letters; their classes have long names."""
    classes = ["traffic light", "hair drier", "c" * 40, "dog"]
    for number, experiment in enumerate((*EXPERIMENTS, LONG)):
        for seed in (0, 1):
            changes = (f"name={LONG}", "trainer.learning_rate=0.5") if experiment == LONG else ()
            config = load_experiment("digits_gpr" if changes else experiment, [f"seed={seed}", *changes])
            folder = RunFolder.create(config)
            summary = {"state": "finished", "experiment": config.name, "seed": seed, "config_hash": config.hash,
                       "test/mAP": 90.0 - number + seed, "best/val_mAP": 80.0 + number, "pseudo/positive/precision": 91.5,
                       "pseudo/positive/recall": 61.5, "test/labeler_mAP": 75.0}  # fmt: skip
            folder.write("summary.json", json.dumps(summary).encode())
            rows = [f"{name},{50 + 7 * (number + seed * i) % 40}" for i, name in enumerate(classes)]
            folder.write("per_class.csv", "\n".join(["class,test_AP", *rows, ""]).encode())
    return tmp_path / "runs"


def test_list(both, tmp_path, monkeypatch):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / f"{LONG}.yaml").write_text(f"# One of my own, {'with many words ' * 20}\nbase: digits_gpr\n")
    monkeypatch.chdir(tmp_path)
    for kind in ([], ["experiments"], ["losses"]):
        fits(both(lambda kind=kind: succeed("list", *kind)))


@pytest.mark.parametrize("words", [
    ["--exp", "digits_gpr"], ["--exp", "coco_gpr", "--set", "dataset.root=/" + "d" * 60],
    ["--exp", "digits_gpr", "--diff", "coco_mime"],
    ["--exp", "digits_gpr", "--set", f"name={LONG[:70]}", "--diff", "digits_smile"],
])  # fmt: skip
def test_show(both, words):
    _, pipe = fits(both(lambda: succeed("show", *words)))
    assert all(line[0].isalpha() for line in pipe[1:])  # a line a setting


def test_compare(both, eight_runs, capsys):
    terminal, pipe = fits(both(lambda: succeed("compare", str(eight_runs))), set)
    assert sum(line.startswith(("digits", "my_")) for line in pipe) == len(EXPERIMENTS) + 1
    capsys.readouterr()
    succeed("compare", str(eight_runs), "--json")
    data = json.loads(capsys.readouterr().out)
    for lines in (terminal, pipe):
        text = "\n".join(lines)
        for path, values in data["settings"].items():
            told = {json.dumps(value).strip('"') for value in values if value is not None}
            assert {word for word in (path, *told) if word not in text} == set()


def test_the_cache(both):
    few = ["dataset.num_train=2", "dataset.num_val=2", "dataset.num_test=2", "labeler.grid=2"]
    succeed("cache", "build", "--exp", "digits_gpr", "--set", *few)
    fits(both(lambda: succeed("cache", "list")))


def test_eval(both, trained_run):
    fits(both(lambda: succeed("eval", str(trained_run))))


def test_the_table_of_a_suite(both, tmp_path):
    path = suite_runs.write(tmp_path, suite_runs.SUITE.partition("  SMILE")[0].replace("AEVLP", LONG))
    for line in load_plan(path, "digits", 2).lines:
        for job in line.jobs:
            summary = {"state": "finished", "experiment": job.config.name, "seed": job.config.seed, "best/val_mAP": 50.0,
                       "test/mAP": 80.0 + job.config.seed, "pseudo/positive/precision": 91.5, "pseudo/positive/recall": 61.5,
                       "perf/images_per_second": 1234.0, "perf/cpu_seconds": 1234.0, "perf/seconds": 1234.0,
                       "perf/memory_peak_mb": 12345.0, "perf/gpu_memory_peak_mb": 12345.0}  # fmt: skip
            RunFolder.create(job.config).write("summary.json", json.dumps(summary).encode())
    fits(both(lambda: succeed("suite", path, "--dataset", "digits", "--seeds", "2", "--table", "--set", "tracking.mode=off")))


def test_a_study(both, tmp_path):
    words = ["trainer.learning_rate=0.0123456789", "labeler.negatives=on", "loss.alpha=[0.5,2.0]", f"x={LONG[:78]}"]
    trials = [hand_made.trial(90.0 + i, attrs={WORDS: words}) for i in range(3)]
    study = hand_made.study(tmp_path / "study", trials)
    confirmation = begin(study, ConfirmConfig(seeds=2), 1)
    while (repeat := confirmation.next_run(is_searched=True)) is not None:
        confirmation.repeats.tell(repeat, 90.0)
    fits(both(lambda: show(study, Terminal())))


@pytest.mark.parametrize("width", WIDTHS)
def test_trials_that_are_under_way(width):
    words = [f"{name}=0.0123456789" for name in hand_made.SPACE]
    trials = [
        SimpleNamespace(title=f"trial {i}", latest=91.25, epoch=3, seed_index=1, seeds=[0, 1], began=0.0, words=words)
        for i in (11, 12)
    ]
    output = io.StringIO()
    with View("tiny", ["best/val_mAP"], Terminal(file=output, force_terminal=True, width=width, color_system=None)) as view:
        view.show(trials)
        shown = re.sub(ESCAPES, "", output.getvalue())
    assert max(map(len, shown.splitlines())) <= width
    assert Counter(2 * " ".join(words).split()) <= Counter(shown.split())


def test_prepare(both, tmp_path):
    for name, make in MAKE.items():
        make(tmp_path / name)
        out = tmp_path / f"{name}-out"
        width, terminal, pipe = both(
            lambda name=name, out=out: succeed("prepare", name, "--root", str(tmp_path / name), "--out", str(out))
        )
        kept = [
            line for line in terminal if not line.startswith(("arrays", "next", "without GPU"))
        ]  # paths and commands stay in one piece
        fits((width, kept, [line for line in pipe if not line.startswith(("arrays", "next", "without GPU"))]))
