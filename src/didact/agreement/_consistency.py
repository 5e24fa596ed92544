"""How consistent a minimum is: whether what one environment cannot tell apart, another can."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, jacrev, vjp

from .._checks import Diverged, InvalidInput, check_number, extra, invalid

Loss = Callable[[Tensor], Tensor]
"""The loss of one environment, of all parameters as one vector ``[n]``."""


@dataclass(frozen=True)
class Inconsistency:
    """The score of a minimum, and where it comes from.

    Attributes:
        value: at least, exactly or about, as the function that made it says.
        pair: (e, e'): what is the same to e is not to e'.
        direction: ``[n]``, from the minimum to where they differ most; None where that is infinite.
    """

    value: float
    pair: tuple[int, int]
    direction: Tensor | None


def ilc(inconsistencies: Sequence[float]) -> float:
    """Invariant learning consistency of an algorithm: minus the mean over its initialisations.

    Reference: Parascandolo, Neitz et al. 2021, equation 2.

    Args:
        inconsistencies: of the minima that it found, one from each initialisation.

    Returns:
        The score: 0 at best, −∞ where one of them is infinite.

    Raises:
        InvalidInput: if there are none.

    Example:
        >>> ilc([1.0, 3.0])
        -2.0
    """
    if not len(inconsistencies):
        raise invalid("inconsistencies", "at least one", inconsistencies)
    return -sum(inconsistencies) / len(inconsistencies)


def quadratic_inconsistency(hessians: Tensor, epsilon: float) -> Inconsistency:
    r"""Inconsistency of a common minimum of quadratic losses, exactly.

    ``max_{e ≠ e'} max {½ δᵀ H_e' δ : ½ δᵀ H_e δ ≤ ε} = ε max λ_max(H_e⁻¹ H_e')``

    Reference: Parascandolo, Neitz et al. 2021, equation 1 and appendix A.2.

    Args:
        hessians: ``[env, n, n]``, symmetric, or ``[env, n]``, diagonals; none with a negative
            eigenvalue.
        epsilon: ε > 0, the change of its loss that an environment does not mind.

    Returns:
        The score; infinite where some e does not mind a direction that an e' does.

    Raises:
        InvalidInput: shapes, fewer than two environments, a Hessian that is none of a minimum.

    Example:
        >>> found = quadratic_inconsistency(torch.tensor([[0.05, 1.0], [1.0, 0.05]]), 0.1)
        >>> round(found.value, 3), found.pair
        (2.0, (0, 1))
    """
    check_number("epsilon", epsilon, above=0)
    hessians = hessians.double()
    if hessians.dim() == 2:
        hessians = torch.diag_embed(hessians)
    if hessians.dim() != 3 or len(hessians) < 2 or hessians.shape[1] != hessians.shape[2]:
        raise invalid("hessians", "[env, n, n] or [env, n] of at least two", list(hessians.shape))
    if not bool(hessians.isfinite().all()) or not torch.allclose(hessians, hessians.mT):
        raise invalid("hessians", "finite and symmetric", "others")
    values, vectors = torch.linalg.eigh(hessians)
    scale = values.abs().amax(1)
    if bool((values.amin(1) < -1e-9 * scale).any()):
        raise invalid("hessians", "those of minima, without negative eigenvalues", values.min())
    best = Inconsistency(-math.inf, (0, 1), None)
    for e, other in permutations(range(len(hessians)), 2):
        flat = values[e] <= 1e-12 * scale[e]
        null = vectors[e][:, flat]
        if flat.any() and bool((null.T @ hessians[other] @ null).abs().max() > 1e-9 * scale[other]):
            return Inconsistency(math.inf, (e, other), None)
        whitened = vectors[e][:, ~flat] / values[e][~flat].sqrt()
        ratios, directions = torch.linalg.eigh(whitened.T @ hessians[other] @ whitened)
        value = epsilon * float(ratios[-1])
        if value > best.value:
            direction = whitened @ directions[:, -1] * math.sqrt(2 * epsilon)
            best = Inconsistency(value, (e, other), direction)
    return best


def bound_of_means(diagonals: Tensor, epsilon: float) -> float:
    r"""What the inconsistency of two diagonal Hessians cannot exceed: ``4 ε (det H₊ / det H∧)²``.

    H₊ is their arithmetic, H∧ their geometric mean. Proposition 3 prints 2ε, which is false: the
    steps of its own proof give 4ε.

    Args:
        diagonals: ``[2, n]``, positive.
        epsilon: ε > 0.

    Returns:
        The bound, in the unit of ε.

    Raises:
        InvalidInput: another shape, or a number that is not positive.

    Example:
        >>> diagonals = torch.tensor([[0.05, 1.0], [1.0, 0.05]])
        >>> exact = quadratic_inconsistency(diagonals, 0.1).value
        >>> exact <= bound_of_means(diagonals, 0.1)
        True
    """
    check_number("epsilon", epsilon, above=0)
    if diagonals.dim() != 2 or len(diagonals) != 2 or not bool((diagonals > 0).all()):
        raise invalid("diagonals", "positive numbers [2, n]", list(diagonals.shape))
    a, b = diagonals.double()
    log_ratio = ((a + b) / 2).log().sum() - (a.log() + b.log()).sum() / 2
    return 4 * epsilon * math.exp(2 * float(log_ratio))


def inconsistency(
    losses: Sequence[Loss],
    minimum: Tensor,
    *,
    epsilon: float,
    damping: float = 0.0,
    tolerance: float = 1e-6,
) -> Inconsistency:
    r"""Inconsistency of a minimum of any losses, to second order.

    ``ε max_{e ≠ e'} λ_max((H_e + λI)⁻¹ H_e')``: a generalised eigenproblem for each ordered pair,
    by Lanczos (ARPACK) on Hessian-vector products; no Hessian is ever made. It is what
    :func:`quadratic_inconsistency` finds of the Hessians at the minimum, if the minimum is common.

    Args:
        losses: of each environment, of ``[n]``, twice differentiable.
        minimum: θ*, ``[n]``.
        epsilon: ε > 0.
        damping: λ ≥ 0; above 0 where a Hessian may have flat directions, and what is found is then
            too small by what λ hides.
        tolerance: relative, of the eigenvalues.

    Raises:
        InvalidInput: fewer than two losses, no vector, no minimum: a slope, or a Hessian (with its
            damping) that has a negative eigenvalue.
        Diverged: where Lanczos does not converge: a flat direction, mostly; take some damping.

    Example:
        >>> a, b = torch.tensor([0.5, 1.0, 1.5]), torch.tensor([1.0, 1.0, 1.0])
        >>> losses = [lambda t: (a * t**2).sum() / 2, lambda t: (b * t**2).sum() / 2]
        >>> found = inconsistency(losses, torch.zeros(3), epsilon=0.1)
        >>> round(found.value, 4), found.pair
        (0.2, (0, 1))
    """
    check_number("epsilon", epsilon, above=0)
    check_number("damping", damping, at_least=0)
    check_losses(losses, minimum)
    with extra("fit"):
        from scipy.sparse.linalg import ArpackError, LinearOperator, cg, eigsh
    n = len(minimum)
    if n < 3:
        eye = torch.eye(n, dtype=minimum.dtype)
        hessians = torch.stack([jacrev(grad(loss))(minimum) for loss in losses])
        for e, loss in enumerate(losses):
            slope = grad(loss)(minimum)
            _check_slope(e, slope @ torch.linalg.pinv(hessians[e] + damping * eye) @ slope, epsilon)
        return quadratic_inconsistency(hessians + damping * eye, epsilon)

    def operator(loss: Loss, damping: float = 0.0) -> Any:
        transposed: Any = vjp(grad(loss), minimum)[1]  # H is symmetric

        def product(vector: Any) -> Any:
            v = torch.as_tensor(vector.reshape(-1)).to(minimum)
            return (transposed(v)[0] + damping * v).double().numpy(force=True)

        return LinearOperator((n, n), matvec=product, dtype="float64")

    start = torch.randn(n, generator=torch.Generator().manual_seed(0)).double().numpy()
    for e, loss in enumerate(losses):
        own = operator(loss, damping)
        try:
            (size,) = eigsh(own, 1, which="LM", v0=start, tol=1e-2, return_eigenvectors=False)
            size = abs(float(size))
            turned = LinearOperator((n, n), matvec=lambda v, own=own, size=size: size * v - own @ v)
            (top,) = eigsh(turned, 1, which="LA", v0=start, tol=1e-3, return_eigenvectors=False)
        except ArpackError:  # it is flat, and Lanczos says so below
            continue
        if (least := size - float(top)) < -1e-2 * size:
            rule = "a minimum of every loss, without negative curvature beyond the damping"
            raise invalid("minimum", rule, f"{least:.3g} of loss {e}")
        slope = grad(loss)(minimum).double().numpy(force=True)
        way, _ = cg(own, slope, rtol=1e-3, maxiter=100)
        _check_slope(e, slope @ way, epsilon)
    best = Inconsistency(-math.inf, (0, 1), None)
    for e, other in permutations(range(len(losses)), 2):
        try:
            ratios, vectors = eigsh(
                operator(losses[other]), k=1, M=operator(losses[e], damping), which="LA",
                v0=start, tol=tolerance,
            )  # fmt: skip
        except (ArpackError, ValueError) as error:  # ValueError: H_e could not be inverted
            raise Diverged(
                f"Lanczos did not converge for environments {e} and {other} ({error}): with flat "
                "directions give some `damping`."
            ) from None
        value = epsilon * float(ratios[0])
        if value > best.value:
            # eigsh returns vᵀ M v = 1: the edge of the region is at √(2ε).
            direction = torch.from_numpy(vectors[:, 0].copy()).to(minimum)
            best = Inconsistency(value, (e, other), direction * math.sqrt(2 * epsilon))
    return best


def _check_slope(e: int, decrement: Any, epsilon: float) -> None:
    """Refuse what its own quadratic model says is no minimum: gᵀ H⁻¹ g / 2, beside ε."""
    if (fall := float(decrement) / 2) > 0.1 * epsilon:
        rule = f"a minimum of every loss, to a tenth of ε = {epsilon:g}"
        raise invalid("minimum", rule, f"one from which loss {e} would still fall by {fall:.3g}")


def check_losses(losses: Sequence[Loss], minimum: Tensor) -> None:
    """Refuse fewer than two, no vector, and losses that are no finite scalars there."""
    if len(losses) < 2:
        raise invalid("losses", "at least two, one for each environment", len(losses))
    if minimum.dim() != 1 or not minimum.is_floating_point():
        raise invalid("minimum", "a floating vector [n]", list(minimum.shape))
    for e, loss in enumerate(losses):
        value = loss(minimum)
        if value.dim() or not bool(value.isfinite()):
            raise InvalidInput(f"Each loss should be a finite scalar. Found {value} of number {e}.")
