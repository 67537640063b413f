"""Score rows and simulated trainings for the tests of the statistics."""

from __future__ import annotations

import numpy as np
import pandas as pd


def rows(model: str, block: str, values: dict[str, float | None], status: str = "ok", **more) -> list[dict]:
    """Score rows of one model and block; a value of None is a row without a score."""
    return [
        {"image": image, "model": model, "block": block, "sfd": np.nan if value is None else value}
        | {"status": "zero_cam" if value is None else status, **more}
        for image, value in values.items()
    ]


def table(*parts: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for part in parts for row in part])


def matrix_table(block: str, **models: np.ndarray) -> pd.DataFrame:
    return table(*(rows(name, block, {f"{i:04}": x for i, x in enumerate(xs)}) for name, xs in models.items()))


def trained(rng, copies: int, images: np.ndarray, mean: float, between: float, noise: float = 0.1) -> np.ndarray:
    """sfd (copies, images): images (n,) differ, and each training lands elsewhere, by ``between`` (a deviation)."""
    own = rng.normal(0, between, (copies, 1))
    return mean + own + images + rng.normal(0, noise, (copies, len(images)))


def grouped(plain: np.ndarray, das: np.ndarray) -> tuple[pd.DataFrame, dict[str, str]]:
    models = {f"plain-{i}": row for i, row in enumerate(plain)} | {f"das-{i}": row for i, row in enumerate(das)}
    return matrix_table("layer4", **models), {name: name.split("-")[0] for name in models}
