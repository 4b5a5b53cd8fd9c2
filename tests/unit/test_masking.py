"""Passwords and keys are hidden wherever a command line, a URL or a driver's message is told."""

import sys
import time

import pytest

import aevlp
from aevlp.config.errors import ConfigError
from aevlp.masking import holds_secret, mask, mask_words
from aevlp.runs import snapshot
from aevlp.runs.snapshot import environment

TOKEN = "hf_" + "aB3" * 10
URLS = {
    "postgresql://me:hunter2@host/db": "postgresql://me:***@host/db",
    "postgresql+psycopg://me:hun/t@er2@host:5432/db": "postgresql+psycopg://me:***@host:5432/db",
    "postgresql://:hunter2@host/db": "postgresql://:***@host/db",
    "postgresql://host/db?user=me&password=hunter2&sslmode=require": "postgresql://host/db?user=me&password=***&sslmode=require",
    "mysql://host/db?sslpassword=hunter2": "mysql://host/db?sslpassword=***",
    "https://hunter2token@host/repo.git": "https://***@host/repo.git",
    "user=me password='hunter 2' host=h": "user=me password=*** host=h",
    f"with {TOKEN}.": "with ***.",
    "WANDB_API_KEY=0123456789": "WANDB_API_KEY=***",
}
HARMLESS = (
    "", "loss.rho=0.8", "postgresql://me@host/db", "grpc://host:13000", "sqlite:////data/study.db", "max_tokens=5", "a@b.c",
    "https://host:8080/a?b=c", "labeler.encoder.revision=0123456789abcdef0123456789abcdef01234567", "16:9@2x",
)  # fmt: skip


@pytest.mark.parametrize("text", URLS)
def test_a_secret_is_hidden_by_where_it_stands_or_by_its_form(text):
    assert mask(text) == URLS[text]
    assert mask(f"error: {text} cannot be opened") == f"error: {URLS[text]} cannot be opened"
    assert mask_words(["--set", f"x={text}"])[1].startswith("x=")
    assert "hunter" not in " ".join(mask_words([text, f"--flag={text}"]))
    assert holds_secret(text)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text):
    assert mask(text) == text
    assert mask_words([text]) == [text]
    assert not holds_secret(text)


def test_of_a_storage_only_the_kind_is_told():
    words = [
        "sweep",
        "run",
        "x",
        "--storage",
        "sqlite:////a/hunter2.db",
        "--storage=postgresql://me:p@h/d",
        "--storage",
        "/a/b.log",
    ]
    hidden = mask_words(words)
    assert hidden == ["sweep", "run", "x", "--storage", "sqlite://***", "--storage=postgresql://***", "--storage", "***"]
    assert mask_words(["--api-key", "hunter2", "--set", "a.token=x y"]) == ["--api-key", "***", "--set", "a.token=***"]


def test_a_secret_of_the_command_line_or_the_environment_is_hidden_anywhere(monkeypatch):
    said = "password authentication failed: correct/horse is wrong"
    assert mask(said) == said
    monkeypatch.setattr(sys, "argv", ["run.py", "--storage", "postgresql://me:correct%2Fhorse@host/db"])
    assert mask(said) == "password authentication failed: *** is wrong"
    assert mask("correct/horses stay") == "correct/horses stay"
    monkeypatch.setattr(sys, "argv", ["run.py"])
    for name, value in (("AEVLP_STORAGE", "mysql://me:correct%2Fhorse@host/db"), ("WANDB_API_KEY", "correct/horse")):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert "horse" not in mask(said)
        assert mask(said) == said


def test_what_is_written_of_the_command_has_no_secret(monkeypatch):
    words = ["sweep", "run", "x", "--storage", "postgresql://me:hunter2@h/d", "--set", f"a={TOKEN}"]
    monkeypatch.setattr(sys, "argv", ["run.py", *words])
    assert environment()["command"] == ["run.py", "sweep", "run", "x", "--storage", "postgresql://***", "--set", "a=***"]


def test_a_configuration_with_a_password_is_refused():
    for word, path in (
        ("dataset.root=s3://me:hunter2@h/x", "dataset.root"),
        (f"tracking.tags=[a, {TOKEN}]", r"tracking\.tags\[1\]"),
    ):
        with pytest.raises(ConfigError, match=rf"{path}: holds a password or a key"):
            aevlp.load_experiment("voc_an", [word])


def test_a_long_line_takes_time_in_proportion_to_its_length():
    for piece in ("a://b:", "a" * 9 + ":", "password=", "://", "x" * 9):
        took = {10_000: [], 40_000: []}
        for count in list(took) * 3:  # the best of three, on a machine that does other things
            began = time.process_time()
            mask(piece * count)
            took[count].append(time.process_time() - began)
        assert min(took[40_000]) < 10 * min(took[10_000]) + 0.1, piece  # in proportion: 4; by its square: 16


def test_a_diff_of_the_code_is_code_without_the_secrets_in_use(tmp_path, monkeypatch):
    code = "+run(token=tokenizer, url='postgresql://me:example@h/d')\n+KEY = 'correct-horse'\n"
    monkeypatch.setattr(snapshot, "_ask_git", lambda root, *words: code.encode() if "diff" in words else f"{root}\nabc".encode())
    monkeypatch.setenv("AEVLP_STORAGE", "mysql://me:correct-horse@host/db")
    assert snapshot._git(tmp_path)["diff"] == code.replace("correct-horse", "***")


def test_the_folders_of_the_shell_are_no_secrets(monkeypatch):
    monkeypatch.setenv("PWD", "/data/photos")
    monkeypatch.setenv("OLDPWD", "/data/before")
    monkeypatch.setenv("DB_PWD", "/data/hidden")
    assert mask("/data/photos/a.jpg /data/before/b.jpg /data/hidden") == "/data/photos/a.jpg /data/before/b.jpg ***"
