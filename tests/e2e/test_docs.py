"""All that a reader may copy from README.md and docs/ works: every command, every Python file, every YAML file, on miniatures."""

from __future__ import annotations

import contextlib
import shutil
from itertools import groupby

import pytest
from doc_checks import Wrong, parts_put_back
from doc_commands import TINY, Desk
from doc_pages import ROOT, blocks, commands, pages, unread

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import AevlpError
from aevlp.config.loading import load_experiment, read_mapping
from aevlp.suites.suite_file import load_suite
from aevlp.sweeps.study_file import load_study

PAGES = pages()
BLOCKS = [block for page, text in PAGES.items() for block in blocks(page, text)]
COMMANDS = [command for page, text in PAGES.items() for command in commands(page, text)]
LINES = {where: list(found) for where, found in groupby(COMMANDS, lambda command: command.where)}


@pytest.fixture(scope="module")
def stock(trained_run, prepared, encoder, tmp_path_factory):
    """Runs and a study such as a reader has made by the time he looks at them."""
    runs = tmp_path_factory.mktemp("stock") / "runs"
    for name in ("digits_an-20250101-000000-aaaaaa", trained_run.name):
        shutil.copytree(trained_run, runs / name, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(runs))
        words = ("--in-process", "--trials", "1", "--no-confirm", "--tracking", "off", "--set", *TINY)
        assert main(["sweep", "run", "digits_gpr", *words]) == 0
    return runs


@pytest.fixture(scope="module")
def desks(stock, prepared, encoder, tmp_path_factory):
    """The working folder of a reader of each page, made when first asked for."""
    made = {}

    def desk(page, more=()):
        if page not in made:
            files = [block for block in (*BLOCKS, *more) if block.name]
            files.sort(key=lambda block: block.page == page)  # those of the page itself win
            folder = tmp_path_factory.mktemp("reader") / "work"
            folder.mkdir()
            made[page] = Desk(folder, prepared, encoder, stock, files)
            made[page].published()
        return made[page]

    return desk


def carry_out(desk, line, monkeypatch):
    """Run all commands of a line, after those before it in its block; fail with page and line."""
    desk.environment(monkeypatch)
    before = [command for command in COMMANDS if command.block and command.block == line[0].block and command.line < line[0].line]
    for command in before:
        with contextlib.suppress(Wrong):  # has a test of its own
            desk.carry_out(command)
    for command in line:
        try:
            desk.carry_out(command)
        except Wrong as error:
            pytest.fail(f"{command.where}: {command}: {error}", pytrace=False)


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_command_works(line, desks, monkeypatch):
    carry_out(desks(line[0].page), line, monkeypatch)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=lambda block: block.where)
def test_a_python_file_works(block, desks, monkeypatch):
    desk = desks(block.page)
    desk.environment(monkeypatch)
    path = desk.folder / (block.name or f"line_{block.line}.py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text)
    compile(block.text, block.where, "exec")
    if block.not_run is None:
        try:
            desk.run_file(path)
        except (AevlpError, Wrong) as error:
            pytest.fail(f"{block.where}: {error}", pytrace=False)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "yaml"], ids=lambda block: block.where)
def test_a_yaml_file_is_valid(block, desks, tmp_path, monkeypatch):
    desk = desks(block.page)
    desk.environment(monkeypatch)
    path = tmp_path / "mine.yaml"
    path.write_text(block.text)
    parts = [other for other in BLOCKS if other.page == block.page and other.name and "@register" in other.text]
    with parts_put_back():
        for part in parts:
            registry.load_plugin(desk.folder / str(part.name))
        try:
            found = read_mapping(path)[0]
            read = load_suite if "rows" in found else load_study if "space" in found else load_experiment
            if {"rows", "space", "base"} & set(found):  # else it is a part of a file
                read(str(path))
        except AevlpError as error:
            pytest.fail(f"{block.where}: {error}", pytrace=False)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_commands_says_that_it_is_one(page):
    assert unread(page, PAGES[page]) == []


PAGE = """# A page

Text with `python run.py --exp digits_nonsense`, and `aevlp ...`.

```bash
python run.py --exp digits_an --sed=1        # a flag
python run.py --exp digits_an \\
    --set loss.rho=0.8
for name in an nonsense; do python run.py show --exp digits_$name; done
python run.py eval nonsense && pip install 'aevlp[nonsense]'
frobnicate
```

  <!-- not run: needs a cluster -->
  ```bash
  srun python run.py --exp digits_an --set trainer.nonsense=1
  ```

```
python run.py list
```
"""


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (3, "page.md:3: python run.py --exp digits_nonsense: unknown experiment 'digits_nonsense'"),
        (6, "page.md:6: python run.py --exp digits_an --sed=1: run.py: error: unrecognized arguments: --sed=1"),
        (7, "page.md:7: python run.py --exp digits_an --set loss.rho=0.8: --set loss.rho=0.8: loss.rho: unknown key"),
        (9, "page.md:9: python run.py show --exp digits_nonsense: as `show --exp digits_nonsense`: exit code 2: error: unknown"),
        (10, "page.md:10: python run.py eval nonsense: as `eval nonsense`: exit code 2"),
        (11, "page.md:11: frobnicate: frobnicate: unknown to tests/doc_checks.py"),
        (
            16,
            "page.md:16: srun python run.py --exp digits_an --set trainer.nonsense=1: --set trainer.nonsense=1: trainer.nonsense",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_a_wrong_command_fails_with_page_and_line(number, said, desks, monkeypatch):
    line = [command for command in commands("page.md", PAGE) if command.line == number]
    with pytest.raises(pytest.fail.Exception) as failure:
        carry_out(desks("README.md"), line, monkeypatch)
    assert str(failure.value).startswith(said)


def test_what_nobody_would_run_is_told():
    assert unread("page.md", PAGE) == ["page.md:20"]
    wrong = [command for command in commands("page.md", PAGE) if command.words[0] == "pip"]
    with pytest.raises(Wrong, match=r"setup\.cfg has no extra nonsense"):
        Desk.carry_out(None, wrong[0])


def test_the_pages_are_found():
    assert {"README.md", "docs/extending.md", "docs/sweeps.md"} <= set(PAGES)
    assert len(LINES) > 50
    assert (ROOT / "run.py").is_file()
