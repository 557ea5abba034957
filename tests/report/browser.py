# SPDX-License-Identifier: GPL-2.0-or-later
"""A real browser for the tests of the page: Debian's chromium, driven by Debian's chromedriver."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
CHROMEDRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One window, of a given size and colour scheme."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> None:
        """Open a file; returns when the timeline is drawn, or at once where the page has none."""
        self.driver.get_log("performance")  # the browser's own first page
        self.driver.get(path.as_uri())
        if self.js("return document.getElementById('timeline-canvas') !== null"):
            self.until("return document.getElementById('timeline-canvas').dataset.ready === 'yes'")

    def js(self, script: str, *args: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *args)

    def until(self, script: str) -> None:
        """Wait for a script to return true: it is asked again at each frame, in the page itself."""
        code = "const done = arguments[0]; const ask = () => (new Function(%s)() ? done(true) : requestAnimationFrame(ask)); ask();"
        assert self.driver.execute_async_script(code % json.dumps(script))

    def view(self) -> tuple[int, int]:
        """The stretch of virtual time that the timeline shows, in ns."""
        start, end = self.js("const d = document.getElementById('timeline-canvas').dataset; return [+d.start, +d.end]")
        return int(start), int(end)

    def shown(self) -> set[str]:
        """What kinds of slices and arrows the timeline drew."""
        return set(self.js("return document.getElementById('timeline-canvas').dataset.shown").split())

    def errors(self) -> list[str]:
        """What the console holds."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """Every address that the browser asked for."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith("chrome://")]

    def view_as(self, width: int, dark: bool, height: int = 900) -> None:
        """Another size and colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def screenshot(self, path: Path, scale: float = 1) -> None:
        """The whole page as a PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": scale}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Browser]:
    """A browser with an empty profile, ended with the block."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        driver.set_script_timeout(60)
        made = Browser(driver)
        made.view_as(width, dark, height)
        yield made
    finally:
        driver.quit()
