"""The table of a real dataset from an empty machine, all steps: download, prepare, dry run, suite, table.

The dataset is a miniature, the server one on 127.0.0.1, weights are random. In full size they are those of the paper, ResNet-50
at 448 pixels and CLIP ViT-B/16; `pytest -n 0 -m full_size tests/e2e/test_from_nothing.py` takes some minutes, and shows what the
commands print.
"""

from __future__ import annotations

import re
import time

import pytest
import suite_runs
from dual_encoders import save_clip
from miniatures import make_voc
from own_server import OwnServer, breaks_off, packed

from aevlp.cli import main
from aevlp.data.formats import voc

ROWS = ("Full labels", "AN", "AEVLP")
COMMON = ("trainer.epochs=1", "trainer.num_workers=0", "trainer.threads=1", "model.weights=none")


@pytest.fixture
def steps(tmp_path, monkeypatch, capsys):
    """Runs all steps on VOC with so many photos; returns what each printed."""
    server = OwnServer()
    server.turns = [breaks_off]
    suite_runs.InThisProcess(monkeypatch)

    def run(photos, rows, *sets):
        release = make_voc(tmp_path / "release", train=photos, val=photos // 2)
        server.offer(monkeypatch, "voc", ("VOC.tar", packed(release, "VOC.tar", tmp_path), ("VOCdevkit/VOC2012",)))
        root = tmp_path / "data/voc"
        suite = ["suite", "table1", "--dataset", "voc", "--seeds", "1", "--rows", *rows, "--tracking", "off"]
        suite += ["--set", f"dataset.root={root}", *sets, *COMMON]
        printed = []
        for words in (
            ["prepare", "voc", "--root", str(root), "--download"], [*suite, "--dry-run", "--card", "H100"], suite,
            [*suite, "--table", "--markdown"],
        ):  # fmt: skip
            began = time.process_time()
            code = main(words)
            out, err = capsys.readouterr()
            assert code == 0, err
            printed.append(f"$ {' '.join(words)}\n{out}({time.process_time() - began:.0f} CPU seconds)\n")
        return printed

    yield run
    server.close()


def check(printed, rows):
    fetched, rehearsed, _, table = printed
    assert "images       " in fetched
    assert "voc_gpr" in fetched
    assert re.search(r"time +about \d+:\d\d on H100", rehearsed)
    assert "no H100 was measured" in rehearsed
    for row in rows:
        assert re.search(rf"\| {re.escape(row)} \| \d+\.\d \|", table), row
    assert "90.46" in table  # the published figure stands beside the measured one


def test_a_table_from_nothing(steps, encoder):
    printed = steps(10, ROWS, f"labeler.encoder.source={encoder}", "model=small_cnn", "dataset.image_size=32")
    check(printed, ROWS)


@pytest.mark.full_size
def test_a_table_from_nothing_in_full_size(steps, tmp_path, capsys):
    save_clip(tmp_path / "clip", [word for name in voc.CLASS_NAMES for word in name.split()], full_size=True)
    printed = steps(8, ROWS, f"labeler.encoder.source={tmp_path / 'clip'}", "trainer.batch_size=2", "trainer.precision=fp32")
    with capsys.disabled():
        print("\n", *printed, sep="\n")
    check(printed, ROWS)
