"""A module as a pure function of its parameters and buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import disable_saved_tensors_hooks

from .._checks import InvalidInput, invalid
from .._params import Params

Call = Callable[..., tuple[Any, Params]]

_CHECKPOINTED = (
    "Parameter `module` should not checkpoint activations or hook saved tensors: in backward it "
    "would compute with its own parameters, not with `theta`. Put the checkpoint around `call`."
)


def _refusing_checkpoints() -> AbstractContextManager[None]:
    # The first step of a compiled unroll is eager: it is refused there.
    return nullcontext() if torch.compiler.is_compiling() else _no_hooks()


@contextmanager
def _no_hooks() -> Iterator[None]:
    with ExitStack() as stack:
        # Disabling fails where hooks are active: a checkpoint around `call`, which is right.
        with suppress(RuntimeError):
            stack.enter_context(disable_saved_tensors_hooks(_CHECKPOINTED))
        try:
            yield
        except RuntimeError as error:
            if _CHECKPOINTED in str(error):
                raise InvalidInput(_CHECKPOINTED) from None
            raise


def functional(module: nn.Module) -> tuple[Params, Params, Call]:
    """``module`` as (theta, buffers, call): ``call(theta, buffers, *args) → (output, buffers)``.

    What the module writes to its buffers (running statistics, the vectors of spectral norm) goes
    to copies, which are returned; the module itself is left as it is. Tied weights appear once.

    Raises:
        InvalidInput: by ``call``, for a module that checkpoints activations.

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
        with _refusing_checkpoints():
            # One dict, not a tuple of two: functional_call writes re-assigned buffers back into it.
            output = torch.func.functional_call(module, state, args, kwargs)
        return output, {k: state[k].detach() for k in buffers}

    return theta, buffers, call
