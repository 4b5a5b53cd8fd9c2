"""dataset.answers: what a person said of training images is known as well."""

import numpy as np
import pytest
from miniatures import draw

from aevlp import load_experiment
from aevlp.config.errors import DataError
from aevlp.data.build import build_dataset
from aevlp.data.fingerprint import fingerprint, fingerprint_of
from aevlp.data.formats.arrays import write_arrays

SMALL = ("dataset.num_train=20", "dataset.num_val=5", "dataset.num_test=5")
HEADER = "image,class,answer,split,source\n"


def built(*words):
    return build_dataset(load_experiment("digits_an", [*SMALL, *words]).dataset)


def answered(path, *lines):
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return built(f"dataset.answers={path}")


def unknown(data, row):
    return [data.class_names[j] for j in np.flatnonzero(data.train.observed[row] == 0)]


def test_yes_and_no_are_known_unsure_is_not_and_the_rest_is_as_before(tmp_path):
    plain = built()
    first, second, third = unknown(plain, 3)[:3]
    data = answered(tmp_path / "a.csv", f"image 3,{first},yes,,x", f"image 3,{second},no,,x", f"image 3,{third},unsure,,x")
    expected = plain.train.observed.copy()
    expected[3, data.class_names.index(first)] = 1
    expected[3, data.class_names.index(second)] = -1
    assert np.array_equal(data.train.observed, expected)
    assert np.array_equal(data.val.observed, plain.val.observed)
    assert data.notes[-1] == f"2 labels of training images are known by {tmp_path / 'a.csv'}"


def test_what_is_known_already_may_be_said_again(tmp_path):
    plain = built()
    name = plain.class_names[plain.train.observed[0].argmax()]
    data = answered(tmp_path / "a.csv", f"image 0,{name},yes,,x", f"image 0,{name},yes,,x")
    assert np.array_equal(data.train.observed, plain.train.observed)
    assert data.notes[-1].startswith("0 labels")


def test_runs_with_and_without_are_told_apart_by_what_they_were_trained_on(tmp_path):
    data = answered(tmp_path / "a.csv", f"image 1,{unknown(built(), 1)[0]},no,,x")
    now, before = fingerprint(data), fingerprint(built())
    assert now.difference(before) == "other observed labels of training images"
    assert (now.val, now.test) == (before.val, before.test)
    # Settings alone say what is drawn, but not what a file of answers holds; a suite and a study ask this way.
    words = [*SMALL, f"dataset.answers={tmp_path / 'a.csv'}"]
    assert fingerprint_of(load_experiment("digits_an", words).dataset) == now
    assert fingerprint_of(load_experiment("digits_an", SMALL).dataset) is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("image 99,one,yes,,x", "image 99 is no training image of this dataset"),
        ("image 1,eleven,yes,,x", "the dataset has no class 'eleven'; did you mean 'seven'?"),
        ("image 1,KNOWN,no,,x", "is answered no, and known to be there"),
    ],
)
def test_answers_that_do_not_fit_are_refused_with_file_and_line(line, message, tmp_path):
    plain = built()
    known = plain.class_names[plain.train.observed[1].argmax()]
    with pytest.raises(DataError) as caught:
        answered(tmp_path / "a.csv", line.replace("KNOWN", known))
    assert str(caught.value).startswith(f"{tmp_path / 'a.csv'}:2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize("dataset", ["folder", "arrays"])
@pytest.mark.parametrize("gone", [1, 2])
def test_answers_about_images_that_are_left_out_are_left_out(dataset, gone, tmp_path):
    names = [f"{i}.png" for i in range(20)]
    for i, name in enumerate(names):
        draw(tmp_path / name, i)
    if dataset == "folder":
        lines = [f"{name},{'cat' if i % 2 else 'dog'}" for i, name in enumerate(names)]
        (tmp_path / "labels.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    else:
        labels = np.eye(2, dtype=np.uint8)[np.arange(20) % 2]
        for split in ("train", "val"):
            write_arrays(tmp_path, split, np.array(names), labels)
        (tmp_path / "classes.txt").write_text("dog\ncat\n")
    words = [f"dataset.root={tmp_path}", f"dataset.answers={tmp_path / 'a.csv'}", "dataset.on_bad_image=quarantine"]
    config = load_experiment("folder_an", [*([f"dataset.name={dataset}"] if dataset == "arrays" else []), *words]).dataset
    plain = build_dataset(config.model_copy(update={"answers": None}))
    asked = [plain.train.images.name(i) for i in range(4)]
    answers = [f"{name},{'dog' if int(name[:-4]) % 2 else 'cat'},no,,x\n" for name in asked]
    (tmp_path / "a.csv").write_text(HEADER + "".join(answers))
    for name in asked[:gone]:
        (tmp_path / name).unlink()
    data = build_dataset(config)
    assert data.train.left_out == set(asked[:gone])
    assert (data.train.observed < 0).sum() == 4 - gone
    told = "1 answer is" if gone == 1 else "2 answers are"
    assert data.notes[-1] == (
        f"{4 - gone} labels of training images are known by {tmp_path / 'a.csv'}; {told} about images that are left out"
    )
    (tmp_path / "a.csv").write_text(f"{HEADER}other.png,cat,no,,x\n")
    with pytest.raises(DataError, match=r"other\.png is no training image of this dataset"):
        build_dataset(config)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv: no such file"):
        built(f"dataset.answers={tmp_path / 'a.csv'}")


def test_answers_that_make_a_split_are_refused_as_they_would_be_trained_on(tmp_path):
    with pytest.raises(DataError, match=r"a\.csv:2: image 1 is to become one of split test; only `import` does that"):
        answered(tmp_path / "a.csv", "image 1,one,yes,test,x")
