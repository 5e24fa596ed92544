"""What adaptive skip intervals cost beside the model: `didact.skips`, and loops over trajectories.

    python benchmarks/skips.py pixels      # about 2 minutes
    python benchmarks/skips.py vectors     # about 2 minutes

Overhead is the CPU time of the loss and its backward pass, less that of the very same calls of f
and their backward passes, replayed; or what it takes when f's answers are played back at no cost.
One thread; the contenders alternate. Before anything is timed the loops must give our loss, matches
and gradients.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact.skips import binary_cross_entropy, skip_loss, squared_error
from didact.studies._asi_nets import FrameModel

HORIZON = 20
Matched = list[list[int]]


class Recorded(nn.Module):
    """The model, with what it was called on and what it said."""

    def __init__(self, f: nn.Module) -> None:
        super().__init__()
        self.f = f
        self.seen: list[Tensor] = []
        self.said: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().requires_grad_(x.requires_grad))
        found: Tensor = self.f(x)
        self.said.append(found.detach())
        return found


class Played(nn.Module):
    """A model that says the same again, at no cost: what remains is overhead."""

    def __init__(self, said: list[Tensor]) -> None:
        super().__init__()
        self.said, self.calls = said, 0
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.said[(self.calls - 1) % len(self.said)] + self.nothing


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


def whole(run: Contender, f: nn.Module, x: Tensor, lengths: Tensor, loss: str) -> None:
    """The loss and its backward pass."""
    run(f, x, lengths, loss)[0].backward()


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
) -> None:
    """Each contender with f, f's calls alone, and each contender with f's answers, in turns."""
    runs: dict[str, list[Callable[[], object]]] = {}
    for name in names:
        recorded = Recorded(f)
        CONTENDERS[name](recorded, x, lengths, loss)[0].backward()
        runs[name] = [
            partial(whole, CONTENDERS[name], f, x, lengths, loss),
            partial(replay, f, recorded.seen),
            partial(whole, CONTENDERS[name], Played(recorded.said), x, lengths, loss),
        ]
        if name == "didact":
            sizes = [len(seen) for seen in recorded.seen]
            print(f"{len(sizes)} steps, {sum(sizes)} frames through f.\n")
    times: dict[str, list[list[float]]] = {name: [[], [], []] for name in names}
    for _ in range(repeats):
        for name, three in runs.items():
            for run, found in zip(three, times[name], strict=True):
                f.zero_grad()
                found.append(timed(run))
    print("| contender | CPU ms | f alone | overhead: difference | overhead: answers played back |")
    print("|---|---|---|---|---|")
    for name, (total, own, rest) in times.items():
        over = [a - b for a, b in zip(total, own, strict=True)]
        share = 100 * statistics.median(rest) / statistics.median(total)
        print(
            f"| {name} | {spread(total)} | {spread(own)} | {spread(over)} "
            f"| {spread(rest)}, {share:.1f} % |",
            flush=True,
        )
    print()


def spread(values: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} … {max(values):.1f})"


def pixels(repeats: int, frames: int) -> None:
    """The paper's network on 126 × 75 frames, two trajectories."""
    torch.manual_seed(0)
    f, names = (
        FrameModel("f-simple", 48, torch.Generator().manual_seed(0)),
        ["didact", "loop over trajectories"],
    )
    x = torch.rand(2, frames, 3, 126, 75)
    lengths = torch.tensor([frames, frames - 3])
    check(f, x[:, :8], lengths.clamp_max(8), "bce", names)
    print(f"The paper's network, 48 maps, 126 × 75, batch 2, {frames} frames, horizon {HORIZON}:")
    measure(f, x, lengths, "bce", names, repeats)


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
        print(f"MLP 8-64-64-8, 64 trajectories of 20 to 100 states, horizon {HORIZON}, {loss}:")
        measure(f, x, lengths, loss, names, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["pixels", "vectors"])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--frames", type=int, default=60)
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
