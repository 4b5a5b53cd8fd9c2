"""A headless Chromium that is skipped where it is not installed, unless AEVLP_REQUIRE names it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--force-prefers-reduced-motion",
)  # fmt: skip


def require_chromium() -> None:
    """Skip the test, or fail it where AEVLP_REQUIRE=chromium."""
    if shutil.which("chromium") and shutil.which("chromedriver"):
        return
    message = "chromium and chromedriver are not installed (Debian: apt-get install chromium chromium-driver)"
    if "chromium" in os.environ.get("AEVLP_REQUIRE", "").split(","):
        pytest.fail(message)
    pytest.skip(message)


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A driver with a fresh profile, which logs its console and its network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for option in (*OPTIONS, f"--user-data-dir={profile}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    driver.get("about:blank")
    requests(driver)  # forget those of the browser's own first page
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int) -> None:
    """A window of exactly `width` pixels, which --window-size does not give below 500."""
    settings = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", settings)


def requests(driver: Any) -> list[str]:
    """Addresses the page asked for since the last call, without data it carries itself."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in sent if not url.startswith("data:")]
