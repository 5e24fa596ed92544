"""Which rows are gradients, and of what: by machine, on random MDPs."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from didact import InvalidInput
from didact.policies import (
    RULES,
    Control,
    Dense,
    Rule,
    Span,
    asymmetry,
    dense,
    entropy_regularised,
    exp_entropy_regularised,
    expected_update,
    n_distill,
    objective,
    on_policy_distill,
    reinforce,
    td_teacher_value,
    teacher_distill,
    teacher_v_reward,
    value_gated,
    values,
    visitation,
)
from didact.tasks import MDP, corridor, oscillation_mdp, random_mdp

ROWS = [*RULES, *(r.with_reward() for r in RULES if r.control is Control.STUDENT and not r.reward)]
ROWS += [exp_entropy_regularised.over_trajectories()]
WORLDS = 50


def _drawn(seed: int, discount: float = 1.0) -> tuple[Dense, Tensor, Tensor]:
    """A random world, a student and a teacher; every other student sees less than the teacher."""
    generator = torch.Generator().manual_seed(seed)
    mdp = random_mdp(
        4 + seed % 3, 2 + seed % 3, generator=generator, observations=3 if seed % 2 else None
    )
    world = dense(mdp, discount)
    student = torch.randn(world.n_observations, world.n_actions, generator=generator).double()
    teacher = torch.randn(len(world.start), world.n_actions, generator=generator).double()
    return world, student, teacher.softmax(-1)


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_a_row_is_a_gradient_field_or_is_not(rule: Rule) -> None:
    found = [asymmetry(rule, *_drawn(seed)) for seed in range(WORLDS)]
    if rule.is_gradient:
        assert max(found) < 1e-10
    elif rule.gate:
        # Where the gate lets nothing pass there is nothing left to be asymmetric.
        assert sum(a > 1e-3 for a in found) > WORLDS / 2
    else:
        assert min(found) > 1e-3


CONTROLLED = [
    rule.controlled_by(control)
    for rule in ROWS
    for control in (Control.TEACHER, Control.UNIFORM)
    if rule.control is not control and rule.span is not Span.TRAJECTORY
]


@pytest.mark.parametrize("rule", CONTROLLED, ids=lambda rule: rule.name)
def test_a_row_under_another_control_is_a_gradient_field_or_is_not(rule: Rule) -> None:
    found = [asymmetry(rule, *_drawn(seed)) for seed in range(20)]
    if rule.is_gradient or rule.gate:  # a gate's field is one between the gate's jumps
        assert max(found) < 1e-10
    else:
        assert sum(a > 1e-3 for a in found) > 10


@pytest.mark.parametrize("control", [Control.TEACHER, Control.UNIFORM])
def test_around_a_loop_a_gated_update_adds_up_to_something(control: Control) -> None:
    found = []
    for seed in range(10):
        world, student, teacher = _drawn(seed)
        generator = torch.Generator().manual_seed(seed)
        a, b = (4 * torch.randn(student.shape, generator=generator).double() for _ in range(2))
        angles = torch.arange(100) / 100 * 2 * torch.pi
        loop = [
            (angle.cos() * a + angle.sin() * b, -angle.sin() * a + angle.cos() * b)
            for angle in angles.double()
        ]
        for rule in (value_gated, on_policy_distill):
            row = rule.controlled_by(control)
            along = [(expected_update(row, world, x, teacher) * v).sum() for x, v in loop]
            found.append((rule.gate, abs(float(torch.stack(along).mean()))))
    assert max(total for gate, total in found if not gate) < 1e-6
    assert max(total for gate, total in found if gate) > 0.1


@pytest.mark.parametrize("discount", [1.0, 0.9])
@pytest.mark.parametrize(
    "rule", [r for r in [*ROWS, *CONTROLLED] if r.is_gradient], ids=lambda rule: rule.name
)
def test_the_gradient_is_that_of_the_loss_that_the_table_states(
    rule: Rule, discount: float
) -> None:
    for seed in range(10):
        world, student, teacher = _drawn(seed, discount)
        student.requires_grad_()
        (gradient,) = torch.autograd.grad(objective(rule, world, student, teacher), student)
        found = expected_update(rule, world, student.detach(), teacher)
        torch.testing.assert_close(found, gradient, rtol=1e-9, atol=1e-11)


def test_the_objective_is_what_a_loop_over_time_adds_up() -> None:
    world, student, teacher = _drawn(2)
    rows = student[world.observation]
    policy = rows.softmax(-1)
    cost = -(teacher * rows.log_softmax(-1)).sum(-1) - (policy * world.reward).sum(-1)
    here, total = world.start, 0.0
    for _ in range(400):
        total += float(here @ cost)
        here = torch.einsum("s,sa,sat->t", here, policy, world.transition)
    assert float(objective(n_distill.with_reward(), world, student, teacher)) == pytest.approx(
        total, abs=1e-10
    )


def test_the_two_entropy_rows_are_one_field() -> None:
    for seed in range(10):
        drawn = _drawn(seed)
        torch.testing.assert_close(
            expected_update(entropy_regularised, *drawn),
            expected_update(exp_entropy_regularised, *drawn),
            rtol=1e-10,
            atol=1e-12,
        )


def test_proposition_1_on_policy_cloning_converges_to_the_teacher() -> None:
    world, student, teacher = _drawn(0)
    student = student.clone()
    for _ in range(1500):
        student -= 1.5 * expected_update(on_policy_distill, world, student, teacher)
    reached = visitation(world, student.softmax(-1)) > 1e-6
    assert float((student.softmax(-1) - teacher)[reached].abs().max()) < 1e-3


def test_proposition_2_the_gate_keeps_what_is_better_than_the_teacher() -> None:
    """With rewards and a gated loss the student ends no worse than its teacher."""
    for seed in (0, 2, 4):
        world, student, teacher = _drawn(seed)
        student = torch.zeros_like(student)
        for _ in range(500):
            student -= 0.5 * expected_update(value_gated.with_reward(), world, student, teacher)
        own = world.start @ values(world, student.softmax(-1))
        assert float(own) > float(world.start @ values(world, teacher))


def test_proposition_3_bootstrapping_from_the_teacher_improves_on_it() -> None:
    for seed in (0, 2, 4):
        world, _, teacher = _drawn(seed)
        critic = values(world, teacher)
        greedy = (world.reward + world.transition @ critic).argmax(-1)
        improved = torch.nn.functional.one_hot(greedy, world.n_actions).double()
        student = torch.zeros(world.n_observations, world.n_actions).double()
        for _ in range(400):
            student -= 10.0 * expected_update(td_teacher_value, world, student, teacher)
        own = values(world, student.softmax(-1))
        assert float(world.start @ own) > float(world.start @ critic)
        assert float((student.softmax(-1) - improved).abs().max()) < 0.05


def test_proposition_4_shaping_by_an_optimal_critic_is_the_advantage() -> None:
    """r + V(s') − V(s) ≤ 0, with equality on optimal actions: what holds of Proposition 4."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = 8  # deterministic, each step goes on to a later state or ends
        later = np.array([[rng.integers(s + 1, n + 1) for _ in range(3)] for s in range(n)])
        later[later == n] = -1
        reward = rng.normal(size=(n, 3))
        mdp = _deterministic(later, reward)
        world = dense(mdp)
        best = torch.zeros(n).double()
        for s in reversed(range(n)):
            best[s] = (world.reward[s] + world.transition[s] @ best).max()
        shaped = world.reward + world.transition @ best - best[:, None]
        assert float(shaped.max()) < 1e-12
        assert bool((shaped.max(-1).values.abs() < 1e-12).all())
        optimal = torch.nn.functional.one_hot((shaped + 0).argmax(-1), 3).double()
        torch.testing.assert_close(values(world, optimal), best)


def test_shaping_leaves_the_field_of_the_returns_alone() -> None:
    """Any potential: even an adversarial critic changes no expected update."""
    for seed in range(5):
        world, student, teacher = _drawn(seed)
        critic = torch.randn(len(world.start), generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(
            expected_update(
                teacher_v_reward, world, student, teacher, teacher_values=critic.double()
            ),
            expected_update(reinforce, world, student, teacher),
            rtol=1e-9,
            atol=1e-11,
        )


def _deterministic(later: np.ndarray, reward: np.ndarray) -> MDP:
    n, a = later.shape
    start = np.zeros(n)
    start[0] = 1.0
    return MDP(
        later.astype(np.int32)[..., None], np.ones((n, a, 1)), reward[..., None],
        np.arange(a, dtype=np.int32), start, np.arange(n, dtype=np.int32),
    )  # fmt: skip


def test_on_policy_distillation_with_rewards_circles_and_n_distill_ends() -> None:
    """Figure 2: e^x + e^−x + e^y + e^−y stays as it was; n_distill goes to p = q = 1."""
    world = dense(oscillation_mdp())
    teacher = torch.full((3, 2), 0.5).double()
    in_right = torch.tensor([0.0, 0.0, 1.0]).double()

    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        return -4 * student.softmax(-1)[:, 1] * in_right

    def field(rule: Rule, x: float, y: float) -> Tensor:
        theta = torch.tensor([[0.0, x], [0.0, y]]).double()
        return -expected_update(rule, world, theta, teacher, loss=loss)[:, 1]

    def sigmoid(z: float) -> float:
        return float(torch.tensor(z).double().sigmoid())

    circling = on_policy_distill.with_reward()
    for x, y in [(0.3, -1.0), (1.2, 0.4), (-0.7, 2.0)]:
        p, q = sigmoid(x), sigmoid(y)
        expected = [(1 - 2 * q) * p * (1 - p), (2 * p - 1) * q * (1 - q)]
        assert field(circling, x, y).tolist() == pytest.approx(expected, abs=1e-12)
        expected[0] = (1 + 2 * q) * p * (1 - p)
        assert field(n_distill.with_reward(), x, y).tolist() == pytest.approx(expected, abs=1e-12)

    for rule, circles in ((circling, True), (n_distill.with_reward(), False)):
        at = torch.tensor([0.3, -1.0]).double()
        kept = float((at.exp() + (-at).exp()).sum())
        for _ in range(300):  # Runge–Kutta of order 4
            h = 0.2
            k1 = field(rule, *at.tolist())
            k2 = field(rule, *(at + h / 2 * k1).tolist())
            k3 = field(rule, *(at + h / 2 * k2).tolist())
            k4 = field(rule, *(at + h * k3).tolist())
            at = at + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        now = float((at.exp() + (-at).exp()).sum())
        assert (abs(now - kept) < 1e-6) == circles
        assert bool((at.sigmoid() > 0.95).all()) == (not circles)


def test_visits_and_values_against_a_loop() -> None:
    world, student, _ = _drawn(4, 0.8)
    policy = student[world.observation].softmax(-1)
    here, visits, v = world.start, torch.zeros_like(world.start), torch.zeros_like(world.start)
    for t in range(200):
        visits = visits + 0.8**t * here
        here = torch.einsum("s,sa,sat->t", here, policy, world.transition)
        v = (policy * (world.reward + 0.8 * world.transition @ v)).sum(-1)
    torch.testing.assert_close(visitation(world, policy), visits, atol=1e-12, rtol=0)
    torch.testing.assert_close(values(world, policy), v, atol=1e-12, rtol=0)


def test_every_control_policy_is_where_it_says() -> None:
    """A loss alone: the update is the sum of the states' gradients, as often as q visits them."""
    world, student, teacher = _drawn(0)
    policy = student.softmax(-1)
    acting = {
        Control.TEACHER: teacher,
        Control.STUDENT: policy,
        Control.UNIFORM: torch.full_like(teacher, 1 / world.n_actions),
        Control.MIXTURE: 0.3 * teacher + 0.7 * policy,
    }
    for control, q in acting.items():
        rule = on_policy_distill.controlled_by(control)
        found = expected_update(rule, world, student, teacher, mixture=0.3)
        expected = visitation(world, q)[:, None] * (policy - teacher)
        torch.testing.assert_close(found, expected)
        assert rule.is_gradient == (control in (Control.TEACHER, Control.UNIFORM))
        assert (asymmetry(rule, world, student, teacher) < 1e-10) == rule.is_gradient


def test_a_trap_that_is_never_come_to_is_no_trap() -> None:
    """The last two states of the corridor go back and forth; what leads there is another policy."""
    later = np.array([[-1, 1], [0, 2], [1, 3], [4, 4], [3, 3]])[..., None]
    world = dense(dataclasses.replace(corridor(2), next_state=later), 0.9)
    world = dataclasses.replace(world, discount=1.0)
    left = torch.tensor([[1.0, 0.0]] * 5).double()
    assert values(world, left).tolist() == [-1, -1, -1, 0, 0]
    assert visitation(world, left).tolist() == [1, 1, 1, 0, 0]
    doubtful = torch.tensor([[0.5, 0.5]] * 5).double()
    for found in (values, visitation):
        with pytest.raises(InvalidInput, match="comes to and never leaves"):
            found(world, doubtful)
    barely = torch.tensor([[1e-14, 1 - 1e-14]] * 5).double()
    slow = dataclasses.replace(corridor(2), next_state=np.array([[-1, 1], [0, 1], [1, 1], [2, 1],
                                                                 [3, 1]])[..., None])  # fmt: skip
    with pytest.raises(InvalidInput, match="should end"):
        values(dense(slow), barely)


def test_tables_that_are_rounded_end_no_episodes() -> None:
    """What is missing to 1 in single precision is not taken for an end."""
    world = dense(corridor(5))
    out = torch.tensor([[0.1, 0.9]] * 5 + [[0.5, 0.5]] + [[0.9, 0.1]] * 5, dtype=torch.float64)
    once, again = visitation(world, out), visitation(world, out.float())
    assert float(once.sum()) > 1e4
    torch.testing.assert_close(again, once, rtol=1e-3, atol=0)
    rounded = dataclasses.replace(corridor(5), probability=np.full((11, 2, 1), 1 - 9e-7))
    torch.testing.assert_close(visitation(dense(rounded), out), once)
    farther = torch.tensor([[0.01, 0.99]] * 8 + [[0.5, 0.5]] + [[0.99, 0.01]] * 8).double()
    with pytest.raises(InvalidInput, match="or hardly ever"):  # 10¹⁶ steps
        values(dense(corridor(8)), farther)


def test_values_of_a_teacher_that_circles_where_the_student_goes_are_refused() -> None:
    later = np.array([[-1, 1], [1, -1]])[..., None]
    reward = np.array([[-1.0, 0.0], [-1.0, -2.0]])[..., None]
    mdp = MDP(
        later.astype(np.int32), np.ones((2, 2, 1)), reward, np.arange(2, dtype=np.int32),
        np.array([1.0, 0.0]), np.arange(2, dtype=np.int32),
    )  # fmt: skip
    teacher, student = torch.tensor([[1.0, 0.0]] * 2).double(), torch.zeros(2, 2).double()
    assert values(dense(mdp), teacher).tolist() == [-1, 0]
    with pytest.raises(InvalidInput, match="should end"):
        expected_update(value_gated, dense(mdp), student, teacher)
    given = torch.tensor([-1.0, -1e6]).double()
    found = expected_update(value_gated, dense(mdp), student, teacher, teacher_values=given)
    assert found[1].tolist() == [0, 0]


def test_what_breaks_a_rule_is_said() -> None:
    world, student, teacher = _drawn(0)
    with pytest.raises(InvalidInput, match=r"`teacher`.*\[states, actions\] = \[4, 2\]"):
        expected_update(n_distill, world, student, teacher[:-1])
    with pytest.raises(InvalidInput, match="probability distribution"):
        expected_update(n_distill, world, student, teacher * 0.9)
    with pytest.raises(InvalidInput, match="`logits` should be finite"):
        expected_update(n_distill, world, student * torch.nan, teacher)
    for given, says in (
        ({"mixture": 2}, "`mixture`"),
        ({"teacher_values": [0.0] * 4}, "`teacher_values` should be a tensor"),
        ({"teacher_values": teacher}, r"`teacher_values`.*4 states"),
        ({"teacher_values": torch.full((4,), torch.nan)}, "`teacher_values` should be finite"),
    ):
        with pytest.raises(InvalidInput, match=says):
            expected_update(value_gated, world, student, teacher, **given)
    single = expected_update(
        value_gated, world, student, teacher, teacher_values=values(world, teacher).float()
    )
    assert single.dtype == torch.float64
    for found in (values, visitation):
        with pytest.raises(InvalidInput, match=r"`policy`.*\[4, 2\]"):
            found(world, teacher[:-1])
        with pytest.raises(InvalidInput, match="`policy` should be finite"):
            found(world, teacher * torch.nan)
    with pytest.raises(InvalidInput, match="`mdp` should be from `dense`"):
        expected_update(n_distill, corridor(2), student, teacher)
    with pytest.raises(InvalidInput, match="`logits` should be a floating tensor"):
        expected_update(n_distill, world, student.numpy(), teacher)
    with pytest.raises(InvalidInput, match=r"`reward`.*\[4, 2\]"):
        values(world, teacher, torch.zeros(4))
    with pytest.raises(InvalidInput, match="a gradient"):
        objective(on_policy_distill, world, student, teacher)
    with pytest.raises(InvalidInput, match="the student controls"):
        teacher_distill.with_reward()
    endless = corridor(2)
    endless = dataclasses.replace(endless, next_state=np.abs(endless.next_state))
    with pytest.raises(InvalidInput, match="5 states from which no episode ends"):
        dense(endless)
    right = torch.tensor([[0.0, 1.0]] * 5).double()
    stuck = dataclasses.replace(
        corridor(2), next_state=np.array([[-1, 1], [0, 2], [1, 2], [2, 4], [3, -1]])[..., None]
    )
    with pytest.raises(InvalidInput, match="episode of the policy should end"):
        values(dense(stuck), right)


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("probability", np.full((5, 2, 1), 0.5), "sum to 1"),
        ("probability", np.ones((5, 2)), "shape"),
        ("reward", np.full((5, 2, 1), np.nan), "finite"),
        ("next_state", np.full((5, 2, 1), 5), "−1 or one of 5"),
        ("next_state", np.full((5, 2, 1), -2), "−1 or one of 5 states. Found -2"),
        ("next_state", np.full((5, 2, 1), 1.0), "`next_state` should be a NumPy array of integers"),
        ("reward", [[0.0]] * 5, "`reward` should be a NumPy array of numbers"),
        ("effect", np.array([0, 2]), "`effect`"),
        ("observation", np.array([0, 1, 2, 3, 5]), "`observation`"),
        ("start", np.zeros(5), "`start`"),
    ],
)
def test_an_mdp_that_contradicts_itself_is_refused(field: str, value: object, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        dense(dataclasses.replace(corridor(2), **{field: value}))
