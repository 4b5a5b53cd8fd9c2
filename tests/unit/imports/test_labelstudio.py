"""Label Studio's JSON: choices, marks, annotators."""

import pytest
from exports import row


def task(image, *annotations, **data):
    return {
        "id": 1,
        "data": {"image": image} | data,
        "annotations": list(annotations),
        "predictions": [{"result": [{"type": 1}]}],
    }


def said(*words, kind="choices", **more):
    result = [{"type": kind, "value": {kind: list(words), "x": 1}}, {"type": "rating", "value": {"rating": 3}}]
    return {"result": result} | more


def studio(put, *tasks):
    source = put(**{"tasks.json": list(tasks)} | {f"{name}.jpg": None for name in "abc"})
    return source / "tasks.json", source


def test_one_choice_each_is_what_is_known(put, imported):
    path, root = studio(put, task("/data/upload/2/12345678-a.jpg", said("cat")), task("b.jpg", said("dog")), task("c.jpg"))
    rows, told = imported(path, root=root)
    assert rows == [row("a.jpg", ["cat"]), row("b.jpg", ["dog"]), row("c.jpg")]
    assert "1 task gives its photo no label: c.jpg" in told


@pytest.mark.parametrize("kind", ["rectanglelabels", "polygonlabels", "brushlabels", "ellipselabels", "keypointlabels"])
def test_marks_are_all_labels(kind, put, imported):
    path, root = studio(put, task("a.jpg", said("cat", kind=kind)), task("b.jpg", {"result": []}))
    assert imported(path, root=root)[0] == [row("a.jpg", labels=["cat"]), row("b.jpg")]


def test_annotators_who_disagree_are_told_and_skipped_annotations_are_not_read(put, imported):
    path, root = studio(
        put, task("a.jpg", said("cat", "dog"), said("cat")), task("b.jpg", said("dog", was_cancelled=True), said("cat")),
        task("c.jpg", said("dog"), said("cat", ground_truth=True)),
    )  # fmt: skip
    rows, told = imported(path, root=root)
    assert rows == [row("a.jpg", ["cat"]), row("b.jpg", labels=["cat"]), row("c.jpg", labels=["cat"])]
    assert "1 photo whose annotators disagree; what all of them say is known, and nothing else: a.jpg" in told
    assert "1 annotation was skipped or cancelled, and is not read: task 2" in told


def test_predictions_are_known_labels_where_nobody_has_annotated(put, imported):
    path, root = studio(
        put, {"data": {"image": "a.jpg"}, "predictions": [said("cat", "dog")]}, {"data": {"image": "b.jpg"}, "predictions": []},
        task("c.jpg", said("dog"), said("dog")),
    )  # fmt: skip
    rows, told = imported(path, root=root)
    assert rows == [row("a.jpg", ["cat", "dog"]), row("b.jpg"), row("c.jpg", ["dog"])]
    assert "2 tasks have predictions and no annotations: a model's guesses, not what a person said" in told


def test_the_photo_may_stand_under_another_key(put, imported, refused):
    one = {"data": {"photo": "s3://bucket/a%20b/a.jpg", "mask": "m.png", "text": "x"}, "annotations": [said("cat")]}
    path, root = studio(put, one)
    assert refused(path, root=root, code=2).endswith(
        "task 1 has several data that name a photo; say which: --image KEY (it has photo, mask, text)"
    )
    assert imported(path, "--image", "photo", root=root)[0] == [row("a.jpg", ["cat"])]


def test_text_that_only_begins_like_an_address_is_none(put, imported):
    one = {"data": {"caption": "http://[oops", "photo": "a.jpg"}, "annotations": [said("cat")]}
    path, root = studio(put, one)
    assert imported(path, root=root)[0] == [row("a.jpg", ["cat"])]


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (
            [{"image": "a.jpg", "choice": "cat"}],
            "task 1 has no list of annotations; export from Label Studio as JSON, not JSON-MIN",
        ),
        ([7], "is no list of tasks; export from Label Studio as JSON"),
        ([task("a.jpg", 7)], "task 1 has an annotation without results"),
        (
            [task("a.jpg", {"result": [{"type": "choices", "value": {"choices": [1]}}]})],
            "task 1: a result of type 'choices' names no",
        ),
    ],
)
def test_what_is_wrong_with_label_studio_is_told_with_its_task(tasks, message, put, refused):
    path, root = studio(put, *tasks)
    assert refused(path, root=root).startswith(f"{path}{':' if message[0] != ':' else ''} {message}")
