"""W&B's own commands on a run folder: upload what is only here, look at it in the terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.tracking.base import shown_path


def fragments(run_dir: Path) -> list[Path]:
    """W&B folders of a run, oldest first: one for each time it was started or resumed. ConfigError where there is none."""
    found = [*(run_dir / "wandb").glob("offline-run-*"), *(run_dir / "wandb").glob("run-*")]
    if not found:
        raise ConfigError(f"{shown_path(run_dir)}: holds nothing of W&B; it was run with --tracking off")
    return sorted(found, key=lambda folder: folder.name.removeprefix("offline-"))


def sync_commands(run_dir: Path, dry_run: bool = False) -> list[list[str]]:
    """`wandb sync` for all fragments of a run at once: one by one they would overwrite each other's summary.

    A command for each id: the folder of a suite has a run of W&B for each table.
    """
    by_id: dict[str, list[Path]] = {}
    for folder in fragments(run_dir):
        by_id.setdefault(_run_id(folder), []).append(folder)
    commands = []
    for run_id, folders in by_id.items():
        options = ["--include-online"] * any(folder.name.startswith("run-") for folder in folders) + ["--dry-run"] * dry_run
        commands.append([sys.executable, "-m", "wandb", "sync", *options, "--id", run_id, *map(str, folders)])
    return commands


def _run_id(fragment: Path) -> str:
    """By the file in it: of two folders of one second W&B calls the later one ...-1."""
    file = next(fragment.glob("run-*.wandb"), None)
    return re.sub(r"^(offline-)?run-\d{8}_\d{6}-", "", fragment.name) if file is None else file.stem.removeprefix("run-")


def is_tracked(folder: Path) -> bool:
    """Whether a folder, of a run, a study or a suite, holds something of W&B."""
    return any((folder / "wandb").glob("*run-*"))


def with_trials(study: Path) -> list[Path]:
    """The study and the runs of its trials, those that hold something of W&B; ConfigError where none does."""
    trials = sorted((study / "trials").glob("*"))
    found = [folder for folder in (study, *trials) if is_tracked(folder)]
    if not found:
        raise ConfigError(f"{shown_path(study)}: holds nothing of W&B; it was run with --tracking off")
    return found


def sync(run_dirs: Sequence[Path], dry_run: bool = False) -> None:
    """Upload runs, each as one run, and the tables of suites. One that does not go up stops no other.

    Raises:
        ConfigError: there is nothing to upload.
        UnavailableError: nobody is logged in; or some did not go up, a line each: W&B has said why.
    """
    commands, failures = {}, []
    for run_dir in run_dirs:
        try:
            commands[run_dir] = sync_commands(run_dir, dry_run)
        except ConfigError as error:
            failures.append(str(error))
    if not commands:
        raise ConfigError("\n".join(failures))
    if not (dry_run or _may_have_login()):  # W&B would say so in three lines, of each run
        where = shown_path(next(iter(commands)))
        login = f"{where}: nobody is logged in to W&B: `wandb login`; what is here stays here"
        raise UnavailableError("\n".join([*failures, login]))
    for run_dir, its in commands.items():
        # stdin: nothing is asked. A list, as the others go up where one does not.
        if any([subprocess.run(command, env=environment(run_dir), stdin=subprocess.DEVNULL).returncode for command in its]):
            failures.append(f"{shown_path(run_dir)}: W&B could not upload everything; what is here stays here")
    if failures:
        raise UnavailableError("\n".join(failures))


def _may_have_login() -> bool:
    """Whether there is anything that W&B could take a login from; to ask itself would start its service."""
    home = Path.home()
    files = (os.environ.get("NETRC") or home / ".netrc", home / "_netrc", home / ".config/wandb/settings", "wandb/settings")
    return any(map(os.environ.get, ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"))) or any(map(os.path.isfile, files))


def watch(run_dir: Path) -> int:
    """Open W&B's terminal viewer on the newest fragment of a run; returns its exit code. ConfigError without a terminal."""
    newest = fragments(run_dir)[-1]
    if not sys.stdout.isatty():
        raise ConfigError("watch draws on a terminal, and this is none; `report` makes a page")
    command = [sys.executable, "-m", "wandb", "leet", "run", str(newest)]
    return subprocess.run(command, env=environment(run_dir)).returncode


def environment(run_dir: Path) -> dict[str, str]:
    """This process's environment, with W&B's own files kept in the run folder; settings of the user's are found as ever."""
    folder = run_dir.absolute() / "wandb"
    places = own_folders(run_dir) | {"WANDB_DIR": str(folder)}
    if not (Path.home() / ".config" / "wandb").exists():
        places["WANDB_CONFIG_DIR"] = str(folder / "config")
    return places | dict(os.environ)


def own_folders(run_dir: Path) -> dict[str, str]:
    """The variables that keep W&B out of the home folder, and its crash reports off the network."""
    folder = run_dir.absolute() / "wandb"
    places = {f"WANDB_{name}_DIR": str(folder / name.lower()) for name in ("DATA", "CACHE", "ARTIFACT")}
    return places | {"WANDB_ERROR_REPORTING": "false"}
