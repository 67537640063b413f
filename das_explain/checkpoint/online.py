"""Whether the Hugging Face Hub can be asked, found out in about a second: its client tries for a minute."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 1.2


def is_reachable(seconds: float = SECONDS) -> bool:
    """Whether the Hub answers at all; not asked where the user has set ``HF_HUB_OFFLINE``."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(constants.ENDPOINT, timeout=seconds):
                answered.set()
        except urllib.error.HTTPError:  # an answer, too
            answered.set()
        except (OSError, ValueError):
            return

    asking = threading.Thread(target=ask, daemon=True)  # finding an address has no time limit of its own
    asking.start()
    asking.join(seconds)
    return answered.is_set()


@contextmanager
def cache_only() -> Iterator[None]:
    """The Hub's client looks into its cache alone, and does not try to ask whether there is anything newer."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
