"""The small decision processes as Gymnasium environments. Imports gymnasium."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from .._checks import invalid
from ._corridor import corridor, oscillation_mdp
from ._grid_world import GridWorld, grid_world
from ._mdp import MDP

PIXELS = 16
FREE, BLACK, START, AGENT = (245, 245, 240), (25, 25, 25), (60, 90, 220), (240, 150, 20)


class TabularEnv(gymnasium.Env[Any, Any]):
    """An :class:`MDP` as an environment: what is seen is ``observation[state]``, an integer.

    At the end of an episode the last state is seen once more: there is no other.

    Args:
        mdp: whose arrays are used as they are.
        render_mode: ``"rgb_array"``: a picture, 16 pixels a cell. A grid world is drawn as a grid
            (walls black, rewards green and red, terminal cells the fuller, the start framed blue),
            anything else as a row of states.

    Example:
        >>> env = TabularEnv(corridor(3), render_mode="rgb_array")
        >>> env.reset(seed=0)[0], env.step(1)[:3], env.render().shape
        (3, (4, 0.0, False), (16, 112, 3))
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, mdp: MDP, render_mode: str | None = None) -> None:
        self.mdp, self.render_mode, self.state = mdp, render_mode, 0
        self.start = _whole(mdp.start)
        self.probability = _whole(mdp.probability)
        self.observation_space = spaces.Discrete(int(mdp.observation.max()) + 1)
        self.action_space = spaces.Discrete(len(mdp.effect))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Begin an episode; the state is in the info."""
        super().reset(seed=seed)
        self.state = int(self.np_random.choice(len(self.start), p=self.start))
        return self._seen()

    def step(self, action: Any) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Act once.

        Raises:
            InvalidInput: if the action is none of the space's.
        """
        if not self.action_space.contains(action):
            raise invalid("action", f"an integer from 0 to {len(self.mdp.effect) - 1}", action)
        place = self.state, self.mdp.effect[int(action)]
        outcome = self.np_random.choice(self.probability.shape[-1], p=self.probability[place])
        after = int(self.mdp.next_state[place][outcome])
        reward = float(self.mdp.reward[place][outcome])
        if after >= 0:
            self.state = after
        return *self._seen()[:1], reward, after < 0, False, {"state": self.state}

    def _seen(self) -> tuple[int, dict[str, Any]]:
        return int(self.mdp.observation[self.state]), {"state": self.state}

    def render(self) -> Any:
        """The picture, ``[height, width, 3]`` uint8, or None without a render mode."""
        return picture(self.mdp, self.state) if self.render_mode == "rgb_array" else None


def _whole(probability: Any) -> NDArray[np.float64]:
    """Probabilities whose sum is 1 to the last digit, as NumPy's draws want it."""
    found = np.asarray(probability, dtype=np.float64)
    sums = found.sum(-1, keepdims=True)
    if (found < 0).any() or not np.allclose(sums, 1, atol=1e-6):
        raise invalid("mdp", "one whose probabilities sum to 1", float(sums.min()))
    whole: NDArray[np.float64] = found / sums
    return whole


def picture(mdp: MDP, state: int | None = None) -> NDArray[np.uint8]:
    """A world from above, and where the agent is: ``[height, width, 3]``.

    Example:
        >>> world = grid_world(generator=torch.Generator().manual_seed(0))
        >>> picture(world).shape
        (320, 320, 3)
    """
    if isinstance(mdp, GridWorld):
        shape = mdp.walls.shape
        cells = np.empty((*shape, 3))
        for place in np.ndindex(shape):
            cells[place] = (
                BLACK
                if mdp.walls[place]
                else _colour(float(mdp.rewards[place]), bool(mdp.terminal[place]))
            )
    else:
        shape = (1, len(mdp.start))
        cells = np.full((*shape, 3), FREE, dtype=float)
    image = cells.repeat(PIXELS, 0).repeat(PIXELS, 1).astype(np.uint8)
    image[PIXELS - 1 :: PIXELS], image[:, PIXELS - 1 :: PIXELS] = 200, 200
    row, column = np.divmod(int(mdp.start.argmax()), shape[1])
    frame = image[row * PIXELS :, column * PIXELS :][: PIXELS - 1, : PIXELS - 1]
    frame[:2] = frame[-2:] = frame[:, :2] = frame[:, -2:] = START
    if state is not None:
        row, column = np.divmod(state, shape[1])
        y, x = np.ogrid[:PIXELS, :PIXELS]
        round_ = (y - PIXELS / 2 + 1) ** 2 + (x - PIXELS / 2 + 1) ** 2 < (PIXELS / 3) ** 2
        image[row * PIXELS :, column * PIXELS :][:PIXELS, :PIXELS][round_] = AGENT
    return image


def _colour(reward: float, terminal: bool) -> tuple[float, ...]:
    if not reward:
        return FREE
    full = np.array((30, 140, 60) if reward > 0 else (190, 40, 40), dtype=float)
    depth = (0.45 + 0.055 * min(abs(reward), 10.0)) if terminal else 0.3
    return tuple(depth * full + (1 - depth) * np.array(FREE))


def make_grid_world(seed: int = 0, render_mode: str | None = None, **options: Any) -> TabularEnv:
    """``gymnasium.make("didact/GridWorld-v0", seed=3, size=20, …)``."""
    generator = torch.Generator().manual_seed(seed)
    return TabularEnv(grid_world(generator=generator, **options), render_mode)


def make_corridor(half: int = 5, render_mode: str | None = None) -> TabularEnv:
    """``gymnasium.make("didact/Corridor-v0", half=5)``."""
    return TabularEnv(corridor(half), render_mode)


def make_oscillation(render_mode: str | None = None) -> TabularEnv:
    """``gymnasium.make("didact/Oscillation-v0")``."""
    return TabularEnv(oscillation_mdp(), render_mode)


ENVIRONMENTS: dict[str, Callable[..., TabularEnv]] = {
    "didact/GridWorld-v0": make_grid_world,
    "didact/Corridor-v0": make_corridor,
    "didact/Oscillation-v0": make_oscillation,
}
