"""The auxiliary task: predict x* beside the label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from torch import Tensor, nn

from .._checks import check_number
from ._losses import mse
from ._no_teacher import LabelLoss


class Auxiliary:
    """A head on the student's activations predicts x*: ``L = L_y(ŷ, y) + w L_aux(head(h), x*)``.

    Reference: Jaderberg et al. 2016; the baseline "auxiliary" of Neitz et al. 2021.

    Args:
        student: module returning (prediction, activations).
        head: module from the activations, as the student returns them, to a prediction of x*.
        label_loss: ``L_y(prediction, y)`` → scalar.
        weight: w ≥ 0.
        auxiliary_loss: ``L_aux(head(activations), x*)`` → scalar; squared error by default.

    Example:
        >>> import torch
        >>> from didact.privileged import Auxiliary, Taught, flat
        >>> class Head(nn.Linear):
        ...     def forward(self, activations):
        ...         return super().forward(flat(activations))
        >>> student = Taught(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), ["1"])
        >>> method = Auxiliary(student, Head(8, 2), label_loss=nn.functional.mse_loss, weight=0.5)
        >>> adam = torch.optim.Adam(method.parameters())
        >>> loss = method.loss((torch.randn(4, 3), torch.randn(4, 2), torch.randn(4, 1)))
        >>> loss.backward(); adam.step()
    """

    def __init__(
        self,
        student: nn.Module,
        head: nn.Module,
        *,
        label_loss: LabelLoss,
        weight: float = 1.0,
        auxiliary_loss: Callable[[Any, Any], Tensor] = mse,
    ) -> None:
        self.student, self.head = student, head
        self.label_loss, self.auxiliary_loss = label_loss, auxiliary_loss
        self.weight = check_number("weight", weight, at_least=0)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the student's optimizer trains: the student and the head."""
        return chain(self.student.parameters(), self.head.parameters())

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The loss of one batch (x, x*, y)."""
        x, x_star, y = batch
        prediction, activations = self.student(x)
        auxiliary = self.auxiliary_loss(self.head(activations), x_star)
        return self.label_loss(prediction, y) + self.weight * auxiliary
