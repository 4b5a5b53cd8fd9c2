"""Open Images' verified labels."""

import tracemalloc

import pytest
from exports import row

from aevlp.config import registry
from aevlp.data.imports._base import Report
from aevlp.data.imports._collect import collect
from aevlp.data.locate import Listing, PhotoIndex
from aevlp.data.table import table_lines

LABELS = "ImageID,Source,LabelName,Confidence\n"
NAMES = "LabelName,DisplayName\n/m/1,Cat\n/m/2,Dog\n/m/3,Dog\n"


def test_verified_labels_are_known_and_refuted_ones_absent_wherever_their_rows_stand(put, imported):
    source = put(**{
        "oidv6-train-annotations-human-imagelabels.csv": f"{LABELS}a,v,/m/1,1\na,v,/m/2,0\nb,v,/m/1,0\nx,v,/m/1,1\na,c,/m/3,1\n",
        "validation-annotations-human-imagelabels.csv": f"{LABELS}c,v,/m/1,1.0\nc,v,/m/2,0\nc,w,/m/2,1\n",
        "oidv7-class-descriptions.csv": NAMES, "train/a.jpg": None, "train/b.jpg": None, "validation/c.jpg": None,
    })  # fmt: skip
    rows, told = imported(source)
    assert rows == [
        row("train/a.jpg", ["Cat", "Dog (/m/3)"], ["Dog (/m/2)"]), row("train/b.jpg", absent=["Cat"]),
        row("validation/c.jpg", ["Cat"], split="val"),
    ]  # fmt: skip
    assert "1 label is verified, and refuted, and left unknown: Dog (/m/2) in c (" in told
    assert "1 named, but there is no such photo: x (" in told  # nobody has all nine million


def test_a_label_that_is_refuted_far_from_where_it_was_verified_is_a_contradiction(put, refused):
    source = put(
        **{
            "l.csv": f"{LABELS}a,v,/m/1,1\nb,v,/m/1,1\na,v,/m/1,0\n",
            "class-descriptions.csv": NAMES,
            "a.jpg": None,
            "b.jpg": None,
        }
    )
    assert refused(source) == f"{source}/l.csv:4: 'Cat' is said to be there, and to be absent, in a.jpg"


def test_without_descriptions_classes_have_the_labels_of_the_file_as_names(put, imported, tmp_path):
    source = put(**{"l.csv": f"{LABELS}a,v,/m/1,1\n", "a.jpg": None})
    assert imported(source)[0] == [row("a.jpg", ["/m/1"])]
    (tmp_path / "names.csv").write_text("/m/1,Cat\n")
    assert imported(source, "--names", str(tmp_path / "names.csv"), "--replace")[0] == [row("a.jpg", ["Cat"])]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            "a,v,/m/1,0.7\n",
            ":2: confidence '0.7' must be 1 or 0; only labels are read that people verified, not those of machines",
        ),
        ("a,v,/m/9,1\n", ":2: label '/m/9' has no name in the class descriptions"),
        ("a,v,/m/1\n", ":2: has 3 fields instead of 4"),
        ("", ": names no photo below {source}"),
    ],
)
def test_what_is_wrong_with_open_images_is_told_with_its_line(lines, message, put, refused):
    source = put(**{"l.csv": LABELS + lines, "class-descriptions.csv": NAMES, "a.jpg": None})
    assert refused(source) == f"{source}/l.csv{message}" if lines else refused(source).startswith(f"{source}: names no photo")


def test_a_photo_takes_less_than_a_kilobyte(tmp_path):
    """So that a million photos, with five labels each of 600 classes, stay below 1 GB."""
    images = [f"{i * 2654435761:016x}" for i in range(5_000)]
    path = tmp_path / "train-annotations-human-imagelabels.csv"
    lines = [f"{image},v,/m/{(7 * i + 97 * n) % 600},{n % 2}\n" for i, image in enumerate(images) for n in range(5)]
    path.write_text(LABELS + "".join(lines))
    (tmp_path / "class-descriptions.csv").write_text("".join(f"/m/{n},Class {n}\n" for n in range(600)))
    config = registry.get("imports", "openimages").config(name="openimages")
    tracemalloc.start()
    photos = PhotoIndex(tmp_path, Listing([f"train/{image}.jpg" for image in images]))
    found = registry.build("imports", config, source=path, report=Report())
    rows = collect(found, path, photos, Report()).rows
    lines = sum(map(len, table_lines(rows)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(rows) == 5_000
    assert lines > 5_000 * 60
    assert peak < 5_000 * 900
