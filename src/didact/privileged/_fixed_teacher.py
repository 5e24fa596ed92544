"""A teacher that never learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import check_callable, check_number, invalid
from ._losses import gated_mse
from ._no_teacher import LabelLoss

TeachingLoss = Callable[[Any, Any], Tensor]


class FixedTeacher:
    """The teacher asks for activations and stays as it is: ``L = L_y(ŷ, y) + α L_h(h, T(x*))``.

    With an untrained teacher this is the ablation FT of Neitz et al. 2021.

    Args:
        student: module returning (prediction, activations: any nesting of tensors).
        teacher: module from x* to what ``teaching_loss`` takes as targets.
        label_loss: ``L_y(prediction, y)`` → scalar.
        teaching_loss: ``L_h(activations, targets)`` → scalar.
        alpha: the teaching coefficient α ≥ 0.

    Example:
        >>> from didact.privileged import FixedTeacher, Taught
        >>> student = Taught(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), ["0"])
        >>> teacher = nn.Linear(2, 16)  # a gate and a target for each of 8 neurons
        >>> method = FixedTeacher(student, teacher, label_loss=nn.functional.mse_loss)
        >>> loss = method.loss((torch.randn(4, 3), torch.randn(4, 2), torch.randn(4, 1)))
        >>> loss.backward()
        >>> teacher.weight.grad is None
        True
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        label_loss: LabelLoss,
        teaching_loss: TeachingLoss = gated_mse,
        alpha: float = 1.0,
    ) -> None:
        for name, module in (("student", student), ("teacher", teacher)):
            if not isinstance(module, nn.Module):
                raise invalid(name, "a module", module)
        check_callable("label_loss", label_loss, "a function of prediction and label")
        check_callable("teaching_loss", teaching_loss, "a function of activations and targets")
        self.student, self.teacher = student, teacher
        self.label_loss, self.teaching_loss = label_loss, teaching_loss
        self.alpha = check_number("alpha", alpha, at_least=0)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the student's optimizer trains; the teacher is not among it."""
        return self.student.parameters()

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The student's loss on one batch (x, x*, y); the targets are constants."""
        if not isinstance(batch, tuple | list) or len(batch) != 3:
            raise invalid("batch", "a triple (x, x*, y)", type(batch).__name__)
        x, x_star, y = batch
        with torch.no_grad():
            targets = self.teacher(x_star)
        prediction, activations = self.student(x)
        return self.combined(prediction, activations, y, targets)

    def combined(self, prediction: Any, activations: Any, y: Any, targets: Any) -> Tensor:
        """``L_y + α L_h`` of a forward pass."""
        return self.label_loss(prediction, y) + self.alpha * self.teaching_loss(
            activations, targets
        )
