"""The student alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import check_number

LabelLoss = Callable[[Any, Any], Tensor]


class NoTeacher:
    """The baseline that never sees x*: ``L = L_y(ŷ, y) − β H(ŷ)``.

    Args:
        student: module returning (prediction, activations).
        label_loss: ``L_y(prediction, y)`` → scalar.
        entropy: β ≥ 0, a bonus for the entropy of the predicted classes (Pereyra et al. 2017);
            the prediction must then be logits [batch, classes].

    Example:
        >>> import torch
        >>> from didact.privileged import NoTeacher, Taught
        >>> student = Taught(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), ["0"])
        >>> method = NoTeacher(student, label_loss=F.cross_entropy, entropy=0.1)
        >>> loss = method.loss((torch.randn(4, 3), None, torch.tensor([0, 1, 1, 0])))
        >>> loss.backward()
    """

    def __init__(self, student: nn.Module, *, label_loss: LabelLoss, entropy: float = 0.0) -> None:
        self.student, self.label_loss = student, label_loss
        self.entropy = check_number("entropy", entropy, at_least=0)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the student's optimizer trains."""
        return self.student.parameters()

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The loss of one batch (x, x*, y); x* is not looked at."""
        x, _, y = batch
        prediction, _ = self.student(x)
        loss = self.label_loss(prediction, y)
        if self.entropy:
            log_p = F.log_softmax(prediction, -1)
            loss = loss + self.entropy * (log_p.exp() * log_p).sum(-1).mean()
        return loss
