"""From a trained run to better labels: the page that asks, its answers, the table they are added to, the next run."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import browser
import pytest
from miniatures import draw

import aevlp
from aevlp.cli import main
from aevlp.data.build import build_dataset
from aevlp.data.table import read_table

CLASSES = ("bird", "cup", "猫", "orange", "red, round")
QUICK = (
    "dataset.image_size=32", "trainer.batch_size=16", "trainer.eval_batch_size=32", "trainer.num_workers=0", "trainer.epochs=1",
    "tracking.mode=off", "model=small_cnn",
)  # fmt: skip
PHOTOS = 60


def make_folder(root: Path) -> Path:
    rows = ["image,label,split"]
    for i in range(PHOTOS):
        draw(root / f"sub {i % 3}" / f"photo {i}.jpg", i)
        label = CLASSES[i % len(CLASSES)] if i % 10 else ""  # a tenth has none
        rows.append(f'sub {i % 3}/photo {i}.jpg,"{label}",{"val" if 0 < i % 12 < 2 else "train"}')
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory, encoder):
    """A folder of photos, a run on it, the page, and the data in it."""
    base = tmp_path_factory.mktemp("review")
    root = make_folder(base / "photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(base / "runs"))
        words = [f"dataset.root={root}", f"labeler.encoder.source={encoder}", *QUICK]
        run = aevlp.train(aevlp.load_experiment("folder_gpr", words)).run_dir
        page = base / "review.html"
        assert main(["review", str(run), "--count", "200", "-o", str(page)]) == 0
    return root, run, page, json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)[1])


def test_a_page_asks_only_for_what_is_unknown_and_once(reviewed):
    root, run, page, data = reviewed
    table = {row.image: row for row in read_table(root / "labels.csv").rows}
    asked = {(data["photos"][photo]["name"], data["classes"][column]) for photo, column, *_ in data["questions"]}
    assert len(asked) == len(data["questions"]) == 200
    assert all(name not in table[photo].words for photo, name in asked)
    assert {table[photo].split for photo, _ in asked} == {"train"}
    assert any(not table[photo].words for photo, _ in asked)  # photos without any label, too
    assert data["source"] == run.name
    assert page.stat().st_size < 2_000_000


def test_200_questions_by_keyboard_across_two_visits_undone_saved_and_imported(reviewed, tmp_path, capsys):
    browser.require_chromium()
    root, _, page, data = reviewed
    before = (root / "labels.csv").read_bytes()
    with browser.chromium(tmp_path / "profile") as driver:
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
        visit(driver, page, 1280)
        press(driver, "y" * 60 + "n" * 38 + "u" * 2)
        assert shown(driver) == "100 of 200"
        driver.get("about:blank")
        visit(driver, page, 390)
        assert shown(driver) == "100 of 200"
        press(driver, "zzz")  # across the visits: the unsure ones and a no
        assert shown(driver) == "97 of 200"
        press(driver, "uys" + "n" * 99)
        assert shown(driver) == "199 of 200"
        driver.find_element("css selector", "[data-answer=yes]").click()
        assert "That was all" in driver.find_element("id", "main").text
        driver.find_element("id", "save").click()
        answers = saved(tmp_path / "answers.csv")
        assert (browser.requests(driver), driver.get_log("browser")) == ([page.as_uri()] * 2, [])
    expected = ["yes"] * 60 + ["no"] * 37 + ["unsure", "yes", None] + ["no"] * 99 + ["yes"]
    assert [(row["image"], row["class"], row["answer"]) for row in answers] == [
        (data["photos"][photo]["name"], data["classes"][column], answer)
        for (photo, column, *_), answer in zip(data["questions"], expected, strict=True)
        if answer is not None
    ]
    known = {row.image: row for row in read_table(root / "labels.csv").rows}
    assert main(["import", str(tmp_path / "answers.csv"), "--root", str(root)]) == 0
    after = {row.image: row for row in read_table(root / "labels.csv").rows}
    for row in answers:
        assert (row["class"] in after[row["image"]].known) == (row["answer"] == "yes")
        assert (row["class"] in after[row["image"]].absent) == (row["answer"] == "no")
    assert all(set(row.known) <= set(after[name].known) and row.split == after[name].split for name, row in known.items())
    assert (root / "labels.before-1.csv").read_bytes() == before
    assert (root / "labels.added-1.csv").read_bytes() == (tmp_path / "answers.csv").read_bytes()
    assert "by which nothing is known: 1" in capsys.readouterr().err
    table = (root / "labels.csv").read_bytes()
    assert main(["import", str(tmp_path / "answers.csv"), "--root", str(root)]) == 0  # a second time changes nothing
    assert (root / "labels.csv").read_bytes() == table
    assert not (root / "labels.before-2.csv").exists()


def test_held_keys_two_tabs_and_skipped_questions(reviewed, tmp_path):
    browser.require_chromium()
    page, held = reviewed[2], "document.dispatchEvent(new KeyboardEvent('keydown', {key: 'y', repeat: true, cancelable: true}))"
    with browser.chromium(tmp_path / "profile") as driver:
        visit(driver, page, 1280)
        press(driver, "y")
        for _ in range(3):
            assert driver.execute_script(f"return {held}") is False  # and nothing else is done by it
        assert shown(driver) == "1 of 200"
        first = driver.current_window_handle
        driver.switch_to.new_window("tab")
        visit(driver, page, 1280)
        press(driver, "ss")
        driver.switch_to.window(first)
        press(driver, "n" * 197)
        assert "That was all" in driver.find_element("id", "main").text
        again = driver.find_element("id", "again")
        assert again.text == "Ask the 2 that were skipped"
        again.click()
        assert shown(driver) == "198 of 200"
        press(driver, "yy")
        assert not driver.find_elements("id", "again")
        kept = json.loads(driver.execute_script("return localStorage.getItem(localStorage.key(0))"))
    assert [kept["answers"][str(i)] for i in range(200)] == ["yes"] * 3 + ["no"] * 197


def visit(driver, page, width):
    browser.resize(driver, width)
    driver.get(page.as_uri())
    assert driver.execute_script("return document.documentElement.dataset.ready") == "true"
    size = driver.execute_script("const d = document.documentElement; return [d.scrollWidth, d.scrollHeight, innerHeight]")
    assert size[0] <= width
    assert size[1] <= size[2]  # photo, question and keys on one screen


def press(driver, keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(keys).perform()


def shown(driver):
    return driver.find_element("id", "count").text


def saved(path):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(None, 10).until(lambda _: path.exists() and path.stat().st_size)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("gone.jpg,cup,yes,,run", "gone.jpg"),
        ("sub 1/photo 1.jpg,cupp,yes,,run", "did you mean 'cup'"),
        ("sub 1/photo 1.jpg,cup,maybe,,run", "the answer is 'maybe'"),
        ("sub 1/photo 1.jpg,cup,no,,run", "'cup' is said to be there, and to be absent"),
        ("sub 1/photo 1.jpg,bird,yes,,run\nsub 1/photo 1.jpg,bird,no,,run", "answers.csv:3"),
        ("sub 1/photo 1.jpg,bird,yes,,run,more", "has 6 fields instead of 5"),
    ],
)
def test_answers_that_do_not_fit_change_nothing_and_are_told_in_a_line(line, message, tmp_path, capsys):
    root = make_folder(tmp_path / "photos")
    answers = tmp_path / "answers.csv"
    answers.write_text(f"image,class,answer,split,source\n{line}\n")
    before = {path: path.read_bytes() for path in root.iterdir() if path.is_file()}
    assert main(["import", str(answers), "--root", str(root)]) == 1
    error = capsys.readouterr().err.strip()
    assert "\n" not in error
    assert "answers.csv" in error
    assert message in error
    assert {path: path.read_bytes() for path in root.iterdir() if path.is_file()} == before


def test_photos_drawn_to_be_completed_become_a_split_with_full_labels(tmp_path, reviewed, capsys):
    photos, run, _, _ = reviewed
    page = tmp_path / "complete.html"
    assert main(["review", str(run), "--complete", "4", "-o", str(page)]) == 0
    asked = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)[1])
    assert len(asked["photos"]) == 4
    rows = {row.image: row for row in read_table(photos / "labels.csv").rows}
    known = sum(len(rows[photo["name"]].words) for photo in asked["photos"])
    assert len(asked["questions"]) == 4 * len(CLASSES) - known
    assert f"{len(asked['questions'])} questions about 4 photos" in capsys.readouterr().out
    root = shutil.copytree(photos, tmp_path / "photos")
    rows = [
        [asked["photos"][photo]["name"], asked["classes"][column], "yes" if column % 2 else "no", asked["split"], run.name]
        for photo, column, *_ in asked["questions"]
    ]
    with (tmp_path / "answers.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "class", "answer", "split", "source"], *rows])
    assert main(["import", str(tmp_path / "answers.csv"), "--root", str(root)]) == 0
    table = read_table(root / "labels.csv").rows
    assert {row.image for row in table if row.split == "test"} == {photo["name"] for photo in asked["photos"]}
    assert all(set(row.known) | set(row.absent) == set(CLASSES) for row in table if row.split == "test")
    test = build_dataset(aevlp.load_experiment("folder_an", [f"dataset.root={root}"]).dataset).test
    assert test.targets.tolist() == (test.observed > 0).astype(int).tolist()


def test_what_predict_wrote_can_be_reviewed_and_begins_a_table(reviewed, tmp_path, monkeypatch, capsys):
    run = reviewed[1]
    root = tmp_path / "new"
    for i in range(3):
        draw(root / f"{i}.jpg", i)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(run), "new", "-o", "scores.csv"]) == 0
    assert main(["review", "scores.csv", "--order", "confident", "--count", "7"]) == 0
    data = json.loads(re.search(r'id="data">(.*?)</script>', Path("review.html").read_text(), re.S)[1])
    with Path("scores.csv").open(newline="", encoding="utf-8") as file:
        scores = [(float(row[name]), row["image"], name) for row in csv.DictReader(file) for name in CLASSES]
    asked = [(data["photos"][photo]["name"], data["classes"][column]) for photo, column, *_ in data["questions"]]
    assert asked == [(image, name) for _, image, name in sorted(scores, key=lambda one: -one[0])[:7]]
    answers = [f'{image},"{name}",{"yes" if i % 2 else "no"},,scores.csv' for i, (image, name) in enumerate(asked)]
    Path("answers.csv").write_text("image,class,answer,split,source\n" + "\n".join(answers) + "\n")
    assert main(["import", "answers.csv", "--root", "new"]) == 0
    rows = read_table(root / "labels.csv").rows
    assert sum(len(row.known) for row in rows) == 3
    assert sum(len(row.absent) for row in rows) == 4
    capsys.readouterr()
    Path("other.csv").write_text("a,b\n1,2\n")
    assert main(["review", "other.csv"]) == 1
    assert "other.csv:1: is no CSV file that `predict` wrote" in capsys.readouterr().err
    assert main(["review", "gone.csv"]) == 1
    assert capsys.readouterr().err == "error: gone.csv: no such file\n"


@pytest.mark.parametrize(
    ("words", "by_import"),
    [
        ([], True),
        (["dataset.draw=frequent"], False),
        (["dataset.known={share: 0.5}"], False),
        (["dataset.known={positives: 1, negatives: 2}"], False),
    ],
)
def test_answers_go_where_the_run_takes_notice_of_them(words, by_import, reviewed, tmp_path, monkeypatch, capsys):
    run, root = reviewed[1], tmp_path / "all told"
    monkeypatch.chdir(tmp_path)
    for i in range(20):
        draw(root / f"photo {i}.jpg", i)
    labels = ["bird|cup|猫|orange", '"cup|猫|red, round"']
    lines = [f"photo {i}.jpg,{labels[i % 2]},{'val' if i > 15 else ''}" for i in range(20)]
    (root / "labels.csv").write_text("\n".join(["image,labels,split", *lines]) + "\n")
    settings = ["--set", f"dataset.root={root}", *words]
    assert main(["review", str(run), "--count", "5", *settings, "--simulate"]) == 0
    unknown = build_dataset(aevlp.load_experiment(run / "config.yaml", settings[1:]).dataset).train
    capsys.readouterr()
    assert main(["review", str(run), "--count", "5", *settings]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1].removeprefix("and "))
    assert ("import" in command) == by_import
    if by_import:
        assert main(command[2:]) == 0
        words = settings[1:]
    else:
        assert command[-1] == "dataset.answers=answers.csv"
        words = command[command.index("--set") + 1 :]
    data = build_dataset(aevlp.load_experiment(run / "config.yaml", words).dataset)
    with Path("answers.csv").open(newline="", encoding="utf-8") as file:
        answered = {(row["image"], row["class"]) for row in csv.DictReader(file)}
    rows, columns = (data.train.observed != unknown.observed).nonzero()
    known = {(data.train.images.name(row), data.class_names[column]) for row, column in zip(rows, columns, strict=True)}
    assert known == answered


def test_answers_are_taken_in_by_the_run_once_more_with_its_own_settings(trained_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = aevlp.load_experiment(trained_run / "config.yaml").to_dict()

    def take_in(*words):
        assert main(["review", str(trained_run), "--count", "5", *words]) == 0
        out, err = capsys.readouterr()
        return shlex.split(out.splitlines()[-1].removeprefix("and ")), err

    (*_, flag, experiment, set_, word), err = take_in()
    assert (flag, set_, word, err) == ("--exp", "--set", "dataset.answers=answers.csv", "")
    before["dataset"]["answers"] = str(tmp_path / "answers.csv")
    assert aevlp.load_experiment(experiment, [word]).to_dict() == before
    assert main(["review", str(trained_run), "--count", "5", "--simulate", "-o", "first.csv"]) == 0
    known = ["--set", "dataset.answers=first.csv"]
    assert main(["review", str(trained_run), "--count", "5", "--simulate", *known]) == 0
    capsys.readouterr()
    words, err = take_in(*known)
    told = f"{tmp_path}/first.csv has earlier answers: add the new lines to it, and do not write over it"
    assert " ".join(err.split()).endswith(told)
    assert words[-4:] == ["--exp", str(trained_run / "config.yaml"), *known]
    assert not {">", ">>", "&&"} & set(words)
    build_dataset(aevlp.load_experiment(words[-3], words[-1:]).dataset)


def test_a_split_is_not_asked_for_where_no_table_can_take_it(trained_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aevlp.review.questions.questions", lambda *_, **__: pytest.fail("it was asked"))
    assert main(["review", str(trained_run), "--complete", "2"]) == 2
    assert "--complete: makes a split of photos in a table" in capsys.readouterr().err


def test_answers_are_taken_in_whatever_else_lies_in_the_folder(tmp_path, capsys):
    root = make_folder(tmp_path)
    (root / "old.jpg").symlink_to("gone.jpg")
    (root / "answers.csv").write_text("image,class,answer,split,source\nsub 1/photo 1.jpg,bird,no,,me\n")
    assert main(["import", str(root / "answers.csv"), "--root", str(root)]) == 0
    assert "new labels: 0 known, 1 absent" in capsys.readouterr().err


def test_a_folder_found_by_its_variable_has_a_table_whose_own_split_is_completed_as_a_whole(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AEVLP_DATA", str(tmp_path / "my data"))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "my data" / "folder"
    for i in range(24):
        draw(root / f"{i}.png", i)
    lines = [f"{i}.png,{('cup', 'bird')[i % 2]},{'test' if i < 5 else 'val' if i < 10 else 'train'}" for i in range(24)]
    (root / "labels.csv").write_text("\n".join(["image,label,split", *lines]) + "\n")
    run = aevlp.train(aevlp.load_experiment("folder_an", QUICK)).run_dir
    assert f"predict {run.name} '{root}' -o scores.csv" in " ".join(capsys.readouterr().out.split())
    for words in ([], ["--complete", "3"], ["--complete", "5"]):
        assert main(["review", str(run), *words]) == 0
        out, err = capsys.readouterr()
        assert out.splitlines()[-1].endswith(f"import answers.csv --root '{root}'")
        note = "split test holds 2 more photos of which not all is known; full figures need `--complete 5`\n"
        assert err.endswith(note) == ("3" in words)
    Path("earlier.csv").write_text("image,class,answer,split,source\n12.png,bird,no,,me\n")
    assert main(["review", str(run), "--complete", "5", "--set", "dataset.answers=earlier.csv"]) == 2
    take_in = f"first `python run.py import {tmp_path}/earlier.csv --root '{root}'`"
    assert f"{take_in}, then give this command with `--set dataset.answers=null`\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("RUN --becomes val", "--becomes: goes with --complete"),
        ("RUN --seed 7", "--seed: goes with --order random and with --complete"),
        ("RUN --complete 2 --count 9", "--count: --complete asks for every class"),
        ("RUN --complete 2 --order random", "--order: --complete asks for every class"),
        ("scores.csv --set loss.rho=9 nonsense=1", "--set: goes with a run, not with predictions"),
        ("scores.csv --exp nonsense", "--exp: goes with a run, not with predictions"),
        ("scores.csv --becomes val", "--becomes: goes with a run, not with predictions"),
        ("scores.jsonl", "scores.jsonl: review takes a run, or scores as CSV: `python run.py predict RUN IMAGES -o scores.csv`"),
    ],
)
def test_what_would_do_nothing_is_refused(words, message, trained_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("scores.csv", "scores.jsonl"):
        Path(name).touch()
    assert main(["review", *words.replace("RUN", str(trained_run)).split()]) == 2
    assert message in capsys.readouterr().err
    assert not Path("review.html").exists()
