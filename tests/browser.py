"""A headless Chromium, driven by its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking", "--remote-debugging-port=0",
    "--force-color-profile=srgb", "--hide-scrollbars",
)  # fmt: skip
PATIENCE = 60.0  # seconds


def installed() -> str | None:
    """The path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class NavigatedError(RuntimeError):
    """The page went while it was asked."""


class Tab:
    """One page of a browser. ``complaints`` collects errors and whatever it asked the network for."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection, self._numbers = connection, itertools.count(1)
        self.complaints: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; raises ``RuntimeError`` when it is refused."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=PATIENCE))
            if message.get("id") == number:
                if "error" in message:
                    kind = NavigatedError if "navigated" in str(message["error"]) else RuntimeError
                    raise kind(f"{method}: {message['error']}")
                return message["result"]
            self._heard(message)

    def _heard(self, message: dict[str, Any]) -> None:
        values = message.get("params", {})
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(values["exceptionDetails"].get("exception", {}).get("description", "exception"))
        if message["method"] == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.complaints.append(values["entry"]["text"])
        if message["method"] == "Network.requestWillBeSent" and values["request"]["url"].startswith("http"):
            self.complaints.append(f"asked the network for {values['request']['url']}")

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise; raises ``RuntimeError`` when it throws."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression is true, of the page that comes if one goes; raises ``TimeoutError`` after
        ``PATIENCE`` seconds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(NavigatedError):
                if self.run(condition):
                    return
            time.sleep(0.05)
        raise TimeoutError(condition)

    def open(self, path: Path) -> None:
        """Show a file."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until(f"location.href === {json.dumps(path.resolve().as_uri())} && document.readyState === 'complete'")

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """Be a window of this size in CSS pixels, light or dark; a narrow one is a phone's."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def click(self, selector: str, across: float = 0.5) -> None:
        """Press the mouse on an element, ``across`` of its width from the left."""
        where = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect(); "
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        x, y = where[0] + across * where[2], where[1] + where[3] / 2
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            pressed = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def key(self, name: str) -> None:
        """Press and release a key."""
        text = {"text": name} if len(name) == 1 else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name)

    def screenshot(self, whole: bool = True) -> bytes:
        """What is seen as PNG: the whole page, or the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A Chromium with one empty tab; it ends with the block."""
    address = profile / "DevToolsActivePort"
    running = subprocess.Popen(
        [installed(), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not address.exists() or not address.read_text().strip():
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Chromium did not start (exit code {running.poll()})")
            time.sleep(0.1)
        port = address.read_text().split()[0]
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=PATIENCE) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        where = pages[0]["webSocketDebuggerUrl"]  # Chromium never answers that the connection is closed
        with connect(where, max_size=None, open_timeout=PATIENCE, close_timeout=0.5) as connection:
            yield Tab(connection)
    finally:
        running.terminate()
        running.wait(20)
