"""``hf:USER/REPO[@REVISION]``: a folder on the Hugging Face Hub, of any layout that a local one may have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from das_explain.checkpoint.config import CONFIG, WEIGHTS
from das_explain.checkpoint.files import hub_cache
from das_explain.checkpoint.layouts import FILES, read_folder
from das_explain.checkpoint.layouts.transformers import PREPROCESSOR
from das_explain.checkpoint.layouts.weights import PICKLED, weights_file
from das_explain.checkpoint.online import is_reachable
from das_explain.checkpoint.opened import Opened
from das_explain.checkpoint.spec import ModelSpec
from das_explain.errors import DasExplainError, first_line


def open_hub(spec: ModelSpec) -> Opened:
    """From the local cache if it is there, else downloaded.

    Raises:
        DasExplainError: it is in neither place, or what is there is no network; the message says what to do by hand.
    """
    from huggingface_hub import snapshot_download

    fetch: dict[str, Any] = {"repo_id": spec.target, "revision": spec.variant, "allow_patterns": list(FILES)}
    try:
        directory = Path(snapshot_download(**fetch, local_files_only=True))
    except Exception:  # not in the cache; the download below says why it cannot be had
        directory = None
    if directory is None or not _is_whole(directory):
        try:
            if not is_reachable():
                raise DasExplainError("the Hub cannot be reached")
            directory = Path(snapshot_download(**fetch))
            if not _is_whole(directory):  # it has its weights as older folders do
                directory = Path(snapshot_download(**{**fetch, "allow_patterns": [*FILES, PICKLED]}))
        except Exception as error:  # as above
            raise DasExplainError(
                f"{spec.text} is not in the Hugging Face cache ({hub_cache()}) and could not be fetched "
                f"({first_line(error)}); download {CONFIG}, {WEIGHTS} and, if it has one, {PREPROCESSOR} of "
                f"https://huggingface.co/{spec.target} into a folder and name that"
            ) from error
    try:
        return read_folder(directory)
    except DasExplainError as error:
        raise DasExplainError(f"{spec.text}: {error}") from None


def _is_whole(directory: Path) -> bool:
    return (directory / CONFIG).is_file() and weights_file(directory).is_file()
