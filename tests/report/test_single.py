"""The report in one file: everything inside, nothing else allowed, the same gallery."""

import base64
import hashlib
import re

from das_explain.report import build, build_single_file
from tests.report.browser import needs_chromium, open_page
from tests.report.synthetic_run import Item, make_run

NAMES = ["val/a.jpg", "<img src=x onerror=alert(1)>.jpg", "</script><script>alert(2)</script>"]
PROBE = """
window.addEventListener('load', async () => {
  const rest = (ms) => new Promise((done) => setTimeout(done, ms));
  const all = (selector) => [...document.querySelectorAll(selector)];
  for (let i = 0; i < 300 && (document.querySelector('[aria-busy]') || all('.card .photo .r-line').length < 3); i++) await rest(20);
  window.dispatchEvent(new Event('beforeprint'));
  const place = document.createElement('pre');
  place.id = 'probe';
  place.textContent = JSON.stringify({
    names: all('.card .open').map((node) => node.textContent), painted: all('canvas[data-painted]').length,
    photos: all('.card img').every((node) => node.complete && node.naturalWidth === 64),
    outlines: all('.card .photo .r-line').length, injected: all('.card b, main script').filter((node) => !node.matches('.score')).length,
  });
  document.body.append(place);
});
"""


def test_it_is_one_file_that_asks_for_nothing(tmp_path):
    folder = make_run(tmp_path / "run", [Item(name) for name in NAMES])
    page = build_single_file(folder)
    assert page == folder / "report.html"
    assert not (folder / "report").exists()
    assert not [path for path in folder.iterdir() if path.name.startswith(".report")]
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!#)', text)
    policy = re.search(r'Security-Policy" content="([^"]*)"', text)[1]
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    assert policy == (
        f"default-src 'none'; script-src {allowed}; style-src "
        + re.search(r"style-src ('sha256-[^']+')", policy)[1]
        + "; img-src data:; base-uri 'none'; form-action 'none'"
    )
    assert len(scripts) == text.count("<script") == 3


@needs_chromium
def test_it_shows_the_gallery(tmp_path):
    page = build_single_file(make_run(tmp_path / "run", [Item(name) for name in NAMES]))
    text = page.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    text = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    moved = tmp_path / "elsewhere.html"
    moved.write_text(text.replace("</body>", f"<script>{PROBE}</script></body>"), encoding="utf-8")
    opened = open_page(f"file://{moved}", tmp_path / "profile", "--window-size=1280,2400")
    assert opened.console == []
    assert opened.result() == {"names": NAMES, "painted": 12, "photos": True, "outlines": 3, "injected": 0}


def test_many_images_are_a_choice(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SINGLE_LIMIT", 12)
    folder = make_run(tmp_path / "run", [Item(f"{i}.jpg") for i in range(40)], blocks=("layer4",))
    text = build_single_file(folder).read_text(encoding="utf-8")
    assert "Shows 12 of 40 images" in text
    assert text.count("data:image/jpeg;base64,") == 12
