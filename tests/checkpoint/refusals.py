"""What is said where a model is refused."""

from __future__ import annotations

from typing import Any

import pytest

from das_explain.checkpoint.load import load_model
from das_explain.errors import DasExplainError


def refused(spec: str, **options: Any) -> str:
    """The message, which is one line."""
    with pytest.raises(DasExplainError) as error:
        load_model(spec, device="cpu", **options)
    assert "\n" not in str(error.value)
    return str(error.value)
