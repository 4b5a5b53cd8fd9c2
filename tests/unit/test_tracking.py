"""Tracking: the record survives crashes, full disks and W&B's bad days; the terminal shows what was recorded."""

from __future__ import annotations

import errno
import http.server
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aevlp.config.schema import TrackingConfig
from aevlp.tracking import (
    ConsoleTracker,
    JsonlTracker,
    RunInfo,
    Tracker,
    Trackers,
    WandbTracker,
    read_metrics,
)
from aevlp.tracking import wandb as wandb_module
from aevlp.tracking.build import build_trackers
from aevlp.tracking.wandb_commands import sync_commands

ROOT = Path(__file__).parents[2]
SUMMARY = {"test/mAP": 91.5, "best/val_mAP": 92.25, "best/epoch": 2, "val/mAP": 92.25, "pseudo/positive/recall": None}


def run_info(run_dir: Path, *, run_id: str = "digits-1", resumed_step: int | None = None) -> RunInfo:
    return RunInfo(run_id, "digits", run_dir, {"loss": {"rho": 0.9}}, 2, 10, resumed_step, ["zero", "one", "two"])


def step_row(step: int) -> dict:
    return {"trainer/step": step, "trainer/epoch": 1, "train/step_loss": 1 / step, "train/learning_rate": 1e-4}


def epoch_row(epoch: int, val_map: float, **more) -> dict:
    row = {"trainer/step": 10 * epoch, "trainer/epoch": epoch, "train/loss": 0.5 / epoch, "val/mAP": val_map}
    row |= {"pseudo/positive/precision": 88.125, "pseudo/positive/recall": None, "perf/images_per_second": 1234.0}
    return row | {"best/val_mAP": val_map, "best/epoch": epoch} | more


def run_a_little(tracker: Tracker, run_dir: Path, **info) -> list[dict]:
    rows = [step_row(5), epoch_row(1, 71.0), epoch_row(2, 92.25)]
    tracker.start(run_info(run_dir, **info))
    tracker.progress("train", 0, 10)
    for row in rows:
        tracker.log(row)
    tracker.finish("finished", SUMMARY)
    return rows


class Notes(Tracker):
    def __init__(self):
        self.texts = []

    def message(self, text):
        self.texts.append(text)


def test_importing_is_quick_and_takes_no_heavy_library():
    code = "import sys, aevlp.tracking; sys.exit(any(name in sys.modules for name in ('wandb', 'torch', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


class TestJsonl:
    def test_rows_come_back_and_unknown_is_null(self, tmp_path):
        rows = run_a_little(JsonlTracker(), tmp_path)
        assert read_metrics(tmp_path / "metrics.jsonl") == rows
        assert '"pseudo/positive/recall": null' in (tmp_path / "metrics.jsonl").read_text()

    def test_each_row_is_readable_at_once(self, tmp_path):
        tracker = JsonlTracker()
        tracker.start(run_info(tmp_path))
        tracker.log(step_row(1))
        assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1

    @pytest.mark.parametrize("tail", [b"", b'{"trainer/step": 21, "tra', b"\0\0\0", b'{"a": 1', b'{"trainer/step": 21}'])
    def test_resume_drops_later_rows_and_a_torn_tail(self, tmp_path, tail):
        path = tmp_path / "metrics.jsonl"
        path.write_bytes(b"".join(json.dumps(step_row(step)).encode() + b"\n" for step in (5, 10, 15, 20)) + tail)
        tracker = JsonlTracker()
        tracker.start(run_info(tmp_path, resumed_step=10))
        tracker.log(step_row(11))
        tracker.finish("finished", {})
        assert [row["trainer/step"] for row in read_metrics(path)] == [5, 10, 11]
        assert [item.name for item in tmp_path.iterdir()] == ["metrics.jsonl"]

    def test_jsonl_resumed_from_a_stop_in_validation_drops_the_row_of_the_epoch_it_repeats(self, tmp_path):
        epoch_row = {"trainer/step": 10, "trainer/epoch": 1, "train/loss": 0.5}
        step_row = {"trainer/step": 10, "trainer/epoch": 1, "train/step_loss": 0.5}
        for resumed_epochs, kept in ((0, [step_row]), (1, [step_row, epoch_row])):
            (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (step_row, epoch_row)))
            tracker = JsonlTracker()
            tracker.start(replace(run_info(tmp_path, resumed_step=10), resumed_epochs=resumed_epochs))
            tracker.finish("stopped", {})
            assert read_metrics(tmp_path / "metrics.jsonl") == kept

    def test_reading_forgives_the_last_line_only(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        path.write_text('{"a": 1}\n{"a": 2')
        assert read_metrics(path) == [{"a": 1}]
        path.write_text('{"a": 1}\n{"a"\n{"a": 3}\n')
        with pytest.raises(ValueError, match=r"metrics\.jsonl:2"):
            read_metrics(path)

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_what_is_no_number_is_refused_by_name(self, tmp_path, value):
        tracker = JsonlTracker()
        tracker.start(run_info(tmp_path))
        with pytest.raises(ValueError, match="train/step_loss"):
            tracker.log(step_row(1) | {"train/step_loss": value})

    def test_a_full_disk_costs_rows_but_not_the_run(self, tmp_path, monkeypatch):
        """The disk takes half a row, then nothing, then everything again."""
        tracker, notes = JsonlTracker(), Notes()
        both = Trackers([tracker, notes])
        both.start(run_info(tmp_path))
        both.log(step_row(1))
        real_write, full = os.write, [True]

        def write(descriptor, data):
            if descriptor != tracker._descriptor or not full[0]:
                return real_write(descriptor, data)
            if len(data) > 30:
                return real_write(descriptor, data[:30])
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "write", write)
        both.log(step_row(2))
        both.log(step_row(3))
        assert [row["trainer/step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1]
        full[0] = False
        both.log(step_row(4))
        both.finish("finished", {})
        assert [row["trainer/step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [1, 4]
        assert len(notes.texts) == 1
        assert "no space left" in notes.texts[0]
        assert tracker.closing_lines() == [("lost", "2 rows of metrics.jsonl: the disk was full")]

    def test_other_write_errors_are_raised(self, tmp_path):
        tracker = JsonlTracker()
        tracker.start(run_info(tmp_path))
        os.close(tracker._descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            tracker.log(step_row(1))


class TestTrackers:
    def test_console_starts_first_finishes_last_and_gets_the_others_lines(self, tmp_path):
        calls = []

        class Recorder(Tracker):
            def __init__(self, name, last=False):
                self.name, self.shows_others = name, last

            def start(self, run):
                calls.append(f"start {self.name}")

            def closing_lines(self):
                return [] if self.shows_others else [(self.name, "path")]

            def receive_closing_lines(self, lines):
                calls.append(lines)

            def finish(self, state, summary):
                calls.append(f"finish {self.name}")

        trackers = Trackers([Recorder("a"), Recorder("console", last=True), Recorder("b")])
        trackers.start(run_info(tmp_path))
        trackers.finish("finished", {})
        starts = ["start console", "start a", "start b"]
        assert calls == [*starts, "finish a", "finish b", [("a", "path"), ("b", "path")], "finish console"]

    def test_all_are_finished_even_where_one_raises(self, tmp_path):
        class Broken(Tracker):
            def finish(self, state, summary):
                raise RuntimeError("broken")

        output = io.StringIO()
        trackers = Trackers([Broken(), ConsoleTracker(console=plain_console(output))])
        trackers.start(run_info(tmp_path))
        with pytest.raises(RuntimeError, match="broken"):
            trackers.finish("failed", {})
        assert "failed" in output.getvalue()


def plain_console(output: io.StringIO):
    from rich.console import Console

    return Console(file=output)


@pytest.mark.parametrize("mode", ["auto", "online", "offline", "off"])
def test_what_is_built_for_a_configuration(mode, tmp_path):
    kinds = {type(tracker) for tracker in build_trackers(TrackingConfig(mode=mode), tmp_path).trackers}
    assert kinds == {ConsoleTracker, JsonlTracker} | (set() if mode == "off" else {WandbTracker})


class TestConsole:
    def test_plain_output_has_stages_epochs_and_a_closing_block(self, tmp_path):
        output = io.StringIO()
        long_path = tmp_path / ("x" * 100) / "[red]" / ":smile:"
        tracker = Trackers([ConsoleTracker([("next", f"compare {long_path}")], plain_console(output)), JsonlTracker()])
        tracker.start(run_info(tmp_path))
        tracker.progress("encode views", 0, 7)
        tracker.finish("stopped", {})
        run_a_little(tracker, tmp_path)
        text = output.getvalue()
        assert "\x1b" not in text
        assert "\r" not in text
        assert "encode views: 7\n" in text
        first, second = re.findall(r"^ +\d/2 .*$", text, re.MULTILINE)
        assert first.split()[:7] == ["1/2", "0.5000", "71.00", "*", "88.1", "–", "1234"]  # noqa: RUF001
        assert second.split()[:4] == ["2/2", "0.2500", "92.25", "*"]
        assert re.search(r"best val mAP +92\.25 +at epoch 2\n", text)
        assert re.search(r"test mAP +91\.50\n", text)
        assert f"compare {long_path}\n" in text  # in one piece

    def test_rich_output_has_the_table_and_fits_80_columns(self, tmp_path):
        from rich.console import Console

        console = Console(file=io.StringIO(), record=True, force_terminal=True, width=80)
        tracker = ConsoleTracker(lambda state: [("next", f"after {state}")], console)
        run_a_little(tracker, Path(os.path.relpath(tmp_path)))
        text = console.export_text()
        assert "precision" in text
        assert "92.25 *" in text
        assert "─ finished ─" in text
        assert "after finished" in text
        assert max(len(line) for line in text.splitlines() if "run folder" not in line) <= 80

    @pytest.mark.parametrize(
        ("labels", "said"),
        [(1.6, "1.6 of 3 classes are predicted a photo"), (0.009, "fewer than one in a hundred"), (1.5, ""), (0.01, "")],
    )
    def test_labels_for_nearly_all_and_for_hardly_any_classes_are_warned_of(self, labels, said, tmp_path):
        output = io.StringIO()
        tracker = ConsoleTracker(console=plain_console(output))
        tracker.start(run_info(tmp_path))
        tracker.finish("finished", {"best/epoch": 1, "best/val_mAP_observed": 50.0, "best/val_labels_per_image": labels})
        assert ("note  " in output.getvalue()) == bool(said)
        assert said in output.getvalue()

    def test_a_stopped_run_shows_the_best_so_far(self, tmp_path):
        output = io.StringIO()
        tracker = ConsoleTracker(console=plain_console(output))
        tracker.start(run_info(tmp_path))
        tracker.log(epoch_row(1, 71.0))
        tracker.finish("stopped", {"state": "stopped"})
        assert re.search(r"best val mAP +71\.00 +at epoch 1\n", output.getvalue())

    def test_time_left_for_the_stage_and_for_the_run(self, tmp_path, monkeypatch):
        clock = [100.0]
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        tracker = ConsoleTracker(console=plain_console(io.StringIO()))
        tracker.start(run_info(tmp_path))
        for done in range(5):
            tracker.progress("train", done, 10)
            clock[0] += 30
        assert tracker._remaining() == "3:45 left, run 10:00"  # 150 s for 4 of 10 steps, of 20 in all

    def test_long_stages_give_a_sign_of_life_but_no_flood(self, tmp_path, monkeypatch):
        clock, output = [0.0], io.StringIO()
        monkeypatch.setattr(time, "monotonic", lambda: clock[0])
        tracker = ConsoleTracker(console=plain_console(output))
        tracker.start(run_info(tmp_path))
        for done in range(300):
            tracker.progress("encode views", done, 300)
            clock[0] += 1
        assert re.findall(r"encode views: (\d+)/300", output.getvalue()) == ["60", "120", "180", "240"]

    def test_a_closed_pipe_does_not_stop_the_run(self, tmp_path):
        class Gone(io.StringIO):
            def write(self, text):
                raise BrokenPipeError

        run_a_little(ConsoleTracker(console=plain_console(Gone())), tmp_path)

    def test_on_a_terminal_ctrl_c_leaves_the_cursor_visible(self, tmp_path):
        code = f"""
import pathlib, time
from aevlp.tracking import ConsoleTracker, RunInfo
tracker = ConsoleTracker()
tracker.start(RunInfo("r", "e", pathlib.Path({str(tmp_path)!r}), {{}}, 2, 1000, None, ["a"]))
try:
    for step in range(1000):
        tracker.progress("train", step, 1000)
        time.sleep(0.01)
except KeyboardInterrupt:
    pass
finally:
    tracker.finish("stopped", {{}})
    tracker.close()
"""
        parent, child = pty.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"}
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=child, stderr=child, env=environment)
        os.close(child)
        seen = b""
        while b"/1000" not in seen:
            seen += os.read(parent, 4096)
        process.send_signal(signal.SIGINT)
        try:
            while data := os.read(parent, 4096):
                seen += data
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(parent)
        assert process.wait(timeout=20) == 0
        assert b"stopped" in seen
        assert seen.rindex(b"\x1b[?25h") > seen.rindex(b"\x1b[?25l")  # the cursor is shown again after it was hidden


class FakeServer(http.server.ThreadingHTTPServer):
    """Speaks just enough of W&B's protocol to take a run; `mood` is "well", "error" (500), "dead" (hangs up) or "silent"."""

    daemon_threads = True

    def __init__(self, mood: str) -> None:
        super().__init__(("127.0.0.1", 0), FakeHandler)
        self.mood = mood
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class FakeHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self):
        if self.server.mood == "silent":
            self.server.over.wait()
        self.reply(404, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.mood == "dead":
            self.close_connection = True
        elif self.server.mood == "silent":
            self.server.over.wait()
            self.close_connection = True
        elif self.server.mood == "error":
            self.reply(500, {})
        else:
            query = json.loads(body)["query"] if self.path.endswith("/graphql") else ""
            project = {"name": "aevlp", "entity": {"name": "me"}}
            data = {}
            if "upsertBucket" in query:
                bucket = {"id": "1", "name": "digits-1", "displayName": "digits-1", "config": "{}", "project": project}
                data = {"upsertBucket": {"bucket": bucket, "inserted": True}}
            elif "RunResumeStatus" in query:
                data = {"model": {"id": "1", "name": "aevlp", "entity": {"id": "1", "name": "me"}, "bucket": None}}
            elif "createRunFiles" in query:
                data = {"createRunFiles": {"runID": "1", "uploadHeaders": [], "files": []}}
            self.reply(200, {"data": data})

    def reply(self, code, answer):
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder and none of the user's W&B settings."""
    for name in os.environ:
        if name.startswith("WANDB_") or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(wandb_module, "WAIT_SECONDS", 7.0)
    monkeypatch.setattr(wandb_module, "PROBE_SECONDS", 1.0)
    monkeypatch.setattr(wandb_module, "FINISH_SECONDS", 2.0)
    yield home
    wandb_module._stop_service()  # its settings are read once, from the environment


def inspect(folder: Path, *options: str) -> list[dict]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(output)] if options else [json.loads(line) for line in output.splitlines()]


# Bounds of 60 s: W&B itself would wait 90 s to start and for ever to finish, and a busy machine is slow to start a process.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
class TestWandb:
    @pytest.fixture
    def logged_in_to(self, home, monkeypatch):
        def log_in(url: str) -> None:
            monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
            monkeypatch.setenv("WANDB_BASE_URL", url)

        return log_in

    def run_and_check(self, run_dir, prefix="offline-run-", *, after_start=lambda: None) -> tuple[list[str], dict]:
        """Run, compare what W&B's own tool reads back with what was logged; return messages and closing lines."""
        tracker, notes = WandbTracker(TrackingConfig()), Notes()
        both = Trackers([notes, tracker])
        both.start(run_info(run_dir))
        after_start()
        rows = [step_row(5), epoch_row(1, 71.0), epoch_row(2, 92.25)]
        for row in rows:
            both.log(row)
        both.finish("finished", SUMMARY)
        (folder,) = (run_dir / "wandb").glob("*run-2*")
        assert folder.name.startswith(prefix)
        (seen,) = inspect(folder, "--summary")
        assert (seen["state"], seen["run_id"], seen["config"]) == ("finished", "digits-1", {"loss": {"rho": 0.9}})
        expected = {name: value for row in (*rows, SUMMARY) for name, value in row.items() if value is not None}
        assert {name: value for name, value in seen["summary"].items() if not name.startswith("_")} == pytest.approx(expected)
        return notes.texts, dict(tracker.closing_lines())

    def test_disabled_takes_no_wandb(self, home, monkeypatch, tmp_path):
        monkeypatch.setenv("WANDB_MODE", "disabled")
        tracker = WandbTracker(TrackingConfig())
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "wandb", None)  # importing it would raise
            run_a_little(tracker, tmp_path / "run")
        assert tracker.closing_lines() == []
        assert not (tmp_path / "run").exists()

    def test_offline_holds_every_row_and_nothing_is_left_elsewhere(self, home, tmp_path):
        run_dir = tmp_path / "run"
        tracker, notes = WandbTracker(TrackingConfig(mode="offline", tags=("a", "b"))), Notes()
        environment = dict(os.environ)
        rows = run_a_little(Trackers([tracker, notes]), run_dir)
        changed = {name for name in os.environ.keys() | environment if os.environ.get(name) != environment.get(name)}
        assert changed <= {"WANDB_SERVICE"}
        assert notes.texts == []
        assert list(home.iterdir()) == []
        assert sorted(item.name for item in tmp_path.iterdir()) == ["home", "run"]
        assert [item.name for item in run_dir.iterdir()] == ["wandb"]

        (folder,) = (run_dir / "wandb").glob("offline-run-*")
        records = inspect(folder)
        history = [record["history"]["item"] for record in records if record["type"] == "history"]
        seen = [{name: value for name, value in row.items() if not name.startswith("_")} for row in history]
        assert seen == [pytest.approx({name: value for name, value in row.items() if value is not None}) for row in rows]
        metrics = [record["metric"] for record in records if record["type"] == "metric"]
        axes = {metric.get("name", metric.get("glob_name")): metric.get("step_metric") for metric in metrics}
        assert axes["train/step_loss"] == axes["train/learning_rate"] == "trainer/step"
        assert axes["train/loss"] == axes["val/*"] == axes["pseudo/*"] == axes["best/*"] == "trainer/epoch"

        lines = dict(tracker.closing_lines())
        assert lines == {"sync": "python run.py sync run"}

    def test_name_notes_and_alert_are_in_the_run_and_none_is_sent_unasked(self, home, tmp_path):
        for place, settings in (("asked", {"name": "first try", "notes": "why", "alert": True}), ("plain", {})):
            tracker = WandbTracker(TrackingConfig(mode="offline", **settings))
            tracker.start(run_info(tmp_path / place))
            tracker.finish("failed", {"test/mAP": 91.5})
        files = [next((tmp_path / place / "wandb").glob("offline-run-*/*.wandb")) for place in ("asked", "plain")]
        records = inspect(files[0].parent)
        (run,) = (record["run"] for record in records if record["type"] == "run")
        assert (run["display_name"], run["notes"], run["run_id"]) == ("first try", "why", "digits-1")
        (alert,) = (record["alert"] for record in records if record["type"] == "alert")
        assert (alert["title"], alert["text"], alert["level"]) == ("first try: failed", "test/mAP 91.50", "ERROR")
        # The file is no text, but words stand in it as they are.
        assert [b"test/mAP 91.50" in file.read_bytes() for file in files] == [True, False]

    def test_photos_of_several_sizes_go_as_one_without_a_warning(self, home, tmp_path, caplog, capfd):
        run_dir = tmp_path / "run"
        run_dir.mkdir()
        sizes = [(40, 20), (20, 40), (30, 30)]
        files = []
        for size in sizes:
            buffer = io.BytesIO()
            Image.new("RGB", size, "red").save(buffer, "JPEG")
            files.append(buffer.getvalue())
        photos = {
            "names": np.array(list("xyz")), "jpeg": np.frombuffer(b"".join(files), np.uint8),
            "offsets": np.cumsum([0, *map(len, files)]), "rows": np.arange(3),
        }  # fmt: skip
        observed, logits = np.eye(3, dtype=np.int8), np.array([[2.0, 1, -3], [-1, -2, -3], [0.5, -2, 3]])
        np.savez(
            run_dir / "samples.npz", classes=np.array(["cat", "dog", "owl"]), observed=observed, pseudo=observed,
            scores=logits.astype(np.float16), **photos, **{f"val_{name}": array for name, array in photos.items()},
        )  # fmt: skip
        np.savez(run_dir / "val_scores.npz", logits=logits, observed=observed)
        run_a_little(WandbTracker(TrackingConfig(mode="offline")), run_dir)
        captured = capfd.readouterr()
        assert not any("do not match" in text for text in (captured.out, captured.err, caplog.text))
        (table,) = (run_dir / "wandb").glob("offline-run-*/files/media/table/val/photos*.json")
        content = json.loads(table.read_text())
        assert content["columns"] == ["photo", "name", "known", "predicted", "false", "missed"]
        assert [row[1:] for row in content["data"]] == [
            ["x", "cat 88", "cat 88, dog 73", "", ""], ["y", "dog 12", "", "", "dog 12"],
            ["z", "owl 95", "owl 95, cat 62", "", ""],
        ]  # fmt: skip
        staged = (run_dir / "wandb" / "data" / "artifacts" / "staging").iterdir()  # the table's own, as W&B will upload them
        files = [*(run_dir / "wandb").glob("offline-run-*/files/media/images/samples*.jpg"), *staged]
        pictures = [Image.open(file) for file in files if file.read_bytes().startswith(b"\xff\xd8")]
        assert [picture.size for picture in pictures] == [(40, 40)] * 6

    def test_a_run_among_the_runs_goes_by_its_id(self, home, tmp_path):
        tracker = WandbTracker(TrackingConfig(mode="offline"))
        run_a_little(tracker, tmp_path / "runs" / "digits-1")
        assert dict(tracker.closing_lines())["sync"] == "python run.py sync digits-1"

    def test_a_resumed_run_is_synced_in_all_its_parts(self, home, tmp_path):
        for resumed_step in (None, 10):
            tracker = WandbTracker(TrackingConfig(mode="offline"))
            run_a_little(tracker, tmp_path / "run", resumed_step=resumed_step)
        parts = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
        assert len(parts) == 2
        assert dict(tracker.closing_lines())["sync"] == "python run.py sync run"
        assert sync_commands(tmp_path / "run")[0][3:] == ["sync", "--id", "digits-1", *map(str, parts)]

    def test_two_parts_of_one_second_are_of_one_run(self, tmp_path):
        for name in ("offline-run-20260101_000000-digits-1", "offline-run-20260101_000000-digits-1-1"):
            (tmp_path / "wandb" / name).mkdir(parents=True)
            (tmp_path / "wandb" / name / "run-digits-1.wandb").touch()
        (command,) = sync_commands(tmp_path)
        assert command[3:6] == ["sync", "--id", "digits-1"]

    def test_without_a_login_it_is_offline_and_says_so(self, home, tmp_path):
        texts, _ = self.run_and_check(tmp_path / "run")
        assert len(texts) == 1
        assert "no login" in texts[0]

    def test_wandb_mode_offline_is_obeyed(self, home, monkeypatch, logged_in_to, tmp_path):
        monkeypatch.setenv("WANDB_MODE", "offline")
        logged_in_to("http://127.0.0.1:9")
        texts, _ = self.run_and_check(tmp_path / "run")
        assert texts == []

    @pytest.mark.parametrize("login", ["environment", "netrc"])
    def test_a_server_that_refuses(self, home, logged_in_to, monkeypatch, tmp_path, login):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets the port, connections are refused
            host = f"127.0.0.1:{closed.getsockname()[1]}"
            logged_in_to(f"http://{host}")
            if login == "netrc":
                monkeypatch.delenv("WANDB_API_KEY")
                (home / ".netrc").write_text(f"machine {host} login user password {'a' * 40}\n")
            began = time.monotonic()
            texts, _ = self.run_and_check(tmp_path / "run")
        assert time.monotonic() - began < 60
        assert "refused" in texts[0]

    def test_a_server_that_accepts_and_never_answers(self, logged_in_to, tmp_path):
        with socket.socket() as mute:
            mute.bind(("127.0.0.1", 0))
            mute.listen(8)
            logged_in_to(f"http://127.0.0.1:{mute.getsockname()[1]}")
            began = time.monotonic()
            texts, _ = self.run_and_check(tmp_path / "run")
        assert time.monotonic() - began < 60
        assert "did not answer within 1 s" in texts[0]

    def test_a_server_that_is_there_but_fails_everything(self, logged_in_to, tmp_path):
        server = FakeServer("error")
        logged_in_to(server.url)
        began = time.monotonic()
        texts, lines = self.run_and_check(tmp_path / "run")
        server.shutdown()
        server.server_close()
        assert time.monotonic() - began < 60
        assert len(texts) == 1
        assert "did not take the run" in texts[0]
        assert "--include-online" not in lines["sync"]

    def test_online(self, logged_in_to, tmp_path):
        server = FakeServer("well")
        logged_in_to(server.url)
        texts, lines = self.run_and_check(tmp_path / "run", "run-")
        server.shutdown()
        server.server_close()
        assert texts == []
        assert lines == {"W&B": f"{server.url}/me/aevlp/runs/digits-1"}

    def test_a_server_that_dies_in_mid_run(self, logged_in_to, tmp_path):
        server = FakeServer("well")
        logged_in_to(server.url)

        def die():
            server.mood = "dead"
            server.shutdown()
            server.server_close()

        began = time.monotonic()
        texts, lines = self.run_and_check(tmp_path / "run", "run-", after_start=die)
        assert time.monotonic() - began < 60
        assert len(texts) == 1
        assert "finish failed" in texts[0]
        assert "is kept in run" in texts[0]
        assert lines["sync"] == "python run.py sync run"
        assert "--include-online" in sync_commands(tmp_path / "run")[0]

    def test_a_server_that_goes_silent_in_mid_run(self, logged_in_to, tmp_path):
        server = FakeServer("well")
        logged_in_to(server.url)
        texts, lines = self.run_and_check(tmp_path / "run", "run-", after_start=lambda: setattr(server, "mood", "silent"))
        server.over.set()
        server.shutdown()
        server.server_close()
        assert len(texts) == 1
        assert "finish failed" in texts[0]
        assert lines["sync"] == "python run.py sync run"
        assert "--include-online" in sync_commands(tmp_path / "run")[0]

    def test_the_first_failure_is_told_and_then_it_is_quiet(self, home, tmp_path):
        tracker, notes = WandbTracker(TrackingConfig(mode="offline")), Notes()
        both = Trackers([tracker, notes])
        both.start(run_info(tmp_path / "run"))

        def broken_log(row):
            raise RuntimeError("the helper process is gone\nand more")

        tracker._run.log = broken_log
        for step in range(1, 4):
            both.log(step_row(step))
        both.finish("finished", SUMMARY)
        assert len(notes.texts) == 1
        assert notes.texts[0].startswith("W&B: log failed: the helper process is gone;")
