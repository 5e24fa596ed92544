"""Many MDPs of one size, laid out for the simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .._checks import InvalidInput, invalid
from ._mdp import MDP, check_mdp, trapped_states

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Worlds:
    """W MDPs with as many states, outcomes and actions each; make them with :func:`worlds`.

    Attributes:
        next_state: ``[W, S, E, K]`` int32; −1: the end.
        cumulative: ``[W, S, E, K]``, cumulated probabilities.
        reward: ``[W, S, E, K]``.
        effect: ``[A]``, the same for all.
        start: ``[W, S]``, cumulated.
        observation: ``[W, S]``.
    """

    next_state: NDArray[np.int32]
    cumulative: NDArray[np.float64]
    reward: NDArray[np.float64]
    effect: NDArray[np.int64]
    start: NDArray[np.float64]
    observation: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.next_state)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(W, S, A)."""
        return (*self.next_state.shape[:2], len(self.effect))

    @property
    def n_observations(self) -> int:
        """Rows of a policy: the most that any of the worlds needs."""
        return int(self.observation.max()) + 1

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What the compiled loops take: a row for each state and effect."""
        flat = (len(self), -1, self.next_state.shape[-1])
        outcomes = (self.next_state, self.cumulative, self.reward)
        return (
            *(array.reshape(flat) for array in outcomes), self.effect, self.start,
            self.observation,
        )  # fmt: skip


def worlds(mdps: Sequence[MDP]) -> Worlds:
    """Lay out MDPs of one size side by side.

    Raises:
        InvalidInput: if one contradicts itself, has another size than the first, or holds a state
            from which no episode ends: the simulator waits for ends.

    Example:
        >>> from didact.tasks import corridor
        >>> worlds([corridor(3), corridor(3)]).shape
        (2, 7, 2)
    """
    if not isinstance(mdps, Sequence) or not mdps:
        raise invalid("mdps", "at least one MDP", mdps)
    for mdp in mdps:
        check_mdp(mdp)
    sizes = [(mdp.next_state.shape, tuple(mdp.effect.tolist())) for mdp in mdps]
    for w, (mdp, size) in enumerate(zip(mdps, sizes, strict=True)):
        if size != sizes[0]:
            raise InvalidInput(
                "Parameter `mdps` should hold MDPs with as many states, outcomes and actions each. "
                f"Found arrays {size[0]} in number {w}, {sizes[0][0]} in number 0, or actions with "
                "other effects."
            )
        if len(trapped := trapped_states(mdp)):
            raise InvalidInput(
                f"Every state of an MDP should lead to an end. Found {len(trapped)} states of "
                f"number {w} from which no episode ends, the first {trapped[0]}."
            )

    def stacked(name: str, kind: Any) -> Any:
        return np.ascontiguousarray(np.stack([getattr(mdp, name) for mdp in mdps]), dtype=kind)

    return Worlds(
        stacked("next_state", np.int32),
        cumulated(stacked("probability", np.float64)),
        stacked("reward", np.float64),
        np.ascontiguousarray(mdps[0].effect, dtype=np.int64),
        cumulated(stacked("start", np.float64)),
        stacked("observation", np.int64),
    )


def policy_table(name: str, policy: ArrayLike | Tensor, worlds: Worlds) -> Floats:
    """A policy of every world, ``[W, S, A]``, checked."""
    if not isinstance(worlds, Worlds):
        raise invalid("worlds", "from `worlds`", worlds)
    if isinstance(policy, Tensor):
        policy = policy.numpy(force=True)
    try:
        pi = np.asarray(policy, dtype=np.float64)
    except (ValueError, TypeError):
        raise invalid(name, "an array of numbers", policy) from None
    if pi.shape not in (worlds.shape, worlds.shape[1:]):
        rule = f"an array [worlds, states, actions] = {list(worlds.shape)}, or one for all worlds"
        raise invalid(name, rule, list(pi.shape))
    if not np.isfinite(pi).all() or (pi < 0).any() or not np.allclose(pi.sum(-1), 1, atol=1e-6):
        raise InvalidInput(
            f"Parameter `{name}` should hold a probability distribution over actions for every "
            f"state. Found sums from {pi.sum(-1).min():g} to {pi.sum(-1).max():g}, the least "
            f"number {pi.min():g}."
        )
    return np.ascontiguousarray(np.broadcast_to(pi, worlds.shape))


def cumulated(probability: Floats) -> Floats:
    """Cumulated along the last axis, the last exactly 1: rounding draws nothing impossible."""
    found = np.cumsum(probability, -1)
    return found / found[..., -1:]
