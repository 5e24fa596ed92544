"""What the last layer of a student means: classes, the bins of a number, or the number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor
from torch.nn import functional as F

HeadKind = Literal["bins", "plain"]


@dataclass(frozen=True)
class Output:
    """The last layer's size, how it learns, what it predicts and how that is judged.

    - Classes (no ``values``): logits [batch, K]; learns by, and is judged by, log loss.
    - Bins: logits [batch, K] of the bins of a number; learns by log loss, predicts the mean
      Σ_b p_b·value_b, judged by squared error.
    - Plain: the number itself [batch, 1]; learns by and is judged by squared error.

    Args:
        size: numbers per row in the last layer.
        values: of the bins, ``[K]``, in the units in which students see the label.
        plain: whether the output is the number itself.

    Example:
        >>> import torch
        >>> Output(2, values=torch.tensor([0.0, 10.0])).predict(torch.zeros(1, 2))
        tensor([5.])
        >>> Output(1, plain=True).predict(torch.tensor([[3.0]]))
        tensor([3.])
    """

    size: int
    values: Tensor | None = None
    plain: bool = False

    @property
    def is_number(self) -> bool:
        """Whether a number is predicted, not a class."""
        return self.plain or self.values is not None

    def target(self, y: Tensor, label: Tensor) -> Tensor:
        """What :meth:`loss` compares with: the class or bin, or the number."""
        return label if self.plain else y

    def loss(self, prediction: Any, target: Any) -> Tensor:
        """What training descends: mean over the batch."""
        if self.plain:
            return F.mse_loss(prediction[..., 0], target)
        return F.cross_entropy(prediction, target)

    def each(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The terms of :meth:`loss`: [batch]."""
        if self.plain:
            return (prediction[..., 0] - target) ** 2
        return F.cross_entropy(prediction, target, reduction="none")

    def imitation(self, prediction: Tensor, teacher: Tensor) -> Tensor:
        """Squared error to a teacher's number, for distillation with a plain output."""
        return F.mse_loss(prediction, teacher)

    def predict(self, logits: Tensor) -> Tensor:
        """Probabilities [batch, K] of classes, or numbers [batch]."""
        if self.plain:
            return logits[..., 0]
        p = logits.softmax(-1)
        return p if self.values is None else p @ self.values

    def judge(self, logits: Tensor, y: Tensor, label: Tensor) -> Tensor:
        """The loss of each row by which candidates are chosen and compared: [batch]."""
        if self.is_number:
            return (self.predict(logits) - label) ** 2
        return F.cross_entropy(logits, y, reduction="none")


def output_for(settings: dict[str, Any], size: int, values: Tensor | None) -> Output:
    """The output that the settings ask for; a class has but one."""
    if values is not None and settings["head"] == "plain":
        return Output(1, plain=True)
    return Output(size, values)
