"""Expected updates of small MDPs by linear solves: what the estimators estimate."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from .._checks import check_number, invalid
from ._losses import StateLoss, log_teacher, state_loss
from ._mdp import Dense
from ._rule import Channel, Control, Rule, Span, Value, check_rule
from ._values import check_policy, values, visitation


def expected_update(
    rule: Rule,
    mdp: Dense,
    logits: Tensor,
    teacher: Tensor,
    *,
    teacher_values: Tensor | None = None,
    loss: StateLoss | None = None,
    mixture: float = 0.5,
) -> Tensor:
    r"""The exact expected update g(θ) of a tabular softmax policy, to descend.

    ``g(θ) = ∇₁ f(θ, θ)``, where ``f(θ₁, θ₂) = Σ_s d(s) [Σ_a q(a|s) (−log πθ₁(a|s)) R̂(s, a) +
    ℓ(s; θ₁)]``, and d, q and R̂ are those of θ₂. With discount, d and R̂ are discounted.

    Reference: Czarnecki et al. 2019, equation 1.

    Args:
        rule: which row.
        mdp: from :func:`dense`; float64.
        logits: θ, ``[O, A]`` float64; may be differentiated.
        teacher: π, probabilities ``[S, A]``: it may see more than the student.
        teacher_values: V_π, ``[S]``; the exact one by default.
        loss: another ℓ in place of the rule's.
        mixture: β, where the rule is controlled by a mixture.

    Returns:
        ``[O, A]``.

    Raises:
        InvalidInput: shapes that do not fit, a teacher that is no distribution, or, without
            discount, a control policy some of whose episodes never end.

    Example:
        >>> from didact.policies import dense, teacher_distill
        >>> from didact.tasks import corridor
        >>> world = dense(corridor(1))
        >>> teacher = torch.tensor([[0.0, 1.0]] * 3)
        >>> expected_update(teacher_distill, world, torch.zeros(3, 2).double(), teacher)
        tensor([[ 0.0000,  0.0000],
                [ 0.5000, -0.5000],
                [ 0.5000, -0.5000]], dtype=torch.float64)
    """
    teacher, teacher_values = _checked(rule, mdp, logits, teacher, teacher_values, mixture)
    of_state = loss or partial(state_loss, rule.loss)

    def f(first: Tensor, second: Tensor) -> Tensor:
        return _surrogate(rule, mdp, first, second, teacher, teacher_values, of_state, mixture)

    found: Tensor = torch.func.grad(f)(logits, logits)
    return found


def expected_return(
    rule: Rule,
    mdp: Dense,
    logits: Tensor,
    teacher: Tensor,
    *,
    teacher_values: Tensor | None = None,
    mixture: float = 0.5,
) -> Tensor:
    """E[R̂_t | s_t] of a rule: the exact critic of its returns.

    Of a rule over whole trajectories what comes from the step on.

    Args:
        rule, mdp, logits, teacher, teacher_values, mixture: as in :func:`expected_update`.

    Returns:
        ``[S]``.

    Raises:
        InvalidInput: as :func:`expected_update`.

    Example:
        >>> from didact.policies import dense, reinforce
        >>> from didact.tasks import corridor
        >>> world = dense(corridor(1))
        >>> expected_return(reinforce, world, torch.zeros(3, 2).double(), torch.full((3, 2), 0.5))
        tensor([-0.5000,  0.0000,  0.5000], dtype=torch.float64)
    """
    teacher, teacher_values = _checked(rule, mdp, logits, teacher, teacher_values, mixture)
    acting, total, _ = _accounts(
        rule, mdp, logits[mdp.observation], teacher, teacher_values,
        partial(state_loss, rule.loss), mixture,
    )  # fmt: skip
    return (acting * total).sum(-1)


def _surrogate(
    rule: Rule,
    mdp: Dense,
    first: Tensor,
    second: Tensor,
    teacher: Tensor,
    teacher_values: Tensor | None,
    of_state: StateLoss,
    mixture: float,
) -> Tensor:
    first, second = first[mdp.observation], second[mdp.observation]
    acting, total, gate = _accounts(
        rule, mdp, second, teacher, teacher_values, of_state, mixture
    )  # fmt: skip
    d = visitation(mdp, acting)
    along = -(acting * first.log_softmax(-1) * total).sum(-1) if rule.returns else 0.0
    return (d * (along + gate * of_state(first, teacher))).sum()


def _accounts(
    rule: Rule,
    mdp: Dense,
    rows: Tensor,
    teacher: Tensor,
    teacher_values: Tensor | None,
    of_state: StateLoss,
    mixture: float,
) -> tuple[Tensor, Tensor, Tensor | float]:
    """q ``[S, A]``, E[R̂ | s, a] ``[S, A]`` and the gate ``[S]``, of the student's logits."""
    discount, policy = mdp.discount, rows.softmax(-1)
    match rule.control:
        case Control.TEACHER:
            acting = teacher
        case Control.STUDENT:
            acting = policy
        case Control.UNIFORM:
            acting = torch.full_like(teacher, 1 / mdp.n_actions)
        case _:
            acting = mixture * teacher + (1 - mixture) * policy
    own_values = values(mdp, policy) if Value.STUDENT in rule.uses else None
    critics = {Value.TEACHER: teacher_values, Value.STUDENT: own_values}
    gate: Tensor | float = 1.0
    if rule.gate:
        assert teacher_values is not None
        assert own_values is not None
        gate = (teacher_values > own_values).to(rows.dtype)

    def after(state: Tensor) -> Tensor:
        """E of something of the next state, given state and action: [S, A]."""
        return discount * mdp.transition @ state

    immediate = mdp.reward * float(rule.reward)
    if rule.bootstrap:
        ahead = critics[rule.bootstrap]
        assert ahead is not None
        immediate = immediate + after(ahead)
    if rule.baseline:
        behind = critics[rule.baseline]
        assert behind is not None
        immediate = immediate - behind[:, None]
    match rule.channel:
        case Channel.LOG_TEACHER:
            immediate = immediate + log_teacher(teacher)
        case Channel.NEXT_LOSS:
            immediate = immediate - after(gate * of_state(rows, teacher))
        case Channel.NEXT_LOG_TEACHER:
            immediate = immediate + after((acting * log_teacher(teacher)).sum(-1))
    total = immediate
    if rule.span is not Span.STEP:  # what an action cannot change adds nothing in expectation
        total = immediate + after(values(mdp, acting, immediate))
    return acting, total, gate


def objective(
    rule: Rule,
    mdp: Dense,
    logits: Tensor,
    teacher: Tensor,
    *,
    loss: StateLoss | None = None,
) -> Tensor:
    """The loss that Table 1 states for a rule, exactly: what its update is the gradient of.

    With the student in control ``E_πθ Σ_t γ^t [ℓ_t − r̂_t]``, where r̂ leaves out what only corrects
    the gradient (the channels of the next state); rules with a critic state ``−E Σ γ^t r_t``. With
    another in control ``E_q Σ_t γ^t [ℓ_t − R̂_t log πθ(a_t|s_t)]``.

    Args:
        rule, mdp, logits, teacher, loss: as in :func:`expected_update`.

    Returns:
        A scalar.

    Raises:
        InvalidInput: if the rule has none; else as :func:`expected_update`.

    Example:
        >>> from didact.policies import dense, teacher_distill
        >>> from didact.tasks import corridor
        >>> world, teacher = dense(corridor(1)), torch.tensor([[0.0, 1.0]] * 3)
        >>> logits = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
        >>> loss = objective(teacher_distill, world, logits, teacher)
        >>> loss.backward()
        >>> loss.detach()  # two steps, log 2 each
        tensor(1.3863, dtype=torch.float64)
        >>> update = expected_update(teacher_distill, world, logits.detach(), teacher)
        >>> torch.allclose(logits.grad, update)
        True
    """
    teacher, critic = _checked(rule, mdp, logits, teacher, None, 0.0)
    if not rule.is_gradient:
        raise invalid("rule", "one whose update is a gradient", rule.name)
    of_state = loss or partial(state_loss, rule.loss)
    if rule.control is not Control.STUDENT:
        # Neither who acts nor R̂ depends on θ: the surrogate is the loss.
        return _surrogate(rule, mdp, logits, logits, teacher, critic, of_state, 0.0)
    rows = logits[mdp.observation]
    reward = mdp.reward * float(rule.reward)
    if rule.channel is Channel.LOG_TEACHER:
        reward = reward + log_teacher(teacher)
    cost = of_state(rows, teacher)[:, None] - reward
    return mdp.start @ values(mdp, rows.softmax(-1), cost)


def jacobian(rule: Rule, mdp: Dense, logits: Tensor, teacher: Tensor, **options: Any) -> Tensor:
    """The Jacobian J of the exact expected update: ``J_ij = ∂g_i/∂θ_j``.

    Args:
        rule, mdp, logits, teacher: as in :func:`expected_update`.
        options: its other arguments.

    Returns:
        ``[O·A, O·A]``, over the flattened table; symmetric where g is a gradient.

    Raises:
        InvalidInput: as :func:`expected_update`.

    Example:
        >>> from didact.policies import dense, teacher_distill
        >>> from didact.tasks import corridor
        >>> world, teacher = dense(corridor(1)), torch.tensor([[0.0, 1.0]] * 3)
        >>> found = jacobian(teacher_distill, world, torch.zeros(3, 2).double(), teacher)
        >>> found[2:4, 2:4]  # of the middle state
        tensor([[ 0.2500, -0.2500],
                [-0.2500,  0.2500]], dtype=torch.float64)
    """

    def g(theta: Tensor) -> Tensor:
        return expected_update(rule, mdp, theta.view_as(logits), teacher, **options).flatten()

    found: Tensor = torch.func.jacrev(g)(logits.flatten())
    return found


def asymmetry(rule: Rule, mdp: Dense, logits: Tensor, teacher: Tensor, **options: Any) -> float:
    """``‖J − Jᵀ‖ / ‖J‖`` of the expected update: 0 exactly where it can be a gradient.

    Args:
        rule, mdp, logits, teacher, options: as in :func:`jacobian`.

    Returns:
        From 0 to 2; 0 where J is 0.

    Raises:
        InvalidInput: as :func:`expected_update`.

    Example:
        >>> from didact.policies import dense, n_distill, on_policy_distill
        >>> from didact.tasks import random_mdp
        >>> generator = torch.Generator().manual_seed(0)
        >>> world = dense(random_mdp(4, 3, generator=generator))
        >>> logits = torch.randn(4, 3, generator=generator).double()
        >>> teacher = torch.full((4, 3), 1 / 3)
        >>> asymmetry(n_distill, world, logits, teacher) < 1e-10
        True
        >>> asymmetry(on_policy_distill, world, logits, teacher) > 1e-3
        True
    """
    found = jacobian(rule, mdp, logits, teacher, **options)
    size = float(found.norm())
    return float((found - found.T).norm()) / size if size else 0.0


def _checked(
    rule: Rule,
    mdp: Dense,
    logits: Tensor,
    teacher: Tensor,
    teacher_values: Tensor | None,
    mixture: float,
) -> tuple[Tensor, Tensor | None]:
    """Teacher and V_π, exact where it is needed and was not given, in the MDP's dtype."""
    check_rule(rule)
    check_number("mixture", mixture, at_least=0, at_most=1)
    teacher = check_policy("teacher", teacher, mdp)
    shape = (mdp.n_observations, mdp.n_actions)
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise invalid("logits", "a floating tensor", getattr(logits, "dtype", logits))
    if tuple(logits.shape) != shape:
        rule_ = f"a table [observations, actions] = {list(shape)}"
        raise invalid("logits", rule_, list(logits.shape))
    if not bool(logits.isfinite().all()):
        raise invalid("logits", "finite", "NaN or infinity")
    if teacher_values is None:
        # The student comes to states that the teacher does not.
        used = Value.TEACHER in rule.uses
        return teacher, values(mdp, teacher, everywhere=True) if used else None
    if not isinstance(teacher_values, Tensor):
        raise invalid("teacher_values", "a tensor", teacher_values)
    if teacher_values.shape != mdp.start.shape or not bool(teacher_values.isfinite().all()):
        rule_ = f"finite, one for each of {len(mdp.start)} states"
        raise invalid("teacher_values", rule_, list(teacher_values.shape))
    return teacher, teacher_values.to(mdp.reward.dtype)
