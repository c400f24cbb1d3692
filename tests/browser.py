"""A real browser without a window, and what a person's hands do in it."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PATIENCE = 120  # seconds until what must happen is taken as not happening

OPTIONS = """
    --headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run
    --disable-background-networking --disable-component-update --disable-sync --no-proxy-server
""".split()


class Browser:
    """One page of the service in a browser of its own."""

    def __init__(self, driver: Chrome, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads

    def open(self, url: str) -> None:
        """Load the page; it is ready when its models are listed."""
        self.driver.get(url)
        self.wait(lambda: self.find("model").is_enabled())

    def find(self, name: str) -> WebElement:
        """Return the element of an id."""
        return self.driver.find_element("id", name)

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def cdp(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Send a command of the browser's own protocol, for what no driver offers."""
        return self.driver.execute_cdp_cmd(command, arguments)

    def wait(self, happened: Callable[[], Any]) -> Any:
        """Wait until something has happened; return what it is."""
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: happened())

    def resize(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Take on another screen; a phone's is touched."""
        scale = 2 if phone else 1
        self.cdp("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[theme])

    def drop(self, path: Path | None = None, *, text: str = "") -> None:
        """Drop a file, or the address that is dragged over from another page, in the middle of the window."""
        x, y = self.js("return [innerWidth / 2, innerHeight / 2]")
        items = [{"mimeType": "text/uri-list", "data": text}] if text else []
        data = {"items": items, "files": [str(path)] if path else [], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.cdp("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def screenshot(self, path: Path) -> None:
        """Save what a person sees, down to the end of the page."""
        height = self.js("return document.documentElement.scrollHeight")
        width = self.js("return innerWidth")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """Return what the browser has complained of since the last call: errors, refused loads."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it with everything that it wrote."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = ChromeOptions()
        for option in [*OPTIONS, f"--user-data-dir={folder}/profile"]:
            options.add_argument(option)
        options.binary_location = BROWSER or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        downloads = Path(folder) / "downloads"
        downloads.mkdir()
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
        service = ChromeService(DRIVER, env={**os.environ, "HOME": folder})
        driver = Chrome(options, service)
        try:
            yield Browser(driver, downloads)
        finally:
            driver.quit()
