"""The report of real digits runs: its figures are those of the run folders, and a browser can use it without a network."""

import json
import re
import subprocess
import sys

import browser
import hand_made
import numpy as np
import pytest
from scipy import stats
from workspaces import metrics, panels

import aevlp
from aevlp.cli import main
from aevlp.config.describe import flatten
from aevlp.reporting.dashboard import BY_EXPERIMENT
from aevlp.runs.collect import read_run
from aevlp.tracking import read_metrics

RUNS = (("digits_gpr", 0), ("digits_gpr", 1), ("digits_an", 0), ("digits_an", 1))
SMALL = (
    "dataset.num_train=40", "dataset.num_val=24", "dataset.num_test=24", "dataset.image_size=32", "trainer.batch_size=20",
    "trainer.epochs=2", "trainer.patience=null", "trainer.max_drop=null", "trainer.threads=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run folders, the page about them, and the data in it. The first run is tracked, offline."""
    root = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AEVLP_RUNS", str(root / "runs"))
        folders = [
            aevlp.train(
                aevlp.load_experiment(
                    name,
                    [
                        *SMALL,
                        *(["labeler.grid=2"] if name == "digits_gpr" else []),
                        f"seed={seed}",
                        f"tracking.mode={'off' if number else 'offline'}",
                    ],
                )
            ).run_dir
            for number, (name, seed) in enumerate(RUNS)
        ]
    hand_made.study(root / "runs" / "sweeps" / "tiny", hand_made.searched())
    hand_made.confirmed(root / "runs" / "sweeps" / "tiny")
    page = root / "report.html"
    assert main(["report", str(root / "runs"), "-o", str(page)]) == 0
    text = page.read_text()
    return folders, page, json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])


def shown(data, folder):
    return next(run for run in data["runs"] if run["name"] == folder.name)


def test_figures_are_those_of_the_run_folders(made):
    folders, _, data = made
    for folder in folders:
        run = shown(data, folder)
        rows = [row for row in read_metrics(folder / "metrics.jsonl") if "train/loss" in row]
        assert run["epochs"] == [row["trainer/epoch"] for row in rows]
        for name, values in run["curves"].items():
            assert values == [row.get(name) for row in rows]
        summary = json.loads((folder / "summary.json").read_text())
        assert {name: summary[name] for name in run["summary"]} == run["summary"]
        assert {"test/mAP", "best/val_mAP"} <= run["summary"].keys()
    for group in data["groups"]:
        for metric, value in group["metrics"].items():
            values = [
                json.loads((folder / "summary.json").read_text()).get(metric)
                for folder in folders
                if group["name"] in folder.name
            ]
            assert value is None if None in values else list(value["values"].values()) == values


def inspected(folder, *options):
    (offline,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", *options, "--json", str(offline)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_figures_are_to_the_last_digit_those_that_wandb_has(made):
    folders, _, data = made
    seen = json.loads(inspected(folders[0], "--summary"))["summary"]
    run = shown(data, folders[0])
    assert {name: seen[name] for name in run["summary"]} == run["summary"]
    records = [json.loads(line) for line in inspected(folders[0]).splitlines()]
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    epochs = [row for row in rows if "train/loss" in row]
    assert [row["trainer/epoch"] for row in epochs] == run["epochs"] == [1, 2]
    for name, values in run["curves"].items():
        assert [row.get(name) for row in epochs] == values


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wandb_has_tables_by_class_the_sample_images_and_the_best_weights(made):
    folder = made[0][0]
    records = [json.loads(line) for line in inspected(folder).splitlines()]
    history = {
        name: value for record in records if record["type"] == "history" for name, value in record["history"]["item"].items()
    }
    assert history["samples.count"] == 32
    assert history["samples.captions"][0].startswith("observed: ")
    for name in ("pseudo/per_class", "test/per_class"):
        assert (history[f"{name}._type"], history[f"{name}.log_mode"]) == ("table-file", "MUTABLE")
    tables = sorted((folder / "wandb").glob("offline-run-*/files/media/table/test/per_class*.json"))
    rows = json.loads(tables[-1].read_text())["data"]
    assert [(name, f"{precision:.4f}", str(count)) for name, precision, count in rows] == [
        (row["class"], row["test_AP"], row["test_positives"]) for row in read_run(folder).table("per_class.csv")
    ]
    (weights,) = [
        record["artifact"] for record in records if record["type"] == "artifact" and record["artifact"]["type"] == "model"
    ]
    best = (folder / "checkpoints" / "best").resolve()
    files = {entry["path"]: entry["local_path"] for entry in weights["manifest"]["contents"]}
    assert files == {"model.safetensors": str(best / "model.safetensors"), "config.yaml": str(folder / "config.yaml")}
    summary = json.loads((folder / "summary.json").read_text())
    metadata = json.loads(weights["metadata"])
    assert set(weights["aliases"]) == {"best", "latest"}
    named = ("best/epoch", "best/val_mAP", "config_hash")
    assert {name: metadata[name] for name in named} == {name: summary[name] for name in named}
    assert "git_commit" in metadata


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_metric_and_setting_of_the_dashboard_is_one_that_a_run_logs(made, capsys):
    assert main(["dashboard", "--project", "mine", "--dry-run"]) == 0
    spec = json.loads(capsys.readouterr().out)
    seen = json.loads(inspected(made[0][0], "--summary"))
    logged = seen["summary"].keys() | {name.rpartition(".")[0] for name in seen["summary"]}
    assert set(metrics(spec)) - logged == {"test/mAP_observed"}  # of a test split that is known in part, see test_known_labels.py
    settings = {name for panel in panels(spec) for name in panel.get("config", [])} | {BY_EXPERIMENT}
    assert settings - flatten(seen["config"]).keys() == set()


def test_samples_hold_the_labels_of_their_rows_and_all_arrays_of_a_run_are_small(made):
    folders, _, _ = made
    for folder in folders:
        run = read_run(folder)
        samples = run.arrays("samples.npz")
        assert (len(samples["rows"]), run.problems) == (32, [])
        assert (samples["pseudo"] == run.arrays("pseudo_labels.npz")["pseudo"][samples["rows"]]).all()
        assert (samples["observed"].sum(axis=1) == 1).all()
        assert (samples["targets"] >= samples["observed"]).all()
        assert sum(path.stat().st_size for path in folder.glob("*.npz")) < 20_000_000
    assert (read_run(folders[0]).arrays("samples.npz")["rows"] == read_run(folders[3]).arrays("samples.npz")["rows"]).all()
    views = read_run(folders[0]).arrays("samples.npz")["views"]
    assert views.shape == (32, 5, 10)
    assert views.astype(float).sum(axis=2) == pytest.approx(1.0, abs=5e-3)
    assert "views" not in read_run(folders[3]).arrays("samples.npz")  # no labeler, nothing seen


def test_a_person_can_use_the_page_at_a_desk_and_on_a_phone(made, tmp_path):
    browser.require_chromium()
    _, page, data = made
    alone = tmp_path / "study.html"
    assert main(["report", str(page.parent / "runs" / "sweeps" / "tiny"), "-o", str(alone)]) == 0
    with browser.chromium(tmp_path / "profile") as driver:
        for width in (1280, 390):
            browser.resize(driver, width)
            driver.get(page.as_uri())
            assert driver.execute_script("return document.documentElement.dataset.ready") == "true"
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            sorts_the_ranking(driver, data)
            compares_with_any_baseline(driver, data)
            filters_the_images(driver, data)
            filters_the_mistakes(driver, data)
            switches_the_theme(driver)
            reads_a_chart_with_the_keyboard(driver, data)
            reads_the_study(driver, data)
            assert browser.requests(driver) == [page.as_uri()]
            assert driver.get_log("browser") == []
            driver.get(alone.as_uri())
            assert driver.execute_script("return document.documentElement.dataset.ready") == "true"
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
            assert [link.get_attribute("hash") for link in driver.find_elements("css selector", "nav a")] == ["#studies"]
            assert (browser.requests(driver), driver.get_log("browser")) == ([alone.as_uri()], [])


def sorts_the_ranking(driver, data):
    def names():
        return [cell.text for cell in driver.find_elements("css selector", "#ranking tbody td:first-child")]

    head = driver.find_element("css selector", "#ranking th:first-child button")
    head.click()
    assert names() == sorted(group["name"] for group in data["groups"])
    head.send_keys("\n")
    assert names() == sorted((group["name"] for group in data["groups"]), reverse=True)
    assert driver.find_element("css selector", "#ranking th:first-child").get_attribute("aria-sort") == "descending"
    value = data["groups"][0]["metrics"]["test/mAP"]
    row = next(
        row for row in driver.find_elements("css selector", "#ranking tbody tr") if row.text.startswith(data["groups"][0]["name"])
    )
    assert f"{value['mean']:.1f} ± {value['half']:.1f}" in row.text


def compares_with_any_baseline(driver, data):
    names = [group["name"] for group in data["groups"]]
    values = [list(group["metrics"]["test/mAP"]["values"].values()) for group in data["groups"]]
    for other in (1, 0):
        driver.find_element("css selector", f"#ranking select option[value='{other}']").click()
        gaps = np.subtract(values[1 - other], values[other])
        half = stats.t.ppf(0.975, 1) * stats.sem(gaps)
        row = next(
            row
            for row in driver.find_elements("css selector", "#ranking tbody tr")
            if row.find_element("css selector", "td").text == names[1 - other]
        )
        assert f"{gaps.mean():+.1f} ± {half:.1f}".replace("-", "\u2212") in row.text
    driver.find_element("css selector", f"#ranking select option[value='{data['tables'][0]['baseline']}']").click()


def filters_the_images(driver, data):
    samples = next(group["samples"] for group in data["groups"] if group["name"] == "digits_gpr")
    labels = list(zip(samples["observed"], samples["positive"], samples["targets"], strict=True))
    missed = [set(targets) - set(observed) - set(positive) for observed, positive, targets in labels]
    false = [set(positive) - set(observed) - set(targets) for observed, positive, targets in labels]

    def counted():
        return driver.find_element("css selector", "#gallery .controls [aria-live]").text

    buttons = driver.find_elements("css selector", "#gallery .choice button")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", buttons[0])
    assert counted() == "32 of 32 images"
    buttons[1].click()
    assert counted() == f"{sum(map(bool, missed))} of 32 images"
    driver.find_element("css selector", "#gallery select[aria-label=Class] option[value='3']").click()
    assert counted() == f"{sum(3 in found for found in missed)} of 32 images"
    buttons[2].click()
    assert counted() == f"{sum(3 in found for found in false)} of 32 images"


def filters_the_mistakes(driver, data):
    found = data["groups"][0]["mistakes"]
    sides = [f"i.{side}Width / i.{side}Height" for side in ("natural", "client")]
    stored, drawn = driver.execute_script(f"const i = document.querySelector('#mistakes img'); return [{', '.join(sides)}]")
    assert drawn == pytest.approx(stored, rel=0.02)  # photos keep their shape
    choices = (("false", "missed"), ("false",), ("missed",))
    buttons = driver.find_elements("css selector", "#mistakes .choice button")
    for button, kinds in zip(buttons, choices, strict=True):
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        count = sum(any(found[kind][i] for kind in kinds) for i in range(len(found["names"])))
        assert driver.find_element("css selector", "#mistakes .controls [aria-live]").text == f"{count} of 24 images"


def switches_the_theme(driver):
    def colours():
        return driver.execute_script("const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]")

    button, before = driver.find_element("id", "theme"), colours()
    button.click()
    assert all(now != then for now, then in zip(colours(), before, strict=True))
    button.click()
    assert colours() == before


def reads_a_chart_with_the_keyboard(driver, data):
    chart = driver.find_element("css selector", "#curves .chart svg")
    driver.execute_script("arguments[0].focus()", chart)
    chart.send_keys("\ue012")  # left arrow
    told = driver.find_element("css selector", "#curves .chart .tip").text
    group = next(group for group in data["groups"] if group["name"] == "digits_gpr")
    values = [data["runs"][number]["curves"]["val/mAP"][-1] for number in group["runs"]]
    assert "epoch 2" in told
    assert f"{sum(values) / len(values):.1f}" in told


def reads_the_study(driver, data):
    (study,) = data["studies"]
    facts = driver.find_element("css selector", "#studies dl").text
    assert "12 of 30: 10 complete, 2 pruned" in facts
    assert f"95.50 in trial {study['front'][0]}, +5.50 against the base (trial 0)" in facts
    assert "89.50 ± 0.80 in trial 0, the best mean of 3" in facts
    told = driver.find_element("css selector", "#studies table[aria-label='Best trials on fresh seeds'] tbody").text
    assert told.splitlines()[1] == "12 89.10 ± 0.80 3 95.50 cannot be told from the first"
    heads = [cell.text for cell in driver.find_elements("css selector", "#studies table[aria-label='Best trials'] th")]
    assert heads[:3] == ["Setting", "Base", f"Trial {study['front'][0]}"]
    assert len(heads) == 2 + len(study["best"])
    row = driver.find_element("xpath", "//*[@id='studies']//tr[td[1]='labeler.grid']").text.split()
    assert row[1:] == ["3", *(f"{trial['codes'][1]:g}" for trial in study["best"])]
    strongest = driver.find_element("css selector", "#studies table[aria-label='Rank correlation'] tbody tr").text
    assert strongest.split()[0] in study["correlations"][0]["parameter"]
