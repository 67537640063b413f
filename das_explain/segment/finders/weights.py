"""The finders' weights: a folder, a checkpoint file or a hub id -> files on this machine, and the hash of their bytes.

What lies in the Hugging Face cache is taken without asking the network; what does not is downloaded once. Nothing here
opens a file as weights: an identity costs no network built.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from das_explain.data.images import printable
from das_explain.errors import DasExplainError, UsageError, first_line
from das_explain.files import expanded, sha256_of, write_json

CHECKPOINTS = (".pth", ".pt", ".safetensors", ".bin", ".ckpt")
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "added_tokens.json")
TENSORS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
_READ = (CONFIG, PROCESSOR, "processor_config.json", *TOKENIZER)
_SAFE, _PICKLED = ("model*.safetensors", "model.safetensors.index.json"), ("pytorch_model.bin",)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_HUB_FILE = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)/([\w./-]+)")


@dataclass(frozen=True)
class Weights:
    """Files on this machine. ``path`` is a folder or one checkpoint file; ``spec`` is how it was asked for."""

    spec: str
    path: Path

    @property
    def is_file(self) -> bool:
        """A checkpoint of the papers' own packages, and not a folder of transformers."""
        return self.path.is_file()

    def files(self) -> list[Path]:
        """What decides the network and its inputs, in a fixed order; a card or a picture beside it does not."""
        if self.is_file:
            return [self.path]
        tensors = sorted(self.path.glob("model*.safetensors")) or sorted(self.path.glob("pytorch_model.bin"))
        return [self.path / name for name in _READ if (self.path / name).is_file()] + tensors

    def sha256(self) -> str:
        """Over names and bytes of ``files``; one file alone has its own plain hash, as ``sha256sum`` prints it."""
        if self.is_file:
            return file_hash(self.path)
        told = [(file.name, file_hash(file)) for file in self.files()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()

    def config(self) -> dict:
        """The folder's ``config.json``. Raises ``DasExplainError``."""
        where = self.path / CONFIG
        try:
            config = json.loads(where.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DasExplainError(f"{printable(where)} cannot be read as JSON ({first_line(error)})") from None
        if not isinstance(config, dict):
            raise DasExplainError(f"{printable(where)} is no configuration of a network")
        return config


def find_folder(spec: str, option: str, *, tokenizer: bool = False) -> Weights:
    """A folder of transformers (``config.json``, ``model.safetensors``, processor), by path or hub id ``USER/REPO``.

    Args:
        option: what the user writes before a folder, for messages: ``--detector``.
        tokenizer: whether the folder must hold a tokenizer as well.

    Raises:
        UsageError: neither a folder nor a hub id.
        DasExplainError: files are missing, or could not be fetched. One line that says which files to put where.
    """
    path = expanded(spec)
    if path.is_dir():
        if missing := _missing(path, tokenizer):
            raise DasExplainError(f"{printable(path)} has no {missing}: it needs {_wanted_files(tokenizer)}")
        return Weights(spec, path)
    if not _HUB_ID.fullmatch(spec):
        raise UsageError(
            f"no such folder: {printable(spec)}; {option} takes a folder with {_wanted_files(tokenizer)}, or a "
            "hub id USER/REPO"
        )
    return Weights(spec, _fetch_folder(spec, option, tokenizer))


def find_file(spec: str, option: str) -> Weights:
    """A checkpoint file, by path or as ``USER/REPO/FILE`` on the hub. Raises as ``find_folder``."""
    path = expanded(spec)
    if path.is_file():
        return Weights(spec, path)
    match = _HUB_FILE.fullmatch(spec)
    if path.is_dir() or not match or not spec.endswith(CHECKPOINTS):
        raise UsageError(
            f"no such checkpoint file: {printable(spec)}; {option} takes a .pth file or USER/REPO/FILE.pth"
        )
    from huggingface_hub import snapshot_download  # hf_hub_download would try six times where there is no network

    fetch = {"repo_id": match[1], "allow_patterns": [match[2]]}
    try:
        path = Path(snapshot_download(**fetch, local_files_only=True)) / match[2]
        if path.is_file():
            return Weights(spec, path)
    except Exception:  # not in the cache; the download says why it cannot be had
        pass
    try:
        path = Path(snapshot_download(**fetch)) / match[2]
        if not path.is_file():
            raise FileNotFoundError(f"{match[1]} has no {match[2]}")
        return Weights(spec, path)
    except Exception as error:  # the hub's client and the network below it have no common error
        raise DasExplainError(
            f"{spec} is not in the Hugging Face cache ({_cache()}) and could not be fetched ({first_line(error)}); put "
            f"{match[2].rpartition('/')[2]} into a folder on this machine and give {option} FOLDER/FILE"
        ) from None


def find_tokenizer(spec: str, option: str) -> Weights:
    """A folder with a BERT tokenizer, or one on the hub; no weights are needed. Raises as ``find_folder``."""
    path = expanded(spec)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
            raise DasExplainError(f"{printable(path)} has no tokenizer: it needs tokenizer.json or vocab.txt")
        return Weights(spec, path)
    if path.is_file() or not _HUB_ID.fullmatch(spec):
        raise UsageError(f"no such folder: {printable(spec)}; {option} takes a folder with tokenizer.json or vocab.txt")
    return Weights(spec, _fetch(spec, (*TOKENIZER, CONFIG), option, "tokenizer.json and tokenizer_config.json", _token))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, remembered in the user's cache folder by path, size and time: weights are read once."""
    real = path.resolve()
    state = os.stat(real)
    key = f"{real}|{state.st_size}|{state.st_mtime_ns}"
    store = _hash_store()
    known = _known_hashes(store)
    if key in known:
        return known[key]
    digest = sha256_of(real)
    _remember(store, key, digest)
    return digest


def _hash_store() -> Path:
    from das_explain.segment.cache import cache_folder

    return cache_folder().parent / "weight-hashes.json"


def _known_hashes(store: Path) -> dict[str, str]:
    try:
        known = json.loads(store.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(store: Path, key: str, digest: str) -> None:
    """Best effort: a cache folder that cannot be written costs time, nothing else."""
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{store}.lock", timeout=10):
            known = {**_known_hashes(store), key: digest}
            write_json(store, known)
    except (OSError, Timeout):
        pass


def _fetch_folder(spec: str, option: str, tokenizer: bool) -> Path:
    files = (*(_READ if tokenizer else (CONFIG, PROCESSOR, "processor_config.json")), *_SAFE)
    try:
        return _fetch(spec, files, option, _wanted_files(tokenizer), lambda path: _missing(path, tokenizer))
    except _Incomplete as incomplete:  # an older repository has no safetensors
        if not incomplete.missing.startswith("model.safetensors"):
            raise
    wanted = _wanted_files(tokenizer)
    return _fetch(spec, (*files, *_PICKLED), option, wanted, lambda path: _missing(path, tokenizer))


class _Incomplete(DasExplainError):
    """Fetched, but a file is not there."""

    missing = ""


def _fetch(spec: str, files: tuple[str, ...], option: str, wanted: str, missing) -> Path:
    from huggingface_hub import snapshot_download

    fetch = {"repo_id": spec, "allow_patterns": list(files)}
    try:
        path = Path(snapshot_download(**fetch, local_files_only=True))
        if not missing(path):
            return path
    except Exception:  # not in the cache; the download below says why it cannot be had
        pass
    try:
        path = Path(snapshot_download(**fetch))
    except Exception as error:  # the hub's client and the network below it have no common error
        raise DasExplainError(
            f"{spec} is not in the Hugging Face cache ({_cache()}) and could not be fetched ({first_line(error)}); put its "
            f"{wanted} into a folder on this machine and give {option} FOLDER"
        ) from None
    if lacking := missing(path):
        error = _Incomplete(f"{spec} on the hub has no {lacking}: it needs {wanted}")
        error.missing = lacking
        raise error
    return path


def _missing(path: Path, tokenizer: bool) -> str:
    """The first kind of file that a folder lacks, or an empty string."""
    if not (path / CONFIG).is_file():
        return CONFIG
    if not any((path / name).is_file() for name in (PROCESSOR, "processor_config.json")):
        return PROCESSOR
    if tokenizer and (lacking := _token(path)):
        return lacking
    return "" if any((path / name).is_file() for name in TENSORS) else "model.safetensors"


def _token(path: Path) -> str:
    return "" if any((path / name).is_file() for name in ("tokenizer.json", "vocab.txt")) else "tokenizer.json"


def _wanted_files(tokenizer: bool) -> str:
    words = [CONFIG, PROCESSOR, *(["tokenizer.json", "tokenizer_config.json"] if tokenizer else [])]
    return f"{', '.join(words)} and model.safetensors"


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)
