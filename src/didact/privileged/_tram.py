"""Features that are learnt beside x*, and a head that does without."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

from torch import Tensor, nn

from .._checks import check_number, invalid
from ._no_teacher import LabelLoss


class TRAM:
    """Transfer and marginalise: x* explains noise in the labels, so that features need not.

    ``L = L_y(g*(φ(x), x*), y) + w L_y(g(sg φ(x)), y)``, sg the stop-gradient: the features φ learn
    only through the head g* that also sees x*; the head g learns p(y | x) on top of them and is
    what is deployed.

    Reference: Collier, Jenatton, Kokiopoulou & Berent 2022, "Transfer and marginalize: explaining
    away label noise with privileged information", ICML.

    Args:
        features: module x → φ, a tensor of any shape.
        head: module φ → prediction.
        privileged_head: module called with (φ, x*) → prediction.
        label_loss: ``L_y(prediction, y)`` → scalar.
        weight: w > 0. It scales the gradient of g alone, so under Adam it matters little.

    Raises:
        InvalidInput: w is not above 0; by ``loss``, if φ is not one tensor.

    Example:
        >>> import torch
        >>> from didact.privileged import TRAM
        >>> class Both(nn.Linear):
        ...     def forward(self, phi, x_star):
        ...         return super().forward(torch.cat([phi, x_star], 1))
        >>> features, head = nn.Sequential(nn.Linear(3, 8), nn.ReLU()), nn.Linear(8, 2)
        >>> tram = TRAM(features, head, Both(8 + 4, 2), label_loss=nn.functional.cross_entropy)
        >>> tram.loss((torch.randn(8, 3), torch.randn(8, 4), torch.randint(0, 2, (8,)))).backward()
        >>> tram.deployed(torch.randn(1, 3)).shape
        torch.Size([1, 2])
    """

    def __init__(
        self,
        features: nn.Module,
        head: nn.Module,
        privileged_head: nn.Module,
        *,
        label_loss: LabelLoss,
        weight: float = 1.0,
    ) -> None:
        self.features, self.head, self.privileged_head = features, head, privileged_head
        self.label_loss = label_loss
        self.weight = check_number("weight", weight, above=0)

    @property
    def deployed(self) -> nn.Module:
        """x → prediction, without x*; it shares the parameters."""
        return nn.Sequential(self.features, self.head)

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the student's optimizer trains: features and both heads."""
        modules = (self.features, self.head, self.privileged_head)
        return chain.from_iterable(module.parameters() for module in modules)

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The loss of one batch (x, x*, y)."""
        x, x_star, y = batch
        phi = self.features(x)
        if not isinstance(phi, Tensor):
            raise invalid("features", "a module that returns one tensor", phi)
        with_privileged = self.label_loss(self.privileged_head(phi, x_star), y)
        return with_privileged + self.weight * self.label_loss(self.head(phi.detach()), y)
