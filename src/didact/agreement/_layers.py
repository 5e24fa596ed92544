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

from ._environments import Environments, product_votes, row_votes, vector_votes


@dataclass
class Ballot:
    """What the hooks saw of one parameter's gradient G, to check the votes by.

    Attributes:
        terms: of ``Σ u G w``, where u w is a random sign for each component, ``[n]``.
        probe: u and w, or one tensor of signs.
        rounding: how far their sum may be off, as a share of the sum of their sizes.
    """

    terms: Tensor
    probe: tuple[Tensor, ...]
    rounding: float

    def project(self, grad: Tensor) -> Tensor:
        """``Σ u G w`` of a gradient in the parameter's shape."""
        if len(self.probe) == 1:
            return torch.dot(like(grad.flatten(), self.probe[0]), self.probe[0].flatten())
        u, w = self.probe
        if len(u) == 1:
            return torch.dot(like(torch.mv(grad.flatten(1), like(w[0], grad)), u), u[0])
        along = grad.reshape(*u.shape, w.shape[1]) @ w.unsqueeze(-1).to(grad.dtype)
        return (along.squeeze(-1).float() * u).sum()


Votes = dict[str, Tensor]
"""Σ_e sign(g_e) of a layer's trained parameters, in their shapes; a layer's function adds to it."""


def linear(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> dict[str, Ballot]:
    """``y = x Wᵀ + b``, of ``[batch, …, in]``.

    Where every environment has one row, ``Σ_e sign(δ_e ⊗ a_e) = sign(Δ)ᵀ sign(A)``: one matrix
    product, whose factors serve the bias, too.
    """
    found = {}
    if of.single and delta.dim() == 2:
        rounding, device = _rounding(delta), delta.device
        u, w = (_signs(device, (1, n)) for n in layer.weight.shape)
        voted, along = delta.sign(), torch.mv(delta, like(u[0], delta))
        if "weight" in votes:
            like_votes = votes["weight"]
            votes["weight"].addmm_(like(voted, like_votes).T, like(inputs.sign(), like_votes))
            beside = torch.mv(like(inputs, delta), like(w[0], delta))
            found["weight"] = Ballot(like(along * beside, u), (u, w), rounding)
        if "bias" in votes:
            votes["bias"].add_(voted.sum(0, dtype=torch.float32))
            found["bias"] = Ballot(like(along, u), (u[0],), rounding)
        return found
    if "weight" in votes:
        found["weight"] = _product(votes["weight"], 1, of, inputs, delta, _positions)
    if "bias" in votes:
        each = delta.reshape(len(delta), -1, delta.shape[-1]).sum(1)
        found["bias"] = _vector(votes["bias"], of, each)
    return found


def _positions(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
    d, a = (t.reshape(len(t), -1, 1, t.shape[-1]) for t in (delta, inputs))
    return d, a


def convolution(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> dict[str, Ballot]:
    """A convolution is a linear layer of the windows of its input."""
    found = {}
    groups = layer.groups

    def rows(delta: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        d = delta.reshape(len(delta), groups, delta.shape[1] // groups, -1).permute(0, 3, 1, 2)
        return d, windows(layer, inputs)

    if "weight" in votes:
        found["weight"] = _product(votes["weight"], groups, of, inputs, delta, rows)
    if "bias" in votes:
        found["bias"] = _vector(votes["bias"], of, delta.flatten(2).sum(2))
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


def embedding(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> dict[str, Ballot]:
    """Rows of a table."""
    weight = votes["weight"]
    u, w = signs(weight, len(weight), 1), signs(weight, 1, weight.shape[1])
    along = (delta.float() * w[0]).sum(-1) * u[:, 0][inputs]
    if layer.padding_idx is not None:
        along = along * (inputs != layer.padding_idx)
    row_votes(of, inputs, delta, weight)
    # A table is [rows, dim]: one group, with the row as output and the dimension as input.
    return {"weight": Ballot(along.flatten(), (u.mT, w), _rounding(delta))}


def normalisation(
    layer: Any, of: Environments, inputs: Tensor, delta: Tensor, votes: Votes
) -> dict[str, Ballot]:
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
    if "weight" in votes:
        found["weight"] = _vector(votes["weight"], of, each(delta * normal))
    if "bias" in votes:
        found["bias"] = _vector(votes["bias"], of, each(delta))
    return found


Layer = Callable[[Any, Environments, Tensor, Tensor, Votes], dict[str, Ballot]]
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
    votes: Tensor, groups: int, of: Environments, inputs: Tensor, delta: Tensor, rows: Any
) -> Ballot:
    out = len(votes) // groups
    probe = signs(votes, groups, out), signs(votes, groups, votes[0].numel())
    terms = product_votes(of, delta, inputs, rows, probe, votes.view(groups, out, -1))
    return Ballot(terms, probe, _rounding(delta))


def _vector(votes: Tensor, of: Environments, each: Tensor) -> Ballot:
    probe = signs(votes, *votes.shape)
    vector_votes(of, each, votes)
    return Ballot((each.float() * probe).flatten(1).sum(1), (probe,), _rounding(each))


def _rounding(delta: Tensor) -> float:
    """In half precision, autocast too, gradients are rounded."""
    return 1e-3 if delta.element_size() > 2 else 0.05


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """In the same precision; a call of `to` takes as long as a small kernel, even for nothing."""
    return tensor if tensor.dtype == other.dtype else tensor.to(other.dtype)


def signs(like: Tensor, *shape: int) -> Tensor:
    """Random signs, the same for a shape every time."""
    return _signs(like.device, shape)


@lru_cache(maxsize=1024)
def _signs(device: torch.device, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(2, shape, generator=generator)
    return (2 * drawn - 1).to(device, torch.float32)
