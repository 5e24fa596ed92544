"""Inconsistency against dense eigenproblems, search, and the thesis's own examples."""

import math
from typing import Any

import pytest
import scipy.linalg
import torch
from torch import Tensor

from didact import Diverged, InvalidInput
from didact.agreement import (
    bound_of_means,
    climbed_inconsistency,
    ilc,
    inconsistency,
    quadratic_inconsistency,
)


def _hessians(environments: int, n: int, seed: int) -> Tensor:
    factors = torch.randn(
        environments, n, n, generator=torch.Generator().manual_seed(seed)
    ).double()
    return factors @ factors.mT + 0.1 * torch.eye(n)


@pytest.mark.parametrize("seed", range(5))
def test_quadratic_is_a_generalised_eigenproblem(seed: int) -> None:
    hessians = _hessians(3, 4, seed)
    found = quadratic_inconsistency(hessians, 0.2)
    ratios = {
        (e, o): 0.2 * scipy.linalg.eigh(hessians[o].numpy(), hessians[e].numpy())[0][-1]
        for e in range(3)
        for o in range(3)
        if e != o
    }
    assert found.value == pytest.approx(max(ratios.values()))
    assert ratios[found.pair] == pytest.approx(found.value)
    own, other = (hessians[k] for k in found.pair)
    assert found.direction is not None
    d = found.direction
    assert float(d @ own @ d) / 2 == pytest.approx(0.2)
    assert float(d @ other @ d) / 2 == pytest.approx(found.value)


def test_quadratic_against_directions_drawn_at_random() -> None:
    hessians = _hessians(2, 3, 7)
    exact = quadratic_inconsistency(hessians, 1.0).value
    d = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0)).double()
    sizes = torch.einsum("ki,eij,kj->ek", d, hessians, d)
    drawn = max(float((sizes[1] / sizes[0]).max()), float((sizes[0] / sizes[1]).max()))
    assert 0.98 * exact < drawn <= exact * (1 + 1e-12)


def test_a_direction_that_only_one_minds_is_infinitely_inconsistent() -> None:
    found = quadratic_inconsistency(torch.tensor([[0.0, 1.0], [1.0, 1.0]]), 0.1)
    assert (found.value, found.pair) == (math.inf, (0, 1))
    both = quadratic_inconsistency(torch.tensor([[0.0, 1.0], [0.0, 2.0]]), 0.1)
    assert both.value == pytest.approx(0.2)
    same = quadratic_inconsistency(torch.ones(3, 5), 0.1)
    assert same.value == pytest.approx(0.1)


def test_proposition_3_as_its_proof_has_it_holds_and_as_printed_does_not() -> None:
    generator = torch.Generator().manual_seed(0)
    printed = 0
    for _ in range(2000):
        diagonals = torch.rand(2, 3, generator=generator).double() + 1e-3
        exact, bound = quadratic_inconsistency(diagonals, 1.0).value, bound_of_means(diagonals, 1.0)
        assert exact <= bound * (1 + 1e-9)
        printed += exact > bound / 2
    assert printed > 100


@pytest.mark.parametrize("n", [2, 6, 40])
def test_by_products_it_is_that_of_the_hessians(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(3, 4 * n, n, generator=generator).double() * torch.linspace(0.5, 1.5, n)
    minimum = torch.randn(n, generator=generator).double()

    def loss(data: Tensor) -> Any:
        return lambda theta: (data @ (theta - minimum)).cosh().log().mean()

    losses = [loss(data) for data in x]
    hessians = torch.stack([torch.func.jacrev(torch.func.grad(one))(minimum) for one in losses])
    exact = quadratic_inconsistency(hessians, 0.3)
    found = inconsistency(losses, minimum, epsilon=0.3)
    assert found.value == pytest.approx(exact.value, rel=1e-5)
    assert found.pair == exact.pair
    assert found.direction is not None
    assert exact.direction is not None
    cosine = torch.cosine_similarity(found.direction, exact.direction, dim=0)
    assert float(cosine.abs()) == pytest.approx(1, abs=1e-4)
    assert float(found.direction.norm()) == pytest.approx(float(exact.direction.norm()), rel=1e-4)


def test_a_climb_comes_close_to_the_exact_score_of_quadratics_and_not_beyond() -> None:
    hessians = _hessians(2, 4, 3)

    def loss(hessian: Tensor) -> Any:
        return lambda theta: theta @ hessian @ theta / 2

    exact = quadratic_inconsistency(hessians, 0.5).value
    found = climbed_inconsistency(
        [loss(h) for h in hessians], torch.zeros(4).double(), epsilon=0.5, steps=600,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert 0.95 * exact < found.value <= exact * (1 + 1e-9)


def test_a_climb_does_not_jump_over_a_wall() -> None:
    """Beyond a ridge of its own loss the other's is lower still: that is not connected."""

    def own(theta: Tensor) -> Tensor:
        return (theta[0] ** 2 - 1).square() + theta[1] ** 2

    def other(theta: Tensor) -> Tensor:
        return own(theta) + 5 * (theta[0] - 1).square()

    found = climbed_inconsistency(
        [own, other], torch.tensor([1.0, 0.0]).double(), epsilon=0.2,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert found.direction is not None
    assert float(found.direction[0]) > -1  # θ stays on its side


def test_the_patchwork_network_is_inconsistent() -> None:
    """Appendix B.1.1: one neuron for each environment's step; A does not see B's weight."""
    theta = torch.tensor([100.0, -50.0, 100.0, -75.0, 1.0, 1.0]).double()
    grid = torch.linspace(0, 1, 201).double()
    target = (grid > 0.5).double() + (grid > 0.75)

    def loss(x: Tensor, y: Tensor) -> Any:
        def of(t: Tensor) -> Tensor:
            steps = t[4] * (t[0] * x + t[1]).sigmoid() + t[5] * (t[2] * x + t[3]).sigmoid()
            return (steps - y).square().mean()

        return of

    left = grid < 0.5
    a, b = loss(grid[left], target[left]), loss(grid[~left], target[~left])
    moved = theta.clone()
    moved[5] = -0.5
    assert abs(float(a(moved) - a(theta))) < 1e-6
    assert float(b(moved) - b(theta)) > 0.5
    found = climbed_inconsistency(
        [a, b], theta, epsilon=1e-3, generator=torch.Generator().manual_seed(0), rate=0.01
    )
    assert found.pair == (0, 1)
    assert found.value > 0.5


def test_the_score_of_an_algorithm() -> None:
    assert ilc([0.5, 1.5]) == -1.0
    with pytest.raises(InvalidInput, match="at least one"):
        ilc([])


def test_bad_input_is_said() -> None:
    with pytest.raises(InvalidInput, match="`epsilon`"):
        quadratic_inconsistency(torch.ones(2, 2), 0.0)
    with pytest.raises(InvalidInput, match="at least two"):
        quadratic_inconsistency(torch.ones(1, 2), 1.0)
    with pytest.raises(InvalidInput, match="negative eigenvalues"):
        quadratic_inconsistency(torch.tensor([[1.0, -1.0], [1.0, 1.0]]), 1.0)
    with pytest.raises(InvalidInput, match="symmetric"):
        quadratic_inconsistency(torch.tensor([[[1.0, 1.0], [0.0, 1.0]]] * 2), 1.0)
    with pytest.raises(InvalidInput, match=r"positive numbers \[2, n\]"):
        bound_of_means(torch.zeros(2, 3), 1.0)
    losses = [lambda t: t.square().sum(), lambda t: t.sum() * torch.nan]
    with pytest.raises(InvalidInput, match="number 1"):
        inconsistency(losses, torch.zeros(3), epsilon=1.0)
    with pytest.raises(InvalidInput, match="at least two"):
        inconsistency(losses[:1], torch.zeros(3), epsilon=1.0)
    with pytest.raises(InvalidInput, match="`minimum`"):
        inconsistency(losses, torch.zeros(3, 1), epsilon=1.0)
    flat = [lambda t: t[0] ** 2, lambda t: t.square().sum()]
    with pytest.raises(Diverged, match="damping"):
        inconsistency(flat, torch.zeros(4).double(), epsilon=1.0)
    found = inconsistency(flat, torch.zeros(4).double(), epsilon=1.0, damping=1e-2)
    assert found.value == pytest.approx(2 / 1e-2, rel=1e-3)
