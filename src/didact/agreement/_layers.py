"""What each kind of layer votes: from its input and the gradient of its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from ._environments import Environments, product_votes, row_votes, vector_votes

Votes = dict[str, Tensor]
"""Σ_e sign(g_e) of a layer's trained parameters, in their shapes; a layer's function adds to it."""


def linear(layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes) -> None:
    """``y = x Wᵀ + b``, of ``[batch, …, in]``."""
    if "weight" in votes:
        product_votes(of, delta, inputs, _positions, votes["weight"][None])
    if "bias" in votes:
        each = delta.reshape(len(delta), -1, delta.shape[-1]).sum(1)
        vector_votes(of, each, votes["bias"])


def _positions(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    d, a = (t.reshape(len(t), -1, 1, t.shape[-1]) for t in (delta, inputs))
    return d, a


def convolution(layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes) -> None:
    """A convolution is a linear layer of the windows of its input."""
    groups = layer.groups

    def rows(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        d = delta.reshape(len(delta), groups, delta.shape[1] // groups, -1).permute(0, 3, 1, 2)
        return d, windows(layer, inputs)

    if "weight" in votes:
        mine = votes["weight"]
        product_votes(of, delta, inputs, rows, mine.view(groups, len(mine) // groups, -1))
    if "bias" in votes:
        vector_votes(of, delta.flatten(2).sum(2), votes["bias"])


def windows(layer: Any, x: Tensor) -> Tensor:
    """What each place of the output sees: ``[batch, places, groups, channels · kernel]``."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    around = layer._reversed_padding_repeated_twice
    if mode == "constant" and not isinstance(layer.padding, str):
        around = [p for p in reversed(layer.padding) for _ in range(2)]  # as the layer's forward
    x = F.pad(x, around, mode=mode)
    dimensions = x.dim() - 2
    for k in range(dimensions):
        size, stride, dilation = layer.kernel_size[k], layer.stride[k], layer.dilation[k]
        x = x.unfold(2 + k, dilation * (size - 1) + 1, stride)[..., ::dilation]
    # [batch, channels, *places, *kernel] → [batch, *places, groups, channels, *kernel]
    channels, places = x.shape[1] // layer.groups, range(2, 2 + dimensions)
    x = x.view(len(x), layer.groups, channels, *x.shape[2:])
    order = [0, *(p + 1 for p in places), 1, 2, *(p + 1 + dimensions for p in places)]
    x = x.permute(order)
    return x.reshape(len(x), math.prod(x.shape[1 : 1 + dimensions]), layer.groups, -1)


def embedding(layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes) -> None:
    """Rows of a table; that of ``padding_idx`` has no gradient."""
    if layer.padding_idx is not None:
        delta = delta * (inputs != layer.padding_idx).unsqueeze(-1)
    row_votes(of, inputs, delta, votes["weight"])


def normalisation(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> None:
    """``y = γ x̂ + β``, where x̂ of an example depends on no other example."""
    if isinstance(layer, nn.LayerNorm | nn.RMSNorm):
        shape = layer.normalized_shape
        if isinstance(layer, nn.LayerNorm):
            normal = F.layer_norm(inputs, shape, eps=layer.eps)
        else:
            normal = F.rms_norm(inputs, shape, eps=layer.eps)

        def each(values: Tensor) -> Tensor:
            return values.reshape(len(values), -1, *shape).sum(1)

    else:
        if isinstance(layer, nn.GroupNorm):
            normal = F.group_norm(inputs, layer.num_groups, eps=layer.eps)
        else:
            normal = F.batch_norm(inputs, layer.running_mean, layer.running_var, eps=layer.eps)

        def each(values: Tensor) -> Tensor:
            return values.reshape(*values.shape[:2], -1).sum(2)

    if "weight" in votes:
        vector_votes(of, each(delta * normal), votes["weight"])
    if "bias" in votes:
        vector_votes(of, each(delta), votes["bias"])


Layer = Callable[[Any, Environments, Tensor, Tensor, Votes], None]
LAYERS: dict[type[nn.Module], Layer] = {
    nn.Linear: linear,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.Conv3d: convolution,
    nn.Embedding: embedding,
    nn.LayerNorm: normalisation,
    nn.RMSNorm: normalisation,
    nn.GroupNorm: normalisation,
    nn.BatchNorm1d: normalisation,
    nn.BatchNorm2d: normalisation,
    nn.BatchNorm3d: normalisation,
}
"""Kinds whose examples can be told apart from outside; subclasses may do anything, and are none."""

DIMENSIONS: dict[type[nn.Module], tuple[int, ...] | range] = {
    nn.Conv1d: (3,),
    nn.Conv2d: (4,),
    nn.Conv3d: (5,),
    nn.Embedding: range(1, 100),
    nn.BatchNorm1d: (2, 3),
    nn.BatchNorm2d: (4,),
    nn.BatchNorm3d: (5,),
}
"""Of their inputs, with the batch; of others at least two."""


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """In the same precision; a call of `to` takes as long as a small kernel, even for nothing."""
    return tensor if tensor.dtype == other.dtype else tensor.to(other.dtype)
