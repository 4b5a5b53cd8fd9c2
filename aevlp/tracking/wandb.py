"""Weights & Biases as a view of the run: it may fail, hang or be absent, and the run goes on."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from aevlp.command import COMMAND
from aevlp.config.schema import TrackingConfig
from aevlp.tracking import wandb_media
from aevlp.tracking.base import Row, RunInfo, Tracker, shown_path, shown_run
from aevlp.tracking.jsonl import FILE_NAME
from aevlp.tracking.patience import Patience
from aevlp.tracking.wandb_commands import own_folders

if TYPE_CHECKING:
    import wandb

WAIT_SECONDS = 15.0  # what a server that does not answer can cost a run, at start and end together
PROBE_SECONDS = 3.0  # of these, for a sign of life
LAST_SECONDS = 1.0  # of these, kept for that at the end
FINISH_SECONDS = 7.0  # of these, kept for the end, as W&B has to be told when the run is opened

ALERTED = ("test/mAP", "test/mAP_observed", "best/val_mAP", "best/val_mAP_observed", "best/epoch")
STEP_METRICS = ("train/step_loss", "train/learning_rate")
EPOCH_METRICS = ("train/loss", "val/*", "pseudo/*", "perf/*", "best/*", "test/*")


class WandbTracker(Tracker):
    """Logs to W&B as `tracking` says; `mode` is auto (online where that works), online or offline.

    Offline data lies in the run folder, to look at and to upload later. Nothing is written outside the run folder.
    """

    def __init__(self, config: TrackingConfig) -> None:
        """Open nothing yet."""
        self.config = config
        self.online = False
        self._patience = Patience(WAIT_SECONDS)
        self._run: wandb.Run | None = None  # None also after a failure: the tracker is quiet then
        self._failed = False
        self._run_folder: Path | None = None
        self._url: str | None = None
        self._environment: dict[str, str] = {}  # what was set for this run and is taken back after it

    def start(self, run: RunInfo) -> None:
        """Open the W&B run, offline where online does not work; never raises for W&B's sake."""
        if os.environ.get("WANDB_MODE") == "disabled":
            return
        self._info = run
        with _without_arguments():
            self._guarded("start", self._start)

    def _start(self) -> None:
        folder = self._info.run_dir.absolute() / "wandb"
        # Otherwise data and cache go to the home folder, and crash reports go out even offline.
        wanted = own_folders(self._info.run_dir) | {"WANDB_SILENT": "true"}
        self._environment = {name: value for name, value in wanted.items() if name not in os.environ}
        os.environ.update(self._environment)
        import wandb

        settings = wandb.setup().settings
        if self.config.mode == "auto" and settings.mode == "disabled":
            return
        if self.config.mode == "offline" or (self.config.mode == "auto" and settings.mode in ("offline", "dryrun")):
            self._open("offline")
            return
        earlier = set(folder.glob("run-*"))
        try:
            problem = None if _has_credentials(settings) else "no login (`wandb login` makes one)"
            problem = problem or self._sign_of_life(settings.base_url)
            if problem is None:
                wandb.setup().ensure_service()  # W&B's helper process, which is not the server's time
                with self._patience.wait(keep=FINISH_SECONDS + LAST_SECONDS) as seconds:
                    self._open("online", seconds)
        except Exception as error:
            problem = f"{settings.base_url} did not take the run ({_short(error)})"
            _stop_service()  # it would refuse the same id a second time
            for attempt in set(folder.glob("run-*")) - earlier:
                shutil.rmtree(attempt, ignore_errors=True)
        if problem is not None:
            self._open("offline")
            self.notify(f"W&B is offline: {problem}")

    def _sign_of_life(self, url: str) -> str | None:
        """None where a server answers, else what is wrong with it."""
        outcome: list[str | None] = []
        with self._patience.wait(PROBE_SECONDS, keep=FINISH_SECONDS) as seconds:
            # In a thread, because looking a host name up has no time limit of its own.
            probe = threading.Thread(target=lambda: outcome.append(_probe(url, seconds)), daemon=True)
            probe.start()
            probe.join(seconds)
        return outcome[0] if outcome else _silent(url, seconds)

    def _open(self, mode: Literal["online", "offline"], seconds: float = WAIT_SECONDS) -> None:
        import wandb

        info = self._info
        self._run = run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            id=info.run_id,
            name=self.config.name or info.run_id,
            notes=self.config.notes,
            group=self.config.group or info.experiment,
            job_type=self.config.job_type,
            tags=self.config.tags,
            dir=info.run_dir.absolute(),
            config=info.config | ({"git_commit": commit} if (commit := wandb_media.git_commit(info.run_dir)) else {}),
            mode=mode,
            resume="allow",
            save_code=False,
            # console: its capture of stdout and a live progress bar do not go together.
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=seconds,
                finish_timeout=FINISH_SECONDS,
                finish_timeout_raises=True,
            ),
        )
        self.online = mode == "online"
        self._run_folder = Path(run.settings.sync_dir)
        self._url = run.url
        # W&B's own step is never set: it must only grow, and a resumed run goes back.
        run.define_metric("trainer/step", hidden=True)
        run.define_metric("trainer/epoch", hidden=True)
        for name in STEP_METRICS:
            run.define_metric(name, step_metric="trainer/step")
        for name in EPOCH_METRICS:
            run.define_metric(name, step_metric="trainer/epoch")

    def log(self, metrics: Row) -> None:
        """Send one row, without the values that are not known."""
        if self._run is not None:
            self._guarded("log", self._run.log, {name: value for name, value in metrics.items() if value is not None})

    def table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Send a table; a cell may be None."""
        run = self._run
        if run is not None and not self._failed:
            import wandb

            table = wandb.Table(columns=columns, data=rows, allow_mixed_types=True)
            problem = self._in_time(lambda: run.log({name: table}), 0.0 if self.online else WAIT_SECONDS)
            if problem is not None:
                self.notify(f"W&B: the table of {name} was not sent: {problem}")

    def finish(self, state: str, summary: dict[str, Any]) -> None:
        """Send what is known at the end, and close the run; waits as long as it has patience, and longer for large weights."""
        run, self._run = self._run, None
        pruned = state == "stopped" and self.config.job_type == "sweep-trial"  # or continued later; in neither case a failure
        if run is not None:
            self._guarded("summary", run.summary.update, {name: value for name, value in summary.items() if value is not None})
            silence = None
            if state == "finished" and not self._failed:
                silence = self._sign_of_life(run.settings.base_url) if self.online else None
                if silence is None:
                    self._send_media(run, summary)
            if self.config.alert and not pruned:
                self._guarded("alert", self._send_alert, run, state, summary)
            self._guarded("finish", run.finish, exit_code=0 if state == "finished" or pruned else 1)
            if silence is not None and not self._failed:
                self._tell_unsent(silence)
            if self._failed:
                _stop_service()  # else it is waited for again, and complains, when Python exits
        for name in self._environment:
            os.environ.pop(name, None)
        self._environment = {}

    def _send_alert(self, run: wandb.Run, state: str, summary: dict[str, Any]) -> None:
        """Let W&B tell the user; of an offline run it does when the run is uploaded."""
        told = [f"{name} {value:.2f}" for name in ALERTED if isinstance(value := summary.get(name), int | float)]
        text = ", ".join(told) or f"see {shown_run(self._info.run_dir)}"
        run.alert(f"{self.config.name or self._info.run_id}: {state}", text, level="ERROR" if state == "failed" else "INFO")

    def _send_media(self, run: wandb.Run, summary: dict[str, Any]) -> None:
        """Send tables, images and weights; what does not go through in time is told, and costs neither run nor numbers."""
        folder = self._info.run_dir
        # What is kept on this machine takes its time as well, but no server's.
        more = wandb_media.upload_seconds(folder) if self.online else WAIT_SECONDS
        problem = self._in_time(lambda: wandb_media.send(run, folder, summary), more)
        if problem is not None:
            self._tell_unsent(problem)

    def _in_time(self, call: Callable[[], object], more: float) -> str | None:
        """Call, and say what went wrong; in a thread, because tables and artifacts ask the server, with limits not ours."""
        outcome: list[str | None] = []

        def answer() -> None:
            try:
                call()
                outcome.append(None)
            except Exception as error:
                outcome.append(_short(error))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with self._patience.wait(keep=FINISH_SECONDS, more=more) as seconds:
            thread.join(seconds)
        return outcome[0] if outcome else "the server took too long"

    def _tell_unsent(self, problem: str) -> None:
        folder = shown_path(self._info.run_dir)
        self.notify(f"W&B: tables, images and weights were not sent: {problem}; they are in {folder}")

    def closing_lines(self) -> list[tuple[str, str]]:
        """Return where to look, or how to upload what is only here."""
        if self._run_folder is None:
            return []
        if self._url and self.online and not self._failed:
            return [("W&B", self._url)]
        return [("sync", f"{COMMAND} sync {shlex.quote(shown_run(self._info.run_dir))}")]

    def _guarded(self, what: str, call: Callable[..., object], *arguments: Any, **named: Any) -> None:
        """Call into W&B; the first failure is told, and then the tracker is quiet."""
        if self._failed and what != "finish":  # which is tried all the same: it closes the file
            return
        try:
            call(*arguments, **named)
        except Exception as error:
            if not self._failed:
                kept = f"; what it has is kept in {shown_path(self._run_folder)}" if self._run_folder else ""
                self.notify(f"W&B: {what} failed: {_short(error)}{kept}; {FILE_NAME} has everything")
            self._failed = True


@contextlib.contextmanager
def _without_arguments() -> Iterator[None]:
    """W&B records the command line with every run, passwords included; what of it matters is in the configuration."""
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = arguments


def _silent(url: str, seconds: float) -> str:
    return f"{url} did not answer within {seconds:.1g} s"


def _has_credentials(settings: wandb.Settings) -> bool:
    """Look where W&B looks: the environment, its settings, the netrc file; never asks."""
    from wandb.sdk.lib import wbauth

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE") or settings.api_key:
        return True
    return wbauth.read_netrc_auth(host=settings.base_url) is not None


def _probe(url: str, seconds: float) -> str | None:
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/graphql", timeout=seconds):  # noqa: S310  (W&B allows http(s) only)
            return None
    except urllib.error.HTTPError as error:  # it lives; whether it likes a bare GET does not matter
        return f"{url} answers {error.code}" if error.code >= 500 else None
    except Exception as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLError):
            return None  # it lives; W&B may know certificates that Python does not
        if isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError):
            return _silent(url, seconds)
        return f"{url} cannot be reached ({_short(error)})"


def _stop_service() -> None:
    """End W&B's helper process; whatever is wrong with it was told before."""
    import wandb

    try:
        wandb.teardown()
    except (Exception, SystemExit) as error:  # it exits with the helper's exit code
        logging.getLogger("aevlp").debug("W&B teardown: %r", error)


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
