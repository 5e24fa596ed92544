"""Layers whose parameters' gradients do not go to the parameters, but to sums beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.nn import functional as F

from .._checks import InvalidInput, invalid
from ._environments import Environments
from ._layers import DIMENSIONS, LAYERS, like

OTHER = "`environment_backward` takes any module."
ANY = range(2, 100)
ANCHOR = torch.empty(0, requires_grad=True)
"""An input that needs a gradient, as those of a first layer do not; it gets none."""
END = get_gradient_edge(ANCHOR).node


@dataclass(slots=True)
class Pass:
    """A forward pass of the model, and the backward pass that belongs to it.

    Attributes:
        of: the environments of its batch.
        weights: of the examples, where environments have several sizes.
        together: how many environments all processes have.
        going: whether the forward pass goes on.
        begun: whether the backward pass has come to a layer.
    """

    of: Environments
    weights: Tensor | None
    together: int
    going: bool = True
    begun: bool = False


@dataclass(slots=True)
class Now:
    """What all layers share.

    Attributes:
        current: the forward pass that goes on; None before the first.
        total: environments of all passes that came back.
        begun: how many these are.
        alone: whether environments were given for one of them.
        closed: whether the block is over.
    """

    current: Pass | None = None
    total: int = 0
    begun: int = 0
    alone: bool = False
    closed: bool = False

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise InvalidInput("A model should be copied outside of the block. Found a copy in it.")

    @property
    def whole(self) -> bool:
        """Whether the backward pass that goes on is one for parameters, not ``autograd.grad``."""
        return torch._C._will_engine_execute_node(END)


@dataclass(slots=True)
class Streamed:
    """A layer in the block, whose :meth:`forward` stands in for its own.

    Attributes:
        name: of the layer in the model.
        layer: the module.
        parameters: those that are trained, by their names in the layer.
        now: what all layers share.
        grads: Σ_e g_e of the parameters.
        votes: Σ_e sign(g_e).
        waiting: whether a forward pass has had no backward pass yet.
        seen: whether there was a backward pass.
    """

    name: str
    layer: nn.Module
    parameters: dict[str, nn.Parameter]
    now: Now
    grads: dict[str, Tensor]
    votes: dict[str, Tensor]
    waiting: bool = False
    seen: bool = False

    def forward(self, input: Tensor) -> Tensor:
        """The layer's output; on the way back its parameters stay without gradients."""
        layer, current = self.layer, self.now.current
        again = torch._C._current_graph_task_id() != -1  # a checkpoint, on the way back
        if not torch.is_grad_enabled():
            found: Tensor = type(layer).forward(layer, input)
            return found
        if current is None or not (current.going or again):
            raise InvalidInput(
                f"The model should be called as a whole in the block. Found a call of its layer "
                f"`{self.name}` alone."
            )
        if self.waiting and not again:
            raise InvalidInput(
                f"Layer `{self.name}` should be used once in each backward pass. Found a second "
                f"use: {OTHER}"
            )
        batch = len(current.of.index)
        if input.dim() not in DIMENSIONS.get(type(layer), ANY) or input.shape[0] != batch:
            raise InvalidInput(
                f"Layer `{self.name}` should get [batch = {batch}, …]. Found {list(input.shape)}: "
                f"{OTHER}"
            )
        self.waiting = True
        how = LinearCall if type(layer) is nn.Linear else LayerCall
        return how.apply(input, ANCHOR, self, current)  # type: ignore[no-untyped-call,no-any-return]

    def begin_backward(self, current: Pass) -> bool:
        """Refuse what is not the one backward pass of a forward pass; whether it is one at all."""
        if not self.now.whole:
            return False
        if torch.is_grad_enabled():
            raise InvalidInput(
                "A backward pass in the block cannot be differentiated. Found create_graph=True."
            )
        if self.now.closed:
            raise InvalidInput("The backward pass should be in the block. Found one after it.")
        if not self.waiting:
            raise InvalidInput(
                f"Each forward pass should have one backward pass. Found a second one of "
                f"`{self.name}`."
            )
        self.waiting = False
        if not current.begun:
            current.begun = True
            self.now.total += current.together
            self.now.begun += 1
            if self.now.alone and self.now.begun > 1:
                rule = "a list of tensors, one for each pass, where there are several"
                raise invalid("environments", rule, "one tensor, and a second backward pass")
        return True

    def begin_sums(self) -> None:
        """Until a layer's first backward pass, its sums are memory that nobody has written to."""
        if not self.seen:
            for tensor in (*self.grads.values(), *self.votes.values()):
                tensor.zero_()
        self.seen = True


Backward = Callable[[Any, Tensor], Any]


def full_precision(backward: Backward) -> Backward:
    """Autocast lowers what is computed in the block, but not what comes back."""

    @wraps(backward)
    def same(ctx: Any, delta: Tensor) -> Any:
        if not torch._C._is_any_autocast_enabled():
            return backward(ctx, delta)
        with torch.autocast(delta.device.type, enabled=False):
            return backward(ctx, delta)

    return same


class LinearCall(torch.autograd.Function):
    """Written out, since a call of autograd takes as long as a product of small matrices.

    Where every environment has one row, ``Σ_e sign(δ_e ⊗ a_e) = sign(Δ)ᵀ sign(A)``: votes take
    one matrix product, as the gradient ``Δᵀ A`` does.
    """

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, anchor: Tensor, streamed: Streamed, current: Pass
    ) -> Tensor:
        weight, bias = streamed.layer.weight, streamed.layer.bias
        ctx.save_for_backward(inputs, weight)
        ctx.streamed, ctx.current = streamed, current
        return F.linear(inputs, weight, bias)  # type: ignore[arg-type]

    @staticmethod
    @full_precision
    def backward(ctx: Any, delta: Tensor) -> Any:
        streamed, current = ctx.streamed, ctx.current
        counts = streamed.begin_backward(current)
        of = current.of
        inputs, weight = ctx.saved_tensors
        back = None
        if ctx.needs_input_grad[0]:
            back = like(delta @ like(weight, delta), inputs)
        if not counts:
            return back, None, None, None
        weighed = _weighed(delta, current.weights)
        if of.single and delta.dim() == 2:
            first, streamed.seen = not streamed.seen, True
            _add(streamed.grads, weighed, inputs, first)
            _add(streamed.votes, delta.sign(), inputs.sign(), first)
        else:
            streamed.begin_sums()
            d, a = (t.reshape(-1, t.shape[-1]) for t in (weighed, inputs))
            _add(streamed.grads, d, a, first=False)
            LAYERS[nn.Linear](streamed.layer, of, inputs, delta, streamed.votes)
        return back, None, None, None


def _weighed(delta: Tensor, weights: Tensor | None) -> Tensor:
    """Of environments of several sizes each counts as one; votes need no weights."""
    if weights is None:
        return delta
    return delta * weights.view(-1, *[1] * (delta.dim() - 1)).to(delta.dtype)


def _add(sums: dict[str, Tensor], d: Tensor, a: Tensor, first: bool) -> None:
    """Add ``dᵀ a`` to the weight's sum and ``Σ d`` to the bias's; the first are written over."""
    into = Tensor.copy_ if first else Tensor.add_
    for own, total in sums.items():
        if own == "bias":
            into(total, d.sum(0, dtype=total.dtype))
        elif d.dtype == a.dtype == total.dtype:
            total.addmm_(d.T, a, beta=not first)
        else:
            into(total, like(d, total).T @ like(a, total))


class LayerCall(torch.autograd.Function):
    """Any other: a piece of graph of its own."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, anchor: Tensor, streamed: Streamed, current: Pass
    ) -> Tensor:
        layer = streamed.layer
        with torch.enable_grad():
            inside = inputs.detach().requires_grad_(ctx.needs_input_grad[0])
            outside: Tensor = type(layer).forward(layer, inside)
        ctx.streamed, ctx.current = streamed, current
        ctx.graph = inside, get_gradient_edge(outside)  # the output itself need not stay
        return outside.detach()

    @staticmethod
    @full_precision
    def backward(ctx: Any, delta: Tensor) -> Any:
        streamed, current = ctx.streamed, ctx.current
        counts = streamed.begin_backward(current)
        of = current.of
        if ctx.graph is None:
            raise InvalidInput(
                f"`autograd.grad` should come before the backward pass, or that should keep the "
                f"graph. Found that of `{streamed.name}` gone."
            )
        inside, outside = ctx.graph
        keep = torch._C._autograd._get_current_graph_task_keep_graph()
        if not keep:
            ctx.graph = None
        if not counts:
            return *torch.autograd.grad(outside, [inside], delta, keep), None, None, None
        # What goes on back is never weighed: in half precision w · 1/w is not 1, and layers add up.
        wanted, back = list(streamed.parameters.values()), None
        found: Sequence[Tensor]
        if current.weights is not None:
            if ctx.needs_input_grad[0]:
                (back,) = torch.autograd.grad(outside, [inside], delta, retain_graph=True)
            found = torch.autograd.grad(outside, wanted, _weighed(delta, current.weights), keep)
        elif ctx.needs_input_grad[0]:
            *found, back = torch.autograd.grad(outside, [*wanted, inside], delta, keep)
        else:
            found = torch.autograd.grad(outside, wanted, delta, keep)
        streamed.begin_sums()
        for own, grad in zip(streamed.parameters, found, strict=True):
            streamed.grads[own].add_(grad)
        layer = streamed.layer
        LAYERS[type(layer)](layer, of, inside.detach(), delta, streamed.votes)
        return back, None, None, None
