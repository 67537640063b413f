"""Files as the Hugging Face Hub's client leaves them in its cache."""

from __future__ import annotations

from pathlib import Path


def cache(hub: Path, repository: str, files: dict[str, Path], commit: str = "c" * 40) -> None:
    """Puts files where the Hub's client would: blobs, and a snapshot of links to them, named by the ref ``main``."""
    root = hub / f"models--{repository.replace('/', '--')}"
    for folder in ("blobs", "refs", f"snapshots/{commit}"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    for number, (name, source) in enumerate(files.items()):
        (root / "blobs" / f"{number:040x}").write_bytes(source.read_bytes())
        (root / "snapshots" / commit / name).symlink_to(f"../../blobs/{number:040x}")
