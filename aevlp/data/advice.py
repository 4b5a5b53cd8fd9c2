"""What `prepare folder` tells of a table of photos before anybody trains on it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator

from aevlp.data.prompt_names import FILE
from aevlp.data.table import BETWEEN, SPLITS, Row
from aevlp.text import are, counted, listed

FEW = 10  # training photos of a class; below that, average precision is noise and a head hardly learns
SLIPS = 2  # photos of a word that may be a misspelling
CLASSES = "classes.txt"
FEW_STEPS = 500  # of the optimiser; the published recipe takes 2,300 on its smallest dataset
EPOCHS, BATCH = 8, 16  # of the recipe that `folder` experiments begin with
SHOWN = 10


def advice(
    parts: dict[str, list[Row]], class_names: list[str], counts: dict[str, list[int]], prompt_names: list[str]
) -> Iterator[str]:
    """Lines of advice, the most important first.

    Args:
        parts: rows by split.
        class_names: in the order of the classes.
        counts: photos by split and class: in training those that have it as an observed label, else those that are judged by it.
        prompt_names: what the text encoder reads of each class.
    """
    rows = [row for split in SPLITS for row in parts[split]]
    if len(class_names) == 1:
        yield f"one class, {class_names[0]!r}: there is nothing to tell it apart from; add photos of something else"
    train = dict(zip(class_names, counts["train"], strict=True))
    shown = {word for row in parts["train"] for word in row.labels}
    if missing := [name for name in class_names if not train[name] and name not in shown]:
        yield f"no training photo of {listed(missing, SHOWN)}: only pseudo-labels can teach such"
    if unobserved := [name for name in class_names if not train[name] and name in shown]:
        yield f"no training photo has the known label {listed(unobserved, SHOWN)}: only pseudo-labels can teach such"
    yield from _misspelt(Counter(word for row in rows for word in row.words))
    few = [f"{name} ({train[name]})" for name in class_names if 0 < train[name] < FEW]
    if few:
        yield f"fewer than {FEW} training photos: {listed(few, SHOWN)}"
    yield from _other_splits(parts, class_names, counts)
    steps = EPOCHS * math.ceil(len(parts["train"]) / BATCH)
    if steps < FEW_STEPS:
        epochs = math.ceil(FEW_STEPS * EPOCHS / steps)
        photos = counted(len(parts["train"]), "training photo") + (" makes" if len(parts["train"]) == 1 else " make")
        yield (
            f"{photos} {steps} steps in {EPOCHS} epochs of batches of {BATCH}, few; take more epochs or a higher rate: "
            f"--set trainer.epochs={epochs} trainer.patience=null trainer.max_drop=null or trainer.learning_rate=1e-4"
        )
    yield from _known(rows, len(class_names))
    read = listed(["a photo of a " + name.replace("_", " ") for name in prompt_names], 3)
    yield f"CLIP reads the labels as: {read}; for other words write lines class,words into {FILE}"


def _misspelt(counts: Counter[str]) -> Iterator[str]:
    """Words of four letters or more that are rare, and one slip away from a word that is three times as frequent."""
    often: dict[str, list[str]] = defaultdict(list)  # by what is left without one of their letters, which a slip has in common
    for other in sorted(word for word, count in counts.items() if count > SLIPS and len(word) >= 4):
        for form in _without_a_letter(other):
            often[form].append(other)
    found = [
        f"{word!r} ({counts[word]}) of {other!r} ({counts[other]})"
        for word in sorted(counts) if counts[word] <= SLIPS and len(word) >= 4
        for other in sorted({other for form in _without_a_letter(word) for other in often.get(form, ())})
        if counts[other] >= 3 * counts[word] and _is_one_slip(word, other)
    ]  # fmt: skip
    if found:
        names = listed(found, SHOWN)
        yield f"may be a misspelling: {names}; mend it in the table. {CLASSES}, a list of the classes, has such refused"


def _without_a_letter(word: str) -> set[str]:
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}


def _is_one_slip(word: str, other: str) -> bool:
    """Whether a letter is changed, missing or too many, or two neighbours are exchanged; no number, and no plural s."""
    start = _shared(word, other)
    end = _shared(word[start:][::-1], other[start:][::-1])
    one, two = (text[start : len(text) - end] for text in (word, other))
    if any(letter.isdigit() for letter in one + two) or word.casefold().removesuffix("s") == other.casefold().removesuffix("s"):
        return False
    return max(len(one), len(two)) == 1 or (len(one) == 2 and one == two[::-1])


def _shared(word: str, other: str) -> int:
    """Letters that both begin with."""
    return next((i for i, (one, two) in enumerate(zip(word, other, strict=False)) if one != two), min(len(word), len(other)))


def contradiction(group: list[Row]) -> str:
    """Of rows of one picture, what one says is there and another does not know of, or denies; empty where they agree."""
    names = [set(row.labels or row.known) for row in group]  # all that is told, of which an absent one is none
    if all(some == names[0] for some in names):
        return ""
    return ", with different labels: " + ", ".join(f"{BETWEEN.join(sorted(some)) or 'none'}" for some in names[:SHOWN])


def _other_splits(parts: dict[str, list[Row]], class_names: list[str], counts: dict[str, list[int]]) -> Iterator[str]:
    for split, title in (("val", "validation"), ("test", "test")):
        missing = [name for name, count in zip(class_names, counts[split], strict=True) if not count]
        if parts[split] and missing:
            remedy = f"give some {split} in the column split, or label more"
            yield f"no {title} photo of {listed(missing, SHOWN)}: how well such are found is not measured there; {remedy}"
        number, whole = len(parts[split]), sum(row.tells_all(len(class_names)) for row in parts[split])
        if whole < number:
            photos, their = f"the {counted(number, f'{title} photo')} {are(number)}", "its" if number == 1 else "their"
            some = f" ({whole} {'tells' if whole == 1 else 'tell'} all of theirs)" if whole else ""
            yield f"{photos} judged by {their} known labels, as not all of {their} labels are told{some}"
    if not parts["test"]:
        yield "no row has split test: the run will have no test figures"


def _known(rows: list[Row], num_classes: int) -> Iterator[str]:
    unlabelled = sum(not row.present for row in rows)
    if unlabelled:
        yield f"{unlabelled} of {len(rows)} photos have no label: they get pseudo-labels in training, and judge nothing"
    whole = sum(row.tells_all(num_classes) for row in rows)
    if 0 < whole < len(rows):
        yield f"{whole} of {len(rows)} photos tell all their labels; of the others only what is known is used"
    if num_classes > 1 and whole == len(rows) and all(len(row.labels) == 1 for row in rows):
        yield (
            "each photo has one name in the column `labels`, which says that nothing else is in it; if more may be, call that "
            "column `label`"
        )
    several = sum(len(row.known) > 1 for row in rows)
    if several:
        yield f"{several} of {len(rows)} photos have several known labels"
    absent = sum(len(row.absent) for row in rows)
    if absent:
        yield f"{counted(absent, 'known absence')}: each is a negative in training, whatever the loss makes of unknown labels"
