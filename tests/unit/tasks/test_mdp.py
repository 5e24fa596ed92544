"""The small decision processes, against what the paper says of them."""

import numpy as np
import pytest
import torch

from didact import InvalidInput
from didact.policies import dense, values, visitation
from didact.policies._mdp import check_mdp, trapped_states
from didact.tasks import corridor, grid_world, oscillation_mdp, random_mdp
from didact.tasks._grid_world import CELLS, MOVES


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_all_of_them_are_what_an_mdp_must_be() -> None:
    for mdp in (
        corridor(1), corridor(7), oscillation_mdp(), grid_world(generator=_generator()),
        grid_world(generator=_generator(), size=5, view=1, actions=40),
        random_mdp(6, 3, generator=_generator(), outcomes=2, observations=4),
    ):  # fmt: skip
        check_mdp(mdp)
        assert not len(trapped_states(mdp))


def test_moves_of_a_grid_world_one_by_one() -> None:
    """Every outcome of every cell, from the pictures and the text of appendix A."""
    slip, ending = 0.2, 0.05
    world = grid_world(generator=_generator(3), size=7, slip=slip, ending=ending, actions=6)
    for r in range(7):
        for c in range(7):
            for action in range(6):
                expected: dict[tuple[int, float], float] = {}
                for move, chance in [(action, 1 - slip)] + [(k, slip / 4) for k in range(4)]:
                    to = (r, c)
                    if move < 4:
                        near = r + MOVES[move][0], c + MOVES[move][1]
                        if min(near) >= 0 and max(near) < 7 and not world.walls[near]:
                            to = near
                    over = bool(world.terminal[to]) and to != (r, c)
                    for after, p in ((7 * to[0] + to[1], 1 - ending), (-1, ending)):
                        key = (-1 if over else after, float(world.rewards[to]))
                        expected[key] = expected.get(key, 0.0) + chance * p
                found: dict[tuple[int, float], float] = {}
                e = world.effect[action]
                for s, p, paid in zip(
                    world.next_state[7 * r + c, e], world.probability[7 * r + c, e],
                    world.reward[7 * r + c, e], strict=True,
                ):  # fmt: skip
                    if p > 0:
                        found[int(s), float(paid)] = found.get((int(s), float(paid)), 0.0) + p
                assert found == pytest.approx(expected)


def test_cells_come_as_often_as_their_tests_say() -> None:
    worlds = [grid_world(generator=_generator(seed)) for seed in range(200)]
    walls = np.stack([w.walls for w in worlds])
    rewards = np.stack([w.rewards for w in worlds])
    left = 1.0
    for p, what, ends in CELLS:
        share = left * p
        left *= 1 - p
        hits = walls if isinstance(what, str) else (rewards == what) & ~walls
        assert hits.mean() == pytest.approx(share, rel=0.1 if share > 0.05 else 0.15)
        if not isinstance(what, str):
            for world in worlds:
                assert (world.terminal[world.rewards == what] == ends).all()


def test_what_policies_earn_is_what_was_measured_of_such_worlds() -> None:
    """The optimal policy (γ = 0.99) about 9.2, the uniform one about −2.1, undiscounted."""
    best, blind = [], []
    for seed in range(40):
        world = grid_world(generator=_generator(seed))
        mdp, whole = dense(world, 0.99), dense(world)
        policy = torch.full((400, 4), 0.25).double()
        for _ in range(15):  # policy iteration
            q = mdp.reward + 0.99 * mdp.transition @ values(mdp, policy)
            policy = torch.nn.functional.one_hot(q.argmax(-1), 4).double()
        best.append(float(whole.start @ values(whole, policy)))
        blind.append(float(whole.start @ values(whole, torch.full((400, 4), 0.25))))
    assert np.mean(best) == pytest.approx(9.1, abs=0.3)
    assert np.mean(blind) == pytest.approx(-2.1, abs=1.2)


def test_windows_are_numbers_of_what_is_seen() -> None:
    world = grid_world(generator=_generator(1), size=9, view=1)
    kinds = np.full((11, 11), -100.0)
    inner = 10 * world.rewards + world.terminal
    kinds[1:-1, 1:-1] = np.where(world.walls, -100.0, inner)
    seen: dict[bytes, int] = {}
    for r in range(9):
        for c in range(9):
            window = kinds[r : r + 3, c : c + 3].tobytes()
            number = int(world.observation[9 * r + c])
            assert seen.setdefault(window, number) == number
    assert sorted(seen.values()) == list(range(world.n_observations))
    assert world.n_observations < 81
    whole = grid_world(generator=_generator(1), size=9)
    assert whole.observation.tolist() == list(range(81))
    assert (whole.walls == world.walls).all()


def test_many_actions_of_which_four_move() -> None:
    world = grid_world(generator=_generator(2), size=5, actions=100, slip=0.0, ending=0.1)
    assert world.n_actions == 100
    mdp = dense(world)
    for a in (4, 57, 99):
        stays = mdp.transition[:, a]
        torch.testing.assert_close(stays, 0.9 * torch.eye(25).double())


def test_a_corridor_pays_at_its_ends() -> None:
    mdp = dense(corridor(3))
    always = torch.zeros(7, 2).double()
    always[:, 1] = 1
    assert values(mdp, always).tolist() == [1.0] * 7
    assert float(visitation(mdp, always).sum()) == 4
    assert values(mdp, 1 - always).tolist() == [-1.0] * 7


def test_bad_input_is_said() -> None:
    for bad in (
        {"size": 2}, {"slip": 1.5}, {"actions": 3}, {"view": 20}, {"ending": -0.1}
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match=next(iter(bad))):
            grid_world(generator=_generator(), **bad)
    with pytest.raises(InvalidInput, match="half"):
        corridor(0)
