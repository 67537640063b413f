"""``das-explain doctor``: what is installed here, and what of it will make trouble."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from pathlib import Path

import typer

from das_explain.commands.say import say
from das_explain.text import plural

CORE = ("torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy", "pillow", "matplotlib", "grad-cam")
PHOTOGRAPHS = ("scikit-image", "scikit-learn")
EXTRAS = {  # extra -> {distribution: the module that shows it is there}; what is for developers only is left out
    "segment": {"transformers": "transformers", "segment-anything": "segment_anything"},
    "groundingdino": {"groundingdino-py": "groundingdino", "addict": "addict", "yapf": "yapf"},
    "timm": {"timm": "timm"},
    "train": {"lightning": "lightning", "tensorboard": "tensorboard"},
    "detection": {"pycocotools": "pycocotools"},
    "heic": {"pillow-heif": "pillow_heif"},
    "ray": {"ray": "ray"},
    "remote": {"s3fs": "s3fs", "gcsfs": "gcsfs"},
}
SPAN = 16  # the width of the first column


def doctor() -> None:
    """Say what is installed: versions, device, threads, OpenCV, the cache, extras. Exits with 1 if something is wrong.

    Example: das-explain doctor
    """
    troubles: list[str] = []
    _line("das-explain", f"{_version('das-explain')} in {Path(__file__).parents[1]}")
    _line("python", f"{platform.python_version()} on {platform.platform()} ({sys.executable})")
    _line("packages", ", ".join(f"{name} {_version(name)}" for name in CORE))
    for name, found in (("device", _devices), ("threads", _threads), ("opencv", _opencv), ("cache", _cache)):
        try:
            text, wrong = found()
        except Exception as error:  # a package that is broken is what this command is for
            text, wrong = f"{type(error).__name__}: {' '.join(str(error).split())}", f"{name} cannot be looked at"
        _line(name, text)
        troubles += [wrong] if wrong else []
    lacking = [name for name in PHOTOGRAPHS if _version(name) == "missing"]
    _line(
        "photos", f"without {', '.join(lacking)}: no demo, no collage" if lacking else "the embedded photo set is there"
    )
    for extra, needs in EXTRAS.items():
        missing = [name for name, module in needs.items() if importlib.util.find_spec(module) is None]
        there = ", ".join(f"{name} {_version(name)}" for name in needs)
        _line(f"[{extra}]", f"no {', '.join(missing)}: pip install 'das-explain[{extra}]'" if missing else there)
    for trouble in troubles:
        _line("trouble", trouble)
    if troubles:
        raise typer.Exit(1)


def _line(name: str, text: str) -> None:
    say(f"{name:{SPAN}}{text}")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


def _devices() -> tuple[str, str]:
    import torch

    kinds = [f"cuda ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        kinds.append("mps (only with --device mps)")
    return ", ".join([*kinds, "cpu"]), ""


def _threads() -> tuple[str, str]:
    import torch

    from das_explain.batches.workers import available_cpus, default_workers

    asked = ", ".join(
        f"{name}={os.environ[name]}" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if name in os.environ
    )
    own = f"torch {torch.get_num_threads()}, decoding {default_workers()} of {available_cpus()} processors"
    return f"{own} ({asked})" if asked else own, ""


def _opencv() -> tuple[str, str]:
    owners = [f"{each.metadata['Name']} {each.version}" for each in cv2_owners(distributions())]
    text = ", ".join(owners) or "no distribution owns cv2"
    if len(owners) > 1:
        others = " ".join(name.split()[0] for name in owners)
        return text, (
            f"{len(owners)} distributions own cv2 and overwrite each other: pip uninstall -y {others} && "
            "pip install opencv-python-headless"
        )
    try:
        import cv2
    except ImportError as error:  # opencv-python without libGL
        reason = " ".join(str(error).split())
        return text, f"cv2 cannot be imported ({reason}): pip install --force-reinstall opencv-python-headless"
    return f"{text}, imports as {cv2.__version__}", ""


def cv2_owners(installed: Iterable[Distribution]) -> Iterator[Distribution]:
    """The distributions that have files in ``cv2/``, sorted by name: more than one is trouble."""
    owners = {}
    for each in installed:
        name = each.metadata["Name"] or ""
        if name.lower().startswith("opencv") and any(file.parts[0] == "cv2" for file in each.files or ()):
            owners.setdefault(name.lower(), each)  # the first on the path is the one that runs
    yield from (owners[name] for name in sorted(owners))


def _cache() -> tuple[str, str]:
    from das_explain.segment.cache import cache_folder, shelves

    folder = cache_folder()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(above, os.W_OK):
        return str(folder), f"{above} cannot be written to: set DAS_EXPLAIN_CACHE to another folder"
    count = sum(1 for shelf in shelves() for _ in shelf.entries())
    return f"{folder}, {plural(count, 'mask')}", ""
