"""What the text encoder reads in the place of class names."""

import numpy as np
import pytest
from miniatures import draw, make_voc

from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import DataError
from aevlp.data.fingerprint import fingerprint
from aevlp.data.prepare import prepare


@pytest.fixture
def root(tmp_path):
    for i in range(5):
        draw(tmp_path / f"{i}.png", i)
    (tmp_path / "labels.csv").write_text(
        "image,label\n" + "".join(f"{i}.png,{'tvmonitor' if i % 2 else 'c_2'}\n" for i in range(5))
    )
    return tmp_path


def load(root, name="folder", **settings):
    return registry.build("datasets", registry.get("datasets", name).config(name=name, root=str(root), **settings))


@pytest.mark.parametrize("content", ["class,words\ntvmonitor,television set\n", '\ufefftvmonitor;"television set"\nc_2;\n'])
def test_words_of_a_file_are_read_and_prepare_shows_them(root, content, capsys):
    (root / "prompt_names.csv").write_text(content, encoding="utf-8")
    data = load(root)
    assert (data.class_names, data.prompt_names) == (["c_2", "tvmonitor"], ["c_2", "television set"])
    assert main(["prepare", "folder", "--root", str(root)]) == 0
    output = capsys.readouterr().out
    assert "CLIP reads the labels as: a photo of a c 2, a photo of a television set; for other words write" in output
    assert "lines class,words into prompt_names.csv" in output


def test_the_file_may_be_named_and_the_data_are_others_then(root):
    (root / "words.csv").write_text('tvmonitor,"screen, or television"\n')
    plain, named = load(root), load(root, prompt_names="words.csv")
    assert (plain.prompt_names, named.prompt_names) == (["c_2", "tvmonitor"], ["c_2", "screen, or television"])
    assert fingerprint(named).difference(fingerprint(plain)) == "other names of the classes for the text encoder"
    with pytest.raises(DataError, match=r"other\.csv: cannot be read \(dataset\.prompt_names\): No such file"):
        load(root, prompt_names="other.csv")


def test_the_official_datasets_take_it_too(tmp_path):
    root = make_voc(tmp_path)
    prepare("voc", root)
    usual = load(root, "voc").prompt_names
    (root / "prompt_names.csv").write_text("class,words\ntvmonitor,television\n")
    data = load(root, "voc")
    different = np.flatnonzero([one != other for one, other in zip(data.prompt_names, usual, strict=True)])
    assert [data.class_names[i] for i in different] == ["tvmonitor"]
    assert data.prompt_names[different[0]] == "television"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tvmonitr,television\n", r"prompt_names\.csv:1: 'tvmonitr' is no class here; did you mean 'tvmonitor'"),
        ("class,words\ntvmonitor,a\ntvmonitor,b\n", r"prompt_names\.csv:3: 'tvmonitor' has words already"),
        ("tvmonitor\n", r"prompt_names\.csv:1: must be class,words, has 1 fields"),
        ("tvmonitor,a,b\n", r"prompt_names\.csv:1: must be class,words, has 3 fields; a field with a comma needs quotes"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(root, content, message):
    (root / "prompt_names.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        load(root)
