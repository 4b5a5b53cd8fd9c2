"""The leaders of a study on fresh seeds: which, how often, resumed after a kill, and what is said of them."""

from __future__ import annotations

import sweep_runs as sweeps

from aevlp.cli import main

CONFIRMED = sweeps.STUDY.replace("confirm: off", "confirm: {best: 2, seeds: 2}")


def test_x(tmp_path, capsys):
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED)) == 0
    main(["sweep", "show", "tiny"])
    main(["sweep", "best", "tiny", "--save", str(tmp_path / "best.yaml")])
    main(["sweep", "best", "tiny"])
    assert sweeps.run(sweeps.write(tmp_path, CONFIRMED)) == 0
    print((tmp_path / "best.yaml").read_text())
    print([p.name for p in sweeps.run_folders()])
    print(capsys.readouterr().out)
    assert 0
