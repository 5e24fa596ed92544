"""The torch reader against the exact one: all trajectories of a small MDP, one after another."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    VonMises,
    kl_divergence,
)

from didact import InvalidInput
from didact.policies import (
    RULES,
    Channel,
    Control,
    Dense,
    Episodes,
    Loss,
    Rule,
    Span,
    Value,
    actor_critic,
    dense,
    divergence,
    entropy_regularised,
    exp_entropy_regularised,
    expected_return,
    expected_update,
    n_distill,
    on_policy_distill,
    reinforce,
    returns,
    reverse_kl,
    rollout,
    rule_returns,
    surrogate,
    td_teacher_value,
    td_zero,
    teacher_distill,
    value_gated,
    values,
)
from didact.tasks import MDP

ROWS = [*RULES, *(r.with_reward() for r in RULES if r.control is Control.STUDENT and not r.reward)]
ROWS += [r.over_trajectories() for r in ROWS if r.returns and r.span is Span.TO_GO]
ROWS += [on_policy_distill.controlled_by(c) for c in (Control.UNIFORM, Control.MIXTURE)]
STEPS = 3


def _layered(seed: int) -> MDP:
    """Two states in each of three layers; from each an action goes on to the next, or ends."""
    rng = np.random.default_rng(seed)
    states, actions = 2 * STEPS, 2
    later = np.full((states, actions, 3), -1)
    for s in range(states - 2):
        later[s, :, :2] = 2 * (s // 2 + 1) + np.arange(2)
    start = np.zeros(states)
    start[:2] = [0.3, 0.7]
    seen = np.array([0, 1, 2, 3, 0, 2])
    return MDP(
        later.astype(np.int32), rng.dirichlet(np.ones(3), (states, actions)),
        rng.normal(size=(states, actions, 3)), np.arange(actions, dtype=np.int32), start,
        seen.astype(np.int32),
    )  # fmt: skip


def _trajectories(
    mdp: MDP, acting: Tensor
) -> Iterator[tuple[float, list[int], list[int], list[float]]]:
    """Probability, states (the end not among them), actions, rewards."""

    def on(p: float, states: list[int], actions: list[int], rewards: list[float]) -> Any:
        s = states[-1]
        for a in range(acting.shape[1]):
            for k in range(mdp.next_state.shape[-1]):
                chance = p * float(acting[s, a]) * mdp.probability[s, a, k]
                so_far = [*actions, a], [*rewards, mdp.reward[s, a, k]]
                if (after := int(mdp.next_state[s, a, k])) < 0:
                    yield chance, states, *so_far
                else:
                    yield from on(chance, [*states, after], *so_far)

    for s in np.flatnonzero(mdp.start):
        yield from on(float(mdp.start[s]), [int(s)], [], [])


def _world(seed: int, discount: float) -> tuple[MDP, Dense, Tensor, Tensor]:
    mdp = _layered(seed)
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(4, 2, generator=generator).double()
    teacher = torch.randn(2 * STEPS, 2, generator=generator).double().softmax(-1)
    return mdp, dense(mdp, discount), student, teacher


def _padded(states: list[int]) -> Tensor:
    return torch.tensor([*states, *[0] * (STEPS + 1 - len(states))])[None]


@pytest.mark.parametrize("discount", [1.0, 0.8])
@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_over_all_trajectories_it_is_the_exact_update(rule: Rule, discount: float) -> None:
    mdp, world, student, teacher = _world(1, discount)
    policy = student[world.observation].softmax(-1)
    acting = {
        Control.TEACHER: teacher,
        Control.STUDENT: policy,
        Control.UNIFORM: torch.full_like(teacher, 0.5),
        Control.MIXTURE: 0.5 * teacher + 0.5 * policy,
    }[rule.control]
    of_teacher, of_student = values(world, teacher), values(world, policy)
    theta = student.clone().requires_grad_()
    found, total = torch.zeros_like(student), 0.0
    for p, states, actions, rewards in _trajectories(mdp, acting):
        n, at = len(actions), _padded(states)
        episodes = Episodes(
            _padded(actions)[:, :STEPS],
            torch.tensor([[*rewards, *[torch.nan] * (STEPS - n)]]).double(),
            torch.tensor([n]),
            torch.tensor([True]),
        )
        loss = surrogate(
            rule, episodes, Categorical(logits=theta[world.observation[at]]),
            Categorical(teacher[at]), discount=discount, discounted_states=True,
            teacher_values=of_teacher[at], values=of_student[at],
        )  # fmt: skip
        if loss.requires_grad:
            found += p * torch.autograd.grad(loss, theta)[0]
        total += p
    assert total == pytest.approx(1)
    expected = expected_update(rule, world, student, teacher)
    assert float(expected.abs().max()) > 1e-3 or rule.gate
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("rule", [n_distill, entropy_regularised], ids=lambda rule: rule.name)
def test_a_critic_as_baseline_and_td_change_no_expectation(rule: Rule) -> None:
    """With the exact critic of R̂ every λ has the same mean, and with it as baseline too."""
    mdp, world, student, teacher = _world(2, 1.0)
    policy = student[world.observation].softmax(-1)
    if rule is n_distill:
        cross = -(teacher * policy.log()).sum(-1)
        reward = -(world.transition @ cross)
    else:
        reward = teacher.log()
    of_r_hat = values(world, policy, reward)
    expected = expected_update(rule, world, student, teacher)
    theta = student.clone().requires_grad_()
    for trace in (0.0, 0.6, 1.0):
        found = torch.zeros_like(student)
        for p, states, actions, rewards in _trajectories(mdp, policy):
            at = _padded(states)
            episodes = Episodes(
                _padded(actions)[:, :STEPS],
                torch.tensor([[*rewards, *[0.0] * (STEPS - len(rewards))]]).double(),
                torch.tensor([len(actions)]),
                torch.tensor([True]),
            )
            loss = surrogate(
                rule, episodes, Categorical(logits=theta[world.observation[at]]),
                Categorical(teacher[at]), critic=of_r_hat[at], trace=trace,
            )  # fmt: skip
            found += p * torch.autograd.grad(loss, theta)[0]
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("control", [Control.TEACHER, Control.UNIFORM, Control.MIXTURE])
@pytest.mark.parametrize("rule", [reinforce, n_distill, exp_entropy_regularised],
                         ids=lambda rule: rule.name)  # fmt: skip
def test_where_another_acts_a_critic_is_no_baseline(rule: Rule, control: Control) -> None:
    mdp, world, student, teacher = _world(3, 0.9)
    policy = student[world.observation].softmax(-1)
    acting = {
        Control.TEACHER: teacher,
        Control.UNIFORM: torch.full_like(teacher, 0.5),
        Control.MIXTURE: 0.5 * teacher + 0.5 * policy,
    }[control]
    rule, critic = rule.controlled_by(control), torch.arange(2.0 * STEPS).double()
    theta, found = student.clone().requires_grad_(), torch.zeros_like(student)
    for p, states, actions, rewards in _trajectories(mdp, acting):
        at = _padded(states)
        episodes = Episodes(
            _padded(actions)[:, :STEPS],
            torch.tensor([[*rewards, *[0.0] * (STEPS - len(rewards))]]).double(),
            torch.tensor([len(actions)]), torch.tensor([True]),
        )  # fmt: skip
        loss = surrogate(
            rule, episodes, Categorical(logits=theta[world.observation[at]]),
            Categorical(teacher[at]), discount=0.9, discounted_states=True, critic=critic[at],
        )  # fmt: skip
        found += p * torch.autograd.grad(loss, theta)[0]
    expected = expected_update(rule, world, student, teacher)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_a_critic_can_be_fitted_to_what_a_rule_sums(trace: float) -> None:
    """Regression on the returns of the rule's rewards ends at the exact critic, cut off or not."""
    mdp, world, student, teacher = _world(1, 0.9)
    policy = student[world.observation].softmax(-1)
    generator = torch.Generator().manual_seed(0)
    episodes, at = rollout(mdp, policy, episodes=50_000, generator=generator, limit=STEPS - 1)
    assert 0 < int(episodes.terminated.sum()) < len(at)
    own, guide = Categorical(logits=student[world.observation[at]]), Categorical(teacher[at])
    made = at[:, :-1][episodes.mask]
    for rule in (n_distill.with_reward(), entropy_regularised, exp_entropy_regularised):
        exact = expected_return(rule, world, student, teacher)
        critic = exact.clone()
        critic[:-2] = 0.0  # of the last layer, in which no step was made, the critic is given
        for _ in range(STEPS):
            aims = rule_returns(
                rule, episodes, own, guide, discount=0.9, critic=critic[at], trace=trace
            )[episodes.mask]
            sums = torch.zeros_like(critic).index_add(0, made, aims)
            visits = torch.bincount(made, minlength=len(critic))
            critic = torch.where(visits > 0, sums / visits.clamp_min(1), critic)
        assert int((visits > 0).sum()) == len(critic) - 2
        torch.testing.assert_close(critic, exact, atol=0.03, rtol=0)


def test_what_a_rule_of_one_step_sums_is_its_step() -> None:
    mdp, world, student, teacher = _world(1, 0.9)
    policy = student[world.observation].softmax(-1)
    episodes, at = rollout(mdp, policy, episodes=20_000, generator=torch.Generator().manual_seed(0))
    own, guide = Categorical(logits=student[world.observation[at]]), Categorical(teacher[at])
    of_teacher, of_student = values(world, teacher), values(world, policy)
    for rule in (td_teacher_value, actor_critic, td_zero):
        found = rule_returns(
            rule, episodes, own, guide, discount=0.9, teacher_values=of_teacher[at],
            values=of_student[at],
        )  # fmt: skip
        made = at[:, :-1][episodes.mask]
        sums = torch.zeros(2 * STEPS).double().index_add(0, made, found[episodes.mask])
        mean = sums / torch.bincount(made, minlength=2 * STEPS)
        exact = expected_return(rule, world, student, teacher)
        torch.testing.assert_close(mean, exact, atol=0.05, rtol=0)


def test_nothing_is_differentiated_through_actions() -> None:
    mean = torch.zeros(1, 4, requires_grad=True)
    policy = Normal(mean, 1.0)
    torch.manual_seed(0)
    actions = policy.rsample()[:, :3]
    found = []
    for made in (actions, actions.detach()):
        episodes = Episodes(made, torch.ones(1, 3), torch.tensor([3]), torch.tensor([True]))
        found.append(torch.autograd.grad(surrogate(reinforce, episodes, policy, policy), mean)[0])
    assert torch.equal(*found)
    assert float(found[0].abs().sum()) > 0.1


def test_the_state_behind_an_end_is_not_looked_at() -> None:
    logits = torch.zeros(1, 3, 2)
    logits[:, 2, 0] = -torch.inf  # in the terminal state an action is masked
    episodes = Episodes(
        torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([2]), torch.tensor([True])
    )
    teacher = Categorical(logits=torch.zeros(1, 3, 2))
    assert bool(surrogate(n_distill, episodes, Categorical(logits=logits), teacher).isfinite())


def test_kinds_are_not_mixed_up() -> None:
    """As numbers Loss.KL and Value.… are equal."""
    for field, wrong in (("loss", Channel.LOG_TEACHER), ("control", 1), ("span", "step")):
        with pytest.raises(InvalidInput, match=f"`{field}` should be a"):
            dataclasses.replace(n_distill, **{field: wrong})
    normal = Normal(torch.zeros(1), torch.ones(1))
    with pytest.raises(InvalidInput, match="`loss` should be a divergence"):
        divergence("KL", normal, normal)


def test_an_episode_that_is_cut_off_goes_on_in_the_critic() -> None:
    """Cut after two of four steps, with the true rest as critic: the same first two terms."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 6, 3).double()
    actions, rewards = torch.randint(3, (1, 5)), torch.randn(1, 5).double()
    for rule in (n_distill.with_reward(), reverse_kl.with_reward()):
        whole = Episodes(actions, rewards, torch.tensor([5]), torch.tensor([True]))
        r_hat = rewards.clone()
        loss = divergence(rule.loss, Categorical(logits=student), Categorical(logits=teacher))
        r_hat[:, :-1] -= 0.9 * loss[:, 1:5]
        critic = torch.zeros(1, 6).double()
        critic[:, :5] = returns(whole, r_hat, 0.9, None)
        cut = Episodes(actions[:, :2], rewards[:, :2], torch.tensor([2]), torch.tensor([False]))
        gradients = []
        for episodes, n in ((whole, 6), (cut, 3)):
            theta = student.clone().requires_grad_()
            value = surrogate(
                rule, episodes, Categorical(logits=theta[:, :n]),
                Categorical(logits=teacher[:, :n]), discount=0.9, critic=critic[:, :n],
            )  # fmt: skip
            gradients.append(torch.autograd.grad(value, theta)[0][:, :2])
        torch.testing.assert_close(*gradients)
        with pytest.raises(InvalidInput, match=r"`critic`.*cut off"):
            surrogate(
                rule, cut, Categorical(logits=student[:, :3]), Categorical(logits=teacher[:, :3])
            )


def test_where_it_was_cut_off_the_next_action_is_expected() -> None:
    student, teacher = torch.randn(2, 1, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    cut = Episodes(
        torch.tensor([[1]]), torch.zeros(1, 1).double(), torch.tensor([1]), torch.tensor([False])
    )
    theta = student.clone().requires_grad_()
    rule = exp_entropy_regularised
    loss = surrogate(
        rule, cut, Categorical(logits=theta), Categorical(logits=teacher),
        critic=torch.zeros(1, 2).double(),
    )  # fmt: skip
    (found,) = torch.autograd.grad(loss, theta)
    log_pi = teacher.log_softmax(-1)
    ahead = (student[0, 1].softmax(-1) * log_pi[0, 1]).sum()
    again = student.clone().requires_grad_()
    by_hand = -again.log_softmax(-1)[0, 0, 1] * ahead
    by_hand = by_hand - (again.softmax(-1)[0, 0] * log_pi[0, 0]).sum()
    torch.testing.assert_close(found, torch.autograd.grad(by_hand, again)[0])


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(ROWS),
    trace=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_ragged_batch_is_the_mean_of_its_episodes_alone(
    lengths: list[int], seed: int, rule: Rule, trace: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    b, t = len(lengths), max(lengths)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).double()

    student, teacher = draw(b, t + 1, 3), draw(b, t + 1, 3)
    critics = {name: draw(b, t + 1) for name in ("teacher_values", "values", "critic")}
    episodes = Episodes(
        torch.randint(3, (b, t), generator=generator), draw(b, t), torch.tensor(lengths),
        torch.rand(b, generator=generator) < 0.5,
    )  # fmt: skip

    def loss(rows: list[int], n: int, junk: float = 0.0) -> Tensor:
        cut = Episodes(
            episodes.actions[rows, :n], episodes.rewards[rows, :n], episodes.lengths[rows],
            episodes.terminated[rows],
        )  # fmt: skip
        behind = torch.arange(n + 1) > cut.lengths[:, None]
        logits = torch.where(behind[..., None], junk * draw(3), student[rows, : n + 1])
        return surrogate(
            rule, cut, Categorical(logits=logits), Categorical(logits=teacher[rows, : n + 1]),
            discount=0.9, trace=trace, **{k: v[rows, : n + 1] for k, v in critics.items()},
        )  # fmt: skip

    whole = loss(list(range(b)), t, junk=100.0)
    alone = torch.stack([loss([i], n) for i, n in enumerate(lengths)]).mean()
    torch.testing.assert_close(whole, alone)
    order = torch.randperm(b, generator=generator).tolist()
    torch.testing.assert_close(loss(order, t), alone)


def test_lambda_returns_against_a_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    rewards, critic = torch.randn(3, 5, generator=generator), torch.randn(3, 6, generator=generator)
    lengths, terminated = [5, 3, 4], [True, False, True]
    episodes = Episodes(torch.zeros(3, 5), rewards, torch.tensor(lengths), torch.tensor(terminated))
    for trace in (0.0, 0.7, 1.0):
        found = returns(episodes, rewards, 0.9, critic, trace)
        for b, n in enumerate(lengths):
            for t in range(n):
                # Σ_k (1 − λ) λ^{k−1} of the k-step returns, and the last one with the rest.
                steps = []
                for k in range(1, n - t + 1):
                    value = sum(0.9**i * float(rewards[b, t + i]) for i in range(k))
                    if t + k < n or not terminated[b]:
                        value += 0.9**k * float(critic[b, t + k])
                    steps.append(value)
                mixed = sum((1 - trace) * trace**i * value for i, value in enumerate(steps[:-1]))
                mixed += trace ** (len(steps) - 1) * steps[-1]
                assert float(found[b, t]) == pytest.approx(mixed, abs=1e-5)
            assert found[b, n:].tolist() == [0] * (5 - n)


def _gaussians() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    mean, scale = torch.randn(2, 2, 4, 3, generator=generator).double()
    student = Independent(Normal(mean.clone().requires_grad_(), scale.exp()), 1)
    return student, Independent(Normal(mean + 1, scale.exp() + 0.1), 1)


def test_continuous_actions_in_closed_form_are_what_sampling_finds() -> None:
    student, teacher = _gaussians()
    torch.manual_seed(0)
    n = 200_000
    with torch.no_grad():
        of_teacher, of_student = teacher.sample((n,)), student.sample((n,))
        sampled = {
            Loss.CROSS_ENTROPY: -student.log_prob(of_teacher),
            Loss.REVERSE_CROSS_ENTROPY: -teacher.log_prob(of_student),
            Loss.KL: teacher.log_prob(of_teacher) - student.log_prob(of_teacher),
            Loss.REVERSE_KL: student.log_prob(of_student) - teacher.log_prob(of_student),
            Loss.NEGATIVE_ENTROPY: student.log_prob(of_student),
        }
    for loss, values_ in sampled.items():
        found = divergence(loss, student, teacher)
        error = (found.detach() - values_.mean(0)).abs() / (values_.std(0) / n**0.5)
        assert float(error.max()) < 4.5, loss
    with pytest.raises(InvalidInput, match=r"JENSEN_SHANNON.*Independent\(Normal\)"):
        divergence(Loss.JENSEN_SHANNON, student, teacher)


@pytest.mark.parametrize("rule", [r for r in ROWS if r.loss is not Loss.JENSEN_SHANNON],
                         ids=lambda rule: rule.name)  # fmt: skip
def test_every_rule_works_with_continuous_actions(rule: Rule) -> None:
    student, teacher = _gaussians()
    torch.manual_seed(0)
    episodes = Episodes(
        student.sample()[:, :3], torch.randn(2, 3).double(), torch.tensor([3, 2]),
        torch.tensor([True, False]),
    )  # fmt: skip
    critic = torch.randn(2, 4).double()
    loss = surrogate(
        rule, episodes, student, teacher, teacher_values=critic, values=critic - 1, critic=critic
    )
    loss.backward()
    gradient = student.base_dist.loc.grad
    assert bool(gradient.isfinite().all())
    assert bool((gradient[1, 2:] == 0).all())  # behind the end
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_nothing_is_differentiated_through_the_teacher(rule: Rule) -> None:
    generator = torch.Generator().manual_seed(0)
    taught, own, loc = (
        torch.randn(2, 4, 3, generator=generator).double().requires_grad_() for _ in range(3)
    )
    teachers = [Categorical(logits=taught), Categorical(probs=taught.softmax(-1))]
    students = [Categorical(logits=own), Categorical(logits=own)]
    if rule.loss is not Loss.JENSEN_SHANNON:
        teachers.append(Independent(Normal(loc, loc.exp()), 1))
        students.append(Independent(Normal(own, 1.0), 1))
    for student, teacher in zip(students, teachers, strict=True):
        episodes = Episodes(
            student.sample()[:, :3], torch.randn(2, 3).double(), torch.tensor([3, 2]),
            torch.tensor([True, False]),
        )  # fmt: skip
        critic = torch.randn(2, 4).double()
        surrogate(
            rule, episodes, student, teacher, teacher_values=critic, values=critic - 1,
            critic=critic,
        ).backward()  # fmt: skip
        assert own.grad is not None
        assert taught.grad is None
        assert loc.grad is None


def test_probabilities_that_underflow_have_a_gradient() -> None:
    for loss in Loss:
        if loss is Loss.NONE:
            continue
        logits = torch.tensor([0.0, -120.0], requires_grad=True)
        divergence(
            loss, Categorical(logits=logits), Categorical(torch.tensor([1.0, 0.0]))
        ).backward()
        assert bool(logits.grad.isfinite().all()), loss


def test_integer_rewards_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"`rewards` should be floating\. Found torch.int64"):
        Episodes(
            torch.zeros(1, 2), torch.ones(1, 2).long(), torch.tensor([2]), torch.tensor([True])
        )


def test_a_deterministic_teacher_gives_numbers() -> None:
    teacher = Categorical(torch.tensor([1.0, 0.0, 0.0]).expand(1, 3, 3))
    for rule in ROWS:
        logits = torch.randn(1, 3, 3, generator=torch.Generator().manual_seed(0))
        logits.requires_grad_()
        episodes = Episodes(
            torch.tensor([[2, 0]]), torch.ones(1, 2), torch.tensor([2]), torch.tensor([True])
        )
        critic = torch.ones(1, 3)
        loss = surrogate(
            rule, episodes, Categorical(logits=logits), teacher,
            teacher_values=critic, values=critic - 1, critic=critic,
        )  # fmt: skip
        loss.backward()
        assert logits.grad is not None
        assert bool(logits.grad.isfinite().all()), rule.name


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_masked_actions_are_as_if_they_were_not_there(rule: Rule) -> None:
    """Logits of −∞ in both policies, against policies over the other actions alone."""
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(2, 1, 3, 2, generator=generator).double()
    critic = torch.randn(1, 3, generator=generator).double()
    found = []
    for kept in (torch.tensor([0, 1]), torch.tensor([1, 3])):
        width = 2 if int(kept[1]) == 1 else 5
        logits = torch.full((2, 1, 3, width), -torch.inf).double()
        logits[..., kept] = few
        student = logits[0].requires_grad_()
        episodes = Episodes(
            kept[torch.tensor([[1, 0]])], torch.ones(1, 2).double(), torch.tensor([2]),
            torch.tensor([False]),
        )  # fmt: skip
        loss = surrogate(
            rule, episodes, Categorical(logits=student), Categorical(logits=logits[1]),
            teacher_values=critic, values=critic - 1, critic=critic,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(loss, student)
        assert bool(gradient.isfinite().all())
        found.append((loss.detach(), gradient[..., kept]))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-12)


def test_a_recurrent_policy_learns_from_its_whole_past() -> None:
    torch.manual_seed(0)
    net, head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)
    seen, teacher = torch.randn(2, 6, 4), Categorical(logits=torch.randn(2, 6, 3))
    episodes = Episodes(
        torch.randint(3, (2, 5)), torch.randn(2, 5), torch.tensor([5, 2]),
        torch.tensor([True, True]),
    )  # fmt: skip
    loss = surrogate(n_distill, episodes, Categorical(logits=head(net(seen)[0])), teacher)
    loss.backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters())
    assert float(net.weight_hh_l0.grad.abs().max()) > 0


def test_a_step_along_the_surrogate_brings_the_policies_together() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    guide = nn.Linear(4, 3)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    far = []
    for _ in range(150):
        seen = torch.randn(8, 6, 4)
        student = Categorical(logits=net(seen))
        with torch.no_grad():
            teacher, actions = Categorical(logits=guide(seen)), student.sample()[:, :5]
        episodes = Episodes(
            actions, torch.zeros(8, 5), torch.full((8,), 5), torch.ones(8, dtype=torch.bool)
        )
        loss = surrogate(on_policy_distill, episodes, student, teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        far.append(float(kl_divergence(teacher, student).detach().mean()))
    assert far[-1] < 0.2 * far[0]


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_what_is_padded_may_be_anything(rule: Rule) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 3, generator=generator).double()
    critic = torch.randn(1, 5, generator=generator).double()
    found = []
    for action, junk in ((0.0, 0.0), (-1.0, torch.nan), (torch.nan, torch.inf)):
        given = critic.clone()
        given[:, 2:] = junk
        episodes = Episodes(
            torch.tensor([[1.0, 2.0, action, action]]),
            torch.tensor([[1.0, -1.0, junk, junk]]).double(), torch.tensor([2]),
            torch.tensor([True]),
        )  # fmt: skip
        student = logits[0].clone().requires_grad_()
        loss = surrogate(
            rule, episodes, Categorical(logits=student), Categorical(logits=logits[1]),
            teacher_values=given, values=given - 1, critic=given, trace=0.5,
        )  # fmt: skip
        found.append((loss.detach(), torch.autograd.grad(loss, student)[0]))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rule": "n_distill"}, "`rule` should be a Rule"),
        ({"student": torch.zeros(1, 3, 2)}, "`student` should be a distribution"),
        ({"rule": reinforce, "teacher": Categorical(torch.ones(1, 3, 4))}, "2 of them and 4"),
        ({"rule": entropy_regularised, "teacher": Normal(torch.zeros(1, 3), 1.0)}, "and numbers"),
        ({"rule": reinforce, "critic": torch.tensor([[0.0, torch.nan, 0.0]])}, "`critic`.*step 1"),
        ({"rule": value_gated, "values": torch.zeros(1, 3),
          "teacher_values": torch.full((1, 3), torch.nan)}, "`teacher_values`.*step 0"),
        ({"rule": reinforce, "actions": torch.tensor([[0, 2]])}, "`actions`.*from 0 to 1. Found 2"),
        ({"rule": reinforce, "actions": torch.tensor([[0.5, 1]])}, "`actions`.*Found 0.5"),
        ({"rule": reinforce, "actions": torch.zeros(1, 2, 1)}, r"`actions`.*\[1, 2\].*\[1, 2, 1\]"),
        ({"rule": reinforce, "critic": [[0.0, 0.0, 0.0]]}, "`critic` should be a tensor"),
        ({"lengths": torch.tensor([True])}, "`lengths`"),
        ({"rewards": [[0.0, 0.0]]}, "`rewards` should be a tensor"),
        ({"rewards": torch.tensor([[0.0, torch.nan]])}, "The reward.*nan in episode 0, step 1"),
        ({"rule": reinforce.over_trajectories(), "discount": 1e-30,
          "rewards": torch.full((1, 2), 1e20)}, "R̂ should be finite"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(given: dict[str, Any], says: str) -> None:
    policy = Categorical(logits=torch.zeros(1, 3, 2))
    made = {
        "actions": torch.zeros(1, 2), "rewards": torch.zeros(1, 2), "lengths": torch.tensor([2]),
        "terminated": torch.tensor([True]),
    }  # fmt: skip
    made |= {name: given[name] for name in made if name in given}
    rest = {"rule": n_distill, "student": policy, "teacher": policy}
    rest |= {name: value for name, value in given.items() if name not in made}
    with pytest.raises(InvalidInput, match=says):
        surrogate(episodes=Episodes(**made), **rest)


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"`control` should be Control.STUDENT over traj"):
        reinforce.over_trajectories().controlled_by(Control.UNIFORM)
    with pytest.raises(InvalidInput, match=r"`control` should be Control.STUDENT over traj"):
        reinforce.controlled_by(Control.MIXTURE).over_trajectories()
    with pytest.raises(InvalidInput, match=r"`control` should be a Control: Control.UNIFORM"):
        reinforce.controlled_by("uniform")
    cut = Episodes(torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([2]), torch.tensor([False]))
    policy, rule = Categorical(logits=torch.zeros(1, 3, 2)), exp_entropy_regularised
    with pytest.raises(InvalidInput, match="an action that was not drawn"):
        surrogate(
            rule.controlled_by(Control.UNIFORM), cut, policy, policy, critic=torch.zeros(1, 3)
        )
    outside = Episodes(
        torch.full((1, 2), 2.0), torch.zeros(1, 2), torch.tensor([2]), torch.tensor([True])
    )
    bounded = Beta(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(InvalidInput, match="`actions` should be in the support"):
        surrogate(reinforce, outside, bounded, bounded)


def test_bad_input_is_said() -> None:
    logits = torch.zeros(1, 3, 2)
    policy = Categorical(logits=logits)
    episodes = Episodes(
        torch.zeros(1, 2), torch.zeros(1, 2), torch.tensor([2]), torch.tensor([True])
    )
    with pytest.raises(InvalidInput, match=r"batch shape \[1, 3\].*Found \[1, 2\]"):
        surrogate(n_distill, episodes, Categorical(logits=logits[:, :2]), policy)
    with pytest.raises(InvalidInput, match="same actions"):
        surrogate(n_distill, episodes, Categorical(logits=torch.zeros(1, 3, 4)), policy)
    gated = next(rule for rule in RULES if rule.gate)
    with pytest.raises(InvalidInput, match=r"`teacher_values`.*value_gated uses it"):
        surrogate(gated, episodes, policy, policy)
    narrow = Categorical(torch.tensor([[[1.0, 0.0]] * 3]))
    narrow.logits[..., 1] = -torch.inf
    with pytest.raises(InvalidInput, match="episode 0, step 0"):
        surrogate(teacher_distill, episodes, narrow, policy)
    spoilt = Categorical(logits=logits, validate_args=False)
    spoilt.logits = logits * torch.nan
    with pytest.raises(InvalidInput, match="NaN"):
        surrogate(reinforce, episodes, spoilt, policy)
    normal = Normal(torch.zeros(1, 3), torch.ones(1, 3))
    with pytest.raises(InvalidInput, match="no closed form for a teacher VonMises"):
        surrogate(n_distill, episodes, normal, VonMises(torch.zeros(1, 3), torch.ones(1, 3)))
    bounded = Beta(torch.ones(1, 3), torch.ones(1, 3))
    with pytest.raises(InvalidInput, match="without support"):
        surrogate(n_distill, episodes, bounded, normal)
    mixture = MixtureSameFamily(
        Categorical(torch.ones(1, 3, 2)), Normal(torch.zeros(1, 3, 2), torch.ones(1, 3, 2))
    )
    with pytest.raises(InvalidInput, match=r"MixtureSameFamily"):
        surrogate(n_distill, episodes, mixture, mixture)
    # log N(0; 0, 1) twice and once more: no closed form is asked for
    found = float(surrogate(entropy_regularised, episodes, mixture, mixture))
    assert found == pytest.approx(-3 * (np.log(2 * np.pi) / 2) ** 2, rel=1e-5)
    with pytest.raises(InvalidInput, match=r"`discount`.*above 0"):
        surrogate(n_distill.over_trajectories(), episodes, policy, policy, discount=0.0)
    with pytest.raises(InvalidInput, match=r"`rule`.*a sum.*on_policy_distill"):
        on_policy_distill.over_trajectories()
    for bad in (
        {"lengths": torch.tensor([3])},
        {"lengths": torch.tensor([0])},
        {"terminated": torch.tensor([1.0])},
        {"rewards": torch.zeros(2)},
        {"actions": torch.zeros(1, 3)},
    ):
        with pytest.raises(InvalidInput, match=next(iter(bad))):
            Episodes(**{**vars(episodes), **bad})
    assert Value.TEACHER in gated.uses
    with pytest.raises(InvalidInput, match=r"`rewards`.*\[1, 2\].*Found \[1, 3\]"):
        returns(episodes, torch.zeros(1, 3), 1.0, None)
    with pytest.raises(InvalidInput, match=r"`critic`.*\[1, 3\].*Found \[1, 2\]"):
        returns(episodes, torch.zeros(1, 2), 1.0, torch.zeros(1, 2))
    with pytest.raises(InvalidInput, match=r"`loss`.*NONE"):
        divergence(Loss.NONE, normal, normal)
    coin = Bernoulli(torch.full((1, 3), 0.5))
    assert float(surrogate(on_policy_distill, episodes, coin, coin)) == pytest.approx(
        2 * float(np.log(2)), abs=1e-5
    )


def test_episodes_from_a_table_average_to_the_exact_update_and_its_critic() -> None:
    mdp, world, student, teacher = _world(1, 1.0)
    policy = student[world.observation].softmax(-1)
    generator = torch.Generator().manual_seed(0)
    episodes, states = rollout(mdp, policy, episodes=20_000, generator=generator)
    assert bool(episodes.terminated.all())
    again, _ = rollout(mdp, policy, episodes=20_000, generator=generator.manual_seed(0))
    assert torch.equal(episodes.actions, again.actions)
    for rule in (n_distill, n_distill.over_trajectories(), entropy_regularised):
        critic = expected_return(rule, world, student, teacher)
        logits = student[world.observation[states]].requires_grad_()
        loss = surrogate(
            rule,
            episodes,
            Categorical(logits=logits),
            Categorical(teacher[states]),
            critic=critic[states],
        )
        (steps,) = torch.autograd.grad(loss * len(states), logits)
        rows = torch.arange(len(states))[:, None] * len(student) + world.observation[states]
        each = torch.zeros(len(states) * len(student), student.shape[1]).double()
        each = each.index_add(0, rows.flatten(), steps.flatten(0, 1)).view(len(states), -1)
        error = each.std(0) / len(states) ** 0.5
        exact = expected_update(rule, world, student, teacher).flatten()
        assert bool(((each.mean(0) - exact).abs() < 4.5 * error + 1e-12).all()), rule.name
    total = (episodes.rewards.nan_to_num() * episodes.mask).sum(1)
    wanted = world.start @ expected_return(reinforce, world, student, teacher)
    assert abs(float(total.mean() - wanted)) < 4.5 * float(total.std()) / len(states) ** 0.5
    cut, _ = rollout(mdp, policy, episodes=500, generator=generator, limit=1)
    assert cut.rewards.shape == (500, 1)
    assert 0 < int(cut.terminated.sum()) < 500
    with pytest.raises(InvalidInput, match=r"`policy`.*\[worlds, states, actions\]"):
        rollout(mdp, policy[:-1], episodes=1, generator=generator)
