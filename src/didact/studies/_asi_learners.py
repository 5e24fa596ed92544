"""What is compared with adaptive skip intervals: how each is trained and how it predicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol, TypedDict

from torch import Generator, Tensor, nn

from ..skips import SkipLoss, aligned_loss, rollout, skip_loss
from ..tasks import Trajectories
from ._asi_nets import FrameModel

Method = Literal["asi", "fixed", "aligned", "latent", "actions", "fixed_actions"]


class Matching(TypedDict):
    """What the losses of ``didact.skips`` are told at every update."""

    exploration: float
    teacher_forcing: float
    generator: Generator


class Found(NamedTuple):
    """Loss of a batch, how often the model was called, steps of each trajectory."""

    loss: Tensor
    evaluations: int
    paths: list[int]


class Learner(Protocol):
    """A model with its way to be trained."""

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def loss(self, data: Trajectories, rows: Tensor, matching: Matching) -> Found: ...

    def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
        """``[rows, steps, 3, height, width]``."""
        ...


def found_of(found: SkipLoss, loss: Tensor | None = None) -> Found:
    """What a loss of ``didact.skips`` came to; another loss where more is trained."""
    loss = found.loss if loss is None else loss
    return Found(loss, found.evaluations, (found.matched >= 0).sum(0).tolist())


class Frames:
    """ASI and fixed steps, which are the same function, and global alignment."""

    def __init__(
        self, method: Method, settings: dict[str, Any], generator: Generator, device: str
    ) -> None:
        self.method, self.settings = method, settings
        self.model = FrameModel(
            settings["architecture"], settings["filters"], generator,
            residual=settings["residual"],
        ).to(device)  # fmt: skip

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()

    def loss(self, data: Trajectories, rows: Tensor, matching: Matching) -> Found:
        frames, lengths = data.batch(rows)
        horizon = self.settings["horizon"]
        if self.method == "aligned":
            steps = self.settings["steps"]
            return found_of(aligned_loss(self.model, frames, lengths, horizon=horizon, steps=steps))
        return found_of(
            skip_loss(
                self.model, frames, lengths, horizon=horizon,
                shortest=horizon if self.method == "fixed" else 1, **matching,
            )
        )  # fmt: skip

    def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
        return rollout(self.model, data.first[rows], steps)[:, 1:]
