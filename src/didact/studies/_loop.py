"""How the studies train: batches, a split, steps of the student with meta-steps between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from .._checks import invalid
from .._params import tree_map
from ..privileged import LDT


class Method(Protocol):
    """What every method of ``didact.privileged`` offers."""

    @property
    def student(self) -> nn.Module: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor: ...


@contextmanager
def initial_weights(seed: int) -> Iterator[None]:
    """Global draws come from a stream of their own, and go on after it as if there was none.

    Data of the same seed do not come from it: a first layer would be made of the numbers that made
    the task.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(2**31 + seed)
        yield


def take(data: Any, rows: Tensor) -> Any:
    """Rows of nested tensors, with the axes of ``rows`` in front."""
    return tree_map(lambda t: t[rows], data)


class Split:
    """The rows of a training set in two: ``pool`` for the student, ``held`` to judge it.

    Args:
        rows: how many there are.
        fraction: of them in ``held``; 0 for methods that need none.
        generator: every draw comes from it.
        device: of the row numbers.
    """

    def __init__(
        self, rows: int, fraction: float, generator: Generator, device: str = "cpu"
    ) -> None:
        self.rows, self.fraction = rows, fraction
        self.generator, self.device = generator, device
        self.renew()

    def renew(self) -> None:
        """Draw the two parts anew."""
        order = torch.randperm(self.rows, generator=self.generator).to(self.device)
        held = round(self.fraction * self.rows)
        self.held, self.pool = order[:held], order[held:]

    def batches(self, size: int) -> Iterator[Tensor]:
        """Batches of the pool for ever, every row once before any comes again.

        Raises:
            InvalidInput: if the pool has fewer rows than a batch.
        """
        if size > len(self.pool):
            found = f"{len(self.pool)} of {self.rows} rows"
            raise invalid("rows", f"enough for a batch of {size} on the student's side", found)
        return self._walk(size)

    def _walk(self, size: int) -> Iterator[Tensor]:
        while True:
            pool = self.pool
            order = pool[torch.randperm(len(pool), generator=self.generator).to(self.device)]
            for start in range(0, len(pool) - size + 1, size):
                yield order[start : start + size]
                if self.pool is not pool:
                    break


def steps(
    method: Method,
    optimizer: torch.optim.Optimizer,
    data: tuple[Any, Any, Any],
    batches: Iterator[Tensor],
    before: Callable[[int], None] | None = None,
) -> Iterator[Tensor]:
    """Train the student for ever, a step per item; yields the loss, detached.

    Args:
        method: of ``didact.privileged``.
        optimizer: over ``method.parameters()``.
        data: (x, x*, y), nested tensors [rows, ...].
        batches: row numbers.
        before: called with the number of the step, before it.
    """
    step = 0
    while True:
        if before is not None:
            before(step)
        loss = method.loss(take(data, next(batches)))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss.detach()
        step += 1


def meta_steps(
    ldt: LDT,
    optimizer: torch.optim.Optimizer,
    data: tuple[Any, Any, Any],
    split: Split,
    *,
    inner_steps: int,
    batch: int,
    every: int,
    resample: bool = False,
) -> Callable[[int], None]:
    """A meta-step before every ``every``-th step of the student, as ``steps`` takes it.

    Args:
        ldt: the method.
        optimizer: of the teacher.
        data: (x, x*, y), nested tensors [rows, ...].
        split: inner batches come from its pool; the teacher is judged on all that is held.
        inner_steps: n.
        batch: size of the inner batches.
        every: student steps per meta-step.
        resample: draw the split anew before every meta-step.
    """
    batches = split.batches(batch)

    def before(step: int) -> None:
        if step % every:
            return
        if resample:
            split.renew()
        rows = torch.stack([next(batches) for _ in range(inner_steps)])
        x, _, y = take(data, split.held)
        ldt.meta_step(optimizer, take(data, rows), (x, y))

    return before
