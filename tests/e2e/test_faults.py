"""A disk that fills up or cannot be written, and files torn by a crash: a clear error, and nothing lost."""

from __future__ import annotations

import errno
import os
import shutil

import pytest
import small_runs as runs
import torch

import aevlp
from aevlp import files
from aevlp.cli import main
from aevlp.runs.folder import runs_root
from aevlp.tracking import read_metrics
from aevlp.training.run import resume

COMMAND = ["--exp", "digits_gpr", "--set", *runs.FAST]


@pytest.fixture
def fails(capsys):
    """Run a command that must exit 1 with one error and no traceback; returns what it wrote to stderr."""

    def fail(*words: str) -> str:
        assert main(list(words)) == 1
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        assert captured.err.startswith("error: ")
        return captured.err

    return fail


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_for(real, words: tuple[str, ...]):
    """`real`, but out of space for paths that contain one of `words`."""

    def write(path, *arguments, **options):
        return full() if any(word in str(path) for word in words) else real(path, *arguments, **options)

    return write


def test_a_runs_folder_that_is_a_file_is_an_error_before_training(monkeypatch, fails, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "file" / "runs"))
    runs.after_step(monkeypatch, 1, runs.crash)
    error = fails(*COMMAND)
    assert f"{tmp_path}/file/runs/digits_gpr-" in error
    assert "cannot be written: Not a directory" in error
    assert "AEVLP_RUNS" in error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_runs_folder_without_permission_is_an_error_before_training(monkeypatch, fails, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    monkeypatch.setenv("AEVLP_RUNS", str(tmp_path / "closed"))
    runs.after_step(monkeypatch, 1, runs.crash)
    assert "cannot be written: Permission denied" in fails(*COMMAND)


@pytest.mark.parametrize("file", ["config.yaml", "environment.json"])
def test_a_disk_that_is_full_at_the_start_is_an_error_before_training(monkeypatch, fails, file):
    monkeypatch.setattr(files, "write_content", full_for(files.write_content, (file,)))
    runs.after_step(monkeypatch, 1, runs.crash)
    error = fails(*COMMAND)
    assert "runs/digits_gpr-" in error
    assert "cannot be written: No space left on device; free some space" in error
    assert list(runs_root().iterdir()) == []


def test_a_run_folder_that_cannot_be_locked_is_an_error(fails):
    run = aevlp.train(runs.config("trainer.epochs=1")).run_dir
    (run / ".lock").unlink()
    (run / ".lock").mkdir()
    assert "cannot be written: Is a directory" in fails("--resume", str(run))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(tmp_path_factory.mktemp("uninterrupted")))
        return runs.outcome(aevlp.train(runs.config()).run_dir)


@pytest.mark.parametrize("file", ["model.safetensors", "state.pt", "manifest.json", "pseudo_labels.npz"])
def test_a_disk_full_in_mid_run_keeps_the_earlier_checkpoint_and_resumes(monkeypatch, fails, uninterrupted, file):
    from aevlp.runs import checkpoints

    kept = {}

    def fill_up():
        kept.update({path: path.read_bytes() for path in runs.only_run().glob("checkpoints/epoch-001/*")})
        patch.setattr(checkpoints, "_write", full_for(checkpoints._write, (file,)))
        patch.setattr(files, "write", full_for(files.write, (file,)))

    with monkeypatch.context() as patch:
        runs.after_step(patch, runs.STEPS_PER_EPOCH + 1, fill_up)
        error = fails(*COMMAND)
    run = runs.only_run()
    assert "the disk is full; earlier ones are untouched" in error or f"{file}: cannot be written: No space left" in error
    assert len(kept) == 3
    assert {path: path.read_bytes() for path in kept} == kept
    assert runs.newest(run).folder.name == "epoch-001"
    assert not list(run.rglob(".tmp-*"))
    assert not (run / "summary.json").exists()
    resume(run)
    assert runs.differences(runs.outcome(run), uninterrupted) == []


def test_a_disk_full_while_a_signal_is_answered_is_an_error_and_keeps_the_earlier_checkpoint(monkeypatch, fails, uninterrupted):
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, runs.STEPS_PER_EPOCH + 1)
        patch.setattr(files, "replacing", full_for(files.replacing, ("-step-",)))
        assert "epoch-002-step-4: cannot save a checkpoint: the disk is full" in fails(*COMMAND)
    resume(runs.only_run())
    assert runs.differences(runs.outcome(runs.only_run()), uninterrupted) == []


def out_of_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_gpu_without_memory_is_told_and_the_run_goes_on_from_its_last_checkpoint(monkeypatch, capsys, uninterrupted):
    with monkeypatch.context() as patch:
        runs.after_step(patch, runs.STEPS_PER_EPOCH + 1, out_of_memory)
        assert main(COMMAND) == 1
    out, err = capsys.readouterr()
    assert err.splitlines()[-1] == (
        "error: the GPU ran out of memory; free some, or set trainer.batch_size or trainer.eval_batch_size or "
        "labeler.encoder.batch_size to a smaller number"
    )
    run = runs.only_run()
    assert f"--resume {run.name}" in out
    assert runs.newest(run).folder.name == "epoch-001"
    resume(run)
    assert runs.differences(runs.outcome(run), uninterrupted) == []


@pytest.mark.parametrize(
    ("words", "place", "batches"),
    [
        ("eval RUN", "inference.trained.Scorer.logits", "trainer.eval_batch_size"),
        ("predict RUN . -o x.csv", "inference.predict.find_images", "--batch-size"),
        ("label --exp digits_gpr -o x.csv", "inference.label.write_pseudo_labels", "labeler.encoder.batch_size"),
        ("cache build --exp digits_gpr", "verbs._flags.load_parts", "labeler.encoder.batch_size"),
    ],
)
def test_a_gpu_without_memory_is_told_with_what_sets_the_batch(words, place, batches, trained_run, monkeypatch, fails, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"aevlp.{place}", out_of_memory)
    error = fails(*words.replace("RUN", str(trained_run)).split())
    assert error.splitlines()[-1] == f"error: the GPU ran out of memory; free some, or set {batches} to a smaller number"


def test_a_summary_that_cannot_be_written_is_an_error_and_the_run_can_be_finished(monkeypatch, fails, uninterrupted):
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full_for(files.write, ("summary.json", "per_class.csv")))
        assert "cannot be written: No space left on device" in fails(*COMMAND)
    resume(runs.only_run())
    assert runs.differences(runs.outcome(runs.only_run()), uninterrupted) == []


@pytest.mark.parametrize("torn", [b'{"trainer/step": 6, "train', b"{", b"\xff\xfe"])
def test_a_torn_last_metrics_row_is_dropped_on_resume(monkeypatch, uninterrupted, torn):
    with monkeypatch.context() as patch:
        runs.after_step(patch, 5, runs.crash)
        with pytest.raises(runs.Crash):
            aevlp.train(runs.config())
    run = runs.only_run()
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(torn)
    resume(run)
    assert runs.differences(runs.outcome(run), uninterrupted) == []


def test_rows_beyond_the_checkpoint_are_dropped_and_written_again_once(monkeypatch, uninterrupted):
    run = aevlp.train(runs.config()).run_dir
    assert read_metrics(run / "metrics.jsonl")[-1]["trainer/step"] == 6
    shutil.rmtree(run / "checkpoints" / "epoch-002")  # the crash came after the row and before the checkpoint
    resume(run)
    assert runs.differences(runs.outcome(run), uninterrupted) == []


def test_a_damaged_newest_checkpoint_costs_an_epoch_not_the_run_and_is_said(monkeypatch, capsys, uninterrupted):
    run = aevlp.train(runs.config()).run_dir
    path = run / "checkpoints" / "epoch-002" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    capsys.readouterr()
    assert main(["--resume", str(run)]) == 0
    assert "checkpoint epoch-002 is ignored: model.safetensors has" in capsys.readouterr().out
    assert runs.differences(runs.outcome(run), uninterrupted) == []


def contents(run):
    """All files of a run but the lock, which says how its latest process ended."""
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


def test_without_one_whole_checkpoint_nothing_is_overwritten(capsys):
    run = aevlp.train(runs.config()).run_dir
    for path in run.glob("checkpoints/epoch-*/state.pt"):
        path.write_bytes(b"")
    before = contents(run)
    assert main(["--resume", str(run)]) == 1
    assert "no checkpoint is complete; remove the folder to train from the start" in capsys.readouterr().err
    assert contents(run) == before
