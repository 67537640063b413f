"""A page in headless Chromium, spoken to over the DevTools protocol: looks, media, processor time, other scripts in it.

``browser.open_page`` is enough for what a page does by itself; this is for what only the browser knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.report.browser import CHROMIUM

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)  # fmt: skip


class Tab:
    """One tab. ``complaints``: what scripts, the loader or the content security policy wrote to the console; ``asked``:
    every address that was asked for."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._number, self._rest, self._session = 0, b"", None
        self._events: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page = next(each for each in self.call("Target.getTargets")["targetInfos"] if each["type"] == "page")
        found = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        self._session = found["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{room}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol and its result. Raises RuntimeError for one that the browser refuses."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._number:
                if "error" in said:
                    raise RuntimeError(f"{method}: {said['error']}")
                return said["result"]

    def look(self, width: int, height: int, *, dark: bool = False, media: str = "") -> None:
        """The window's size, in pixels, and how the reader likes pages."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media=media, features=[scheme])

    def open(self, url: str) -> None:
        """Loads a page, until its load event."""
        self._events.clear()
        self.call("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            self._read()

    def run(self, script: str) -> Any:
        """What the body of an async function returns in the page."""
        expression = f"(async () => {{ {script} }})()"
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    def worked(self) -> dict[str, float]:
        """Milliseconds of processor time that the page's thread has taken: all, and scripts, styles and layout of it."""
        metrics = {each["name"]: 1000 * each["value"] for each in self.call("Performance.getMetrics")["metrics"]}
        names = {
            "all": "TaskDuration",
            "scripts": "ScriptDuration",
            "styles": "RecalcStyleDuration",
            "layout": "LayoutDuration",
        }
        return {name: metrics[key] for name, key in names.items()}

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers, 1 << 16)
            if not part:
                raise RuntimeError("the browser has ended")
            self._rest += part
        line, self._rest = self._rest.split(b"\0", 1)
        said = json.loads(line)
        if "method" in said:
            self._events.append(said)
            if said["method"] == "Network.requestWillBeSent":
                self.asked.append(said["params"]["request"]["url"])
            if said["method"] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
                self.complaints.append(json.dumps(said["params"])[:500])
        return said


@contextlib.contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """A browser of its own with one empty tab."""
    to_read, commands = os.pipe()
    answers, to_write = os.pipe()
    words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    line = f"exec {shlex.join(map(str, words))} 3<&{to_read} 4>&{to_write} 2>/dev/null"
    browser = subprocess.Popen(["bash", "-c", line], pass_fds=(to_read, to_write))
    os.close(to_read)
    os.close(to_write)
    try:
        yield Tab(commands, answers)
    finally:
        browser.terminate()
        browser.wait()
        os.close(commands)
        os.close(answers)
        time.sleep(0.05)  # its children close the profile's files
