"""A headless browser for pages, and what is to be seen in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


@contextmanager
def opened(page: Path, profile: Path) -> Iterator[Any]:
    """Open a page; `profile` is an empty folder."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    quiet = ("quic", "background-networking", "component-update", "sync", "gpu", "dev-shm-usage")
    switches = ["headless", "no-sandbox", "no-first-run", *(f"disable-{name}" for name in quiet)]
    switches += [f"user-data-dir={profile}", "window-size=1300,1000"]
    for switch in switches:
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def texts(browser: Any, selector: str) -> list[str]:
    """Return the text of all elements that a selector finds."""
    found: list[str] = browser.execute_script(
        "return Array.from(document.querySelectorAll(arguments[0])).map(x => x.textContent)", selector
    )
    return found


def count(browser: Any, selector: str) -> int:
    """Return how many elements a selector finds."""
    return len(texts(browser, selector))


def hovered(browser: Any, element: Any) -> str:
    """Return what is shown when the mouse is on an element."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    ActionChains(browser).move_to_element(element).perform()
    return str(WebDriverWait(browser, 10).until(lambda _: " ".join(texts(browser, ".hoverlayer .hovertext"))))
