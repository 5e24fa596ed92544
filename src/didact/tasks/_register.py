"""The environments made known to Gymnasium."""

from __future__ import annotations

from .._checks import extra


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
