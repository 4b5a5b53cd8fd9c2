"""The command line: verbs and flags, exit codes, and messages without a traceback."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aevlp.cli import build_parser, main
from aevlp.command import _call

ROOT = Path(__file__).parents[2]
FLAGS = {
    "": {"--help", "--version", "--exp", "--set", "--seed", "--name", "--tracking", "--plugin", "--resume", "--dry-run"},
    "import": {
        "--help",
        "--plugin",
        "source",
        "--from",
        "--root",
        "--table",
        "--replace",
        "--image",
        "--label",
        "--absent",
        "--labels",
        "--split",
        "--names",
        "--set",
    },
    "prepare": {"--help", "--plugin", "dataset", "--root", "--out", "--download", "--no-image-check"},
    "eval": {"--help", "--plugin", "source", "--split", "--output", "--exp", "--set"},
    "label": {"--help", "--plugin", "source", "--output", "--format", "--exp", "--set", "--seed", "--tracking", "--shard"},
    "predict": {"--help", "--plugin", "source", "images", "--output", "--format"}
    | {"--threshold", "--batch-size", "--workers", "--on-bad-image"},
    "export": {"--help", "--plugin", "source", "--output", "--onnx"},
    "list": {"--help", "--plugin", "kind"},
    "show": {"--help", "--plugin", "--exp", "--set", "--seed", "--tracking", "--diff"},
    "schema": {"--help", "--plugin"},
    "compare": {"--help", "--plugin", "runs", "--baseline", "--json", "--csv", "--markdown", "--latex"},
    "report": {"--help", "--plugin", "runs", "--output", "--bundle", "--baseline"},
    "sync": {"--help", "--plugin", "runs", "--dry-run"},
    "watch": {"--help", "--plugin", "run_name"},
    "review": {"--help", "--plugin", "source", "--output", "--count", "--order", "--complete", "--becomes", "--simulate"}
    | {"--exp", "--set", "--seed"},
    "dashboard": {"--help", "--plugin", "--entity", "--project", "--dry-run"},
    "suite": {
        "--help",
        "--plugin",
        "suite",
        "--dataset",
        "--seeds",
        "--rows",
        "--workers",
        "--gpus",
        "--tune",
        "--own-stop-rules",
    }
    | {"--table", "--dry-run", "--card", "--columns", "--set", "--tracking", "--json", "--csv", "--markdown", "--latex"},
    "sweep": {"--help", "--plugin"},  # its actions have the others
    "bench": {"--help", "--plugin", "--images", "--batch-size", "--device", "--set", "--output"},
    "cache": {"--help", "--plugin"},
}
NO_RUN = "error: run 'absent': no folder with a config.yaml there, nor in "
NO_EXPERIMENT = "error: unknown experiment 'nope' (see `python run.py list experiments`)"
NO_STUDY = "error: there is no study 'nope' in "
NO_FOLDER = "error: -o absent/x: there is no folder absent; make it first"
# Commands that answer before anything large is imported, and what they say; nothing where they are right.
LIGHT = {"list": "", "--exp nope": NO_EXPERIMENT, "--exp nope --dry-run": NO_EXPERIMENT, "show --exp nope": NO_EXPERIMENT,
         "schema --plugin absent.py": "error: --plugin absent.py: no such file"}  # fmt: skip
EARLY = {
    "--resume absent": NO_RUN,
    "--resume run --set trainer.epochs=0": "error: --set trainer.epochs=0: must be a number above 0",
    "--exp digits_gpr --set loss=nope": "unknown loss 'nope'",
    "predict absent photo.png -o x": NO_RUN,
    "predict run absent.png -o x": "error: absent.png: no such file or folder",
    "predict run photo.png -o absent/x": NO_FOLDER,
    "predict photo.png photo.png -o x": "error: photo.png: is a file; predict takes a run",
    "eval absent": NO_RUN,
    "eval run --exp digits_gpr": "error: --exp goes with a published checkpoint file",
    "eval run -o photo.png": "error: -o photo.png: photo.png is no folder; name another one",
    "eval run -o photo.png/deep": "error: -o photo.png/deep: photo.png is no folder; name another one",
    "eval run --set loss=an": "error: --set loss=an: of a trained model only dataset.* and ",
    "export absent -o x": NO_RUN,
    "import absent": "error: absent: no such file or folder",
    "export run -o run": "error: -o run: is there already; name a new folder",
    "export run -o absent/x": NO_FOLDER,
    "label --exp nope -o x.csv": NO_EXPERIMENT,
    "label --exp digits_gpr -o absent/x": NO_FOLDER,
    "compare absent": NO_RUN,
    "report absent": NO_RUN,
    "sync absent": NO_RUN,
    "watch absent": NO_RUN,
    "sweep run nope": "error: unknown study 'nope'",
    "sweep show nope": NO_STUDY,
    "sweep best nope": NO_STUDY,
    "sweep dashboard nope": NO_STUDY,
    "suite nope --dataset digits": "error: unknown suite 'nope'",
    "suite table1 --dataset nope": "error: --dataset nope: there is no experiment of 'nope'",
    "cache build --exp nope": NO_EXPERIMENT,
    "cache clear": "error: cache clear: say what: ",
    "cache clear 123": "error: cache clear: no store begins with '123'",
    "cache list": "",
    "cache verify": "",
    "prepare nope --root run": "error: unknown dataset 'nope'",
    "prepare voc --root absent": "error: --root absent: there is no such folder",
    "bench -o absent/x": NO_FOLDER,
    "bench --images 1": "error: bench: --batch-size must be at least 2",
    "dashboard --dry-run": "",
}
CACHE_FLAGS = {
    "list": {"--help", "--plugin"},
    "build": {"--help", "--plugin", "--exp", "--set", "--seed", "--tracking", "--shard"},
    "verify": {"--help", "--plugin"},
    "clear": {"--help", "--plugin", "keys", "--older-than", "--all"},
}


def flags(parser: argparse.ArgumentParser) -> set[str]:
    actions = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    return {action.option_strings[-1] if action.option_strings else action.dest for action in actions}


@pytest.fixture
def refused(capsys):
    """Run a command that must exit 2; returns what it wrote to stderr."""

    def refuse(*words: str) -> str:
        assert main(list(words)) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert "Traceback" not in err
        return err

    return refuse


def test_verbs_and_flags_are_these():
    parser = build_parser()
    (verbs,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert {"": flags(parser)} | {name: flags(verb) for name, verb in verbs.choices.items()} == FLAGS
    (actions,) = (action for action in verbs.choices["cache"]._actions if isinstance(action, argparse._SubParsersAction))
    assert {name: flags(action) for name, action in actions.choices.items()} == CACHE_FLAGS


@pytest.mark.parametrize("words", [["cache", "list"], ["sweep", "show", "digits_gpr"], ["list"], []])
def test_a_plugin_can_be_named_after_every_verb_and_action(words, capsys):
    assert main([*words, "--plugin", "absent.py"]) == 2
    assert capsys.readouterr().err == "error: --plugin absent.py: no such file\n"


def test_plugins_before_and_after_a_verb_are_all_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.py").write_text("")
    for words in (["absent.py", "list", "there.py"], ["there.py", "list", "absent.py"]):
        first, verb, second = words
        assert main(["--plugin", first, verb, "--plugin", second]) == 2
        assert capsys.readouterr().err == "error: --plugin absent.py: no such file\n"


def test_no_arguments_print_the_help_and_exit_2(capsys):
    assert main([]) == 2
    assert "--exp NAME" in capsys.readouterr().out


def test_every_flag_of_the_help_is_explained(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert [flag for flag in FLAGS[""] if flag not in text] == []


def test_help_lists_and_whatever_can_be_told_early_need_no_torch(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    (tmp_path / "photo.png").touch()
    code = """
import contextlib, io, json, sys
HEAVY = ["torch", "torchvision", "transformers", "timm", "accelerate", "wandb", "numpy"]
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name in HEAVY:
            raise AssertionError(name)
sys.meta_path.insert(0, Refuse())
from aevlp.cli import build_parser, main
answers = []
for line in sys.stdin.read().splitlines():
    if not line:
        HEAVY.remove("numpy")  # the rest may read arrays, or ask Optuna
        continue
    error = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            answers.append([main(line.split()), error.getvalue()])
        except SystemExit as end:
            answers.append([end.code, error.getvalue()])
        except AssertionError as heavy:
            answers.append([f"imports {heavy}", ""])
print(json.dumps(answers))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], input="\n".join([*LIGHT, "", *EARLY]), cwd=tmp_path, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "AEVLP_RUNS": str(tmp_path)}, stdout=subprocess.PIPE,
    )  # fmt: skip
    for (words, text), (code, error) in zip((LIGHT | EARLY).items(), json.loads(result.stdout), strict=True):
        assert (words, code) == (words, 0 if not text else 1 if words.startswith("prepare voc") else 2)
        assert text in error
        assert error.count("\n") == bool(text)


@pytest.mark.parametrize("words", [["list", "lossess"], ["--nope"], ["--seed", "x"], ["--tracking", "loud"], ["show", "extra"]])
def test_wrong_words_exit_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("--exp digits_gpr --epochs 2 --dry-run", "--epochs 2; did you mean --set trainer.epochs=2?"),
        ("--exp digits_gpr --lr=.1", "--lr=.1; did you mean --set trainer.learning_rate=.1?"),
        ("--exp digits_gpr --batch-size 8", "--batch-size 8; did you mean --set trainer.batch_size=8?"),
        ("--exp digits_gpr --rho .5", "--rho .5; did you mean --set loss.rho=.5?"),
        ("--exp digits_nonsense --rho .5", "--rho .5"),
        ("--exp digits_gpr --seeds 2", "--seeds 2; did you mean --seed?"),
        ("sweep run digits_gpr --epochs 2", "--epochs 2; did you mean --set trainer.epochs=2?"),
        ("--exp=digits_gpr --epochs=2 --rho=.5", "--epochs=2 --rho=.5; did you mean --set trainer.epochs=2?"),
        ("--exp digits_gpr --loss.rho .5", "--loss.rho .5; did you mean --set loss.rho=.5?"),
        ("--exp digits_gpr --loss an", "--loss an; did you mean --set loss=an?"),
        ("--resume latest --epochs 9", "--epochs 9; did you mean --set trainer.epochs=9?"),
        ("--resume latest --lr 1", "--lr 1"),  # which it may not change
        ("sweep run --epochs 2 digits_gpr", "--epochs digits_gpr; did you mean --set trainer.epochs=2?"),
        ("sweep --epochs 2 run digits_gpr", "--epochs 2; did you mean --set trainer.epochs=2?"),
        ("import x --tabel y", "--tabel y; did you mean --table?"),
        ("eval x --batch-size 8", "--batch-size 8"),  # it takes other settings than a run
        ("report --epochs=2", "--epochs=2"),
        ("report --outpt x.html", "--outpt; did you mean --output?"),
    ],
)
def test_a_flag_that_there_is_not_is_told_with_the_setting_or_flag_that_is_meant(words, meant, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    said = capsys.readouterr().err.splitlines()[-1].partition("error: unrecognized arguments: ")[2]
    assert said == meant


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "loss=an"], "give --exp NAME to train"),
        (["--exp", "digits_gpr", "--set", "loss.roh=1"], "loss.roh: unknown key; did you mean 'rho'?"),
        (["--exp", "digits_gpr", "--seed", "-1"], "--set seed=-1: seed: input should be greater than or equal to 0"),
        (["--exp", "digits_gpr", "--resume", "latest"], "--resume takes no --exp"),
        (["--resume", "latest", "--seed", "1"], "--resume takes no --exp, --seed"),
        (["--resume", "latest", "--dry-run"], "--resume takes no --exp"),
        (["--resume", "latest", "--name", "a"], "--resume takes no --exp, --seed, --name"),
        (["--resume", "latest", "--set", "loss.rho=1"], "of --set only trainer.epochs=N"),
        (["--resume", "latest", "--set", "trainer.epochs=many"], "trainer.epochs=many: must be a number above 0"),
        (["--resume", "latest"], "there is no run in "),
        (["--resume", "digits_gpr-1"], "run 'digits_gpr-1': no folder with a config.yaml there, nor in "),
        (["--resume", "/nowhere/at/all"], "run '/nowhere/at/all': no folder with a config.yaml there, nor in "),
        (["--plugin", "absent.py", "list"], "--plugin absent.py: no such file"),
        (["list", "--plugin", "absent.py"], "--plugin absent.py: no such file"),
    ],
)
def test_a_wrong_command_says_what_is_wrong_on_stderr(refused, words, message):
    assert message in refused(*words)


@pytest.mark.parametrize(
    "words",
    [
        "--exp digits_gpr --set", "show --exp digits_gpr --set", "label --exp digits_gpr -o x.csv --set", "review latest --set",
        "eval latest --set", "bench --set", "suite table1 --dataset digits --set", "sweep run digits_gpr --set",
    ],
)  # fmt: skip
def test_a_value_that_a_later_word_takes_back_is_told(refused, words):
    for earlier, later in (
        ("trainer.epochs=3", "trainer=probe"), ("loss.beta[1]=8", "loss=an"), ("loss.rho=.5", "loss.name=an"),
        ("labeler.encoder.source=x", "labeler.encoder.name=open_clip"), ("loss.beta[1]=8", "loss.beta=[1, 2, 3, 4]"),
    ):  # fmt: skip
        told = f"error: --set {earlier} is undone by --set {later}; put it behind\n"
        assert refused(*words.split(), "seed=1", earlier, "--set", later) == told


@pytest.mark.parametrize(
    "words",
    [
        ["trainer=probe", "trainer.epochs=3"], ["trainer.epochs=3", "trainer.epochs=4"], ["loss=an", "loss=gpr", "loss.rho=.5"],
        ["tracking.mode=off", "tracking.name=x"], ["trainer.epochs=3", "trainer=probe", "trainer.epochs=3"],
    ],
)  # fmt: skip
def test_words_that_take_nothing_back_may_follow_each_other(words, capsys):
    assert main(["show", "--exp", "digits_gpr", "--set", *words]) == 0


def test_each_of_several_errors_has_its_line(refused):
    lines = refused("--exp", "digits_gpr", "--set", "loss.rho=2", "trainer.epochs=0").splitlines()
    assert [line.split(": ")[:3:2] for line in lines] == [["error", "loss.rho"], ["error", "trainer.epochs"]]


def test_nothing_is_written_by_a_wrong_command(refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused("--exp", "digits_gpr", "--set", "loss.rho=2")
    assert list(tmp_path.iterdir()) == []


def test_show_refuses_another_number_of_experiments(refused):
    for words in ([], ["--diff", "digits_an"], ["--exp", "digits_gpr", "--diff", "digits_an", "digits_gr"]):
        assert refused("show", *words) == "error: show takes --exp NAME, --exp NAME --diff OTHER, or --diff NAME OTHER\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("show digits_gpr", "--exp digits_gpr?"), ("show gpr", "--exp coco_gpr or cub_gpr or digits_gpr or folder_gpr or "),
        ("cache build an_pl", "--exp digits_an_pl or scenes_an_pl?"), ("digits_em", "--exp digits_em?"),
    ],
)  # fmt: skip
def test_an_experiment_without_its_flag_is_told_what_was_meant(words, meant, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert f"; did you mean {meant}" in capsys.readouterr().err


def test_a_flag_before_a_verb_that_does_not_take_it_is_refused(capsys):
    for words, flag in (
        ("--exp digits_gpr suite table1 --dataset digits", "--exp"), ("--seed 3 suite table1 --dataset digits", "--seed"),
        ("--dry-run list losses", "--dry-run"), ("--dry-run sweep show x", "--dry-run"), ("--resume latest report", "--resume"),
        ("--name foo watch", "--name"), ("--tracking off review latest", "--tracking"), ("--seed 3 eval latest", "--seed"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            main(words.split())
        assert stopped.value.code == 2
        assert f"error: {flag} stands before " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--dry-run suite table1 --dataset digits", {"dry_run": True, "table": False}),
        ("--dry-run sync latest", {"dry_run": True}),
        ("--tracking off --set=a=1 sweep run digits_gpr", {"tracking": "off", "overrides": ["a=1"], "dry_run": False}),
        ("--set a=1 --tracking off suite table1 --dataset digits --set b=2", {"tracking": "off", "overrides": ["a=1", "b=2"]}),
        (
            "--set=a=1 --tracking=off label -o x --set b=2 --tracking offline",
            {"tracking": "offline", "overrides": ["a=1", "b=2"]},
        ),
        ("--exp one eval latest", {"exp": "one", "overrides": []}),
        ("--name X sweep run S", {"name": "X", "study": "S", "run_name": None}),
        ("--name X sweep run S --name Y", {"name": "Y"}),
        ("watch", {"run_name": "latest"}),
        ("--seed 3 review latest", {"seed": 3}),
    ],
)
def test_a_flag_before_a_verb_counts_as_one_behind_it(words, expected):
    arguments = vars(build_parser().parse_args(words.split()))
    assert {name: arguments[name] for name in expected} == expected


@pytest.mark.parametrize("written", [repr, str])  # by versions of Python until, and from, 3.12.8
def test_a_misspelt_word_is_told_what_there_is_whatever_argparse_says(written, monkeypatch, capsys):
    def check(_, action, value):
        if action.choices is not None and value not in action.choices:
            known = ", ".join(map(written, action.choices))
            raise argparse.ArgumentError(action, f"invalid choice: {value!r} (choose from {known})")

    monkeypatch.setattr(argparse.ArgumentParser, "_check_value", check)
    for words, told in (
        ("shw", "error: unknown 'shw'; did you mean 'show'"),
        ("list lossess", "error: unknown 'lossess'; did you mean 'losses'?"),
        ("zzz", "error: unknown 'zzz'; known: bench, cache, "),
        ("--tracking loud", "error: argument --tracking: unknown 'loud'; known: off, offline, online\n"),
        ("review latest --order x", "error: argument --order: unknown 'x'; known: confident, random, value\n"),
        ("loss.rho=1", "error: 'loss.rho=1' is no value on its own; write --set loss.rho=1\n"),
    ):  # fmt: skip
        with pytest.raises(SystemExit, match="2"):
            main(words.split())
        assert told in capsys.readouterr().err


def test_review_says_what_its_seed_draws(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["review", "--help"])
    assert "--set seed" not in capsys.readouterr().out


@pytest.mark.parametrize("days", ["-1", "nan", "-inf", "a week"])
def test_stores_older_than_no_time_at_all_are_not_removed(days, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["cache", "clear", f"--older-than={days}"])
    assert f"error: argument --older-than: must be a number from 0, is {days!r}\n" in capsys.readouterr().err


def test_advice_is_a_command_that_can_be_typed_where_one_is(tmp_path):
    for program, folder in (("run.py", ROOT), (str(ROOT / "run.py"), tmp_path)):
        done = subprocess.run([sys.executable, program, "--exp", "nope"], cwd=folder, capture_output=True, text=True, check=False)
        assert done.stderr == f"error: unknown experiment 'nope' (see `python {program} list experiments`)\n"
    assert _call(tmp_path / "a b/run.py", tmp_path / "a b") == f"python '{tmp_path}/a b/run.py'"
    assert _call(tmp_path / "own/run.py", tmp_path) == "python run.py"
    assert _call(tmp_path / "own/run.py", None) == "aevlp"


def test_an_output_that_is_full_or_closed_is_told_in_a_line():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    command = f"{sys.executable} run.py list losses"
    done = subprocess.run(
        ["sh", "-c", f"{command} > /dev/full; echo full $? >&2; {command} >&-; echo closed $? >&2"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.splitlines() == ["error: standard output: No space left on device", "full 1", "closed 0"]
