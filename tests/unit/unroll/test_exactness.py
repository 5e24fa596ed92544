"""Meta-gradients in float64 against a plain unroll and against finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from didact.unroll import SGD, Adam

from ._asserts import (
    assert_caller_is_untouched,
    assert_checkpoints_change_nothing,
    assert_close,
    assert_matches_finite_differences,
    assert_matches_plain_unroll,
    gradients,
    meta_loss,
    run_unroll,
)
from ._oracle import (
    Case,
    fewest,
    memory_for,
    mlp_case,
    mlp_theta,
    optimizers,
    plain_unroll,
    randn,
    tensor,
)

RULES = sorted(optimizers())
PLENTY = settings(
    deadline=None, derandomize=True, max_examples=10, phases=(Phase.explicit, Phase.generate)
)


@pytest.mark.parametrize("rule", RULES)
@PLENTY
@given(n=st.integers(1, 20), seed=st.integers(0, 1000), spare=st.integers(0, 20))
def test_matches_plain_unroll(rule: str, n: int, seed: int, spare: int) -> None:
    case = mlp_case(optimizers()[rule], n, seed)
    states = min(n, fewest(n) + spare)
    assert_matches_plain_unroll(case, memory=memory_for(case, max(states, fewest(n))))


@pytest.mark.parametrize("rule", RULES)
@settings(PLENTY, max_examples=3)
@given(n=st.integers(1, 12), seed=st.integers(0, 1000))
def test_matches_finite_differences(rule: str, n: int, seed: int) -> None:
    assert_matches_finite_differences(mlp_case(optimizers()[rule], n, seed))


@pytest.mark.parametrize("rule", ["nesterov", "adam decay"])
@pytest.mark.parametrize(("n", "states"), [(17, 6), (16, 7), (16, 5), (9, 9), (2, 2), (1, 1)])
def test_checkpoints_change_nothing(rule: str, n: int, states: int) -> None:
    case = mlp_case(optimizers()[rule], n)
    assert_checkpoints_change_nothing(case, states, memory_for(case, states))


@pytest.mark.parametrize("rule", ["momentum", "adamw"])
def test_caller_is_untouched(rule: str) -> None:
    assert_caller_is_untouched(mlp_case(optimizers()[rule], 4))


def structured_loss(theta, batch, target):
    x, labels = batch["x"], batch["labels"][0]
    logits = torch.tanh(x @ theta["w1"] + theta["b1"]) @ theta["w2"]
    assert target[1] is None
    assert not labels.is_floating_point()
    return (
        torch.nn.functional.cross_entropy(logits, labels)
        + target[0]["scale"] * (logits[:, 0] ** 2 * target[2]).mean()
    )


def structured_case(optimizer, n: int) -> Case:
    labels = torch.randint(0, 2, (n, 5), generator=torch.Generator().manual_seed(0))
    return Case(
        structured_loss,
        mlp_theta(),
        {"x": randn(n, 5, 3, seed=1), "labels": [labels, None]},
        ({"scale": randn(n, seed=2)}, None, randn(n, 5, seed=3)),
        optimizer,
    )


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_nested_batches_and_targets(rule: str) -> None:
    case = structured_case(optimizers()[rule], 5)
    assert_matches_plain_unroll(case)
    assert_matches_finite_differences(case)
    assert_caller_is_untouched(case)


def test_targets_may_be_none() -> None:
    def loss(theta, batch, target):
        assert target is None
        return ((batch @ theta["w1"]).tanh() - 1).square().mean()

    case = Case(loss, {"w1": randn(3, 2)}, randn(4, 5, 3, seed=1), None, SGD(tensor(0.3)))
    assert_matches_plain_unroll(case)
    assert_matches_finite_differences(case)


def test_batches_may_be_none() -> None:
    def loss(theta, batch, target):
        return ((theta["w1"].tanh() - target) ** 2).mean()

    case = Case(loss, {"w1": randn(3)}, None, randn(4, 3, seed=1), Adam(tensor(0.1)))
    assert_matches_plain_unroll(case)


def test_one_tensor_as_batch_and_target_receives_both_gradients() -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        case = replace(mlp_case(SGD(0.2), 4), batches=x[..., :3], targets=x)
        return meta_loss(run_unroll(case)[0])

    x = randn(4, 5, 4).requires_grad_()
    both = torch.autograd.grad(run(x), x)[0]
    case = replace(mlp_case(SGD(0.2), 4), batches=x[..., :3].detach(), targets=x.detach())
    apart = gradients(run_unroll, case)[0]
    expected = apart["targets"].clone()
    expected[..., :3] += apart["batches"]
    assert_close({"x": both}, {"x": expected})


def test_expanded_targets_receive_the_sum() -> None:
    row = randn(4).requires_grad_()
    case = mlp_case(SGD(0.2, momentum=0.5), 6)
    theta, _ = run_unroll(replace(case, targets=row.expand(6, 5, 4)))
    found = torch.autograd.grad(meta_loss(theta), row)[0]
    whole = replace(case, targets=row.detach().expand(6, 5, 4).contiguous())
    expected = gradients(run_unroll, whole)[0]["targets"].sum((0, 1))
    assert_close({"row": found}, {"row": expected})


@PLENTY
@given(order=st.permutations(range(6)))
def test_linear_steps_commute_up_to_their_order(order: list[int]) -> None:
    """Gradient steps on 0.5 (θ x_i − t_i)²: θ_n and each ∂θ_n/∂t_i in closed form, any order."""
    x, t = randn(6, seed=1)[order], randn(6, seed=2)[order].requires_grad_()

    def loss(theta, batch, target):
        return 0.5 * (theta["w"] * batch - target) ** 2

    theta, _ = run_unroll(Case(loss, {"w": tensor(0.7)}, x, t, SGD(0.3)))
    keep = 1 - 0.3 * x**2
    after = torch.stack([keep[i + 1 :].prod() for i in range(6)])
    expected = 0.7 * keep.prod() + (0.3 * x * t.detach() * after).sum()
    theta["w"].backward()
    assert_close({"w": theta["w"], "t": t.grad}, {"w": expected, "t": 0.3 * x * after})


def test_two_unrolls_are_one_long_unroll() -> None:
    """True of plain SGD, which has no state to carry over."""
    case = mlp_case(SGD(tensor(0.3)), 8)

    def twice(case: Case) -> tuple:
        first, _ = run_unroll(replace(case, batches=case.batches[:3], targets=case.targets[:3]))
        rest = replace(case, theta_0=first, batches=case.batches[3:], targets=case.targets[3:])
        return run_unroll(rest)

    assert_close(gradients(twice, case)[0], gradients(run_unroll, case)[0])


@pytest.mark.parametrize("rule", ["sgd decay", "nesterov", "adam", "adamw"])
@pytest.mark.parametrize(("n", "k"), [(6, 1), (6, 3), (6, 6), (6, 9), (1, 1), (12, 7)])
def test_truncation_detaches_the_state_before_the_last_k_steps(rule: str, n: int, k: int) -> None:
    case = mlp_case(optimizers()[rule], n)
    assert_matches_plain_unroll(case, truncate=k)
    assert_matches_plain_unroll(case, truncate=k, memory=memory_for(case, fewest(min(n, k))))
    found = gradients(run_unroll, case, truncate=k)[0]
    assert not found["targets"][: max(0, n - k)].any()
    assert found["targets"][max(0, n - k) :].flatten(1).any(1).all()
    assert all((found[f"theta_0.{p}"] is None) == (k < n) for p in case.theta_0)


@pytest.mark.parametrize("rule", ["momentum", "adam decay"])
def test_backward_twice_gives_the_same(rule: str) -> None:
    case = mlp_case(optimizers()[rule], 5)
    leaves = {k: t.clone().requires_grad_() for k, t in case.inputs().items()}
    theta, _ = run_unroll(case.with_inputs(leaves), memory=memory_for(case, fewest(5)))
    value = meta_loss(theta)
    first = torch.autograd.grad(value, list(leaves.values()), retain_graph=True)
    again = torch.autograd.grad(value, list(leaves.values()))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_only_one_parameter_of_the_result_is_used() -> None:
    case = mlp_case(Adam(tensor(0.05)), 4)
    targets = case.targets.clone().requires_grad_()
    theta, _ = run_unroll(replace(case, targets=targets))
    found = torch.autograd.grad(theta["b1"].sum(), targets)[0]
    plain = plain_unroll(replace(case, targets=targets))[0]
    expected = torch.autograd.grad(plain["b1"].sum(), targets)[0]
    assert_close({"t": found}, {"t": expected})


def test_a_parameter_without_gradient_stays_and_passes_its_adjoint_on() -> None:
    def loss(theta, batch, target):
        return ((batch @ theta["used"]).tanh() - target).square().mean()

    theta_0 = {"used": randn(3, 2), "unused": randn(4, seed=1)}
    for optimizer in optimizers().values():
        case = Case(loss, theta_0, randn(3, 5, 3, seed=2), randn(3, 5, 2, seed=3), optimizer)
        assert_matches_plain_unroll(case)
        theta, _ = run_unroll(case)
        assert torch.equal(theta["unused"], theta_0["unused"])
        assert theta["unused"] is not theta_0["unused"]


def test_a_parameter_that_takes_part_in_some_steps_only() -> None:
    def loss(theta, batch, target):
        # Which parameters have a gradient depends on the step, as with a router or a skipped head.
        out = batch @ theta["always"]
        if target[0] > 0:
            out = out + batch @ theta["sometimes"]
        return (out.tanh() - target[1:]).square().mean()

    targets = randn(6, 6, 2, seed=3)[:, :, 0]
    targets[:, 0] = torch.tensor([1.0, -1, -1, 1, 1, -1])
    theta_0 = {"always": randn(3), "sometimes": randn(3, seed=1)}
    for optimizer in optimizers().values():
        case = Case(loss, theta_0, randn(6, 5, 3, seed=2), targets, optimizer)
        assert_matches_plain_unroll(case)
        assert_matches_plain_unroll(case, memory=memory_for(case, fewest(6)))


def test_nothing_is_kept_where_nothing_needs_a_gradient() -> None:
    case = mlp_case(SGD(0.1), 4)
    theta, _ = run_unroll(case)
    assert not any(p.requires_grad for p in theta.values())


def test_the_result_can_be_changed_without_changing_what_backward_sees() -> None:
    def loss(theta, batch, target):
        b = theta["b"].detach() if target[0] > 0 else theta["b"]  # used by both, trained by one
        out = b.tanh() * theta["a"] * batch
        return (out - target[1]).square()

    targets = torch.stack([tensor(-1.0), tensor(1.0)])[:, None].repeat(1, 2).requires_grad_()
    case = Case(loss, {"a": tensor(0.3), "b": tensor(0.4)}, randn(2), targets, SGD(0.1))
    theta, _ = run_unroll(case)
    expected = torch.autograd.grad(theta["a"] + theta["b"], targets, retain_graph=True)[0]
    theta["b"].detach().mul_(100)  # the last step did not touch it
    assert torch.equal(torch.autograd.grad(theta["a"] + theta["b"], targets)[0], expected)
