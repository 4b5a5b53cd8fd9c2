"""Exports as files, and what comes of importing them."""

import json

import pytest
from miniatures import draw

from aevlp.cli import main
from aevlp.data.table import read_table


@pytest.fixture
def put(tmp_path):
    """Write files below SOURCE; names that end as photos do are drawn, mappings and lists are JSON."""

    def put(**files):
        for i, (name, content) in enumerate(files.items()):
            path = tmp_path / "source" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                draw(path, i)
            else:
                path.write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / "source"

    return put


@pytest.fixture
def imported(capsys):
    """Import; returns the rows without their lines, and stderr."""

    def imported(source, *words, root=None, code=0):
        root = root or source
        assert main(["import", str(source), "--root", str(root), *words]) == code, capsys.readouterr().err
        rows = read_table(root / "labels.csv").rows
        return [(row.image, row.known, row.absent, row.labels, row.split) for row in rows], capsys.readouterr().err

    return imported


@pytest.fixture
def refused(capsys):
    """Import what cannot be; returns the error without its first word."""

    def refused(source, *words, root=None, code=1):
        root = root or source
        assert main(["import", str(source), "--root", str(root), *words]) == code
        assert not (root / "labels.csv").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line.removeprefix("error: ")

    return refused
