"""How long 500 trajectories of each world take; ψ must read all labels off their last frames.

python benchmarks/worlds.py                              # about 3 minutes
python benchmarks/worlds.py --pixels 2 3                 # half the resolution
python benchmarks/worlds.py --side 8 --rows 2 --pixels 4 4    # as studies on two cores have it
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from functools import partial

import torch

from didact.tasks import Trajectories, funnel_board, funnel_label, room_label, room_runner


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="trajectories (default: 500)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=16, help="Room runner's cells (default: 16)")
    parser.add_argument("--rows", type=int, default=6, help="Funnel board's rows (default: 6)")
    parser.add_argument(
        "--pixels", type=int, nargs=2, default=(4, 6), metavar=("ROOM", "BOARD"),
        help="along a cell and along a unit of length (default: 4 6)",
    )  # fmt: skip
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}")
    print("| world | seconds | frames, mean (range) | worlds drawn | ψ right |")
    print("|---|---|---|---|---|")
    room, board = given.pixels
    worlds: dict[str, Callable[..., Trajectories]] = {
        "Room runner": partial(room_runner, side=given.side, pixels=room),
        "Funnel board": partial(funnel_board, rows=given.rows, pixels=board),
    }
    for name, world in worlds.items():
        for perturbed in (False, True):
            began = time.perf_counter()
            data = world(given.count, seed=given.seed, perturbed=perturbed, jobs=given.jobs)
            seconds = time.perf_counter() - began
            if name == "Room runner":
                found = room_label(data.last, data.first, side=given.side)
            else:
                found = funnel_label(data.last)
            wrong = (found.argmax(1) != data.labels).nonzero().flatten().tolist()
            if wrong:
                raise SystemExit(f"{name}: ψ is wrong about the last frames of {wrong}.")
            lengths = data.lengths.double()
            print(
                f"| {name}{', perturbed' * perturbed} | {seconds:.0f} | {lengths.mean():.1f} "
                f"({lengths.min():.0f} … {lengths.max():.0f}) | {int(data.draws.sum())} "
                f"| {given.count} of {given.count} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
