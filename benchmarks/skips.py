"""What adaptive skip intervals cost beside the model: `didact.skips`, and loops over trajectories.

    python benchmarks/skips.py pixels      # about 10 minutes
    python benchmarks/skips.py vectors     # about 2 minutes

Overhead is the CPU time of the loss and its backward pass, less that of the very same calls of f
and their backward passes, replayed. One thread; the contenders alternate. Before anything is timed
the loops must give our loss, matches and gradients.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact.skips import binary_cross_entropy, skip_loss, squared_error

HORIZON = 20
Matched = list[list[int]]


class Paper(nn.Module):
    """Seven convolutions; the input joins before the sixth."""

    def __init__(self, maps: int = 48, channels: int = 3) -> None:
        super().__init__()
        sizes = [(channels, 5), (maps, 5), (maps, 5), (maps, 7), (maps, 5)]
        self.body = nn.ModuleList(nn.Conv2d(n, maps, k, padding="same") for n, k in sizes)
        self.join = nn.Conv2d(maps + channels, maps, 1)
        self.out = nn.Conv2d(maps, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for layer in self.body:
            h = layer(h).relu()
        return self.out(self.join(torch.cat([h, x], 1)).relu()).sigmoid()


class Cheap(nn.Module):
    """A model that costs next to nothing: what remains is overhead, without a difference."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.shift).sigmoid()


class Recorded(nn.Module):
    """The model, with what it was called on."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().requires_grad_(x.requires_grad))
        return self.f(x)


def pixel_wise(prediction: Tensor, target: Tensor) -> Tensor:
    return F.binary_cross_entropy(prediction, target, reduction="none")


def ours(f: nn.Module, x: Tensor, lengths: Tensor, loss: str) -> tuple[Tensor, Matched]:
    found = skip_loss(
        f, x, lengths, horizon=HORIZON,
        loss=binary_cross_entropy if loss == "bce" else squared_error,
    )  # fmt: skip
    return found.loss, [[t for t in column.tolist() if t >= 0] for column in found.matched.T]


def loop(f: nn.Module, x: Tensor, lengths: Tensor, loss: str) -> tuple[Tensor, Matched]:
    """A loop over trajectories; the frames of a window at once."""
    distance = pixel_wise if loss == "bce" else squared_error
    losses, matched = [], []
    for frames, length in zip(x, lengths.tolist(), strict=True):
        t, fed, path = 0, frames[:1], []
        while t < length - 1:
            prediction = f(fed)
            window = frames[t + 1 : min(t + HORIZON, length - 1) + 1]
            with torch.no_grad():
                costs = distance(prediction.expand_as(window), window).flatten(1).mean(1)
            t += 1 + int(costs.argmin())
            losses.append(distance(prediction, frames[t : t + 1]).mean())
            path.append(t)
            fed = prediction
        matched.append(path)
    return torch.stack(losses).mean(), matched


def literal(f: nn.Module, x: Tensor, lengths: Tensor, loss: str) -> tuple[Tensor, Matched]:
    """Algorithm 3 as it is printed: a loop over the frames of a window too."""
    distance = pixel_wise if loss == "bce" else squared_error
    losses, matched = [], []
    for frames, length in zip(x, lengths.tolist(), strict=True):
        t, fed, path = 0, frames[:1], []
        while t < length - 1:
            prediction = f(fed)
            window = range(t + 1, min(t + HORIZON, length - 1) + 1)
            with torch.no_grad():
                t = min(window, key=lambda s: float(distance(prediction[0], frames[s]).mean()))
            losses.append(distance(prediction, frames[t : t + 1]).mean())
            path.append(t)
            fed = prediction
        matched.append(path)
    return torch.stack(losses).mean(), matched


CONTENDERS = {"didact": ours, "loop over trajectories": loop, "literal": literal}
Contender = Callable[[nn.Module, Tensor, Tensor, str], tuple[Tensor, Matched]]


def replay(f: nn.Module, seen: list[Tensor]) -> None:
    """The calls that were seen, forward and backward, and nothing else."""
    out = [f(x) for x in seen]
    torch.autograd.backward(out, [torch.ones_like(each) for each in out])


def timed(run: Callable[[], object]) -> float:
    """CPU milliseconds."""
    began = time.process_time()
    run()
    return 1e3 * (time.process_time() - began)


def check(f: nn.Module, x: Tensor, lengths: Tensor, loss: str, names: list[str]) -> None:
    """The same matches, loss and gradients, in float64."""
    f, x = f.double(), x.double()
    found = {}
    for name in names:
        f.zero_grad()
        value, matched = CONTENDERS[name](f, x, lengths, loss)
        value.backward()
        found[name] = (
            matched,
            torch.cat([value.detach().view(1), *(p.grad.flatten() for p in f.parameters())]),
        )
    first = found[names[0]]
    for name in names[1:]:
        assert found[name][0] == first[0], name
        torch.testing.assert_close(found[name][1], first[1], rtol=1e-9, atol=1e-12)
    f.float()


def measure(
    f: nn.Module, x: Tensor, lengths: Tensor, loss: str, names: list[str], repeats: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Totals and replays of each contender, in turns."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for turn in range(repeats + 1):
        for name in names:
            recorded = Recorded(f)
            with torch.no_grad():
                pass
            CONTENDERS[name](recorded, x, lengths, loss)[0].backward()
            f.zero_grad()
            total = timed(lambda: CONTENDERS[name](f, x, lengths, loss)[0].backward())
            f.zero_grad()
            own = timed(lambda: replay(f, recorded.seen))
            if turn:
                times[name][0].append(total)
                times[name][1].append(own)
    return times


def report(times: dict[str, tuple[list[float], list[float]]]) -> None:
    print("| contender | CPU ms | min … max | f alone, ms | overhead, ms | share | times ours |")
    print("|---|---|---|---|---|---|---|")
    ours_over = None
    for name, (total, own) in times.items():
        over = statistics.median(a - b for a, b in zip(total, own, strict=True))
        ours_over = ours_over or over
        middle = statistics.median(total)
        print(
            f"| {name} | {middle:.1f} | {min(total):.1f} … {max(total):.1f} "
            f"| {statistics.median(own):.1f} | {over:.1f} | {100 * over / middle:.1f} % "
            f"| {over / ours_over:.1f} |",
            flush=True,
        )
    print()


def pixels(repeats: int, frames: int) -> None:
    """The paper's network on 126 × 75 frames, two trajectories."""
    torch.manual_seed(0)
    f = Paper()
    x = torch.rand(2, frames, 3, 126, 75)
    lengths = torch.tensor([frames, frames - 3])
    check(f, x[:, :8], lengths.clamp_max(8), "bce", ["didact", "loop over trajectories"])
    print(f"The paper's network, 48 maps, 126 × 75, batch 2, {frames} frames, horizon {HORIZON}.\n")
    report(measure(f, x, lengths, "bce", ["didact", "loop over trajectories"], repeats))
    print("The same frames, a model that costs nothing.\n")
    report(measure(Cheap(), x, lengths, "bce", ["didact", "loop over trajectories"], 5 * repeats))


def vectors(repeats: int) -> None:
    """An MLP on states of 8 numbers, 64 trajectories of 20 to 100 frames."""
    for loss in ("bce", "mse"):
        torch.manual_seed(0)
        f = nn.Sequential(
            nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8),
            nn.Sigmoid(),
        )  # fmt: skip
        x = (torch.randn(64, 100, 8).cumsum(1) / 4).sigmoid()
        lengths = torch.randint(20, 101, (64,))
        names = list(CONTENDERS)
        check(f, x, lengths, loss, names)
        print(f"MLP 8-64-64-8, 64 trajectories of 20 to 100 states, horizon {HORIZON}, {loss}.\n")
        report(measure(f, x, lengths, loss, names, repeats))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["pixels", "vectors"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--frames", type=int, default=24)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, one thread used; Python {platform.python_version()}, torch "
          f"{torch.__version__}.\n")  # fmt: skip
    if given.what == "pixels":
        pixels(given.repeats, given.frames)
    else:
        vectors(given.repeats)


if __name__ == "__main__":
    main()
