"""Training: a recipe (a small YAML file) in, a model directory out. Needs the extra ``train`` (Lightning).

from das_explain.train import load_recipe, train
train(load_recipe("collage-das-resnet18", ["schedule.epochs=4"]), "runs/train/try")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from das_explain.train.recipe import available_recipes, load_recipe
from das_explain.train.schema import Recipe

if TYPE_CHECKING:
    from das_explain.train.run import train

__all__ = ["Recipe", "available_recipes", "load_recipe", "train"]


def __getattr__(name: str) -> Any:
    """Loads torch and Lightning only when training starts, so that a wrong recipe is told at once."""
    if name == "train":
        from das_explain.train.run import train

        return train
    raise AttributeError(f"module 'das_explain.train' has no attribute {name!r}")
