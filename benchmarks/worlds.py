"""How long 500 trajectories of each world take, and whether ψ reads all labels off last frames.

python benchmarks/worlds.py            # about 3 minutes
"""

from __future__ import annotations

import argparse
import os
import platform
import time

import torch

from didact.tasks import funnel_board, funnel_label, room_label, room_runner


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=500, help="trajectories (default: 500)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}")
    print("| world | seconds | frames, mean (range) | worlds drawn | ψ right on last frames |")
    print("|---|---|---|---|---|")
    for name, world in (("Room runner", room_runner), ("Funnel board", funnel_board)):
        for perturbed in (False, True):
            began = time.perf_counter()
            data = world(given.count, seed=given.seed, perturbed=perturbed, jobs=given.jobs)
            seconds = time.perf_counter() - began
            if world is room_runner:
                found = room_label(data.last, data.first)
            else:
                found = funnel_label(data.last)
            right = (found.argmax(1) == data.labels).double().mean()
            lengths = data.lengths.double()
            print(
                f"| {name}{', perturbed' * perturbed} | {seconds:.0f} | {lengths.mean():.1f} "
                f"({lengths.min():.0f} … {lengths.max():.0f}) | {int(data.draws.sum())} "
                f"| {right:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
