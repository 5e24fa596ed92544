"""Training with every example an environment: memorization and label noise of the ILC paper."""

from __future__ import annotations

import hashlib
import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import Diverged, InvalidInput, extra, invalid
from ..agreement import agreement
from ..runs import write_atomic
from ..tasks import Pictures, cifar10, mnist, pictures
from ._study import Log, Record

Data = Literal["digits", "mnist", "cifar10", "file"]
Labels = Literal["true", "random", "noisy"]
TEST_DIGITS = 500
CLASSES = 10
LOOKS = 40


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that decides the numbers of one run."""

    data: str
    """As :func:`prepare` calls them."""
    labels: Labels
    """Of training examples: as they are, all drawn anew, or a share of them drawn anew."""
    threshold: float
    """τ; 0 is plain training."""
    seed: int
    """Of labels, initial weights and batches; and of the split of digits."""
    learning_rate: float
    """Of Adam, at first."""
    decays: list[float]
    """Shares of the epochs after which the rate is a tenth."""
    epochs: int
    """Passes over the training examples."""
    batch: int = 80
    """Examples, and so environments, of a step."""
    width: int = 256
    """Of the two hidden layers; of a ResNet's first layer, a quarter of it."""
    rescale: bool = False
    """Divide each layer's gradient by the share of components that the mask leaves."""
    noise: float = 0.25
    """Share of labels that are drawn anew."""
    rows: int = 0
    """Training examples; 0 takes all."""
    device: str = "cpu"
    """Where to train."""


class ResNet(nn.Module):
    """Small residual network for pictures, with GroupNorm: each example is treated alone.

    The authors' has BatchNorm. Depth and widths are those of their "FastResNet".
    """

    def __init__(self, channels: int, width: int, classes: int = CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, width),
            _convolution(width, 2 * width), nn.MaxPool2d(2), Residual(2 * width),
            _convolution(2 * width, 4 * width), nn.MaxPool2d(2),
            _convolution(4 * width, 8 * width), nn.MaxPool2d(2), Residual(8 * width),
            nn.AdaptiveMaxPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.body(x))
        return out


class Residual(nn.Module):
    """``x + f(x)``, f two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


def _convolution(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.GroupNorm(math.gcd(8, outputs), outputs),
        nn.ReLU(),
    )


def prepare(data: Data, folder: str, shared: Path) -> str:
    """Check the data once and put them where all runs find them.

    Args:
        data: which.
        folder: of the published files, or the file; digits come with scikit-learn.
        shared: of the study.

    Returns:
        What to call them; a file by its name and the start of its SHA-256.

    Raises:
        InvalidInput: if files are missing or other ones, or there are more than ten classes.
    """
    if data == "digits":
        return data
    if not folder:
        raise InvalidInput(f"Parameter `folder` should be where the files of {data} are.")
    name: str = data
    if data == "file":
        train, test = pictures(folder)
        if int(torch.cat([train.y, test.y]).max()) >= CLASSES:
            found = int(torch.cat([train.y, test.y]).max())
            raise invalid("folder", f"a file with classes 0 … {CLASSES - 1}", found)
        name = f"{Path(folder).stem}-{hashlib.sha256(Path(folder).read_bytes()).hexdigest()[:8]}"
    path = shared / f"{name}.npz"
    if path.exists():
        return name
    if data != "file":
        train, test = mnist(folder) if data == "mnist" else cifar10(folder)
    held = io.BytesIO()
    np.savez(
        held, x=train.x.numpy(), y=train.y.numpy(), x_test=test.x.numpy(), y_test=test.y.numpy()
    )
    write_atomic(path, held.getvalue())
    return name


def load(run: Run, shared: Path) -> tuple[Pictures, Pictures]:
    """Training and test pictures; digits are split by the run's seed."""
    if run.data != "digits":
        with np.load(shared / f"{run.data}.npz") as held:
            x, y, x_test, y_test = (
                torch.from_numpy(held[n]) for n in ("x", "y", "x_test", "y_test")
            )
        return Pictures(x, y), Pictures(x_test, y_test)
    with extra("studies"):
        from sklearn.datasets import load_digits
    found = load_digits()
    every = Pictures(torch.from_numpy(found.images[:, None]), torch.from_numpy(found.target))
    order = torch.randperm(len(every.y), generator=torch.Generator().manual_seed(run.seed))
    train, test = order[TEST_DIGITS:], order[:TEST_DIGITS]
    return (
        Pictures(every.x[train], every.y[train]), Pictures(every.x[test], every.y[test])
    )  # fmt: skip


def train_pictures(run: Run, shared: Path, log: Log) -> Record:
    """One run; by look ``training`` (of the labels given), ``test``, and ``mislabelled`` accuracy.

    ``mislabelled`` is of training examples whose label is another than the true one, for which
    predicting the true one counts as wrong; None where there are none.
    """
    began = time.process_time()
    generator = torch.Generator().manual_seed(run.seed)
    train, test = load(run, shared)
    if run.rows:
        kept = torch.randperm(len(train.y), generator=generator)[: run.rows]
        train = Pictures(train.x[kept], train.y[kept])
    given = relabelled(train.y, run.labels, run.noise, generator)
    centre, scale = train.x.float().mean(), train.x.float().std()
    x, x_test = ((part.x.float() - centre) / scale for part in (train, test))
    wrong = (given != train.y).to(run.device) if run.labels == "noisy" else None
    x, y, x_test, y_test = (t.to(run.device) for t in (x, given, x_test, test.y))
    with torch.random.fork_rng(devices=[run.device] if run.device != "cpu" else []):
        torch.manual_seed(run.seed)
        net = _network(run, x)
    adam = torch.optim.Adam(net.parameters(), run.learning_rate, fused=True)
    drops = [round(share * run.epochs) for share in run.decays]
    rates = torch.optim.lr_scheduler.MultiStepLR(adam, drops, 0.1)
    found: dict[str, list[float]] = {"training": [], "mislabelled": [], "test": []}
    every = max(1, run.epochs // LOOKS)
    diverged = None
    for epoch in range(1, run.epochs + 1):
        try:
            _epoch(run, net, adam, x, y, generator)
        except Diverged as error:
            diverged = f"Epoch {epoch}: {error}"
        rates.step()
        if epoch % every and epoch < run.epochs and not diverged:
            continue
        right = _right(net, x, y)
        now = {
            "training": float(right.double().mean()),
            "test": float(_right(net, x_test, y_test).double().mean()),
        }
        if wrong is not None:
            now["mislabelled"] = float(right[wrong].double().mean())
        for name, value in now.items():
            found[name].append(round(value, 4))
        log(epoch, now)
        if diverged:
            break
    return {
        **found, "every": every, "diverged": diverged,
        "seconds": round(time.process_time() - began, 1),
    }  # fmt: skip


def relabelled(y: Tensor, labels: Labels, noise: float, generator: torch.Generator) -> Tensor:
    """The labels of training: true, or all or a share of them drawn evenly anew.

    Example:
        >>> y = torch.zeros(1000, dtype=torch.int64)
        >>> found = relabelled(y, "noisy", 0.25, torch.Generator().manual_seed(0))
        >>> int((found != y).sum())  # a tenth of the draws hits the true label
        224
    """
    drawn = torch.randint(CLASSES, y.shape, generator=generator)
    if labels == "true":
        return y
    if labels == "random":
        return drawn
    chosen = torch.randperm(len(y), generator=generator)[: round(noise * len(y))]
    return y.index_copy(0, chosen, drawn[chosen])


def _network(run: Run, x: Tensor) -> nn.Module:
    if x.shape[1] == 3:
        return ResNet(x.shape[1], run.width // 4).to(run.device)
    width = run.width
    return nn.Sequential(
        nn.Flatten(), nn.Linear(x[0].numel(), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
        nn.Linear(width, CLASSES),
    ).to(run.device)  # fmt: skip


def _epoch(
    run: Run,
    net: nn.Module,
    adam: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
) -> None:
    order = torch.randperm(len(x), generator=generator).to(x.device)
    for start in range(0, len(x) - run.batch + 1, run.batch):
        rows = order[start : start + run.batch]
        adam.zero_grad()
        if run.threshold:
            with agreement(net, threshold=run.threshold, rescale=run.rescale):
                loss = F.cross_entropy(net(x[rows]), y[rows])
                loss.backward()  # type: ignore[no-untyped-call]
        else:
            loss = F.cross_entropy(net(x[rows]), y[rows])
            loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    if not math.isfinite(float(loss.detach())):
        raise Diverged(f"the loss is {float(loss.detach())}.")


def _right(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        parts = [net(part).argmax(1) for part in torch.split(x, 500)]
    return torch.cat(parts) == y


def named_data(run: Run) -> str:
    """The data, and how many rows of them."""
    return f"{run.data}, {run.rows} rows" if run.rows else run.data


def figure_name(number: str, data: str) -> str:
    """Of a figure of such data; the plain number is that of the digits.

    Example:
        >>> figure_name("figure-3.8", "digits"), figure_name("figure-3.8", "mnist, 500 rows")
        ('figure-3.8', 'figure-3.8-mnist-500-rows')
    """
    return number if data == "digits" else f"{number}-{data.replace(',', '').replace(' ', '-')}"


def final(record: Record, name: str) -> float:
    """Accuracy at the end; where it diverged, of what was left."""
    value: Any = record[name][-1]
    return float(value)
