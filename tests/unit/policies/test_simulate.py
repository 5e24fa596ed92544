"""The compiled simulator against exact expectations, and against itself."""

import dataclasses
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from didact import Diverged, InvalidInput
from didact.policies import (
    RULES,
    Control,
    Rule,
    Span,
    Value,
    dense,
    entropy_regularised,
    estimate_values,
    expected_update,
    n_distill,
    on_policy_distill,
    policy_of,
    q_learning,
    reinforce,
    simulate,
    teacher_distill,
    value_gated,
    values,
    visitation,
    worlds,
)
from didact.policies._losses import state_loss
from didact.policies._rule import Loss
from didact.policies._worlds import cumulated
from didact.tasks import MDP, corridor, grid_world, random_mdp

ROWS = [*RULES, *(r.with_reward() for r in RULES if r.control is Control.STUDENT and not r.reward)]
ROWS += [on_policy_distill.controlled_by(Control.UNIFORM)]
SUMS = [r.over_trajectories() for r in ROWS if r.returns and r.span is Span.TO_GO]
STATES, RUNS = 5, 40_000


def _world(seed: int, actions: int = 3, discount: float = 1.0) -> tuple[MDP, Any, Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    mdp = random_mdp(STATES, actions, generator=generator, observations=3, ending=0.3)
    if actions > 3:  # many actions of three kinds
        small = random_mdp(STATES, 3, generator=generator, observations=3, ending=0.3)
        mdp = dataclasses.replace(small, effect=(np.arange(actions) % 3).astype(np.int32))
    logits = torch.randn(3, actions, generator=generator).double()
    teacher = torch.randn(STATES, actions, generator=generator).double().softmax(-1)
    return mdp, dense(mdp, discount), logits, teacher


def _without_own_critic(rule: Rule) -> Rule:
    """What a rule is while the student's critic still says 0."""
    boot, base = (Value.NONE if v is Value.STUDENT else v for v in (rule.bootstrap, rule.baseline))
    return dataclasses.replace(rule, bootstrap=boot, baseline=base, gate=False)


@pytest.mark.parametrize(
    ("rule", "actions"),
    [*product(ROWS, (3, 20)), *product(SUMS, (3,))],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_mean_of_one_update_is_the_exact_one(rule: Rule, actions: int) -> None:
    mdp, world, logits, teacher = _world(0, actions)
    critic = values(world, teacher) if not rule.gate else torch.ones(STATES).double()
    found = simulate(
        rule, worlds([mdp]), teacher.numpy(), updates=1, seed=1, runs=RUNS, discount=1.0,
        learning_rate=0.5, teacher_values=critic.numpy(), initial=logits.numpy(), logits=True,
        watched=1, checkpoints=1,
    )  # fmt: skip
    assert found.logits is not None
    steps = (logits.numpy() - found.logits) / 0.5
    exact = expected_update(
        _without_own_critic(rule), world, logits, teacher, teacher_values=critic
    ).numpy()
    error = steps.std(0) / np.sqrt(RUNS)
    assert (np.abs(steps.mean(0) - exact) < 4.5 * error + 1e-12).all()
    assert np.abs(exact).max() > 5 * error.max()  # something to find


def test_an_update_under_a_mixture_anneals() -> None:
    """The first update is the teacher's; halfway both act; at the end the student's."""
    mdp, world, logits, teacher = _world(1)
    rule = on_policy_distill.controlled_by(Control.MIXTURE)
    for at, share in ((0, 1.0), (5, 0.5), (20, 0.0)):
        found = simulate(
            rule, worlds([mdp]), teacher.numpy(), updates=at + 1, seed=2, runs=RUNS, discount=1.0,
            learning_rate=1e-9, initial=logits.numpy(), logits=True, watched=1, anneal=10,
            checkpoints=[at, at + 1] if at else [1],
        )  # fmt: skip
        lengths = np.diff(found.steps, axis=1, prepend=0)[:, -1]
        acting = share * teacher + (1 - share) * logits[world.observation].softmax(-1)
        exact = float(visitation(world, acting).sum())
        error = lengths.std() / np.sqrt(RUNS)
        assert abs(lengths.mean() - exact) < 4.5 * error


def test_a_gate_lets_through_where_the_teacher_promises_more() -> None:
    mdp, world, logits, teacher = _world(2)
    promise = torch.tensor([1.0, -1.0, 1.0, -1.0, 0.0]).double()
    gated = next(rule for rule in RULES if rule.gate)
    found = simulate(
        gated, worlds([mdp]), teacher.numpy(), updates=1, seed=1, runs=RUNS, learning_rate=1.0,
        discount=1.0, teacher_values=promise.numpy(), initial=logits.numpy(), logits=True,
        watched=1, checkpoints=1,
    )  # fmt: skip
    assert found.logits is not None
    rows = logits[world.observation]
    d = visitation(world, rows.softmax(-1)) * (promise > 0)
    exact = torch.zeros_like(logits).index_add(
        0, world.observation, d[:, None] * (rows.softmax(-1) - teacher)
    )
    steps = logits.numpy() - found.logits
    error = steps.std(0) / np.sqrt(RUNS)
    assert (np.abs(steps.mean(0) - exact.numpy()) < 4.5 * error + 1e-12).all()


def test_what_is_watched_is_what_linear_solves_say() -> None:
    mdp, world, logits, teacher = _world(3, discount=0.9)
    whole = dense(mdp)
    student = logits[world.observation]
    policies = {
        Control.TEACHER: teacher,
        Control.STUDENT: student.softmax(-1),
        Control.UNIFORM: torch.full_like(teacher, 1 / 3),
    }
    found = simulate(
        reinforce, worlds([mdp]), teacher.numpy(), updates=1, seed=0, runs=200, discount=0.9,
        learning_rate=1e-12, initial=logits.numpy(), watched=2000, checkpoints=[0],
        controls=list(policies),
    )  # fmt: skip
    cross = state_loss(Loss.CROSS_ENTROPY, student, teacher)
    for k, policy in enumerate(policies.values()):
        visits = visitation(whole, policy)
        exact = {
            "returns": whole.start @ values(whole, policy),
            "discounted": world.start @ values(world, policy),
            "lengths": visits.sum(),
            "cross_entropy": (visits * cross).sum() / visits.sum(),
        }
        for name, value in exact.items():
            runs = getattr(found, name)[:, 0, k]
            error = runs.std() / np.sqrt(len(runs))
            assert abs(runs.mean() - float(value)) < 4.5 * error, (name, k)


@pytest.mark.parametrize(("baseline", "trace"), [(False, 1.0), (True, 1.0), (True, 0.3), (True, 0)])
def test_what_an_update_weighs_is_what_a_loop_says(baseline: bool, trace: float) -> None:
    """On a path without choices |Δθ_a − Δθ_b| of a state is α times the weight of its step."""
    rewards, discount, rate = [1.0, -2.0, 3.0], 0.9, 0.5
    path = MDP(
        next_state=np.array([1, 2, -1], np.int32).reshape(3, 1, 1), probability=np.ones((3, 1, 1)),
        reward=np.array(rewards).reshape(3, 1, 1), effect=np.zeros(2, np.int32),
        start=np.array([1.0, 0.0, 0.0]), observation=np.arange(3, dtype=np.int32),
    )  # fmt: skip
    before, critic = np.zeros((3, 2)), [0.0, 0.0, 0.0]
    for update in (1, 2, 3):
        after = simulate(
            reinforce, worlds([path]), np.full((3, 2), 0.5), updates=update, seed=0,
            learning_rate=1e-6, critic_rate=rate, discount=discount, baseline=baseline,
            trace=trace, logits=True, watched=1, checkpoints=1,
        ).logits  # fmt: skip
        assert after is not None
        ahead, behind, expected = 0.0, list(critic), [0.0, 0.0, 0.0]
        for t in (2, 1, 0):
            beyond = behind[t + 1] if t < 2 else 0.0
            ahead = rewards[t] + discount * (trace * ahead + (1 - trace) * beyond)
            expected[t] = abs(ahead - (behind[t] if baseline else 0.0))
            critic[t] += rate * (ahead - critic[t])
        moved = np.abs(np.diff(after[0] - before, axis=1))[:, 0] / 1e-6
        assert moved == pytest.approx(expected, rel=1e-4)
        before = after[0]
    with pytest.raises(InvalidInput, match="trace"):
        simulate(
            reinforce, worlds([path]), np.full((3, 2), 0.5), updates=1, seed=0, trace=0.5
        )  # fmt: skip


def test_the_student_critic_learns_values() -> None:
    """actor_critic reaches what the exact policy gradient would: the best of the corridor."""
    rule = next(r for r in RULES if r.name == "actor_critic")
    found = simulate(
        rule, worlds([corridor(3)]), np.full((7, 2), 0.5), updates=3000, seed=0, runs=20
    )
    assert found.returns[:, -1, 0].min() > 0.9


def test_numbers_depend_on_seed_and_place_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    many = worlds([grid_world(generator=generator, size=8) for _ in range(3)])
    q = q_learning(many, seed=0, episodes=500)
    teacher = policy_of(q)
    shared: dict[str, Any] = {"updates": 300, "seed": 5, "logits": True, "watched": 3}

    def same(a: Any, b: Any) -> bool:
        return all(
            np.array_equal(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)
        )

    one = simulate(n_distill, many, teacher, **shared)
    assert same(one, simulate(n_distill, many, teacher, **shared, threads=2))
    assert not same(one, simulate(n_distill, many, teacher, **{**shared, "seed": 6}))
    # Looks in between change nothing of the training.
    often = simulate(n_distill, many, teacher, **shared, checkpoints=[7, 100, 300])
    assert np.array_equal(one.logits, often.logits)
    assert np.array_equal(one.steps[:, -1], often.steps[:, -1])
    assert np.array_equal(q, q_learning(many, seed=0, episodes=500, threads=2))
    first, _ = estimate_values(many, teacher, seed=1)
    assert np.array_equal(first, estimate_values(many, teacher, seed=1, threads=2)[0])
    assert len({run.tobytes() for run in one.logits}) == 3


def test_q_learning_finds_the_values_of_a_corridor() -> None:
    many = worlds([corridor(3)])
    q = q_learning(many, seed=0, episodes=5000, rate=0.1, discount=0.9, epsilon=1.0)
    best = 0.9 ** np.arange(6, -1, -1)
    assert q[0, :, 1] == pytest.approx(best, abs=0.02)
    assert q[0, 0, 0] == pytest.approx(-1, abs=0.02)
    assert policy_of(q, 0.01)[0, :, 1].min() > 0.9


def test_estimated_values_are_near_the_exact_ones() -> None:
    mdp, world, _, teacher = _world(4, discount=0.9)
    found, visits = estimate_values(
        worlds([mdp]), teacher.numpy(), seed=0, episodes=100_000, discount=0.9
    )
    assert visits.min() > 1000
    assert found[0] == pytest.approx(values(world, teacher).numpy(), abs=0.03)


def test_an_episode_that_goes_back_and_forth_is_cut_and_counted() -> None:
    stuck = np.zeros((5, 2))
    stuck[:, 0], stuck[1, :] = 30.0, [0.0, 30.0]  # 2 → 1 → 2 → …
    teacher = np.full((5, 2), 0.5)
    found = simulate(
        teacher_distill.controlled_by(Control.STUDENT), worlds([corridor(2)]), teacher, updates=1,
        seed=0, initial=stuck, limit=50, watched=1, checkpoints=1,
    )  # fmt: skip
    assert found.cut.tolist() == [[1]]
    assert found.steps.tolist() == [[50]]


def test_bad_input_is_said() -> None:
    many, half = worlds([corridor(2)]), np.full((5, 2), 0.5)
    for bad, says in (
        ({"teacher": np.ones((5, 2))}, "probability distribution"),
        ({"teacher": half[:4]}, r"\[worlds, states, actions\] = \[1, 5, 2\]"),
        ({"updates": 0}, "`updates`"),
        ({"checkpoints": [5, 5]}, "ascending"),
        ({"controls": []}, "`controls`"),
        ({"threads": 10_000}, "`threads`"),
        ({"initial": np.zeros((4, 2))}, "`initial`"),
        ({"rule": next(r for r in RULES if r.gate)}, "`teacher_values`"),
        ({"rule": on_policy_distill.controlled_by(Control.MIXTURE)}, "`anneal`"),
        ({"rule": "n_distill"}, "`rule` should be a Rule"),
        ({"rule": n_distill.controlled_by(Control.UNIFORM), "baseline": True}, "`baseline`"),
        ({"controls": (7,)}, "`controls`"),
        ({"controls": Control.STUDENT}, "`controls`"),
        ({"checkpoints": 5.5}, "`checkpoints`"),
        ({"checkpoints": [1.5, 2.5]}, "`checkpoints`"),
        ({"teacher": [[1.0], [0.5, 0.5]]}, "`teacher` should be an array of numbers"),
        ({"seed": 2**70}, "`seed`"),
        ({"rule": value_gated, "teacher_values": np.zeros(4)}, r"`teacher_values`.*\[1, 5\]"),
        ({"rule": value_gated, "teacher_values": np.zeros((2, 1, 5))}, "`teacher_values`"),
    ):
        given: dict[str, Any] = {
            "rule": entropy_regularised, "teacher": half, "updates": 3, "seed": 0, **bad
        }  # fmt: skip
        with pytest.raises(InvalidInput, match=says):
            simulate(worlds=many, **given)
    with pytest.raises(Diverged, match=r"After update \d+ .* run 0 .*`learning_rate`"):
        simulate(n_distill, many, half, updates=20, seed=0, learning_rate=1e308)
    with pytest.raises(InvalidInput, match="`limit`"):
        q_learning(many, seed=0, limit=-5)
    with pytest.raises(InvalidInput, match="`limit`"):
        estimate_values(many, half, seed=0, limit=-5)
    with pytest.raises(InvalidInput, match="`q` should be finite"):
        policy_of([[0.0, np.nan]])
    with pytest.raises(InvalidInput, match="`mdps`"):
        worlds(corridor(2))
    with pytest.raises(InvalidInput, match="NumPy array"):
        worlds([1])
    for call in (
        lambda: simulate(n_distill, corridor(2), half, updates=1, seed=0),
        lambda: q_learning([corridor(2)], seed=0),
        lambda: estimate_values(corridor(2), half, seed=0),
    ):
        with pytest.raises(InvalidInput, match="`worlds` should be from `worlds`"):
            call()
    found = simulate(
        n_distill, many, torch.tensor(half, requires_grad=True), updates=2, seed=0,
        checkpoints=np.int64(2),
    )  # fmt: skip
    assert found.updates.tolist() == [1, 2]
    with pytest.raises(InvalidInput, match="as many states"):
        worlds([corridor(2), corridor(3)])
    endless = corridor(2)
    endless = dataclasses.replace(endless, next_state=np.abs(endless.next_state))
    with pytest.raises(InvalidInput, match="5 states of number 0 from which no episode ends"):
        worlds([endless])
    with pytest.raises(InvalidInput, match="at least one"):
        worlds([])


def test_rounding_draws_nothing_impossible() -> None:
    """Ten tenths add up to less than 1: what is missing must not fall to the eleventh outcome."""
    shares = np.array([0.1] * 10 + [0.0])
    assert np.cumsum(shares)[-1] < 1
    assert cumulated(shares)[-2] == 1
    generator = torch.Generator().manual_seed(0)
    random = torch.rand(1000, 7, generator=generator).double().softmax(-1).numpy()
    random[:, 3] = 0.0
    found = cumulated(random)
    assert (found[:, -1] == 1).all()
    assert (np.diff(found) >= 0).all()
