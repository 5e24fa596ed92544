"""What the AND-mask costs: plain backprop, a loop, vmap(grad), and `didact.agreement`.

    python benchmarks/agreement.py time --repeats 7     # about 10 minutes
    python benchmarks/agreement.py memory
    python benchmarks/agreement.py optimizer

Every example is an environment. CPU time of one thread; the contenders alternate. Before anything
is timed, loop and vmap must give the gradients that ours gives.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact.agreement import TemporalAndMaskAdam, agreement, environment_backward

THRESHOLD = 0.2
CASES = ["mlp-256-80", "mlp-256-256", "mlp-1024-80", "mlp-1024-256", "resnet18-80"]
SLOW = {"loop", "vmap"}


class Block(nn.Module):
    """Two convolutions of a ResNet, with group norm: batch norm couples examples."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.GroupNorm(8, after) for _ in range(2))
        self.short = nn.Sequential()
        if stride > 1 or before != after:
            self.short = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norms[0](self.first(x)).relu()
        return (self.norms[1](self.second(h)) + self.short(x)).relu()


def resnet18() -> nn.Module:
    """ResNet-18 for 32 × 32 images."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False),
        nn.GroupNorm(8, 64),
        nn.ReLU(),
    ]
    before = 64
    for after, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers += [Block(before, after, stride), Block(after, after, 1)]
        before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def case(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """Model, inputs and labels."""
    torch.manual_seed(0)
    kind, *numbers = name.split("-")
    batch = int(numbers[-1])
    if kind == "resnet18":
        return resnet18(), torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))
    width = int(numbers[0])
    sizes = [32, width, width, width]
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return (
        nn.Sequential(*layers, nn.Linear(width, 2)),
        torch.randn(batch, 32),
        torch.randint(2, (batch,)),
    )


def contenders(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Callable[[], None]]:
    """What fills ``p.grad``, each in its way."""
    parameters = dict(model.named_parameters())

    def plain() -> None:
        F.cross_entropy(model(x), y).backward()

    def ours() -> None:
        with agreement(model, threshold=THRESHOLD):
            F.cross_entropy(model(x), y).backward()

    def loop() -> None:
        losses = F.cross_entropy(model(x), y, reduction="none")
        environment_backward(list(losses), model, threshold=THRESHOLD)

    def vmap() -> None:
        def loss(values: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
            return F.cross_entropy(
                torch.func.functional_call(model, values, (one[None],)), label[None]
            )

        each = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))
        detached = {name: p.detach() for name, p in parameters.items()}
        for name, grads in each(detached, x, y).items():
            mask = grads.sign().mean(0).abs() >= THRESHOLD - 1e-6
            parameters[name].grad = grads.mean(0) * mask

    return {"plain": plain, "ours": ours, "vmap": vmap, "loop": loop}


def check(name: str) -> None:
    """Equal gradients first; votes on rounding errors apart."""
    model, x, y = case(name)
    found = {}
    for who, run in contenders(model, x, y).items():
        if who == "plain" or (who == "loop" and name.startswith("resnet")):
            continue
        model.zero_grad()
        run()
        found[who] = torch.cat([p.grad.flatten() for p in model.parameters()])
    for who, grads in found.items():
        far = (grads - found["ours"]).abs() > 1e-4 * found["ours"].abs().max()
        assert float(far.float().mean()) < 1e-3, (name, who, float(far.float().mean()))


def measure(names: list[str], repeats: int) -> None:
    """CPU time of a forward and backward pass; small nets many times, since they are noisy."""
    print("| case | contender | passes | CPU ms: median | least | times plain: median | least |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        check(name)
        model, x, y = case(name)
        runs = contenders(model, x, y)
        times: dict[str, list[float]] = {who: [] for who in runs}
        began = time.process_time()
        runs["plain"]()
        calls = max(1, round(0.1 / (time.process_time() - began)))
        for turn in range(repeats * calls):
            for who, run in runs.items():
                if who in SLOW and turn >= max(1, repeats // 3):
                    continue
                model.zero_grad()
                began = time.process_time()
                run()
                times[who].append(1e3 * (time.process_time() - began))
        plain = statistics.median(times["plain"]), min(times["plain"])
        for who, values in times.items():
            found = statistics.median(values), min(values)
            told = [f"{value:.2f}" for value in found]
            told += [f"{value / of:.2f}" for value, of in zip(found, plain, strict=True)]
            print(f"| {name} | {who} | {len(values)} | {' | '.join(told)} |", flush=True)


def memory(names: list[str]) -> None:
    """Peak resident sets of processes of their own."""
    print("| case | contender | peak MiB | times plain |\n|---|---|---|---|")
    for name in names:
        plain = 0.0
        for who in ("plain", "ours", "vmap"):
            command = [sys.executable, __file__, "one", "--case", name, "--contender", who]
            # Freed blocks go back at once: the peak is what is needed, not what was kept.
            environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"}
            said = subprocess.run(
                command, capture_output=True, text=True, check=True, env=environment
            )
            peak = float(said.stdout)
            plain = plain or peak
            print(f"| {name} | {who} | {peak:.0f} | {peak / plain:.2f} |", flush=True)


def one(name: str, who: str) -> None:
    """Two passes of one contender; prints the peak in MiB."""
    model, x, y = case(name)
    run = contenders(model, x, y)[who]
    for _ in range(2):
        model.zero_grad()
        run()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def optimizer(repeats: int) -> None:
    """A step of the temporal AND-mask beside Adam's."""
    print("| parameters | optimizer | CPU ms a step | times Adam |\n|---|---|---|---|")
    for name in ("mlp-256-80", "mlp-1024-80", "resnet18-80"):
        model, x, y = case(name)
        F.cross_entropy(model(x), y).backward()
        steps = {
            "Adam": torch.optim.Adam(model.parameters()),
            "Adam, foreach": torch.optim.Adam(model.parameters(), foreach=True),
            "TemporalAndMaskAdam": TemporalAndMaskAdam(model.parameters()),
        }
        times: dict[str, list[float]] = {who: [] for who in steps}
        for _ in range(repeats):
            for who, each in steps.items():
                began = time.process_time()
                for _ in range(5):
                    each.step()
                times[who].append(1e3 * (time.process_time() - began) / 5)
        adam = statistics.median(times["Adam"])
        for who, values in times.items():
            middle = statistics.median(values)
            print(f"| {name} | {who} | {middle:.2f} | {middle / adam:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["time", "memory", "optimizer", "one"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--case", nargs="+", default=CASES)
    parser.add_argument("--contender", default="ours")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "one":
        one(given.case[0], given.contender)
        return
    print(f"{os.cpu_count()} cores, one thread used; Python {platform.python_version()}, torch "
          f"{torch.__version__}.\n")  # fmt: skip
    if given.what == "time":
        measure(given.case, given.repeats)
    elif given.what == "memory":
        memory(given.case)
    else:
        optimizer(3 * given.repeats)


if __name__ == "__main__":
    main()
