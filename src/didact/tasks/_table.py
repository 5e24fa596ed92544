"""Rollouts as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._mujoco import Rollouts
from ._simulator import needed

if TYPE_CHECKING:
    import pandas


def as_table(rollouts: Rollouts) -> pandas.DataFrame:
    """Lay rollouts out as one row per example, a column per number.

    Columns, with t = 1 … steps and a, k from 0: ``state_<k>`` and ``action_<t>_<a>``, known at
    prediction time; ``future_<t>_state_<k>`` and ``future_<t>_reward``, known in hindsight;
    ``return``, the label.

    Args:
        rollouts: from :func:`mujoco_rollouts`.

    Returns:
        The table, in float64.

    Example:
        >>> from didact.tasks import mujoco_rollouts
        >>> table = as_table(mujoco_rollouts("Swimmer", 2, seed=0, steps=3))
        >>> table.columns[[0, 8, 9, 14, 22, -1]].tolist()
        ['state_0', 'action_1_0', 'action_1_1', 'future_1_state_0', 'future_1_reward', 'return']
    """
    (frames,) = needed("pandas")
    steps = range(rollouts.actions.shape[1])
    columns = {f"state_{k}": column for k, column in enumerate(rollouts.state.T)}
    for t in steps:
        for a, column in enumerate(rollouts.actions[:, t].T):
            columns[f"action_{t + 1}_{a}"] = column
    for t in steps:
        for k, column in enumerate(rollouts.states[:, t].T):
            columns[f"future_{t + 1}_state_{k}"] = column
        columns[f"future_{t + 1}_reward"] = rollouts.rewards[:, t]
    columns["return"] = rollouts.label
    table: pandas.DataFrame = frames.DataFrame(columns)
    return table
