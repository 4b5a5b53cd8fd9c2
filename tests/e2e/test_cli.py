"""The command line: verbs and flags, exit codes, and messages without a traceback."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from aevlp.cli import build_parser, main

ROOT = Path(__file__).parents[2]
FLAGS = {
    "": {"--help", "--version", "--exp", "--set", "--seed", "--tracking", "--plugin", "--resume", "--dry-run"},
    "prepare": {"--help", "--plugin", "dataset", "--root", "--out", "--no-image-check"},
    "eval": {"--help", "--plugin", "source", "--split", "--output", "--exp", "--set", "--seed", "--tracking"},
    "label": {"--help", "--plugin", "--output", "--exp", "--set", "--seed", "--tracking"},
    "predict": {"--help", "--plugin", "source", "images", "--output"}
    | {"--threshold", "--batch-size", "--workers", "--on-bad-image"},
    "export": {"--help", "--plugin", "source", "--output", "--onnx"},
    "list": {"--help", "--plugin", "kind"},
    "show": {"--help", "--plugin", "--exp", "--set", "--seed", "--tracking", "--diff"},
    "schema": {"--help", "--plugin"},
    "compare": {"--help", "--plugin", "runs", "--baseline", "--json", "--csv", "--markdown", "--latex"},
    "report": {"--help", "--plugin", "runs", "--output", "--baseline"},
    "sync": {"--help", "--plugin", "runs", "--dry-run"},
    "watch": {"--help", "--plugin", "run_name"},
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
    | {"--table", "--set", "--tracking", "--json", "--csv", "--markdown", "--latex"},
    "sweep": {"--help", "--plugin"},  # its actions have the others
    "bench": {"--help", "--plugin", "--images", "--batch-size", "--set", "--output"},
    "cache": {"--help", "--plugin"},
}
CACHE_FLAGS = {
    "list": {"--help"},
    "build": {"--help", "--exp", "--set", "--seed", "--tracking"},
    "verify": {"--help"},
    "clear": {"--help", "keys", "--older-than", "--all"},
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


def test_no_arguments_print_the_help_and_exit_2(capsys):
    assert main([]) == 2
    assert "--exp NAME" in capsys.readouterr().out


def test_every_flag_of_the_help_is_explained(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert [flag for flag in FLAGS[""] if flag not in text] == []


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["list"], 0), (["--exp", "nope"], 2)])
def test_help_lists_and_a_wrong_name_answer_without_torch_and_without_a_traceback(words, code):
    command = [sys.executable, "-X", "importtime", "run.py", *words]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    lines = result.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert result.returncode == code
    assert "aevlp.cli" in imported
    assert not imported & {"torch", "transformers", "torchvision", "wandb", "numpy"}
    messages = [line for line in lines if not line.startswith("import time:")]
    assert len(messages) == (1 if code else 0)
    assert all(line.startswith("error: unknown experiment 'nope' (see ") for line in messages)


@pytest.mark.parametrize("words", [["list", "lossess"], ["--nope"], ["--seed", "x"], ["--tracking", "loud"], ["show", "extra"]])
def test_wrong_words_exit_2(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "loss=an"], "give --exp NAME to train"),
        (["--exp", "digits_gpr", "--set", "loss.roh=1"], "loss.roh: unknown key; did you mean 'rho'?"),
        (["--exp", "digits_gpr", "--seed", "-1"], "--set seed=-1: seed: input should be greater than or equal to 0"),
        (["--exp", "digits_gpr", "--resume", "latest"], "--resume takes no --exp"),
        (["--resume", "latest", "--seed", "1"], "--resume takes no --exp, --seed"),
        (["--resume", "latest", "--dry-run"], "--resume takes no --exp"),
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
