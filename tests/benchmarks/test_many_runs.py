"""`compare` and `report` of 10,000 run folders of 200 experiments: at most 60 s and 1 GB for both on two quiet cores.

Not part of the default run: `pytest -n 0 --benchmark-enable tests/benchmarks/test_many_runs.py -s` shows the figures.
The folders are made first, in a minute.
"""

import subprocess
import sys

import many_runs
import pytest

MEASURE = """
import resource, sys
from aevlp.cli import main
code = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory, trained_run):
    """Folder of 10,000 runs."""
    root = tmp_path_factory.mktemp("many") / "runs"
    many_runs.make(trained_run, root, 10_000, 200)
    return root


def test_ten_thousand_runs_take_a_minute_and_a_gigabyte(runs, tmp_path):
    seconds = 0.0
    for words in (["compare", str(runs)], ["report", str(runs), "-o", str(tmp_path / "page.html")]):
        command = [sys.executable, "-c", MEASURE, *words]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1]
        code, cpu, megabytes = map(float, told.split())
        print(f"{words[0]}: {cpu:.1f} s of CPU, {megabytes:.0f} MB")
        assert code == 0
        assert megabytes < 1000
        seconds += cpu
    assert seconds < 60
    assert (tmp_path / "page.html").stat().st_size < 20_000_000
