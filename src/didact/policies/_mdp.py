"""What a finite Markov decision process must look like, and its expected, dense form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import InvalidInput, check_number, invalid


class MDP(Protocol):
    """A finite MDP as plain arrays: S states, K outcomes of each of E effects, A actions.

    Attributes:
        next_state: ``[S, E, K]``; −1: the episode ends.
        probability: ``[S, E, K]``, sums to 1 over K.
        reward: ``[S, E, K]``.
        effect: ``[A]``: what each action does; many may do the same.
        start: ``[S]``, where episodes begin.
        observation: ``[S]``: what the policy sees of each state, 0 … O − 1.
    """

    @property
    def next_state(self) -> NDArray[Any]: ...
    @property
    def probability(self) -> NDArray[Any]: ...
    @property
    def reward(self) -> NDArray[Any]: ...
    @property
    def effect(self) -> NDArray[Any]: ...
    @property
    def start(self) -> NDArray[Any]: ...
    @property
    def observation(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Dense:
    """An MDP's expectations, float64.

    Attributes:
        transition: ``[S, A, S]``; what is missing to 1 ends the episode.
        reward: ``[S, A]``, expected.
        start: ``[S]``.
        observation: ``[S]``, int64.
        discount: γ.
    """

    transition: Tensor
    reward: Tensor
    start: Tensor
    observation: Tensor
    discount: float

    @property
    def n_observations(self) -> int:
        """O: rows of a policy."""
        return int(self.observation.max()) + 1

    @property
    def n_actions(self) -> int:
        """A: columns of a policy."""
        return self.reward.shape[1]


def dense(mdp: MDP, discount: float = 1.0) -> Dense:
    """The expectations of an MDP.

    ``P(s'|s, a) = Σ_k p_k 1[s'_k = s']``, ``r(s, a) = Σ_k p_k r_k``

    Args:
        mdp: finite.
        discount: γ in [0, 1].

    Raises:
        InvalidInput: if the arrays contradict each other; or, without discount, if from some
            state that can be reached the episode cannot end: nothing would be finite.

    Example:
        >>> from didact.tasks import corridor
        >>> dense(corridor(2)).transition.shape
        torch.Size([5, 2, 5])
    """
    check_number("discount", discount, at_least=0, at_most=1)
    check_mdp(mdp)
    states, effects, _ = mdp.next_state.shape
    whole = mdp.probability.astype(np.float64)
    probability = whole / whole.sum(-1, keepdims=True)
    transition = np.zeros((states, effects, states + 1))  # the last column: the end
    where = np.where(mdp.next_state < 0, states, mdp.next_state)
    s, e = np.ogrid[:states, :effects]
    for k in range(where.shape[-1]):
        np.add.at(transition, (s, e, where[..., k]), probability[..., k])
    reward = (probability * mdp.reward).sum(-1)

    def tensor(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))

    found = Dense(
        tensor(transition[:, mdp.effect, :states]),
        tensor(reward[:, mdp.effect]),
        tensor(mdp.start / mdp.start.sum()),
        torch.from_numpy(np.asarray(mdp.observation, dtype=np.int64)),
        float(discount),
    )
    if discount == 1.0:
        trapped = trapped_states(mdp)
        if len(trapped):
            raise InvalidInput(
                f"Without discount every state should lead to an end. Found {len(trapped)} states "
                f"from which no episode ends, the first {trapped[0]}: `discount` below 1 would do."
            )
    return found


def trapped_states(mdp: MDP) -> NDArray[np.int64]:
    """States that can be reached and from which no episode ends, whatever is done."""
    states, used = len(mdp.start), np.unique(mdp.effect)
    leads = torch.zeros(states, states + 1, dtype=torch.bool)
    s, e, k = np.nonzero(mdp.probability[:, used] > 0)
    leads[s, mdp.next_state[:, used][s, e, k]] = True  # −1 is the last column: the end
    reached = closure(leads[:, :-1], torch.from_numpy(mdp.start > 0))
    found: NDArray[np.int64] = (
        (reached & ~closure(leads[:, :-1].T, leads[:, -1])).numpy().nonzero()[0]
    )
    return found


def closure(leads: Tensor, some: Tensor) -> Tensor:
    """``some`` states and all that are reached from them; ``leads[s, t]``: s leads to t."""
    new = some
    while bool(new.any()):
        new = leads[new].any(0) & ~some
        some = some | new
    return some


WHOLE = ("next_state", "effect", "observation")


def check_mdp(mdp: MDP) -> None:
    """Raise ``InvalidInput`` naming the first array that breaks the rules of :class:`MDP`."""
    for name in ("next_state", "probability", "reward", "effect", "start", "observation"):
        array, kinds = getattr(mdp, name, None), "iu" if name in WHOLE else "iuf"
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            what = "integers" if name in WHOLE else "numbers"
            raise invalid(name, f"a NumPy array of {what}", getattr(array, "dtype", array))
    shape = mdp.next_state.shape
    if len(shape) != 3 or 0 in shape:
        raise invalid("next_state", "an array [states, effects, outcomes]", shape)
    for name in ("probability", "reward"):
        if getattr(mdp, name).shape != shape:
            raise invalid(name, f"an array of shape {shape}", getattr(mdp, name).shape)
    for name in ("start", "observation"):
        if getattr(mdp, name).shape != shape[:1]:
            raise invalid(name, f"an array of shape {shape[:1]}", getattr(mdp, name).shape)
    for name in ("probability", "reward", "start"):
        if not np.isfinite(getattr(mdp, name)).all():
            raise invalid(name, "finite", "NaN or infinity")
    for name, total in (("probability", mdp.probability.sum(-1)), ("start", mdp.start.sum())):
        if (getattr(mdp, name) < 0).any() or not np.allclose(total, 1, atol=1e-6):
            sums, least = np.ravel(total), getattr(mdp, name).min()
            raise InvalidInput(
                f"Parameter `{name}` should be probabilities that sum to 1. Found a sum of "
                f"{sums[np.abs(sums - 1).argmax()]:g}, the least number {least:g}."
            )
    off = (mdp.next_state < -1) | (mdp.next_state >= shape[0])
    if off.any():
        rule = f"−1 or one of {shape[0]} states"
        raise invalid("next_state", rule, int(mdp.next_state[off][0]))
    if (
        mdp.effect.ndim != 1
        or not len(mdp.effect)
        or not set(np.unique(mdp.effect)) <= set(range(shape[1]))
    ):
        raise invalid("effect", f"an array [actions] of 0 … {shape[1] - 1}", mdp.effect)
    seen = np.unique(mdp.observation)
    if not np.array_equal(seen, np.arange(len(seen))):
        raise invalid("observation", "0 … O − 1, every number at least once", seen)
