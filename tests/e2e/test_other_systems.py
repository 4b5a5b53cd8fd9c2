"""A study, a run, its continuation and the best of it, on systems and file systems that lack something."""

from __future__ import annotations

import pytest
import small_runs as runs
import sweep_runs as sweeps
import without

from aevlp import system
from aevlp.cli import main
from aevlp.tracking.wandb_media import upload_seconds


@pytest.mark.parametrize("missing", [*([name] for name in without.MISSING), [*without.MISSING]], ids="+".join)
def test_what_is_missing_changes_nothing_but_a_note(tmp_path, monkeypatch, capsys, missing):
    for name in missing:
        without.MISSING[name](monkeypatch)
    target = tmp_path / "best.yaml"
    (tmp_path / "tiny.yaml").write_text(sweeps.STUDY.replace("set: [", "set: ['tracking.tags=[größe]', "), encoding="utf-8")
    assert sweeps.run(str(tmp_path / "tiny.yaml"), "--trials", "1") == 0
    assert main(["sweep", "best", "tiny", "--save", str(target)]) == 0
    (run,) = sweeps.run_folders()
    (run / "summary.json").unlink()
    assert main(["--resume", str(run), "--set", "trainer.epochs=3"]) == 0
    assert [row["trainer/epoch"] for row in runs.epoch_rows(run)] == [1, 2, 3]
    assert system.pointed(run / "checkpoints" / "last").name == runs.newest(run).folder.name == "epoch-003"
    assert upload_seconds(run) > 0
    assert target.read_text().startswith("# Trial 0 of study tiny")
    assert sorted(path.name for path in tmp_path.glob("*")) == ["best.yaml", "runs", "tiny.yaml"]
    assert capsys.readouterr().err.count("note") == ("locks" in missing)
