"""Make the pictures of README and manual (needs chromium and chromedriver, and selenium).

python docs/screens.py [NAME,NAME...] RUNS...        all that these runs have something to show for, or those of these names;
                                                     those of a suite (components, grids, epochs, shares) only by name
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from rich.terminal_theme import MONOKAI
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from aevlp.reporting.page import write_report
from aevlp.runs.collect import Run, collect
from aevlp.terminal import Terminal
from aevlp.tracking import console as console_tracker
from aevlp.tracking.base import RunInfo

FOLDER = Path(__file__).with_name("screens")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
)
# Name, width and height of the window, theme, section at its top.
SCREENS = (
    ("report", 1280, 1000, "light", "ranking"),
    ("images", 1280, 860, "dark", "gallery"),
    ("phone", 390, 844, "light", "classes"),
    ("study", 1280, 1000, "light", "studies"),
    ("shares", 1280, 520, "light", "by-setting"),
    ("components", 1280, 1060, "light", "ranking"),
    ("grids", 1280, 520, "light", "by-setting"),
    ("epochs", 1280, 520, "light", "by-setting"),
)
SUITES = ("components", "grids", "epochs", "shares")


def main(names: list[str], runs: list[Path]) -> None:
    """Write docs/screens/: the report in Chromium, and a run under way on the terminal."""
    FOLDER.mkdir(exist_ok=True)
    if "terminal" in names:
        for run in [run for run in collect(runs).runs if run.finished and run.experiment == "digits_gpr"][:1]:
            training(run)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        write_report(runs, page)
        with browser(folder) as driver:
            for screen in SCREENS:
                if screen[0] in names:
                    _shoot(driver, page, *screen)


def training(run: Run, epochs: int = 5) -> None:
    """Write terminal.svg: what the terminal showed in the middle of a run, after so many epochs."""
    console, clock = _terminal(), [0.0]
    images = run.config["dataset"]["num_train"]
    steps = int(run.epochs[0]["trainer/step"])
    # The time is that of the run, and the bar stands for the lines that a log file gets once a minute.
    with (
        mock.patch.multiple(console_tracker, HEARTBEAT_SECONDS=math.inf),
        mock.patch.object(time, "monotonic", side_effect=lambda: clock[0]),
    ):
        tracker = console_tracker.ConsoleTracker(console=console)
        names = [row["class"] for row in run.table("per_class.csv")]
        path = Path("runs") / run.path.name
        tracker.start(RunInfo(path.name, run.experiment, path, run.config, len(run.epochs), steps, None, names))
        for number, row in enumerate(run.epochs[: epochs + 1]):
            done = steps if number < epochs else int(0.6 * steps)
            for step in range(1, done + 1):
                tracker.progress("train", step, steps)
                clock[0] += images / row["perf/images_per_second"] / steps
            if number < epochs:
                tracker.progress("validate", 1, 1)
                tracker.log(row)
        console.print()
        console.print(tracker._bar())
    console.save_svg(str(FOLDER / "terminal.svg"), title="python run.py --exp digits_gpr", theme=MONOKAI)


def _terminal() -> Terminal:
    return Terminal(record=True, width=80, file=io.StringIO(), force_terminal=True)


@contextlib.contextmanager
def browser(folder: str) -> Iterator[Any]:
    """Chromium without a window, with its profile in `folder`."""
    options = webdriver.ChromeOptions()
    for option in (*OPTIONS, f"--user-data-dir={folder}/profile"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def _shoot(driver: Any, page: Path, name: str, width: int, height: int, theme: str, section: str) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1.5, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.get(page.as_uri())
    if not driver.execute_script("return document.getElementById(arguments[0]) !== null", section):
        return  # no study among the runs, or nothing that differs by a number
    if section != "ranking":
        driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", section)
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    (FOLDER / f"{name}.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    every, words = ["terminal", *(screen[0] for screen in SCREENS)], sys.argv[1:]
    chosen = words[0].split(",") if words and set(words[0].split(",")) <= set(every) else []
    main(chosen or [name for name in every if name not in SUITES], [Path(run) for run in words[bool(chosen) :]] or [Path("runs")])
