"""A corridor, and the MDP on which on-policy distillation circles."""

from __future__ import annotations

import numpy as np

from .._checks import check_integer
from ._mdp import MDP, plain

LEFT, RIGHT = 0, 1


def corridor(half: int) -> MDP:
    """2T + 1 states in a row, from the middle one; going on at the ends pays and ends.

    Action 0 goes left, 1 right. Beyond the right end lies +1, beyond the left end −1.

    Reference: Czarnecki et al. 2019, section 4.2, figures 6 and 9.

    Args:
        half: T, states on each side of the middle.

    Example:
        >>> corridor(5).n_states
        11
    """
    n = 2 * check_integer("half", half) + 1
    places = np.arange(n)
    next_state = np.stack([places - 1, places + 1], 1)
    next_state[-1, RIGHT] = -1
    reward = np.zeros((n, 2))
    reward[0, LEFT], reward[-1, RIGHT] = -1.0, 1.0
    return plain(next_state, reward, half)


def oscillation_mdp() -> MDP:
    """Two steps, left or right each; the student cannot tell the second states apart.

    Rewards of the second step: (s_L, L) −1, (s_L, R) −2, (s_R, R) −3, (s_R, L) 0. The first state
    is 0, s_L is 1 and s_R is 2, both seen as observation 1. With an extra loss −4 π(R|s_R) the
    expected update of on-policy distillation circles (1/2, 1/2) for ever.

    Reference: Czarnecki et al. 2019, figure 2 and appendix C.

    Example:
        >>> oscillation_mdp().observation.tolist()
        [0, 1, 1]
    """
    mdp = plain([[1, 2], [-1, -1], [-1, -1]], [[0, 0], [-1, -2], [0, -3]], 0)
    return MDP(
        mdp.next_state, mdp.probability, mdp.reward, mdp.effect, mdp.start,
        np.array([0, 1, 1], dtype=np.int32),
    )  # fmt: skip
