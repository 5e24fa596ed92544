"""Teaching losses: how far activations are from what the teacher asks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .._checks import InvalidInput, check_choice, invalid
from .._params import leaves


def flat(activations: Any) -> Tensor:
    """All activations of an example side by side.

    Args:
        activations: nested tensors [batch, ...] of K neurons in all.

    Returns:
        [batch, K], in the order of the nesting.

    Raises:
        InvalidInput: there is no tensor, or something else.

    Example:
        >>> flat({"a": torch.zeros(2, 3), "b": torch.zeros(2, 4, 5)}).shape
        torch.Size([2, 23])
    """
    tensors = leaves(activations)
    if not tensors or not all(isinstance(t, Tensor) and t.dim() for t in tensors):
        found = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in tensors]
        raise invalid("activations", "nested tensors [batch, ...]", found)
    if len(tensors) == 1 and tensors[0].dim() == 2:
        return tensors[0]  # type: ignore[no-any-return]
    return torch.cat([t.flatten(1) for t in tensors], 1)


def mse(activations: Any, targets: Any, *, reduction: str = "mean") -> Tensor:
    """Squared error of every neuron: ``mean_{b,k} (h_bk − h*_bk)²``.

    Args:
        activations: the student's, nested tensors [batch, ...] of K neurons in all.
        targets: the teacher's, of the same nesting, or flat [batch, K].
        reduction: over neurons, ``"mean"`` or ``"sum"``; over the batch always the mean.

    Raises:
        InvalidInput: if there is not one target per neuron.

    Example:
        >>> h = torch.tensor([[1.0, 2.0]])
        >>> mse(h, torch.zeros(1, 2))
        tensor(2.5000)
        >>> mse(h, torch.zeros(1, 2), reduction="sum")
        tensor(5.)
    """
    check_choice("reduction", reduction, ("mean", "sum"))
    h = flat(activations)
    return _reduced((h - _matched(targets, h)) ** 2, reduction)


def gated_mse(activations: Any, targets: Any, *, reduction: str = "mean") -> Tensor:
    """Squared error of the neurons that the teacher cares about.

    ``mean_{b,k} σ(m_bk/2 − 1) (h_bk − h*_bk)²``, for pre-activations h.

    Reference: Neitz, Parascandolo & Schölkopf 2021, appendix B.2.2. The paper does not state how
    its loss is reduced; the teaching coefficient α has to be chosen with ``reduction``.

    Args:
        activations: the student's, nested tensors [batch, ...] of K neurons in all.
        targets: the pair (m, h*), each nested like the activations or flat [batch, K]; or one
            tensor [batch, 2K], its halves.
        reduction: over neurons, ``"mean"`` or ``"sum"``; over the batch always the mean.

    Returns:
        A scalar.

    Raises:
        InvalidInput: if the targets are no pair, or not one of each per neuron, or there is no such
            reduction.

    Example:
        >>> h = torch.tensor([[1.0, 2.0]])
        >>> gated_mse(h, (torch.full((1, 2), 2.0), torch.zeros(1, 2)))
        tensor(1.2500)
    """
    check_choice("reduction", reduction, ("mean", "sum"))
    if isinstance(targets, Tensor):
        targets = targets.chunk(2, -1)
    if not isinstance(targets, list | tuple) or len(targets) != 2:
        raise InvalidInput(
            "Parameter `targets` should be a pair (m, h*): gates and target activations. "
            f"Found {type(targets).__name__}."
        )
    h = flat(activations)
    m, wanted = (_matched(t, h) for t in targets)
    return _reduced(torch.sigmoid(m / 2 - 1) * (h - wanted) ** 2, reduction)


def kl(activations: Any, targets: Any) -> Tensor:
    """``KL(softmax(target) ‖ softmax(activation))`` over the last axis, mean over the rest.

    Args:
        activations: logits, nested tensors [batch, ..., classes]; several tensors are summed.
        targets: the teacher's logits, of the same nesting and shapes.

    Raises:
        InvalidInput: if there is not one target per logit.

    Example:
        >>> h, wanted = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
        >>> kl(h, wanted)
        tensor(0.1109)
        >>> kl(h, h)
        tensor(0.)
    """
    pair = leaves(activations), leaves(targets)
    given, asked = ([tuple(t.shape) for t in tensors] for tensors in pair)
    if not given or given != asked:
        raise InvalidInput(
            "The teacher should give one target per logit, in tensors of the shapes of the "
            f"activations. Found activations of shapes {given} and targets of shapes {asked}."
        )
    first, *rest = (_divergence(h, wanted) for h, wanted in zip(*pair, strict=True))
    return sum(rest, first)


def _divergence(h: Tensor, wanted: Tensor) -> Tensor:
    log_q, log_p = F.log_softmax(h, -1), F.log_softmax(wanted, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def _matched(targets: Any, h: Tensor) -> Tensor:
    wanted = flat(targets)
    if wanted.shape != h.shape:
        raise InvalidInput(
            "The teacher should give one target per neuron. Found activations of shape "
            f"{tuple(h.shape)} and targets of shape {tuple(wanted.shape)}."
        )
    return wanted


def _reduced(errors: Tensor, reduction: str) -> Tensor:
    return errors.mean() if reduction == "mean" else errors.sum(1).mean()
