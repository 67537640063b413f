"""Localisation measures of this package beside Quantus' on the same maps and masks, in one process.

    python benchmarks/measures.py                # 1,000 maps at 224 px, Quantus on 50 of them
    python benchmarks/measures.py --maps 200 --peer-maps 20

Maps are random 7 x 7 fields, resized bilinearly as Grad-CAM's are; masks are ellipses, one per map. Times are of the
processor, on one thread. Quantus is called as its documentation does it, on a part of the maps (its time grows with
their number), without normalisation or warnings. ``all of them`` compares the four localisation measures that both have,
``every localisation measure`` all of ours with these four of theirs. Maximal weights at a frame's edge and in its corners
are shared by many pixels: the pointing game counts these by their share, Quantus as a hit if one of them is.
Needs: pip install --no-deps quantus==0.6.0 && pip install cachetools.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from das_explain.measures import MEASURES, MeasureOptions, Regions, compute_all

warnings.simplefilter("ignore")
PEERS = {
    "pointing_game": "PointingGame",
    "energy_pointing_game": "RelevanceMassAccuracy",
    "relevance_rank_accuracy": "RelevanceRankAccuracy",
    "auroc": "AUC",
    "gini": "Sparseness",
    "entropy": "Complexity",
}
GOAL = 50  # times Quantus
LOCALISATION = tuple(name for name in MEASURES if not MEASURES[name].needs_network and name not in ("gini", "entropy"))


def make(count: int, side: int) -> tuple[Tensor, Tensor]:
    """Maps float32 and masks bool, (count, side, side)."""
    generator = torch.Generator().manual_seed(0)
    native = torch.rand(count, 1, 7, 7, generator=generator) ** 3
    maps = F.interpolate(native, size=(side, side), mode="bilinear")[:, 0]
    maps -= maps.amin((1, 2), keepdim=True)
    maps /= maps.amax((1, 2), keepdim=True)
    along = (torch.arange(side) + 0.5) / side
    centre, radius = (torch.rand(count, 2, 1, generator=generator) * 0.4 + low for low in (0.3, 0.1))
    y, x = (((along - centre[:, axis]) / radius[:, axis]) ** 2 for axis in (0, 1))
    return maps, y[:, :, None] + x[:, None, :] < 1


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def in_batches(maps: Tensor, masks: Tensor, batch: int, score: Callable[[Tensor, Tensor], object]) -> None:
    for start in range(0, len(maps), batch):
        score(maps[start : start + batch], masks[start : start + batch])


def peer(metric: str, maps: Tensor, masks: Tensor, batch: int) -> np.ndarray:
    import quantus

    judge = getattr(quantus, metric)(disable_warnings=True, display_progressbar=False, normalise=False, abs=True)
    given = {"x_batch": np.zeros((len(maps), 1, *maps.shape[1:]), np.float32), "y_batch": np.zeros(len(maps), int)}
    given |= {"a_batch": maps[:, None].numpy().copy(), "s_batch": masks[:, None].numpy().astype(float)}
    return np.asarray(judge(model=nn.Flatten(), batch_size=batch, channel_first=True, **given), float).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--peer-maps", type=int, default=50)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    maps, masks = make(arguments.maps, arguments.size)
    few = min(arguments.peer_maps, arguments.maps)

    def ours(names: tuple[str, ...]) -> float:
        chosen = [MEASURES[name] for name in names]
        compute_all(maps[:8], masks[:8], measures=chosen)  # not timed
        score = lambda some, on: compute_all(some, on, measures=chosen)  # noqa: E731
        return 1e3 * seconds(lambda: in_batches(maps, masks, arguments.batch, score)) / len(maps)

    print(f"{arguments.maps} maps of {arguments.size} px, milliseconds a map, one thread, torch {torch.__version__}")
    print(f"{'':26}{'here':>9}{'Quantus':>9}{'ratio':>8}   largest difference on {few} maps")
    alone = {name: ours((name,)) for name in (*LOCALISATION, "gini", "entropy")}
    theirs = {}
    for name, cost in alone.items():
        if name not in PEERS:
            print(f"{name:26}{cost:9.3f}")
            continue
        peer(PEERS[name], maps[:2], masks[:2], 2)  # not timed
        answers: list[np.ndarray] = []
        spent = seconds(lambda: answers.append(peer(PEERS[name], maps[:few], masks[:few], arguments.batch)))  # noqa: B023
        theirs[name] = 1e3 * spent / few
        apart = np.abs(answers[0] - MEASURES[name].compute(maps[:few], masks[:few]).values.numpy()).max()
        print(f"{name:26}{cost:9.3f}{theirs[name]:9.2f}{theirs[name] / cost:8.0f}   {apart:.1e}")
    shared = tuple(name for name in LOCALISATION if name in PEERS)
    together, peers = ours(shared), sum(theirs[name] for name in shared)
    print(f"{'all of them, together':26}{together:9.3f}{peers:9.2f}{peers / together:8.0f}   {', '.join(shared)}")
    every = ours(LOCALISATION)
    print(
        f"{'every localisation measure':26}{every:9.3f}{peers:9.2f}{peers / every:8.0f}   {len(LOCALISATION)} here; goal {GOAL}{'' if peers / every >= GOAL else ': MISSED'}"
    )

    batch = (maps[: arguments.batch], masks[: arguments.batch])
    known = MeasureOptions(regions=Regions(batch[1]))
    MEASURES["sfd"].compute(*batch, known)
    times = [seconds(lambda: MEASURES["sfd"].compute(*batch, known)) for _ in range(20)]
    print(f"sfd of further maps on the same masks: {1e3 * min(times) / len(batch[0]):.3f} ms a map")


if __name__ == "__main__":
    main()
