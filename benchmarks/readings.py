"""What all readings of a map cost beside one sfd, in one process.

    python benchmarks/readings.py                # 64 photos at 224 px, two models, two blocks
    python benchmarks/readings.py --images 256

Native maps are random 7 x 7 fields and masks are ellipses, one per photo, as in ``benchmarks/measures.py``. ``from the
evidence`` is what scoring does: the four maps of a photo are resized from their native size, and R is prepared once for
the four. ``of maps at full size`` leaves resizing and preparing out. Times are of the processor, on one thread, the
least of ``--rounds``, in turns, because other processes on the machine slow both down.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from measures import make

from das_explain.cam.maps import upsample
from das_explain.measures import MEASURES, MeasureOptions, Regions
from das_explain.measures.sfd import sfd_score
from das_explain.scoring.readings import BOXES, REGIONS, SCALINGS, THRESHOLDS, RegionReadings, read_maps
from das_explain.scoring.scorer import few_at_a_time

GOAL = 3  # times one sfd, at most
MAPS = 4  # of a photo: two models, two blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count, size = arguments.images, (arguments.size, arguments.size)
    masks = make(count, arguments.size)[1]
    native = torch.rand(MAPS, count, 7, 7, generator=torch.Generator().manual_seed(1)) ** 3
    native /= native.amax((2, 3), keepdim=True)
    parts = few_at_a_time(np.arange(count), [size], MAPS // 2)
    chunks = [slice(part[0], part[-1] + 1) for part in parts]
    maps = [torch.stack([upsample(each[chunk], size) for each in native]) for chunk in chunks]
    known = [(Regions(masks[chunk]), RegionReadings(masks[chunk].numpy())) for chunk in chunks]
    for regions, readings in known:  # derived when first asked for
        _ = regions.area, regions.extents, readings.areas

    def one_sfd(some: torch.Tensor, regions: Regions) -> None:
        for each in some:
            MEASURES["sfd"].compute(each, regions.masks, MeasureOptions(regions=regions))

    def sfd_from_evidence() -> None:
        for chunk in chunks:
            one_sfd(torch.stack([upsample(each[chunk], size) for each in native]), Regions(masks[chunk]))

    def readings_from_evidence() -> None:
        for chunk in chunks:
            some = torch.stack([upsample(each[chunk], size) for each in native]).numpy()
            regions = RegionReadings(masks[chunk].numpy())
            for pair in (some[:2], some[2:]):
                read_maps(pair, regions)

    def sfd_of_maps() -> None:
        for some, (regions, _) in zip(maps, known, strict=True):
            one_sfd(some, regions)

    def readings_of_maps() -> None:
        for some, (_, regions) in zip(maps, known, strict=True):
            for pair in (some[:2], some[2:]):
                read_maps(pair.numpy(), regions)

    number = len(SCALINGS) * len(THRESHOLDS) * len(BOXES) * len(REGIONS)
    print(f"{MAPS * count} maps of {arguments.size} px, milliseconds a map, one thread; {number} readings of each")
    print(f"{'':24}{'one sfd':>9}{'readings':>10}{'ratio':>7}")
    for title, one, every in (
        ("from the evidence", sfd_from_evidence, readings_from_evidence),
        ("of maps at full size", sfd_of_maps, readings_of_maps),
    ):
        times = [(seconds(one), seconds(every)) for _ in range(arguments.rounds)]
        single, all_readings = (1e3 * min(each) / (MAPS * count) for each in zip(*times, strict=True))
        missed = "" if all_readings <= GOAL * single else f"   MISSED {GOAL}"
        print(f"{title:24}{single:9.3f}{all_readings:10.3f}{all_readings / single:7.2f}{missed}")
    found = read_maps(maps[0][:1].numpy(), known[0][1])[0]
    wanted = sfd_score(maps[0][0], known[0][0].masks).sfd.numpy()
    usual = found[:, 0, THRESHOLDS.index(0.3), 0, 0]
    print(f"largest difference from sfd_score in the default reading: {np.abs(usual - wanted).max():.1e}")


def seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    main()
