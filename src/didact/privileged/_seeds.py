"""Several networks of one architecture as one module: seeds side by side."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from .._checks import InvalidInput
from .._params import Params
from ..unroll._second_order import ExactlyTwice


class Seeds(nn.Module):
    """S networks that train at once, each on data of its own: examples are ``[batch, S, ...]``.

    ``out[:, s] = modules[s](x[:, s])``

    Parameters and buffers are those of the modules, stacked ``[S, ...]`` (``torch.vmap``). Where
    losses are sums over s (:func:`each`) and optimizers act component by component, as SGD and
    Adam do, the S trainings are those of S separate runs, at a fraction of the time for small
    networks. Student and teacher of every method here may be ``Seeds``.

    Args:
        modules: at least one, of one architecture and mode; they are copied.

    Raises:
        InvalidInput: if their parameters or buffers differ in name or shape.

    Example:
        >>> from didact.privileged import Seeds
        >>> students = Seeds([nn.Linear(3, 2) for _ in range(5)])
        >>> students(torch.zeros(8, 5, 3)).shape
        torch.Size([8, 5, 2])
        >>> students.net.weight.shape
        torch.Size([5, 2, 3])
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        modules = list(modules)
        if not modules:
            raise InvalidInput("Parameter `modules` should hold at least one module. Found none.")
        states = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in modules]
        shapes = [{name: tuple(t.shape) for name, t in state.items()} for state in states]
        if any(found != shapes[0] for found in shapes):
            odd = next(i for i, found in enumerate(shapes) if found != shapes[0])
            raise InvalidInput(
                "Parameter `modules` should hold modules of one architecture. Found parameters or "
                f"buffers of other names or shapes in number {odd} than in number 0."
            )
        self.net = copy.deepcopy(modules[0])
        trained = dict(self.net.named_parameters())
        for name in states[0]:
            stacked = torch.stack([state[name].detach() for state in states])
            owner, _, attribute = name.rpartition(".")
            module = self.net.get_submodule(owner)
            if name in trained:
                needed = trained[name].requires_grad
                module.register_parameter(attribute, nn.Parameter(stacked, needed))
            else:
                setattr(module, attribute, stacked)

    def forward(self, *inputs: Any) -> Any:
        """Nested tensors ``[batch, S, ...]`` → nested tensors ``[batch, S, ...]``."""
        state = {**dict(self.net.named_parameters()), **dict(self.net.named_buffers())}

        def one(state: Params, *inputs: Any) -> Any:
            return torch.func.functional_call(self.net, state, inputs)

        # torch's weight norm has no batching rule; a compiled unroll writes it out by itself.
        written_out = nullcontext() if torch.compiler.is_compiling() else ExactlyTwice()
        in_dims = (0, *(1 for _ in inputs))
        with written_out:
            return torch.vmap(one, in_dims, out_dims=1, randomness="different")(state, *inputs)


def each(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss of one network as the sum of those of S: ``Σ_s loss(a[:, s], b[:, s], …)``.

    Args:
        loss: of nested tensors ``[batch, ...]`` → scalar.

    Returns:
        The same of nested tensors ``[batch, S, ...]``.

    Example:
        >>> from didact.privileged import each
        >>> loss = each(nn.functional.mse_loss)
        >>> loss(torch.ones(8, 5, 2), torch.zeros(8, 5, 2))
        tensor(5.)
    """

    def summed(*arguments: Any) -> Tensor:
        return torch.vmap(loss, in_dims=1)(*arguments).sum()

    return summed
