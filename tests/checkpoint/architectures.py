"""``python -m tests.checkpoint.architectures`` writes the table by which weight files are recognised, in some minutes.

Networks are built on the meta device, where they have shapes and no values.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import torchvision

from das_explain.checkpoint.recognise import TABLE, empty, write_table
from das_explain.errors import DasExplainError
from das_explain.nn.backbones.timm_networks import check_timm
from das_explain.nn.backbones.torchvision_networks import check_torchvision


def names() -> Iterator[str]:
    """``torchvision:NAME`` and ``timm:NAME`` of all that classifies photos."""
    import timm

    for source, listed, check in (
        ("torchvision", torchvision.models.list_models(torchvision.models), check_torchvision),
        ("timm", timm.list_models(), check_timm),
    ):
        for name in listed:
            try:
                check(name)
            except DasExplainError:  # it does not classify
                continue
            yield f"{source}:{name}"


def shapes_of(name: str) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes of a network of 1000 classes; ``None`` if it cannot be built without more."""
    try:
        return {key: tuple(tensor.shape) for key, tensor in empty(name, 1000).state_dict().items()}
    except Exception as error:  # whatever a library raises
        print(f"{name}: {type(error).__name__}")
        return None


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    write_table({name: shapes for name in names() if (shapes := shapes_of(name))}, TABLE)
