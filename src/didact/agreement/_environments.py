"""Which examples belong together, and sums over them that never stack all gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .._checks import InvalidInput, invalid

CHUNK = 1 << 17
"""Numbers of gradients that exist at a time: half a MB in float32, which a cache holds."""


@dataclass(frozen=True)
class Environments:
    """The environments of a batch.

    Attributes:
        order: examples, environment after environment ``[batch]``; None: as they come.
        index: the environment of each example, ``[batch]``.
        sizes: examples of each environment.
        ids: its name, ascending; None where each example is one.
    """

    order: Tensor | None
    index: Tensor
    sizes: tuple[int, ...]
    ids: Tensor | None

    @classmethod
    def of(cls, given: Tensor | None, batch: int, device: torch.device) -> Environments:
        """From a number for each example; None makes each example an environment.

        Raises:
            InvalidInput: another length than the batch, no integers, fewer than two environments.
        """
        if given is None:
            if batch < 2:
                raise invalid("environments", "at least two: examples of a batch", batch)
            return cls(None, torch.arange(batch, device=device), (1,) * batch, None)
        if not isinstance(given, Tensor) or given.is_floating_point() or given.is_complex():
            found = given.dtype if isinstance(given, Tensor) else type(given).__name__
            raise invalid("environments", "a tensor of integers", found)
        if tuple(given.shape) != (batch,):
            rule = f"a number for each of the {batch} examples, [{batch}]"
            raise invalid("environments", rule, list(given.shape))
        ids, index, counts = torch.unique(given.to(device), return_inverse=True, return_counts=True)
        if len(ids) < 2:
            raise invalid("environments", "at least two different numbers", ids.tolist())
        order = index.argsort(stable=True)
        return cls(order, index, tuple(counts.tolist()), ids)

    @property
    def single(self) -> bool:
        """Whether every environment is one example."""
        return len(self.sizes) == len(self.index)

    def weights(self, total: int, parts: int) -> Tensor | None:
        """What makes a mean over examples one over environments; None where it is one.

        Example i of environment e weighs ``B R / (E n_e)``: R parts (processes, or passes), whose
        means over their B examples are averaged, have E environments together.
        """
        if self.single and total == len(self.index) * parts:
            return None
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        found = len(self.index) * parts / (total * sizes)
        if bool((found - 1).abs().max() < 1e-9):
            return None
        return found.to(self.index.device)[self.index]

    def means(self, each: Tensor) -> Tensor:
        """Of each environment, ``[batch]`` → ``[env]``; differentiable."""
        sums = each.new_zeros(len(self.sizes)).index_add(0, self.index, each)
        return sums / torch.tensor(self.sizes, device=each.device)

    def chunks(self, numel: int) -> Iterator[tuple[Tensor | slice, tuple[int, ...]]]:
        """Examples and sizes of as many environments as have that many numbers together."""
        most, start = max(1, CHUNK // numel), 0
        for first in range(0, len(self.sizes), most):
            sizes = self.sizes[first : first + most]
            part = slice(start, start + sum(sizes))
            start = part.stop
            yield part if self.order is None else self.order[part], sizes


def check_passes(given: Sequence[Tensor]) -> None:
    """Refuse what are no tensors of integers, and environments that two passes have a part of."""
    seen: set[int] = set()
    for each in given:
        if not isinstance(each, Tensor) or each.is_floating_point() or each.is_complex():
            raise invalid("environments", "a list of tensors of integers", type(each).__name__)
        ids = set(each.flatten().tolist())
        if twice := seen & ids:
            raise InvalidInput(
                f"Environments should be whole in one pass. Found number {min(twice)} in two."
            )
        seen |= ids


Rows = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(δ, a) of some examples → ``[b, positions, groups, out]``, ``[b, positions, groups, in]``."""


def product_votes(
    of: Environments, delta: Tensor, inputs: Tensor, rows: Rows, votes: Tensor
) -> None:
    """Vote on a weight whose gradient is ``Σ_i Σ_p δ_ip ⊗ a_ip``, environment by environment.

    Args:
        of: the environments.
        delta: gradient of the layer's output, ``[batch, …]``.
        inputs: of the layer, ``[batch, …]``.
        rows: see :data:`Rows`.
        votes: to add to, ``[groups, out, in]``.
    """
    for examples, sizes in of.chunks(votes.numel()):
        d, a = rows(delta[examples], inputs[examples])
        d, a = (_by_environment(part, sizes) for part in (d, a.to(d.dtype)))
        if len(sizes) == len(votes) == 1:
            _vote_in_blocks(votes[0], d[0, :, 0].T, a[0, :, 0])
        else:  # [environments, groups, out, rows] @ [environments, groups, rows, in]
            signs = (d.permute(0, 2, 3, 1) @ a.transpose(1, 2)).sign_()
            votes += signs.sum(0, dtype=torch.float32)


def _vote_in_blocks(votes: Tensor, d: Tensor, a: Tensor) -> None:
    """``votes += sign(d a)``, a block of rows at a time, in the same memory."""
    most = min(len(d), max(1, CHUNK // a.shape[1]))
    block = d.new_empty(most, a.shape[1])
    for part, voted in zip(torch.split(d, most), torch.split(votes, most), strict=True):
        found = torch.mm(part, a, out=block[: len(part)])
        voted.add_(found.sign_())


def _by_environment(rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """``[b, positions, …]`` → ``[environments, rows, …]``, with zeros where one is shorter."""
    if len(set(sizes)) == 1:
        return rows.reshape(len(sizes), sizes[0] * rows.shape[1], *rows.shape[2:])
    return pad_sequence(
        [part.flatten(0, 1) for part in torch.split(rows, list(sizes))], batch_first=True
    )


def vector_votes(of: Environments, each: Tensor, votes: Tensor) -> None:
    """Vote on a small parameter by its gradient for each example, ``[batch, *param]``."""
    if not of.single:
        sums = each.new_zeros(len(of.sizes), *each.shape[1:])
        each = sums.index_add(0, of.index, each)
    votes += each.sign().sum(0, dtype=torch.float32)


def row_votes(of: Environments, indices: Tensor, delta: Tensor, votes: Tensor) -> None:
    """Vote on a table of which example i looks up rows ``indices[i]``.

    Args:
        of: the environments.
        indices: ``[batch, …]``.
        delta: gradient of what was looked up, ``[batch, …, dim]``.
        votes: to add to, ``[rows, dim]``.
    """
    rows = len(votes)
    flat = indices.reshape(len(indices), -1)
    key = of.index[:, None] * rows + flat
    found, place = torch.unique(key, return_inverse=True)
    delta = delta.reshape(-1, delta.shape[-1])
    sums = delta.new_zeros(len(found), delta.shape[1]).index_add(0, place.flatten(), delta)
    votes.index_add_(0, found % rows, sums.sign().float())
