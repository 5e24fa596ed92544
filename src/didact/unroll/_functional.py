"""A module as a pure function of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .._checks import invalid
from .._params import Params

Call = Callable[..., tuple[Any, Params]]


def functional(module: nn.Module) -> tuple[Params, Params, Call]:
    """``module`` as (theta, buffers, call): ``call(theta, buffers, *args) → (output, buffers)``.

    What the module writes to its buffers (running statistics, the vectors of spectral norm) goes
    to copies, which are returned; the module itself is left as it is. Tied weights appear once.

    Returns:
        theta: the parameters, detached: gradients flow to what you pass to ``call``.
        buffers: the buffers, detached.
        call: the pure function. The module's train/eval mode at the time of the call counts.

    Example:
        >>> import torch
        >>> from didact.unroll import functional
        >>> theta, buffers, call = functional(torch.nn.BatchNorm1d(2))
        >>> _, after = call(theta, buffers, torch.ones(4, 2))
        >>> buffers["running_mean"], after["running_mean"]
        (tensor([0., 0.]), tensor([0.1000, 0.1000]))
    """
    if not isinstance(module, nn.Module):
        raise invalid("module", "a torch.nn.Module", type(module).__name__)
    theta = {k: p.detach() for k, p in module.named_parameters()}
    buffers = {k: b.detach() for k, b in module.named_buffers()}

    def call(theta: Params, buffers: Params, *args: Any, **kwargs: Any) -> tuple[Any, Params]:
        state = {**theta, **{k: b.clone() for k, b in buffers.items()}}
        # One dict, not a tuple of two: functional_call writes re-assigned buffers back into it.
        output = torch.func.functional_call(module, state, args, kwargs)
        return output, {k: state[k].detach() for k in buffers}

    return theta, buffers, call
