"""Make the pictures of the README: `python docs/screens.py RUNS...` (needs chromium and chromedriver, and selenium)."""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.terminal_theme import MONOKAI
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from aevlp.reporting.compare import compare
from aevlp.reporting.page import write_report

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
)


def main(runs: list[Path]) -> None:
    """Write docs/screens/: the report in Chromium, and `compare` on the terminal."""
    FOLDER.mkdir(exist_ok=True)
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    compare(runs, console)
    console.save_svg(str(FOLDER / "compare.svg"), title="python run.py compare", theme=MONOKAI)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        write_report(runs, page)
        options = webdriver.ChromeOptions()
        for option in (*OPTIONS, f"--user-data-dir={folder}/profile"):
            options.add_argument(option)
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))
        try:
            for screen in SCREENS:
                _shoot(driver, page, *screen)
        finally:
            driver.quit()


def _shoot(driver: Any, page: Path, name: str, width: int, height: int, theme: str, section: str) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1.5, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = [{"name": "prefers-color-scheme", "value": theme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    driver.get(page.as_uri())
    if not driver.execute_script("return document.getElementById(arguments[0]) !== null", section):
        return  # no study among the runs
    if section != "ranking":
        driver.execute_script("document.getElementById(arguments[0]).scrollIntoView()", section)
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    picture = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
    (FOLDER / f"{name}.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    main([Path(run) for run in sys.argv[1:]] or [Path("runs")])
