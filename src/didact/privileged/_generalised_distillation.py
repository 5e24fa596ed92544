"""A model of x* says what it thinks, and the student imitates that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .._checks import check_number, invalid
from ._no_teacher import LabelLoss


class GeneralisedDistillation:
    """Imitate the soft predictions of a model of x*: ``L = (1 − λ) L_y(ŷ, y) + λ L_s(ŷ, s)``.

    The teacher f* is trained on (x*, y) first, by ``teacher_loss``. Its soft labels
    ``s = softmax(f*(x*) / T)`` are constants for the student, who sees x; the student itself is
    at temperature 1, as in the paper. With λ = 0 the teacher is not asked, with λ = 1 y is not
    looked at.

    Reference: Lopez-Paz, Bottou, Schölkopf & Vapnik 2016, "Unifying distillation and privileged
    information".

    Args:
        student: module returning (prediction, activations).
        teacher: module from x* to a prediction of the student's kind.
        label_loss: ``L_y(prediction, y)`` → scalar.
        imitation: λ in [0, 1].
        temperature: T > 0.
        imitation_loss: ``L_s(prediction, f*(x*))`` → scalar; by default the cross-entropy of soft
            labels, ``−Σ s log softmax(ŷ)``, of logits [batch, ..., classes], mean over all but
            the last axis. An own one, such as squared error for numbers, is given the teacher's
            prediction as it is: T must then be 1.

    Raises:
        InvalidInput: λ or T is out of range; by ``loss``, if the default imitation loss meets what
            are not logits of the same classes.

    Example:
        >>> from didact.privileged import GeneralisedDistillation, Taught
        >>> student = Taught(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)), ["0"])
        >>> method = GeneralisedDistillation(
        ...     student, nn.Linear(4, 2), label_loss=F.cross_entropy, temperature=2.0
        ... )
        >>> batch = torch.randn(8, 3), torch.randn(8, 4), torch.randint(0, 2, (8,))
        >>> method.teacher_loss(batch).backward()  # first, for as long as it takes
        >>> method.loss(batch).backward()  # then
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        label_loss: LabelLoss,
        imitation: float = 0.5,
        temperature: float = 1.0,
        imitation_loss: Callable[[Any, Any], Tensor] | None = None,
    ) -> None:
        self.student, self.teacher, self.label_loss = student, teacher, label_loss
        self.imitation = check_number("imitation", imitation, at_least=0, at_most=1)
        self.temperature = check_number("temperature", temperature, above=0)
        if imitation_loss is not None and temperature != 1:
            rule = "1 where `imitation_loss` is given, which takes the prediction as it is"
            raise invalid("temperature", rule, temperature)
        self.imitation_loss = self._soft_cross_entropy if imitation_loss is None else imitation_loss

    def teacher_parameters(self) -> Iterator[nn.Parameter]:
        """What is trained first."""
        return self.teacher.parameters()

    def teacher_loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The teacher's loss on one batch (x, x*, y): ``L_y(f*(x*), y)``."""
        _, x_star, y = batch
        return self.label_loss(self.teacher(x_star), y)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the student's optimizer trains."""
        return self.student.parameters()

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The student's loss on one batch (x, x*, y); the teacher is in evaluation mode."""
        x, x_star, y = batch
        prediction, _ = self.student(x)
        if self.imitation == 0:
            return self.label_loss(prediction, y)
        imitation = self.imitation * self.imitation_loss(prediction, self._said(x_star))
        if self.imitation == 1:
            return imitation
        return (1 - self.imitation) * self.label_loss(prediction, y) + imitation

    def _said(self, x_star: Any) -> Any:
        modes = [(module, module.training) for module in self.teacher.modules()]
        self.teacher.eval()
        try:
            with torch.no_grad():
                return self.teacher(x_star)
        finally:
            for module, training in modes:
                module.training = training

    def _soft_cross_entropy(self, prediction: Tensor, said: Tensor) -> Tensor:
        shapes = tuple(prediction.shape), tuple(said.shape)
        if shapes[0] != shapes[1] or prediction.dim() < 2 or prediction.shape[-1] < 2:
            rule = (
                "given where student and teacher do not both predict logits [batch, ..., classes] "
                "of the same two or more classes"
            )
            raise invalid("imitation_loss", rule, shapes)
        soft = F.softmax(said / self.temperature, -1)
        return -(soft * F.log_softmax(prediction, -1)).sum(-1).mean()
