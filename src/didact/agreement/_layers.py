"""What each kind of layer votes: from its input and the gradient of its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._environments import Environments, Rows, product_votes, row_votes, vector_votes


@dataclass
class Ballot:
    """What the hooks saw of one layer's gradients G of the weight and g of the bias.

    Attributes:
        terms: what adds up to ``Σ u (G w + g)`` for random signs u and w, ``[n]``.
        u: a sign for each output, ``[out]``; of a table for each row, of a norm for each number.
        w: for each input, ``[in]``, where there are groups ``[groups, in]``; of a norm in the shape
            of G, and the product is that of components.
        rounding: how far their sum may be off, as a share of the sum of their sizes.
    """

    terms: Tensor
    u: Tensor
    w: Tensor
    rounding: float

    def project(self, grads: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of gradients in the parameters' shapes: ``Σ u (G w + g)`` and ``‖G w + g‖``."""
        along = grads.get("bias")
        if "weight" in grads:
            grad = grads["weight"]
            of_weight = _projected(grad, like(self.w, grad))
            along = of_weight if along is None else of_weight + along
        assert along is not None
        along = along.flatten()
        return torch.dot(along, like(self.u, along)).float(), along.norm().float()


def _projected(grad: Tensor, w: Tensor) -> Tensor:
    if w.shape == grad.shape:
        return grad * w
    if w.dim() == 1:
        return torch.mv(grad if grad.dim() == 2 else grad.flatten(1), w)
    return (grad.reshape(len(w), -1, w.shape[1]) @ w.unsqueeze(-1)).flatten()


Votes = dict[str, Tensor]
"""Σ_e sign(g_e) of a layer's trained parameters, in their shapes; a layer's function adds to it."""


def linear(layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes) -> Ballot:
    """``y = x Wᵀ + b``, of ``[batch, …, in]``.

    Where every environment has one row, ``Σ_e sign(δ_e ⊗ a_e) = sign(Δ)ᵀ sign(A)``: one matrix
    product, whose factor serves the bias, too.
    """
    if not of.single or delta.dim() > 2:
        if "bias" in votes:
            each = delta.reshape(len(delta), -1, delta.shape[-1]).sum(1)
            vector_votes(of, each, votes["bias"])
        return _product(layer, 1, of, inputs, delta, _positions, votes)
    u, w = _probe(delta.device, *layer.weight.shape)
    voted, terms = delta.sign(), torch.mv(delta, like(u, delta))
    if "bias" in votes:
        votes["bias"].add_(voted.sum(0, dtype=torch.float32))
    if "weight" in votes:
        mine = votes["weight"]
        mine.addmm_(like(voted, mine).T, like(inputs.sign(), mine))
        beside = torch.mv(like(inputs, delta), like(w, delta))
        terms = torch.addcmul(terms, terms, beside) if "bias" in votes else terms * beside
    return Ballot(like(terms, u), u, w, _rounding(delta))


def _positions(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    d, a = (t.reshape(len(t), -1, 1, t.shape[-1]) for t in (delta, inputs))
    return d, a


def convolution(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> Ballot:
    """A convolution is a linear layer of the windows of its input."""
    groups = layer.groups

    def rows(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        d = delta.reshape(len(delta), groups, delta.shape[1] // groups, -1).permute(0, 3, 1, 2)
        return d, windows(layer, inputs)

    if "bias" in votes:
        vector_votes(of, delta.flatten(2).sum(2), votes["bias"])
    return _product(layer, groups, of, inputs, delta, rows, votes)


def windows(layer: Any, x: Tensor) -> Tensor:
    """What each place of the output sees: ``[batch, places, groups, channels · kernel]``."""
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
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


def embedding(layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes) -> Ballot:
    """Rows of a table."""
    mine = votes["weight"]
    u, w = _probe(mine.device, *mine.shape)
    terms = (delta.float() * w).sum(-1) * u[inputs]
    if layer.padding_idx is not None:
        terms = terms * (inputs != layer.padding_idx)
    row_votes(of, inputs, delta, mine)
    return Ballot(terms.flatten(), u, w, _rounding(delta))


def normalisation(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> Ballot:
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

    u, w = (
        part.view(layer.weight.shape) for part in _probe(delta.device, *2 * [layer.weight.numel()])
    )
    terms = []
    if "weight" in votes:
        of_weight = each(delta * normal)
        vector_votes(of, of_weight, votes["weight"])
        terms.append((of_weight.float() * w * u).flatten(1).sum(1))
    if "bias" in votes:
        of_bias = each(delta)
        vector_votes(of, of_bias, votes["bias"])
        terms.append((of_bias.float() * u).flatten(1).sum(1))
    return Ballot(torch.cat(terms), u.flatten(), w, _rounding(delta))


Layer = Callable[[Any, Environments, Tensor, Tensor, Votes], Ballot]
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


def _product(
    layer: Any, groups: int, of: Environments, inputs: Tensor, delta: Tensor, rows: Rows,
    votes: Votes,
) -> Ballot:  # fmt: skip
    out = len(layer.weight) // groups
    u, w = _probe(delta.device, len(layer.weight), groups * layer.weight[0].numel())
    by_group = u.view(groups, -1), w.view(groups, -1)
    mine = votes["weight"].view(groups, out, -1) if "weight" in votes else None
    terms = product_votes(of, delta, inputs, rows, by_group, mine, "bias" in votes)
    return Ballot(terms, u, w if groups == 1 else by_group[1], _rounding(delta))


def _rounding(delta: Tensor) -> float:
    """In half precision, autocast too, gradients are rounded."""
    return 1e-3 if delta.element_size() > 2 else 0.05


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """In the same precision; a call of `to` takes as long as a small kernel, even for nothing."""
    return tensor if tensor.dtype == other.dtype else tensor.to(other.dtype)


@lru_cache(maxsize=1024)
def _probe(device: torch.device, outputs: int, inputs: int) -> tuple[Tensor, Tensor]:
    """Random signs, the same for a shape every time."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, (outputs + inputs,), generator=generator)
    u, w = torch.split((2 * drawn - 1).to(device, torch.float32), [outputs, inputs])
    return u, w
