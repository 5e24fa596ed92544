"""What one process gains by training several seeds side by side, in the study of task A.

    python benchmarks/seeds.py --repeats 3    # about 15 minutes

A contender is a method with S seeds in one process. Timed is the study's own training at two
lengths, in turns; the difference, per meta-step (or 24 student steps) and seed, leaves out starting
and compiling. CPU time of one thread; one process per seed is S = 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import torch

from didact.studies._ldt_task_a import Run, train
from didact.studies._toy import Candidate

SHORT, LONG = 5, 20


def seconds(method: Candidate, seeds: int, compiled: bool, meta_steps: int) -> float:
    """CPU time of one training."""
    run = Run(
        method=method,
        seeds=list(range(seeds)),
        meta_steps=meta_steps,
        dimension=256,
        rows=512,
        compile=compiled,
    )
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        train(run, Path(folder), lambda step, values: None)
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="turns per contender")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 5, 16])
    given = parser.parse_args()
    torch.set_num_threads(1)
    candidates: list[tuple[Candidate, bool]] = [
        ("ldt", False), ("ldt", True), ("no_teacher", False)
    ]  # fmt: skip
    contenders = [(*candidate, seeds) for candidate in candidates for seeds in given.seeds]
    found: dict[tuple[Candidate, bool, int], list[float]] = {c: [] for c in contenders}
    for method, compiled, seeds in contenders:
        if compiled:
            seconds(method, seeds, compiled, 1)  # Later turns find what is compiled.
    for _ in range(given.repeats):
        for method, compiled, seeds in contenders:
            times = [seconds(method, seeds, compiled, length) for length in (SHORT, LONG)]
            found[method, compiled, seeds].append((times[1] - times[0]) / (LONG - SHORT) / seeds)
    print(
        f"{os.cpu_count()} cores, one thread used; Python {platform.python_version()}, torch "
        f"{torch.__version__}; {given.repeats} turns.\n"
    )
    print("| method | seeds | CPU ms per meta-step and seed | min … max | throughput |")
    print("|---|---|---|---|---|")
    for (method, compiled, seeds), values in found.items():
        alone = statistics.median(found[method, compiled, given.seeds[0]])
        middle = statistics.median(values)
        print(
            f"| {method}{', compiled' if compiled else ''} | {seeds} | {1e3 * middle:.1f} "
            f"| {1e3 * min(values):.1f} … {1e3 * max(values):.1f} | {alone / middle:.1f} |"
        )


if __name__ == "__main__":
    main()
