"""A page in headless Chromium: its DOM after scripts have run, and what they wrote to the console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian package: chromium)")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--enable-logging=stderr",
    "--virtual-time-budget=60000",
)


@dataclass(frozen=True)
class Page:
    """``console``: lines that scripts, the loader or the content security policy wrote."""

    dom: str
    console: list[str]

    def result(self) -> dict:
        """What a probe left in the page."""
        found = re.search(r'<pre id="probe">(.*?)</pre>', self.dom, re.DOTALL)
        assert found, f"the probe did not finish; console: {self.console}"
        return json.loads(unescape(found[1]))


def open_page(url: str, profile: Path, *extra: str) -> Page:
    """Load ``url`` with a fresh profile in ``profile``, run its scripts, close it."""
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *extra, "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Page(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])


def probe(report: Path, script: str) -> None:
    """Add a script to a report; ``script`` is the body of an async function that returns what ``Page.result`` gives."""
    (report / "probe.js").write_text(
        "window.addEventListener('load', async () => {\n"
        "const rest = (ms) => new Promise((done) => setTimeout(done, ms));\n"
        "const wait = async (ms = 60) => {\n"
        "  await rest(ms);\n  while (document.querySelector('[aria-busy]')) await rest(10);\n};\n"
        "const all = (selector) => [...document.querySelectorAll(selector)];\n"
        "const shown = () => all('.card').map((card) => Number(card.dataset.index));\n"
        "const go = async (hash) => {\n"
        "  await new Promise((done) => {\n"
        "    addEventListener('hashchange', done, { once: true });\n"
        "    location.hash = hash;\n    setTimeout(done, 500);\n"
        "  });\n  await wait();\n};\n"
        "let result;\n"
        f"try {{ await wait(0); result = await (async () => {{\n{script}\n}})(); }}\n"
        "catch (error) { result = { error: String(error.stack) }; }\n"
        "const place = document.createElement('pre');\nplace.id = 'probe';\n"
        "place.textContent = JSON.stringify(result);\ndocument.body.append(place);\n"
        "if (parent !== window) parent.postMessage(result, '*');\n});\n",
        encoding="utf-8",
    )
    page = report / "index.html"
    page.write_text(
        page.read_text(encoding="utf-8").replace("</body>", '<script src="probe.js"></script></body>'), encoding="utf-8"
    )
