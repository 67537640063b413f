"""Photos in a folder of a store, ``s3://BUCKET/FOLDER`` and the like: listed at once, fetched when they are read."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

from das_explain.data.remote import place, reason, store, tell_content
from das_explain.data.walk import is_image, is_passed_over
from das_explain.errors import UsageError
from das_explain.text import spelled

CHECKSUMS = ("ETag", "etag", "md5Hash", "sha")  # as stores call them


def find_images(url: str, others: Counter[str]) -> list[tuple[str, Path]]:
    """As ``walk.image_files``, sorted, of a folder of a store; none is fetched, and what has another size by now is
    dropped from the cache. Raises UsageError where there is no such folder."""
    root = place(url)
    files = store(url)
    try:
        told: dict[str, Any] = files.find(url, detail=True)
    except Exception as error:
        raise UsageError(f"no such data: {spelled(url)} ({reason(error)})") from None
    top = files._strip_protocol(url).strip("/")
    found = []
    for key, about in told.items():
        name = key.strip("/").removeprefix(top).lstrip("/")
        if not name or ".." in name.split("/") or is_passed_over(name):
            continue
        if not is_image(name):
            others[os.path.splitext(name)[1].lower() or "no ending"] += 1
            continue
        path, size = root / name, about.get("size")
        checksum = next((about[name] for name in CHECKSUMS if about.get(name)), "")
        tell_content(path, f"{0 if size is None else size} {checksum}".strip())
        if path.exists() and size is not None and path.stat().st_size != size:
            path.unlink()
        found.append((spelled(name), path))
    if not told:
        raise UsageError(f"no such data: {spelled(url)} (nothing is there)")
    return sorted(found)
