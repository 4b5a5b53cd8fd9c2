"""From a folder of class-named sub-folders to predictions, by the commands that the page of own photos begins with."""

from __future__ import annotations

import csv

import pytest
from doc_pages import commands, pages
from miniatures import draw

from aevlp.cli import main
from aevlp.folders import runs_root

PAGE = "docs/own-photos.md"
SMALL = (
    "model=small_cnn", "dataset.image_size=32", "labeler.grid=1", "trainer.epochs=1", "trainer.batch_size=8", "tracking.mode=off",
)  # fmt: skip
"""What lets a test take seconds."""


def test_five_commands_lead_from_class_folders_to_predictions(tmp_path, encoder, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for i in range(20):
        draw(tmp_path / "mine" / ("cat", "dog", "person", "bus")[i % 4] / f"{i}.jpg", i)
    for i in range(3):
        draw(tmp_path / "photos" / f"{i}.jpg", i)
    found = [command for command in commands(PAGE, pages()[PAGE]) if command.block and "import /data/mine" in command.block.text]
    assert len(found) == 5
    for command in found:
        words = [word.replace("/data/mine", str(tmp_path / "mine")) for word in command.words]
        assert words[:2] == ["python", "run.py"]
        small = [*SMALL, f"labeler.encoder.source={encoder}"] if "--exp" in words else []
        assert main([*words[2:], *small]) == 0, capsys.readouterr().err
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["photos/0.jpg", "photos/1.jpg", "photos/2.jpg"]
    assert list(rows[0]) == ["image", "bus", "cat", "dog", "person", "labels"]
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["voc", "coco", "cub", "nuswide", "folder"])
@pytest.mark.parametrize("words", [["--exp"], ["label", "-o", "labels.csv", "--exp"], ["--dry-run", "--exp"]], ids=" ".join)
def test_a_folder_that_is_absent_or_not_prepared_is_told_before_a_run_begins(name, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for root, said in ((tmp_path / "none", "there is no such folder (dataset.root)"), (tmp_path, "no such file")):
        assert main([*words, f"{name}_gpr", "--set", f"dataset.root={root}", "tracking.mode=off"]) == 1
        output, error = capsys.readouterr()
        assert output == ""
        (line,) = error.splitlines()
        assert str(root) in line
        assert said in line
    assert not runs_root().exists() or not list(runs_root().iterdir())
    assert not (tmp_path / "labels.csv").exists()
