"""ℓ of a state, and the teacher's log-probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .._checks import invalid
from ._rule import Loss

LEAST_TEACHER_PROBABILITY = 1e-8
"""log π is taken of at least this, so that a deterministic teacher's is finite (−18.4)."""


StateLoss = Callable[[Tensor, Tensor], Tensor]
"""ℓ of (student's logits ``[S, A]``, teacher's probabilities ``[S, A]``) → ``[S]``."""


def log_teacher(teacher: Tensor) -> Tensor:
    """The teacher's log-probabilities, finite where it is deterministic, too.

    ``log max(π, 1e-8)``, with :data:`LEAST_TEACHER_PROBABILITY`.

    Args:
        teacher: π, probabilities of any shape.

    Returns:
        In nats, of the same shape: from −18.4 to 0.

    Example:
        >>> log_teacher(torch.tensor([0.0, 0.5, 1.0]))
        tensor([-18.4207,  -0.6931,   0.0000])
    """
    return teacher.clamp_min(LEAST_TEACHER_PROBABILITY).log()


def state_loss(loss: Loss, logits: Tensor, teacher: Tensor) -> Tensor:
    """ℓ of each state: how far the student's policy is from the teacher's.

    One of H×(π‖πθ), H×(πθ‖π), KL(π‖πθ), KL(πθ‖π), JS(π, πθ), −H(πθ), and 0. H×(πθ‖π) and KL(πθ‖π)
    take log π from :func:`log_teacher`.

    Args:
        loss: which.
        logits: the student's, ``[..., A]``; −∞ masks an action.
        teacher: π, probabilities ``[..., A]``.

    Returns:
        ``[...]``, in nats.

    Raises:
        InvalidInput: if there is no such loss.

    Example:
        >>> teacher = torch.tensor([[0.5, 0.5], [1.0, 0.0]])
        >>> state_loss(Loss.KL, torch.zeros(2, 2), teacher)
        tensor([0.0000, 0.6931])
    """
    log_p = logits.log_softmax(-1)
    possible = log_p > -math.inf  # logits of −∞ mask actions: 0 log 0 is 0, and has no gradient
    p = torch.where(possible, log_p, 0.0).exp() * possible
    own = torch.xlogy(teacher, teacher)
    entropy = -(p * torch.where(possible, log_p, 0.0)).sum(-1)
    match loss:
        case Loss.NONE:
            return logits.new_zeros(logits.shape[:-1])
        case Loss.CROSS_ENTROPY:
            return -torch.where(teacher > 0, teacher * log_p, 0.0).sum(-1)
        case Loss.REVERSE_CROSS_ENTROPY:
            return -(p * log_teacher(teacher)).sum(-1)
        case Loss.KL:
            return own.sum(-1) - torch.where(teacher > 0, teacher * log_p, 0.0).sum(-1)
        case Loss.REVERSE_KL:
            return -(p * log_teacher(teacher)).sum(-1) - entropy
        case Loss.JENSEN_SHANNON:
            middle = (p + teacher) / 2
            some = middle > 0  # where both are 0, one by underflow, the gradient is 0, too
            middle = torch.where(some, middle, 1.0)
            return ((own - 2 * torch.xlogy(middle, middle)).sum(-1) - entropy) / 2
        case Loss.NEGATIVE_ENTROPY:
            return -entropy
        case _:
            raise invalid("loss", "a Loss", loss)
