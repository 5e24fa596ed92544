"""Several processes, each with whole environments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import InvalidInput


@dataclass(frozen=True)
class Ranks:
    """The processes that train one model together; ``group`` is None for one alone."""

    group: Any = None

    @classmethod
    def of(cls, model: nn.Module) -> Ranks:
        """Those of a ``DistributedDataParallel``."""
        if isinstance(model, nn.parallel.DistributedDataParallel):
            return cls(model.process_group)
        return cls()

    @property
    def count(self) -> int:
        """How many."""
        return 1 if self.group is None else self.group.size()

    def add(self, tensor: Tensor) -> Tensor:
        """The sum over processes, in place."""
        if self.group is not None:
            torch.distributed.all_reduce(tensor, group=self.group)
        return tensor

    @contextmanager
    def together(self, device: torch.device) -> Iterator[None]:
        """What one process refuses in the block all refuse: none waits for another for ever."""
        if self.count == 1:
            yield
            return
        problem: InvalidInput | None = None
        try:
            yield
        except InvalidInput as error:
            problem = error
        if int(self.add(torch.tensor(int(problem is not None), device=device))):
            raise problem or InvalidInput("Another process refused its environments.")

    def check_whole(self, ids: Tensor | None) -> None:
        """Refuse environments that more than one process has a part of.

        Raises:
            InvalidInput: naming one.
        """
        if self.group is None or ids is None:
            return
        everyone: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(everyone, ids.tolist(), group=self.group)
        seen: set[int] = set()
        for of_rank in everyone:
            if twice := seen & set(of_rank):
                raise InvalidInput(
                    "Environments should be whole in one process. Found number "
                    f"{min(twice)} in two."
                )
            seen |= set(of_rank)


def refuse_parallel() -> None:
    """Raise ``InvalidInput`` in the forward pass of a ``DistributedDataParallel``'s own module."""
    if nn.parallel.DistributedDataParallel._get_active_ddp_module() is not None:  # type: ignore[no-untyped-call]
        raise InvalidInput(
            "Parameter `model` should be the DistributedDataParallel that is called. Found its "
            "module: processes would each have a mask of their own."
        )
