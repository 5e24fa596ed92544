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

from ._environments import Environments, product_votes, row_votes, total, vector_votes


@dataclass
class Ballot:
    """Votes on one parameter, and what its gradient looks like from here.

    Attributes:
        votes: Σ_e sign(g_e), in the parameter's shape.
        value: ``Σ u G w`` of the gradient G that the hooks saw; u w is a random sign for each
            component.
        terms: the sum of the sizes of what ``value`` adds up, to judge rounding by.
        probe: u and w, or one tensor of signs.
        rounding: how far ``value`` may be from that of the gradient, as a share of ``terms``.
    """

    votes: Tensor
    value: Tensor
    terms: Tensor
    probe: tuple[Tensor, ...]
    rounding: float

    def add(self, other: Ballot) -> None:
        """Of one more batch."""
        self.votes = self.votes + other.votes
        self.value = self.value + other.value
        self.terms = self.terms + other.terms

    def project(self, grad: Tensor) -> Tensor:
        """``Σ u G w`` of a gradient in the parameter's shape."""
        if len(self.probe) == 1:
            return (grad.float() * self.probe[0]).sum()
        u, w = self.probe
        along = grad.reshape(*u.shape, w.shape[1]) @ w.unsqueeze(-1).to(grad.dtype)
        return (along.squeeze(-1).float() * u).sum()


Seen = tuple[nn.Module, Environments, Tensor, Tensor]
"""A layer, the environments of its batch, its input and the gradient of its output."""


def linear(layer: Any, of: Environments, inputs: Tensor, delta: Tensor) -> dict[str, Ballot]:
    """``y = x Wᵀ + b``, of ``[batch, …, in]``.

    Where every environment has one row, ``Σ_e sign(δ_e ⊗ a_e) = sign(Δ)ᵀ sign(A)``: one matrix
    product, whose factors serve the bias, too.
    """
    found = {}
    if of.single and delta.dim() == 2:
        rounding, voted = _rounding(delta), delta.sign().float()
        u, w = (signs(layer.weight, 1, n) for n in layer.weight.shape)
        along = delta @ u[0].to(delta.dtype)
        if layer.weight.requires_grad:
            votes = voted.T @ inputs.sign().float()
            terms = total(along * (inputs.to(delta.dtype) @ w[0].to(delta.dtype)))
            found["weight"] = Ballot(votes, *terms, (u, w), rounding)
        if layer.bias is not None and layer.bias.requires_grad:
            found["bias"] = Ballot(voted.sum(0), *total(along), (u[0],), rounding)
        return found
    if layer.weight.requires_grad:
        found["weight"] = _product(layer.weight, 1, of, inputs, delta, _positions)
    if layer.bias is not None and layer.bias.requires_grad:
        each = delta.reshape(len(delta), -1, delta.shape[-1]).sum(1)
        found["bias"] = _vector(layer.bias, of, each)
    return found


def _positions(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    d, a = (t.reshape(len(t), -1, 1, t.shape[-1]) for t in (delta, inputs))
    return d, a


def convolution(layer: Any, of: Environments, inputs: Tensor, delta: Tensor) -> dict[str, Ballot]:
    """A convolution is a linear layer of the windows of its input."""
    found = {}
    groups = layer.groups

    def rows(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        d = delta.reshape(len(delta), groups, delta.shape[1] // groups, -1).permute(0, 3, 1, 2)
        return d, windows(layer, inputs)

    if layer.weight.requires_grad:
        found["weight"] = _product(layer.weight, groups, of, inputs, delta, rows)
    if layer.bias is not None and layer.bias.requires_grad:
        found["bias"] = _vector(layer.bias, of, delta.flatten(2).sum(2))
    return found


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


def embedding(layer: Any, of: Environments, inputs: Tensor, delta: Tensor) -> dict[str, Ballot]:
    """Rows of a table."""
    weight = layer.weight
    u, w = signs(weight, len(weight), 1), signs(weight, 1, weight.shape[1])
    along = (delta.float() * w[0]).sum(-1) * u[:, 0][inputs]
    if layer.padding_idx is not None:
        along = along * (inputs != layer.padding_idx)
    votes = row_votes(of, inputs, delta, len(weight))
    # A table is [rows, dim]: one group, with the row as output and the dimension as input.
    return {"weight": Ballot(votes, *total(along), (u.mT, w), _rounding(delta))}


def normalisation(layer: Any, of: Environments, inputs: Tensor, delta: Tensor) -> dict[str, Ballot]:
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

    found = {}
    if layer.weight is not None and layer.weight.requires_grad:
        found["weight"] = _vector(layer.weight, of, each(delta * normal))
    bias = getattr(layer, "bias", None)
    if bias is not None and bias.requires_grad:
        found["bias"] = _vector(bias, of, each(delta))
    return found


Layer = Callable[[Any, Environments, Tensor, Tensor], dict[str, Ballot]]
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
    weight: Tensor, groups: int, of: Environments, inputs: Tensor, delta: Tensor, rows: Any
) -> Ballot:
    out = len(weight) // groups
    probe = signs(weight, groups, out), signs(weight, groups, weight[0].numel())
    votes, value, terms = product_votes(of, delta, inputs, rows, probe)
    return Ballot(votes.view_as(weight), value, terms, probe, _rounding(delta))


def _vector(parameter: Tensor, of: Environments, each: Tensor) -> Ballot:
    probe = signs(parameter, *parameter.shape)
    along = each.float() * probe
    return Ballot(vector_votes(of, each), *total(along), (probe,), _rounding(each))


def _rounding(delta: Tensor) -> float:
    """In half precision, autocast too, gradients are rounded."""
    return 1e-3 if delta.element_size() > 2 else 0.05


def signs(like: Tensor, *shape: int) -> Tensor:
    """Random signs, the same for a shape every time."""
    return _signs(like.device, shape)


@lru_cache(maxsize=1024)
def _signs(device: torch.device, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, shape, generator=generator)
    return (2 * drawn - 1).to(device, torch.float32)
