"""The environments made known to Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._checks import extra
from ._mdp import MDP

if TYPE_CHECKING:
    from ._gym import TabularEnv


def register_environments() -> None:
    """Let ``gymnasium.make`` know the small decision processes; again does nothing.

    ``didact/GridWorld-v0`` (``seed`` and all of :func:`grid_world`'s options),
    ``didact/Corridor-v0`` (``half``), ``didact/Oscillation-v0``; ``render_mode="rgb_array"``.

    Raises:
        MissingExtra: if Gymnasium is not installed.

    Example:
        >>> import gymnasium
        >>> register_environments()
        >>> env = gymnasium.make("didact/GridWorld-v0", seed=3, size=9)
        >>> env.reset(seed=0)[0]
        40
    """
    with extra("policies"):
        import gymnasium

        from ._gym import ENVIRONMENTS
    for name, make in ENVIRONMENTS.items():
        if name not in gymnasium.registry:
            gymnasium.register(name, entry_point=make, max_episode_steps=10_000)


def environment(mdp: MDP, render_mode: str | None = None) -> TabularEnv:
    """Any small decision process as a Gymnasium environment.

    Args:
        mdp: whose arrays are used as they are.
        render_mode: None, or ``"rgb_array"`` for pictures.

    Raises:
        MissingExtra: if Gymnasium is not installed.

    Example:
        >>> from didact.tasks import corridor
        >>> env = environment(corridor(3))
        >>> env.reset(seed=0)[0], env.step(1)[:3]
        (3, (4, 0.0, False))
    """
    with extra("policies"):
        from ._gym import TabularEnv
    return TabularEnv(mdp, render_mode)
