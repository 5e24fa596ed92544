"""ℓ and log π of torch distributions."""

from __future__ import annotations

import copy

from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, kl_divergence

from .._checks import InvalidInput, invalid
from ._losses import log_teacher, state_loss
from ._rule import Loss


def detached(policy: Distribution) -> Distribution:
    """The same distribution, through which nothing is differentiated."""
    found = copy.copy(policy)
    for name, value in vars(policy).items():
        if isinstance(value, Tensor):
            found.__dict__[name] = value.detach()
        elif isinstance(value, Distribution):
            found.__dict__[name] = detached(value)
    return found


def divergence(loss: Loss, student: Distribution, teacher: Distribution) -> Tensor:
    """ℓ between two distributions over actions, in closed form: ``batch_shape``.

    Categorical ones by their probabilities, for which log π has a floor
    (``LEAST_TEACHER_PROBABILITY``); others by torch's KL divergences and entropies, as
    ``H×(p‖q) = KL(p‖q) + H(p)``.

    Args:
        loss: which.
        student, teacher: of one family, over the same actions; the gradient is the student's.

    Raises:
        InvalidInput: if the pair has no closed form, or different actions, or the loss is NONE.

    Example:
        >>> from torch.distributions import Normal
        >>> teacher, student = Normal(0.0, 1.0), Normal(1.0, 1.0)
        >>> divergence(Loss.KL, student, teacher)
        tensor(0.5000)
    """
    if not isinstance(loss, Loss) or loss is Loss.NONE:
        raise invalid("loss", "a divergence: Loss.KL, …", getattr(loss, "name", loss))
    check_pair(student, teacher)
    teacher = detached(teacher)
    if isinstance(student, Categorical) and isinstance(teacher, Categorical):
        return state_loss(loss, student.logits, teacher.probs)
    try:
        match loss:
            case Loss.CROSS_ENTROPY:
                return kl_divergence(teacher, student) + teacher.entropy()
            case Loss.REVERSE_CROSS_ENTROPY:
                return kl_divergence(student, teacher) + student.entropy()
            case Loss.KL:
                return kl_divergence(teacher, student)
            case Loss.REVERSE_KL:
                return kl_divergence(student, teacher)
            case Loss.NEGATIVE_ENTROPY:
                return -student.entropy()
            case _:
                raise NotImplementedError
    except NotImplementedError:
        names = _name(teacher), _name(student)
        raise InvalidInput(
            f"The loss {loss.name} has no closed form for a teacher {names[0]} and a student "
            f"{names[1]}: all but the Jensen–Shannon divergence need torch's `kl_divergence` and "
            "`entropy` of them, which it has none for."
        ) from None


def check_pair(student: Distribution, teacher: Distribution) -> None:
    """Raise ``InvalidInput`` where two policies are none, or not over the same actions."""
    for name, policy in (("student", student), ("teacher", teacher)):
        if not isinstance(policy, Distribution):
            raise invalid(name, "a distribution: Categorical(logits=net(states)), …", policy)
    found = _actions(student), _actions(teacher)
    if found[0] != found[1]:
        raise InvalidInput(
            f"Student and teacher should have the same actions. Found {found[0]} and {found[1]}."
        )


def _actions(policy: Distribution) -> str:
    if isinstance(policy, Categorical):
        return f"{policy.logits.shape[-1]} of them"
    return f"vectors {list(policy.event_shape)}" if policy.event_shape else "numbers"


def log_prob_of_teacher(teacher: Distribution, actions: Tensor) -> Tensor:
    """log π(a|s), with the floor where actions are discrete."""
    if isinstance(teacher, Categorical):
        return log_teacher(teacher.probs).gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
    return teacher.log_prob(actions)


def _name(distribution: Distribution) -> str:
    if isinstance(distribution, Independent):
        return f"Independent({type(distribution.base_dist).__name__})"
    return type(distribution).__name__
