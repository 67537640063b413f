"""A report's folder as one HTML file: to mail, or to keep beside a paper.

The same page, scripts and style; pictures and packets of maps are inside of it. Its content security policy names every
script by its hash, so that nothing else runs in it, whatever a name or a label may say.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from das_explain.report.payload import dump_js

POLICY = re.compile(r'(<meta http-equiv="Content-Security-Policy" content=")[^"]*(">)')
STYLE = '<link rel="stylesheet" href="report.css">'
SCRIPT = re.compile(r'<script src="(\w+\.js)" defer></script>\n')


def as_one_file(report: Path) -> str:
    """The text of a page that holds all of a report's folder: ``index.html``, its style, scripts, pictures, packets."""
    page = (report / "index.html").read_text(encoding="utf-8")
    style = (report / "report.css").read_text(encoding="utf-8")
    images = sorted((report / "images").iterdir())
    pictures = {
        f"images/{path.name}": "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
        for path in images
        if path.suffix == ".jpg"
    }
    packets = "".join(path.read_text(encoding="utf-16") for path in images if path.suffix == ".js")
    pairs = report / "pairs.js"
    by_pair = pairs.read_text(encoding="ascii") if pairs.is_file() else ""
    scripts = [
        (report / "data.js").read_text(encoding="ascii"),
        f"DAS.pictures = {dump_js(pictures)};\n{packets}{by_pair}",
        (report / "report.js").read_text(encoding="utf-8"),
    ]
    allowed = " ".join(map(_hash, scripts))
    policy = f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    page = POLICY.sub(lambda found: found[1] + policy + found[2], page, count=1)
    page = page.replace(STYLE, f"<style>{style}</style>", 1)
    page = SCRIPT.sub("", page)
    end = page.rindex("</body>")
    return page[:end] + "".join(f"<script>{script}</script>\n" for script in scripts) + page[end:]


def _hash(text: str) -> str:
    """A text's entry in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
