"""How far a predicted frame is from a true one, and from all frames of a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._checks import InvalidInput, invalid

Loss = Callable[[Tensor, Tensor], Tensor]
"""Prediction and target of one shape to their loss, number by number: nothing is averaged."""


def binary_cross_entropy(prediction: Tensor, target: Tensor) -> Tensor:
    """Pixel-wise ``−x log x̂ − (1 − x) log(1 − x̂)``, for values in [0, 1].

    Value and gradient are those of ``torch.nn.functional.binary_cross_entropy`` with
    ``reduction="none"``: logarithms end at −100. Twice differentiable.

    Args:
        prediction: x̂ in [0, 1], of any shape.
        target: x in [0, 1], of the same shape.

    Returns:
        In nats, of the same shape: nothing is averaged.

    Example:
        >>> binary_cross_entropy(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 0.0]))
        tensor([  0.6931, 100.0000])
    """
    _check_alike(prediction, target)
    log_on, log_off = _logs(prediction)
    return -torch.lerp(log_off, log_on, target)


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """``(x̂ − x)²``, number by number.

    Args:
        prediction: x̂, of any shape.
        target: x, of the same shape.

    Returns:
        Of the same shape: nothing is averaged.

    Example:
        >>> squared_error(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 5.0]))
        tensor([1., 9.])
    """
    _check_alike(prediction, target)
    return (prediction - target).square()


def explained(loss: Loss, prediction: Tensor) -> str:
    """Why a loss may not be finite, where the predictions show it."""
    if loss is not binary_cross_entropy or bool(((prediction >= 0) & (prediction <= 1)).all()):
        return ""
    return " With the cross-entropy f should return values in [0, 1], as a sigmoid does."


def _check_alike(prediction: Tensor, target: Tensor) -> None:
    if not isinstance(prediction, Tensor) or not isinstance(target, Tensor):
        found = [type(value).__name__ for value in (prediction, target)]
        raise invalid("prediction", "a tensor, as `target`", found)
    if prediction.shape != target.shape:
        raise invalid("prediction", f"of target's shape {list(target.shape)}", prediction.shape)


def of_frames(loss: Loss, prediction: Tensor, target: Tensor) -> Tensor:
    """The loss of each frame: ``[n, *frame]`` twice → ``[n]``."""
    return _each(loss, *_wide(prediction, target)).flatten(1).mean(1)


def of_windows(loss: Loss, prediction: Tensor, windows: Tensor) -> Tensor:
    """The loss of each frame of a window: ``[n, *frame]``, ``[n, W, *frame]`` → ``[n, W]``.

    The cross-entropy is linear in its target: one matrix product, whatever the window.
    """
    if loss is not binary_cross_entropy:
        return ranked(loss, prediction, windows)
    prediction, windows = _wide(prediction, windows)
    log_on, log_off = (logs.flatten(1) for logs in _logs(prediction))
    means = _products(windows, (log_on - log_off) / log_on.shape[1])
    return -(means + log_off.mean(1, keepdim=True))


def ranked(loss: Loss, prediction: Tensor, windows: Tensor) -> Tensor:
    """The same up to what is one for all frames of a window: to search it."""
    prediction, windows = _wide(prediction, windows)
    if loss is binary_cross_entropy:
        logits = prediction.logit().clamp_(-100, 100).flatten(1)
        return _products(windows, logits.mul_(-1 / logits.shape[1]))
    each = _each(loss, prediction.unsqueeze(1).expand_as(windows), windows)
    return each.flatten(2).mean(2)


def _wide(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one type, at least float32: half of it cannot tell neighbouring frames apart."""
    one = torch.promote_types(torch.promote_types(prediction.dtype, target.dtype), torch.float32)
    return prediction.to(one), target.to(one)


def _products(windows: Tensor, weights: Tensor) -> Tensor:
    """``Σ_j x_bsj w_bj``: ``[n, W, *frame]`` and ``[n, numbers]`` → ``[n, W]``."""
    kind = weights.device.type
    if torch.is_autocast_enabled(kind):  # which would take half the precision away
        with torch.autocast(kind, enabled=False):
            return _products(windows, weights)
    return torch.bmm(windows.flatten(2), weights.unsqueeze(2)).squeeze(2)


def _each(loss: Loss, prediction: Tensor, target: Tensor) -> Tensor:
    found = loss(prediction, target)
    if not isinstance(found, Tensor) or found.shape != target.shape:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise InvalidInput(
            'Parameter `loss` should average nothing (`reduction="none"`) and return the shape of '
            f"its arguments, {tuple(target.shape)}. Found {shape}."
        )
    return found


def _logs(x: Tensor) -> tuple[Tensor, Tensor]:
    return _Logs.apply(x)  # type: ignore[no-untyped-call, no-any-return]


class _Logs(torch.autograd.Function):
    """``x̂ ↦ (log x̂, log(1 − x̂))``, both at least −100, with gradients that stay finite."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x)
        return x.log().clamp_min_(-100), (-x).log1p_().clamp_min_(-100)

    @staticmethod
    def backward(ctx: Any, on: Tensor, off: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        rest = 1 - x
        grad: Tensor = (on * rest - off * x) / (x * rest).clamp_min(1e-12)
        return grad
