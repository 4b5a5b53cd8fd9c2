"""What is known of a photo in a table hangs on nothing that is known of others; `prepare` tells what a run knows."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from miniatures import load_folder as load
from miniatures import write_table

from aevlp.data.formats.folder import label_arrays
from aevlp.data.prepare import prepare
from aevlp.data.protocol import draw_single_positives
from aevlp.data.table import Row


@pytest.fixture
def folder(tmp_path):
    """Write labels.csv and the images it names; a function of its lines."""
    return partial(write_table, tmp_path)


LEARNT = [
    {}, {"known": ("cat",)}, {"known": ("cat", "dog")}, {"absent": ("bird",)}, {"known": ("cat",), "absent": ("bird", "dog")},
    {"absent": ("bird", "cat", "dog")},
]  # fmt: skip


@pytest.mark.parametrize("known", ["single", "given"])
@pytest.mark.parametrize("draw_of", ["uniform", "frequent", "rare"])
def test_what_is_learnt_of_a_photo_moves_the_label_of_no_other(known, draw_of):
    rows = [Row(i, f"{i}.png", labels=[("cat", "dog"), ("bird", "cat", "dog"), ()][i % 3]) for i in range(12)]
    draws = []
    for learnt in LEARNT:
        told = [replace(row, **learnt) if row.line in (2, 5) else row for row in rows]
        draws.append(label_arrays(told, ["bird", "cat", "dog"], known, draw_of)[0])
    others = [i for i in range(12) if i not in (2, 5)]
    assert all(np.array_equal(one[others], draws[0][others]) for one in draws)
    for one, learnt in zip(draws, LEARNT, strict=True):
        said = [(name in learnt.get("known", ())) - (name in learnt.get("absent", ())) for name in ("bird", "cat", "dog")]
        assert one[[2, 5]].tolist() == [said, said]


@pytest.mark.parametrize("empty", [False, True])
def test_labels_alone_are_drawn_from_as_in_the_published_protocol(empty):
    names = ["bird", "cat", "dog", "owl"]
    numbers = np.random.default_rng(0).integers(0, 2, (50, 4), dtype=np.uint8)
    numbers[:, 0] |= numbers[:, 1:].sum(axis=1) == 0
    if empty:
        numbers[7:9] = 0
    rows = [Row(i, f"{i}.png", labels=tuple(np.array(names)[row == 1])) for i, row in enumerate(numbers)]
    np.testing.assert_array_equal(label_arrays(rows, names)[0], draw_single_positives(numbers))


def test_nothing_is_drawn_where_no_label_is_to_be_drawn(monkeypatch):
    monkeypatch.setattr("aevlp.data.formats.folder.observe", lambda *_: pytest.fail("it was drawn"))
    label_arrays([Row(1, "1.png", ("cat",)), Row(2, "2.png", ("cat",), labels=("cat", "dog")), Row(3, "3.png")], ["cat", "dog"])


@pytest.mark.parametrize("split", ["val", "test"])
def test_prepare_counts_what_a_run_knows_whatever_rows_tell(split, folder, capsys):
    rows = ["0.png,cat,,,", "1.png,dog,bird,,val", "2.png,bird,,,test", f"3.png,cat,,,{split}", f"4.png,,,cat|dog,{split}",
            f"5.png,,,bird|cat|dog,{split}"]  # fmt: skip
    root = folder("image,label,absent,labels,split", *rows)
    prepare("folder", root)
    output, data = capsys.readouterr().out, load(root)
    for line, part in zip(output.splitlines()[1:4], (data.train, data.val, data.test), strict=True):
        assert [int(word) for word in line.split()[1:4]] == [len(part), (part.observed > 0).sum(), (part.observed < 0).sum()]
    title = {"val": "validation", "test": "test"}[split]
    told = f"the 4 {title} photos are judged by their known labels, as not all of their labels are told"
    assert f"{told} (2 tell all of theirs)\n" in output
