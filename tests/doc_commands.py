"""Commands of the manual on miniatures: what stands for a reader's data, and how little is enough to see that a command works."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import suite_runs
import torch
from doc_checks import Wrong, check, loaded, parse, parts_put_back, plan, program_words
from doc_pages import Block, Command

import aevlp
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.loading import load_experiment
from aevlp.config.schema import ExperimentConfig
from aevlp.sweeps.study_file import load_study

TINY = (*suite_runs.SMALL, "trainer.threads=1", "trainer.num_workers=0", "trainer.compile=false", "tracking.mode=off")
DRAWN = ("digits", "scenes")
TINY_PHOTOS = (
    "dataset.image_size=64", "trainer.batch_size=3", "trainer.eval_batch_size=3", "trainer.epochs=1", "trainer.threads=1",
    "trainer.num_workers=0", "tracking.mode=off",
)  # fmt: skip
CHECKED = {
    "bench": "takes minutes", "sync": "needs a network", "watch": "shows a screen until it is left",
    "sweep dashboard": "serves until it is stopped",
}  # fmt: skip
SAMPLES = {
    "N": "1", "NAME": "digits_gpr", "RUN": "latest", "RUNS": "latest", "A": "latest", "OTHER": "digits_an", "HOST": "localhost",
}  # fmt: skip
REHEARSED: dict[tuple[str, ...], str | None] = {}
"""What came of rehearsals, which are the same on every page."""


class Desk:
    """A reader's working folder: photos, runs, a study, weights, and the files that the page shows whole."""

    def __init__(self, folder: Path, data: Path, encoder: Path, runs: Path, files: list[Block]):
        self.folder, self.data, self.encoder = folder, data, encoder
        shutil.copytree(runs, folder / "runs", symlinks=True)
        for photos in ("photos", "mine"):
            shutil.copytree(data / "folder", folder / photos)
        self.runs = sorted(path.name for path in (folder / "runs").iterdir() if path.name != "sweeps")
        (folder / "mine.yaml").write_text("base: digits_an\n")
        for block in files:
            path = folder / str(block.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        self.done: dict[tuple[str, ...], str | None] = {}
        self.places = (
            (r"(.*=|)/data/(voc|coco|nuswide|cub)\b", rf"\1{data}/\2"), (r"(.*=|)/data/\w+", rf"\1{data}/folder"),
            (r"(.*=|)/data\b", rf"\1{data}"), (r"(.*=|)/weights/[\w-]+\.pth", rf"\1{folder}/weights.pth"),
            (r"(.*=|)/weights/[\w-]+$", rf"\1{encoder}"),
        )  # fmt: skip

    def environment(self, patch: pytest.MonkeyPatch) -> None:
        """Stand in the folder."""
        patch.chdir(self.folder)
        patch.setenv("AEVLP_RUNS", str(self.folder / "runs"))
        patch.setenv("AEVLP_DATA", str(self.data))
        patch.delenv("AEVLP_STORAGE", raising=False)

    def word(self, word: str) -> str:
        """A word of a command, with what stands for a reader's own."""
        if word == "B":
            return self.runs[0]
        for pattern, place in self.places:
            word = re.sub(f"^{pattern}", place, word)
        return SAMPLES.get(word.removesuffix("..."), word)

    def published(self) -> None:
        """best_model.pt as the published code would save it, and weights.pth, of the small network."""
        config = load_experiment("coco_gpr", ["model=small_cnn"])
        weights = registry.build("models", config.model, num_classes=5, image_size=64).state_dict()
        theirs = {name.replace("backbone.", "feature_extractor.").replace("head.", "linear_classifier."): value
                  for name, value in weights.items()}  # fmt: skip
        torch.save((theirs, {"dataset": "coco", "num_classes": 5}), self.folder / "best_model.pt")
        torch.save(weights, self.folder / "weights.pth")

    def carry_out(self, command: Command) -> None:
        """Run a command on miniatures, or check it where it is not to be run; Wrong says what is wrong with it."""
        words = program_words(command)
        if words is None:
            return
        kind, words = words[0], tuple(self.word(word) for word in words[1:] if word != "...")
        if kind == "script":
            self.run_file(self.folder / words[0], words)
            return
        arguments = parse(words)
        verb = arguments.run.__module__.rpartition(".")[2] + (f" {arguments.action}" if hasattr(arguments, "action") else "")
        if command.not_run or kind == "launched" or verb in CHECKED or not within_seconds(verb, arguments):
            check(arguments)
            return
        words = self.small(verb, words, arguments)
        done = REHEARSED if "--dry-run" in words and not arguments.plugin else self.done  # a rehearsal leaves nothing behind
        if words not in done:
            done[words] = call(words)
        if done[words]:
            raise Wrong(f"as `{' '.join(words)}`: {done[words]}")

    def small(self, verb: str, words: tuple[str, ...], arguments: Any) -> tuple[str, ...]:
        """The command as it takes a second or two."""
        if verb == "train" and arguments.resume:
            words = tuple(re.sub(r"^trainer\.epochs=\d+$", "trainer.epochs=3", word) for word in words)
            return (*words, "--tracking", "off")
        words = without_seed(words)
        if verb == "train":
            more, small = () if arguments.dry_run else ("--dry-run",), self.overrides(loaded(arguments))
            if "model=small_cnn" in small:  # which has weights of its own
                words = tuple(word for word in words if not word.startswith("model.weights="))
            return (*words, *more, "--tracking", "off", "--set", *small)
        if verb in ("label", "cache build") or (verb == "eval" and getattr(arguments, "exp", None)):
            return (*words, "--set", *self.overrides(loaded(arguments)))
        if verb == "suite":
            check(arguments)
            form = (f"--{arguments.form}",) if arguments.form else ()
            first = plan(arguments).lines[0].title
            made = ("suite", arguments.suite, "--dataset", arguments.dataset, "--seeds", "1", "--rows", first, "--tracking",
                    "off", *form, "--set", *arguments.overrides, *TINY)  # fmt: skip
            if arguments.table:
                call(made)  # without a run there is no table
            return (*made[:4], "--table", *made[4:]) if arguments.table else made
        if verb == "sweep run":
            return ("sweep", "run", arguments.study, *(("--name", arguments.name) if arguments.name else ()), "--in-process",
                    "--trials", "1", "--no-confirm", "--tracking", "off", "--set", *arguments.overrides, *TINY)  # fmt: skip
        return words

    def overrides(self, config: ExperimentConfig) -> list[str]:
        """Changes that make an experiment small, whatever its dataset and parts."""
        drawn = config.dataset.name in DRAWN
        words = list(TINY if drawn else TINY_PHOTOS)
        if not drawn:
            model, boost = config.model.name, getattr(config.model, "boost", None)
            if model in ("mime", "smile"):
                words += ["model.backbone={name: small_cnn}", "model.freeze=false"]
            elif model in ("resnet", "timm"):
                words += ["model=small_cnn", *([f"model.boost={boost}"] if boost else [])]
        source = getattr(getattr(config.labeler, "encoder", None), "source", "bundled")
        if source not in ("bundled", "bundled_scenes"):
            words.append(f"labeler.encoder.source={'bundled' if drawn else self.encoder}")
        return words

    def run_file(self, path: Path, words: tuple[str, ...] = ()) -> None:
        """Run a Python file of a page: as a plugin where it registers parts, else as a program, with small experiments."""
        with parts_put_back(), pytest.MonkeyPatch.context() as patch, quiet():
            if "@register" in path.read_text():
                registry.load_plugin(path)
                return
            patch.setattr(sys, "argv", list(words) or [str(path)])
            patch.setattr(aevlp, "load_experiment", self.load_small)
            try:
                runpy.run_path(str(path), run_name="__main__")
            except (Exception, SystemExit) as error:
                raise Wrong(f"{type(error).__name__}: {error}") from error

    def load_small(self, name: str, overrides: Any = ()) -> ExperimentConfig:
        """`aevlp.load_experiment`, of a small experiment."""
        config = load_experiment(name, overrides)
        return load_experiment(name, [*overrides, *self.overrides(config)])


def within_seconds(verb: str, arguments: Any) -> bool:
    """Whether there is a small form: of suites and studies on drawn scenes, and of a dashboard that is only printed."""
    if verb == "suite":
        return arguments.dataset in DRAWN
    if verb == "sweep run":
        check(arguments)
        return load_experiment(load_study(arguments.study)[1].base).dataset.name in DRAWN
    return verb != "dashboard" or bool(arguments.dry_run)


def call(words: tuple[str, ...]) -> str | None:
    """Run aevlp in this process; None where it went well, else what it said."""
    with parts_put_back(), pytest.MonkeyPatch.context() as patch, quiet() as said:
        if words[0] == "suite":
            suite_runs.InThisProcess(patch)
        try:
            code = main(list(words))
        except SystemExit as stop:
            code = stop.code
    return None if code in (0, None) else f"exit code {code}: {said.getvalue().strip()[-500:]}"


def without_seed(words: tuple[str, ...]) -> tuple[str, ...]:
    """Seeds 0 to 4 of one experiment are one command here."""
    return tuple(re.sub(r"^seed=\d+$", "seed=0", "0" if i and words[i - 1] == "--seed" else word) for i, word in enumerate(words))


@contextlib.contextmanager
def quiet():
    """Keep output from the terminal; yields what was said on stderr."""
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        yield said
