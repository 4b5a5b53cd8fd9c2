"""The folder of a run: `runs/<id>/`, where everything a run leaves behind is written."""

from __future__ import annotations

import csv
import datetime
import glob
import io
import json
import os
import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aevlp import files, ranks, system
from aevlp.config.errors import CheckpointError, ConfigError, DataError
from aevlp.config.loading import from_dict, read_mapping
from aevlp.config.schema import ExperimentConfig
from aevlp.config.yaml_reading import write_yaml
from aevlp.data.fingerprint import DATA_FILE, Fingerprint
from aevlp.data.npz import read_npz
from aevlp.folders import runs_root
from aevlp.metrics import pseudo_positives_per_class
from aevlp.reading import read_json, read_table
from aevlp.runs import plugins
from aevlp.runs.lock import RunLock
from aevlp.runs.snapshot import environment
from aevlp.text import say

if TYPE_CHECKING:
    from aevlp.data.dataset import Split, SPMLData

MAX_TEST_SCORES = 20_000_000  # bytes of logits: those of the 60,260 test photos of NUS-WIDE are 19.5 MB
RUN_ID = r"[\w.-]+-\d{8}-\d{6}-[0-9a-f]{6}"
STUDY_FILES = ("study.yaml", "trials.csv", "journal.log")


def find_run(name: str) -> Path:
    """Folder of a run given by path, by id, or as `latest`; ConfigError where there is none."""
    if name == "latest":
        run = begun_runs()[0]
        say(f"latest is {run.name}", error=True)
        return run
    for path in (Path(name), runs_root() / name):
        if os.path.isfile(path / "config.yaml"):  # unlike is_file(), no error for a folder that may not be read
            return named(path)
    of_experiment = (
        sorted(path.parent.name for path in runs_root().glob(f"{glob.escape(name)}-*/config.yaml"))
        if name and "/" not in name
        else []
    )
    hint = f"; did you mean {of_experiment[-1]!r}?" if of_experiment else ""  # the newest
    raise ConfigError(f"run {name!r}: no folder with a config.yaml there, nor in {runs_root()}/{hint}")


def begun_runs() -> list[Path]:
    """Folders of the runs that reached training, newest first; ConfigError where there is none."""
    runs = [path.parent for path in runs_root().glob("[!.]*/config.yaml") if RunFolder(path.parent).has_begun]
    if not runs:
        raise ConfigError(f"there is no run in {runs_root()}/")
    return sorted(runs, key=lambda path: (path / "config.yaml").stat().st_mtime, reverse=True)


def find_study(name: str | Path) -> Path | None:
    """Folder of a study given by path or by name; None where there is none."""
    for path in (Path(name), runs_root() / "sweeps" / name):
        if any(os.path.isfile(path / file) for file in STUDY_FILES):
            return named(path)
    return None


def named(folder: Path) -> Path:
    """A folder under the id of its run, where it was given as `.` or by a link of another name."""
    real = folder.resolve()
    is_id = [re.fullmatch(RUN_ID, path.name) is not None for path in (folder, real)]
    return real if folder.name in ("", "..") or is_id == [False, True] else folder


class RunFolder:
    """One run's folder; locked while the run is under way, so that no other process continues it.

    On several ranks it is rank 0 that makes, locks and writes it; the others see the same folder and leave it as it is.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = RunLock(path)
        self._writes = ranks.is_main()

    @classmethod
    def of_all_ranks(cls, config: ExperimentConfig) -> RunFolder:
        """Collective. A new folder, made by rank 0; CheckpointError where another rank does not see it."""
        folder = cls(ranks.from_main(cls.create(config).path if ranks.is_main() else None))
        if not folder.path.is_dir():
            raise CheckpointError(
                f"{folder.path}: made by rank 0, but not visible to rank {ranks.rank()} on {socket.gethostname()}; "
                "set AEVLP_RUNS to a folder that all machines share"
            )
        return folder

    @classmethod
    def create(cls, config: ExperimentConfig, root: Path | None = None) -> RunFolder:
        """A new folder, which appears with its config.yaml, environment.json and plugins; CheckpointError where not writable.

        A new run has all its epochs planned at once, though `config` may be that of a run whose epochs were changed.
        """
        stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
        folder = cls((root or runs_root()) / f"{config.name}-{stamp}-{secrets.token_hex(3)}")
        try:
            folder.path.parent.mkdir(parents=True, exist_ok=True)
            files.remove_leftovers(folder.path.parent)
            with files.replacing(folder.path) as aside:
                aside.mkdir()
                files.write_content(aside / "environment.json", json.dumps(environment(), indent=1).encode(), sync=True)
                files.write_content(aside / "config.yaml", _as_yaml(config.planned_at_once()), sync=True)
                plugins.keep(aside)
                system.sync_folder(aside)
        except OSError as error:
            raise _not_writable(folder.path, error) from error
        return folder

    def read_config(self) -> ExperimentConfig:
        """The configuration that the run was started with."""
        path = self.path / "config.yaml"
        return from_dict(read_mapping(path)[0], str(path))

    def moved(self, config: ExperimentConfig) -> dict[str, str | None]:
        """Where the data of a configuration lie that are not where the run has them."""
        begun = self.read_config().places
        return {path: place for path, place in config.places.items() if path in begun and place != begun[path]}

    @property
    def has_begun(self) -> bool:
        """Whether training was reached: a metrics.jsonl is there, if only an empty one."""
        return self.has("metrics.jsonl")

    def has(self, name: str) -> bool:
        """Whether a file of the folder is there."""
        return (self.path / name).is_file()

    def lock(self) -> None:
        """Take the run for this process; CheckpointError where another has it. The lock ends with the process."""
        if not self._writes:
            return
        try:
            taken = self._lock.take()
        except OSError as error:
            raise _not_writable(self.path, error) from error
        if not taken:
            raise CheckpointError(f"{self.path}: another process is running this run")
        for folder in (self.path, self.path / "checkpoints"):
            files.remove_leftovers(folder, own=True)

    def unlock(self, state: str | None = None) -> None:
        """Release the lock, with a note of how the run ended: "finished", "stopped" or "failed"."""
        self._lock.release(state)

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder, complete or not at all; CheckpointError where the disk is full or not writable."""
        if not self._writes:
            return
        try:
            files.write(self.path / name, content, sync=True)
        except OSError as error:
            raise _not_writable(self.path / name, error) from error

    def remove(self, name: str) -> None:
        """Remove a file of the folder, if it is there."""
        if not self._writes:
            return
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise _not_writable(self.path / name, error) from error

    def write_config(self, config: ExperimentConfig) -> None:
        """Write config.yaml, resolved."""
        self.write("config.yaml", _as_yaml(config))

    def write_fingerprint(self, found: Fingerprint) -> None:
        """data.json: what the run is trained on."""
        self.write(DATA_FILE, (json.dumps(found.to_dict(), indent=1) + "\n").encode())

    def read_fingerprint(self) -> Fingerprint | None:
        """What the run was trained on; None where it does not tell, as an older version began it.

        Raises:
            CheckpointError: data.json is damaged.
        """
        path = self.path / DATA_FILE
        try:
            return Fingerprint.from_dict(read_json(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path}: cannot be read ({error}); remove it, and changes of the data go unnoticed") from error

    def write_class_names(self, class_names: list[str]) -> None:
        """classes.json: the class names in the order of the model's outputs, for use without the dataset."""
        self.write("classes.json", json.dumps(class_names, ensure_ascii=False, indent=0).encode())

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json: flat metric names, null where a value is not known."""
        self.write("summary.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())

    def write_arrays(self, name: str, **arrays: np.ndarray) -> None:
        """Write a compressed .npz."""
        if not self._writes:
            return
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        self.write(name, buffer.getvalue())

    def write_scores(self, name: str, split: Split, logits: np.ndarray, epoch: int) -> None:
        """val_scores.npz or test_scores.npz: logits of the best epoch, the labels they are judged by, and which epoch that is."""
        self.write_arrays(name, **score_arrays(split, logits), epoch=np.array(epoch))

    def write_test_scores(self, split: Split, logits: np.ndarray, epoch: int) -> bool:
        """test_scores.npz, unless it would be a burden to whoever copies the run; whether it was written."""
        small = logits.nbytes <= MAX_TEST_SCORES
        if small:
            self.write_scores("test_scores.npz", split, logits, epoch)
        return small

    def is_of_epoch(self, name: str, epoch: int) -> bool:
        """Whether an .npz of the folder can be read and is of an epoch; one of an older version does not tell."""
        try:
            return bool(read_npz(self.path / name).get("epoch", np.array(epoch)).tolist() == epoch)
        except (DataError, OSError):
            return False

    def write_pseudo_labels(self, data: SPMLData, pseudo: np.ndarray, epoch: int) -> None:
        """pseudo_labels.npz: int8 (N,C) of the training rows, and the epoch they are from; its counts to the .csv beside it."""
        self.write_arrays("pseudo_labels.npz", pseudo=pseudo, epoch=np.array(epoch))
        if data.train.targets is not None and (pseudo != 0).any():
            counts = pseudo_positives_per_class(pseudo, data.train.observed, data.train.targets)
            self._add_pseudo_counts(data.class_names, counts, epoch)

    def _add_pseudo_counts(self, class_names: list[str], counts: dict[str, np.ndarray], epoch: int) -> None:
        """pseudo_per_class.csv: pseudo-positives assigned, correct and to be found, by epoch and class."""
        path, text = self.path / "pseudo_per_class.csv", io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", "class", *counts])
        if path.is_file():
            try:
                rows = [[row[column] for column in ("epoch", "class", *counts)] for row in read_table(path)]
                writer.writerows(row for row in rows if int(row[0]) < epoch)  # a resumed run may repeat epochs
            except (KeyError, ValueError) as error:
                raise CheckpointError(f"{path}: is damaged ({error}); remove it, and the epochs before are not told") from error
        for name, *numbers in zip(class_names, *counts.values(), strict=True):
            writer.writerow([epoch, name, *map(int, numbers)])
        self.write("pseudo_per_class.csv", text.getvalue().encode())

    def write_per_class(self, data: SPMLData, precisions: np.ndarray) -> None:
        """per_class.csv: average precision on the test split, in percent (empty where NaN), and the number of positives."""
        assert data.test is not None
        assert data.test.targets is not None
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["class", "test_AP", "test_positives"])
        for name, precision, positives in zip(data.class_names, precisions, data.test.targets.sum(axis=0), strict=True):
            writer.writerow([name, "" if np.isnan(precision) else f"{precision:.4f}", int(positives)])
        self.write("per_class.csv", text.getvalue().encode())


def score_arrays(split: Split, logits: np.ndarray) -> dict[str, np.ndarray]:
    """What a file of scores holds: logits float32, `observed`, and `targets` where they are known, each (N,C)."""
    labels = {"observed": split.observed} | ({} if split.targets is None else {"targets": split.targets})
    return {"logits": logits.astype(np.float32), **labels}


def _as_yaml(config: ExperimentConfig) -> bytes:
    return write_yaml(config.to_dict()).encode()


def _not_writable(path: Path, error: OSError) -> CheckpointError:
    full = error.errno in files.NO_SPACE
    remedy = "free some space, or set AEVLP_RUNS to another disk" if full else "set AEVLP_RUNS to a folder that can"
    return CheckpointError(f"{path}: cannot be written: {error.strerror}; {remedy}")
