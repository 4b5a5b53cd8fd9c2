"""The community's formatted arrays: written and read back, refused where they contradict each other, trained from."""

import numpy as np
import pytest
from PIL import Image

from aevlp.config.errors import ConfigError, DataError
from aevlp.config.schema import Known
from aevlp.data.dataset import known_notes
from aevlp.data.formats.arrays import build_arrays, read_arrays, read_class_names, write_arrays
from aevlp.data.protocol import draw_single_positives, observe, split_train_val

CLASSES = ["cat", "dog", "bird"]
NAMES = np.array([f"{i:02d}.png" for i in range(12)])
LABELS = (np.random.default_rng(3).random((12, 3)) < 0.5).astype(np.float64)


def path(folder, part, split="train"):
    return folder / f"formatted_{split}_{part}.npy"


@pytest.fixture
def folder(tmp_path):
    """A folder with the arrays of train and val, and a class list."""
    write_arrays(tmp_path, "train", NAMES, LABELS)
    write_arrays(tmp_path, "val", NAMES[:4], LABELS[:4])
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    return tmp_path


def draw(folder):
    """The image files that the arrays list."""
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(folder / name)


def refused(folder, message):
    with pytest.raises(DataError, match=message):
        read_arrays(folder, "train", CLASSES)


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8, np.bool_])
def test_arrays_come_back_as_they_were_written(tmp_path, dtype):
    write_arrays(tmp_path, "train", NAMES, LABELS.astype(dtype))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"formatted_train_{p}.npy" for p in ("images", "labels", "labels_obs")
    ]
    assert np.load(path(tmp_path, "labels")).dtype == np.load(path(tmp_path, "labels_obs")).dtype == dtype
    names, labels, observed = read_arrays(tmp_path, "train", CLASSES)
    np.testing.assert_array_equal(names, NAMES)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(observed, draw_single_positives(LABELS))
    assert (labels.dtype, observed.dtype) == (np.uint8, np.int8)


def test_observed_labels_are_drawn_where_there_are_none(folder):
    path(folder, "labels_obs").unlink()
    np.testing.assert_array_equal(read_arrays(folder, "train", CLASSES)[2], draw_single_positives(LABELS))


def test_observed_negatives_are_used_where_what_is_given_counts_and_refused_where_it_is_single(folder):
    drawn = draw_single_positives(LABELS)
    observed = np.where(drawn == 1, 1.0, np.where((LABELS == 0) & (np.arange(3) == 0), -1.0, 0.0))
    np.save(path(folder, "labels_obs"), observed)
    row = np.flatnonzero((observed < 0).any(axis=1))[0]
    refused(
        folder,
        rf"labels_obs\.npy: row {row} says that class 'cat' is absent, and dataset\.known is single; with dataset\.known=given",
    )
    np.testing.assert_array_equal(read_arrays(folder, "train", CLASSES, "given")[2], observed)
    draw(folder)
    data = build_arrays(config(folder, known="given"))
    np.testing.assert_array_equal(data.train.observed, observed[split_train_val(12)[0]])
    assert known_notes(data.train) == [
        f"known of the 10 training images: {(data.train.observed > 0).sum()} labels that are there, "
        f"{(data.train.observed < 0).sum()} that are absent; nothing of {(data.train.observed == 0).all(axis=1).sum()} images"
    ]


def test_several_observed_labels_of_an_image_are_used_where_what_is_given_counts_and_refused_where_it_is_single(folder):
    np.save(path(folder, "labels_obs"), LABELS)
    refused(folder, r"labels_obs\.npy: row \d+ observes \d labels, and dataset\.known is single; with dataset\.known=given")
    np.testing.assert_array_equal(read_arrays(folder, "train", CLASSES, "given")[2], LABELS)


def test_a_label_that_is_known_to_be_absent_and_there_is_refused(folder):
    observed = np.zeros_like(LABELS)
    row, column = np.argwhere(LABELS == 1)[4]
    observed[row, column] = -1
    np.save(path(folder, "labels_obs"), observed)
    for known in ("single", "given"):
        message = rf"row {row} says that class '{CLASSES[column]}' is absent, which the full labels hold"
        with pytest.raises(DataError, match=message):
            read_arrays(folder, "train", CLASSES, known)


@pytest.mark.parametrize("known", [{"share": 0.5}, {"positives": 2}, {"positives": 1, "negatives": 1}])
def test_what_is_drawn_is_drawn_from_the_full_labels_before_the_split(folder, known):
    draw(folder)
    drawn = observe(LABELS, NAMES.tolist(), CLASSES, Known(**known))
    data = build_arrays(config(folder, known=known))
    for part, rows in zip((data.train, data.val), split_train_val(12), strict=True):
        np.testing.assert_array_equal(part.observed, drawn[rows])
        assert part.observed.dtype == np.int8


def test_names_may_be_stored_as_bytes_but_must_be_decodable(folder):
    np.save(path(folder, "images"), NAMES.astype("S"))
    np.testing.assert_array_equal(read_arrays(folder, "train", CLASSES)[0], NAMES)
    np.save(path(folder, "images"), np.array(["é".encode()] * 12))
    refused(folder, r"formatted_train_images\.npy: holds a file name that is not ASCII")


WRONG_LABELS = {
    "rows": (LABELS[:11], "has 11 rows for 12 images"),
    "columns": (LABELS[:, :2], "has 2 columns, but the class list names 3 classes"),
    "dimensions": (LABELS[None], "must be a numeric matrix"),
    "text": (LABELS.astype(str), "must be a numeric matrix"),
    "complex": (LABELS.astype(complex), "must be a numeric matrix"),
    "two": (LABELS + (np.arange(36).reshape(12, 3) == 16), r"row 5, column 1 holds [12]\.0; labels must be (-1, )?0 or 1"),
    "half": (np.where(np.arange(36).reshape(12, 3) == 16, 0.5, LABELS), r"row 5, column 1 holds 0\.5; labels must be"),
    "nan": (np.where(np.arange(36).reshape(12, 3) == 16, np.nan, LABELS), r"row 5, column 1 holds nan; labels must be"),
    "infinite": (np.where(np.arange(36).reshape(12, 3) == 16, np.inf, LABELS), r"row 5, column 1 holds inf; labels must be"),
}  # fmt: skip
assert LABELS[5, 1] == 1


@pytest.mark.parametrize("case", WRONG_LABELS)
@pytest.mark.parametrize("part", ["labels", "labels_obs"])
def test_labels_of_wrong_shape_type_or_value_are_refused(folder, part, case):
    array, message = WRONG_LABELS[case]
    np.save(path(folder, part), array)
    refused(folder, rf"formatted_train_{part}\.npy: {message}")


def test_minus_one_is_no_full_label(folder):
    np.save(path(folder, "labels"), LABELS * 2 - 1)
    refused(folder, r"formatted_train_labels\.npy: row \d+, column \d+ holds -1\.0")


def test_an_observed_positive_that_the_full_labels_lack_is_refused(folder):
    observed = np.zeros_like(LABELS)
    row, column = np.argwhere(LABELS == 0)[4]
    observed[row, column] = 1
    np.save(path(folder, "labels_obs"), observed)
    refused(folder, rf"labels_obs\.npy: row {row} observes class '{CLASSES[column]}', which the full labels do not hold")


@pytest.mark.parametrize("names", [np.arange(12), NAMES[:, None], np.array("a.png")], ids=["numbers", "matrix", "scalar"])
def test_names_that_are_no_list_are_refused(folder, names):
    np.save(path(folder, "images"), names)
    refused(folder, r"formatted_train_images\.npy: must be a list of file names")


class Marker:
    """Pickled, it would touch a file when it is read."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (type(self.target).touch, (self.target,))


@pytest.mark.parametrize("part", ["images", "labels", "labels_obs"])
def test_object_arrays_are_never_unpickled(folder, part):
    marker = folder / "executed"
    np.save(path(folder, part), np.array([Marker(marker)] * 12, dtype=object), allow_pickle=True)
    refused(folder, rf"formatted_train_{part}\.npy: not a readable \.npy array")
    assert not marker.exists()


@pytest.mark.parametrize("part", ["images", "labels", "labels_obs"])
def test_damaged_files_are_refused(folder, part):
    file = path(folder, part)
    whole = file.read_bytes()
    for content in (b"", b"not an array", whole[:7], whole[:100], whole[:-1]):
        file.write_bytes(content)
        refused(folder, rf"formatted_train_{part}\.npy: not a readable \.npy array")
    np.savez(folder / "several.npz", a=LABELS)
    (folder / "several.npz").rename(file)
    refused(folder, rf"formatted_train_{part}\.npy: not a readable \.npy array: an archive")
    file.unlink()
    file.mkdir()
    refused(folder, rf"formatted_train_{part}\.npy: not a readable")


@pytest.mark.parametrize("part", ["images", "labels"])
def test_absent_arrays_name_the_setting(folder, part):
    path(folder, part).unlink()
    refused(folder, rf"formatted_train_{part}\.npy: no such file; dataset\.root \(or dataset\.arrays\) must be")


def test_class_names_are_read_without_byte_order_mark_spaces_and_blank_lines(tmp_path):
    (tmp_path / "classes.txt").write_bytes("\ufeffcat \r\n\r\nfire truck\r\nvögel\n".encode())
    assert read_class_names(tmp_path / "classes.txt") == ["cat", "fire truck", "vögel"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "names no class"),
        (b"\n \n", "names no class"),
        (b"cat\ndog\ncat \n", "'cat' appears twice"),
        (b"\xff\xfe\x00", "dataset.classes"),
    ],
)
def test_class_lists_that_are_empty_repeated_or_unreadable_are_refused(tmp_path, content, message):
    (tmp_path / "classes.txt").write_bytes(content)
    with pytest.raises(DataError, match=rf"classes\.txt: .*{message}"):
        read_class_names(tmp_path / "classes.txt")
    with pytest.raises(DataError, match=r"absent\.txt: .*dataset\.classes"):
        read_class_names(tmp_path / "absent.txt")


def config(folder, **settings):
    from aevlp.data.formats.arrays import ArraysConfig

    return ArraysConfig(name="arrays", root=None if folder is None else str(folder), **settings)


def test_absent_files_are_counted_before_anything_is_trained(folder):
    with pytest.raises(DataError, match=r"listed in row \d+, but there is no such file; 10 of 10 training images are absent"):
        build_arrays(config(folder))


def test_the_official_training_set_is_divided_and_the_official_validation_set_tests(folder):
    draw(folder)
    data = build_arrays(config(folder))
    train, val = split_train_val(12)
    observed = draw_single_positives(LABELS)  # drawn before the split
    for part, rows in ((data.train, train), (data.val, val)):
        assert [part.images.name(i) for i in range(len(part))] == NAMES[rows].tolist()
        np.testing.assert_array_equal(part.observed, observed[rows])
        np.testing.assert_array_equal(part.targets, LABELS[rows])
    assert [data.test.images.name(i) for i in range(4)] == NAMES[:4].tolist()
    assert data.class_names == data.prompt_names == CLASSES
    np.testing.assert_array_equal(build_arrays(config(folder, train_labels="full")).train.observed, LABELS[train])


def test_the_root_may_come_from_the_environment_and_must_come_from_somewhere(folder, monkeypatch):
    monkeypatch.delenv("AEVLP_DATA", raising=False)
    with pytest.raises(ConfigError, match=r"set dataset\.root, or the environment variable AEVLP_DATA"):
        build_arrays(config(None))
    draw(folder)
    folder.rename(folder.parent / "arrays")
    monkeypatch.setenv("AEVLP_DATA", str(folder.parent))
    assert len(build_arrays(config(None)).train) == 10
