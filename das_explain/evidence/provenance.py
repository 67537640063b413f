"""Who made a shard: the versions of the tool and of torch, and the device, in the shard's own metadata.

A run may go on on another machine, or after an update. Its numbers then come from both, and it says so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from das_explain.files import opened_by_name, package_versions

KEY, AT_ONCE, ASKED = b"das-explain", b"photos at once", b"asked about"
Maker = dict[str, str]


def maker(device: str) -> Maker:
    """This process, whose networks run on ``device``."""
    versions = package_versions()
    return {"das-explain": versions["das-explain"], "torch": versions["torch"], "device": device}


def stamped(table: pa.Table, made_by: Maker, at_once: int | None = None) -> pa.Table:
    """The table, with its maker in the metadata, and how many photos memory held ``at_once``, where a batch was too many."""
    said = {} if at_once is None else {AT_ONCE: str(at_once)}
    return table.replace_schema_metadata({KEY: json.dumps(made_by, sort_keys=True), **said})


def photos_at_once(table: pa.Table) -> int | None:
    """What ``stamped`` was told of memory."""
    said = (table.schema.metadata or {}).get(AT_ONCE)
    return None if said is None else int(said)


def asked(table: pa.Table, nulls: Sequence[str], shard: Path | None = None) -> pa.Table:
    """The table, which says that networks were asked about these nulls; and what the ``shard`` says that it is to replace."""
    kept = _metadata(shard) if shard else {}
    return table.replace_schema_metadata({**kept, ASKED: json.dumps(list(nulls))})


def asked_about(path: Path) -> list[str]:
    """The nulls about which the networks were asked in the shard."""
    nulls = _said(path, ASKED, b"[]")
    return nulls if isinstance(nulls, list) and all(isinstance(null, str) for null in nulls) else []


def at_once_of(path: Path) -> int | None:
    """`photos_at_once` of a shard."""
    said = _said(path, AT_ONCE, b"null")
    return said if isinstance(said, int) and said > 0 else None


def maker_of(path: Path) -> Maker:
    """Who made the shard; empty where it does not say."""
    made_by = _said(path, KEY, b"{}")
    known = isinstance(made_by, dict) and all(isinstance(value, str) for value in made_by.values())
    return made_by if known else {}


def _said(path: Path, key: bytes, nothing: bytes) -> Any:
    try:
        return json.loads(_metadata(path).get(key, nothing))
    except (OSError, ValueError, RecursionError, pa.ArrowException):
        return None


def _metadata(shard: Path) -> dict[bytes, bytes]:
    with opened_by_name(shard) as name:
        return pq.read_schema(name).metadata or {}


def makers(parts: Sequence[tuple[Path, int]]) -> list[dict[str, Any]]:
    """What ``run.json`` says of who made shards, given with their numbers of images: a maker each, and its ``images``."""
    return count_makers((maker_of(path), images) for path, images in parts)


def count_makers(parts: Iterable[tuple[Maker, int]]) -> list[dict[str, Any]]:
    """Each maker once, with its ``images``; whoever made none is left out."""
    counted: dict[str, int] = {}
    for made_by, images in parts:
        key = json.dumps(made_by, sort_keys=True)
        counted[key] = counted.get(key, 0) + images
    return [{**json.loads(key), "images": images} for key, images in counted.items() if images > 0]


def told_of_others(parts: Sequence[tuple[Path, int]], now: Maker) -> list[str]:
    """What people are told when a run goes on: which of its shards, as for ``makers``, were not made by ``now``."""
    before = [each for each in makers(parts) if {name: each.get(name) for name in now} != now]
    if not before:
        return []
    return [f"the run goes on under other versions: {'; '.join(map(_words, before))}; from here on {_of(now)}"]


def sentences(made_by: object) -> list[str]:
    """What people are told where several made a run; ``made_by`` as in ``run.json``."""
    if not isinstance(made_by, list) or len(made_by) < 2 or not all(isinstance(each, dict) for each in made_by):
        return []
    return ["the evidence was not made under one roof: " + "; ".join(map(_words, made_by))]


def _words(each: dict[str, Any]) -> str:
    return f"{each.get('images')} images with {_of(each)}"


def _of(each: dict[str, Any]) -> str:
    return (
        f"das-explain {each.get('das-explain', 'of an unknown version')}, "
        f"torch {each.get('torch', 'of an unknown version')} on {each.get('device', 'an unknown device')}"
    )
