"""Units trained here, one after the other or several at once, or as tasks on a Ray cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass

from das_explain.batches.pool import process_pool
from das_explain.batches.workers import available_cpus
from das_explain.devices import use_threads
from das_explain.errors import DasExplainError, UsageError
from das_explain.study.units import Unit, train_unit

ENGINES = ("local", "ray")
Told = Callable[[Unit, float], None]
"""Called with a unit that is finished now, and the seconds that it took here."""


@dataclass(frozen=True)
class Resources:
    """``jobs``: units at once on this machine, which share its processors; ``cpus``, ``gpus``: of each unit on Ray."""

    engine: str = "local"
    jobs: int = 1
    cpus: float = 1
    gpus: float = 0

    def check(self) -> None:
        """Raises UsageError."""
        if self.engine not in ENGINES:
            raise UsageError(f"--engine {self.engine!r} is unknown; choose among {', '.join(ENGINES)}")


def run_units(units: Sequence[Unit], resources: Resources, keep: str, told: Told) -> None:
    """Trains the units that are not finished. All others are tried before a failure is raised.

    Raises:
        DasExplainError: units that could not be trained, one line each; or it was stopped.
    """
    missing = [unit for unit in units if not unit.finished]
    if not missing:
        return
    ways = {"local": _one_by_one if resources.jobs == 1 else _side_by_side, "ray": _on_ray}
    failures = []
    with closing(ways[resources.engine](missing, resources, keep)) as outcomes:
        for unit, seconds, failure in outcomes:
            if failure:
                failures.append(failure)
            else:
                told(unit, seconds)
    if failures:
        raise DasExplainError(
            f"{len(failures)} of {len(missing)} units could not be trained: {'; '.join(failures)} (a study leaves no "
            "copy out; change the recipe, or the number of copies)"
        )


Outcome = tuple[Unit, float, "str | None"]


def _timed(unit: Unit, keep: str, workers: int | None = None) -> Outcome:
    start = time.perf_counter()
    failure = train_unit(unit, keep, workers)
    return unit, time.perf_counter() - start, failure


def _one_by_one(units: Sequence[Unit], resources: Resources, keep: str) -> Generator[Outcome, None, None]:
    for unit in units:
        yield _timed(unit, keep)


def _side_by_side(units: Sequence[Unit], resources: Resources, keep: str) -> Generator[Outcome, None, None]:
    """Each process has its share of the processors, and trains unit after unit. Who stops does not wait for them."""
    jobs = min(resources.jobs, len(units))
    threads = max(1, available_cpus() // jobs)
    try:
        # A unit that is killed has all in its checkpoint but the epoch under way; Lightning would hear SIGTERM and go on.
        with _environment(OMP_NUM_THREADS=str(threads)), process_pool(jobs, threads) as pool:
            waiting = {pool.submit(_timed, unit, keep, threads - 1): unit for unit in units}
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    waiting.pop(future)
                    yield future.result()
    except BrokenProcessPool:
        raise DasExplainError(
            "a process that trained a unit was killed, probably for lack of memory: the same command goes on; give "
            "fewer --jobs"
        ) from None


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _on_ray(units: Sequence[Unit], resources: Resources, keep: str) -> Generator[Outcome, None, None]:
    """A task each. Photos and the study's folder must lie under the same paths on every machine."""
    from das_explain.engines.cluster import connect

    with connect() as ray:
        task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=1)(_on_worker)
        waiting = {task.remote(unit, keep, os.getcwd(), max(1, int(resources.cpus))): unit for unit in units}
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1)
            waiting.pop(done[0])
            yield ray.get(done[0])


def _on_worker(unit: Unit, keep: str, folder: str, threads: int) -> Outcome:
    os.chdir(folder)
    use_threads(threads)
    return _timed(unit, keep, threads - 1)
