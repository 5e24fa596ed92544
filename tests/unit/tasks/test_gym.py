"""The small decision processes as Gymnasium environments."""

import dataclasses
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from didact import InvalidInput
from didact.tasks import corridor, environment, random_mdp, register_environments
from didact.tasks._gym import ENVIRONMENTS, TabularEnv, picture

register_environments()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_gymnasium_accepts_it(name: str) -> None:
    register_environments()  # again
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own advice on how to call it
        check_env(gymnasium.make(name, render_mode="rgb_array").unwrapped)


def test_it_does_what_the_arrays_say() -> None:
    """Frequencies of what follows, against the arrays; actions beyond the fourth included."""
    env = gymnasium.make("didact/GridWorld-v0", seed=1, size=5, actions=7, ending=0.1).unwrapped
    assert isinstance(env, TabularEnv)
    mdp, n = env.mdp, 4000
    env.reset(seed=0)
    state = int(mdp.start.argmax())
    for action in (0, 6):
        found: dict[tuple[int, float], int] = {}
        for _ in range(n):
            env.state = state
            _, reward, over, cut, info = env.step(action)
            assert not cut
            key = (-1 if over else info["state"], reward)
            found[key] = found.get(key, 0) + 1
        expected: dict[tuple[int, float], float] = {}
        place = state, mdp.effect[action]
        for s, p, r in zip(
            mdp.next_state[place], mdp.probability[place], mdp.reward[place], strict=True
        ):
            expected[int(s), float(r)] = expected.get((int(s), float(r)), 0.0) + p
        for key, p in expected.items():
            share = found.get(key, 0) / n
            assert abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 1e-9
        assert set(found) <= set(expected)


def test_one_seed_is_one_course() -> None:
    def course(seed: int) -> list[tuple[int, float]]:
        env = gymnasium.make("didact/GridWorld-v0", size=9, view=2)
        seen = [(env.reset(seed=seed)[0], 0.0)]
        over = cut = False
        while not (over or cut or len(seen) > 50):
            observation, reward, over, cut, _ = env.step(len(seen) % 4)
            seen.append((observation, float(reward)))
        return seen

    assert course(3) == course(3)
    assert len({tuple(course(seed)) for seed in range(5)}) > 1


def test_a_picture_shows_where_one_is() -> None:
    env = gymnasium.make("didact/GridWorld-v0", seed=2, render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(1)
    after = env.render()
    assert before.shape == after.shape == (320, 320, 3)
    assert before.dtype == np.uint8
    assert (before != after).any()
    assert picture(corridor(4)).shape == (16, 144, 3)
    assert gymnasium.make("didact/Corridor-v0").unwrapped.render() is None


def test_probabilities_in_single_precision_are_drawn_from() -> None:
    mdp = random_mdp(4, 2, generator=torch.Generator().manual_seed(0), outcomes=3)
    single = dataclasses.replace(mdp, probability=mdp.probability.astype(np.float32))
    env = environment(single)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(InvalidInput, match="probabilities sum to 1"):
        environment(dataclasses.replace(mdp, probability=mdp.probability / 2))


@pytest.mark.parametrize("action", [-1, 2, 1.7, None])
def test_an_action_that_there_is_not_is_refused(action: object) -> None:
    env = environment(corridor(3))
    env.reset(seed=0)
    with pytest.raises(InvalidInput, match="`action` should be an integer from 0 to 1"):
        env.step(action)
    assert env.step(np.int64(1))[0] == 4
