"""The AND-mask around an ordinary backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from .._checks import InvalidInput, check_choice, check_number, invalid
from .._params import leaves
from ._and_mask import mask_in_place
from ._calls import OTHER, Now, Pass, Streamed
from ._environments import Environments, check_passes
from ._ranks import Ranks, refuse_parallel
from ._streamable import streamable
from ._votes import fewest


@dataclass
class Agreement:
    """What a pass through :func:`agreement` came to.

    Attributes:
        environments: d, of all backward passes together.
        masks: m of each parameter, 1 where a component survived, by name.
    """

    environments: int = 0
    masks: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def kept(self) -> dict[str, float]:
        """The share of each parameter's components that survived, by name."""
        return {name: float(mask.mean()) for name, mask in self.masks.items()}


@contextmanager
def agreement(
    model: nn.Module,
    *,
    environments: Tensor | Sequence[Tensor] | None = None,
    threshold: float = 0.8,
    rescale: bool = False,
) -> Iterator[Agreement]:
    r"""Make the gradients of a backward pass those that environments agree on.

    ``p.grad ← m ⊙ mean_e g_e``, ``m_j = 1[|mean_e sign(g_ej)| ≥ τ]``: as :func:`and_mask`, but only
    Σ_e g_e and Σ_e sign(g_e) ever exist. Environments weigh equally, however many examples they
    have, if the loss is a mean or sum over examples without weights of its own.

    One backward pass, or several with a batch each, whose gradients add up: divide their losses by
    how many there are. Each environment should be whole in one pass, and in one process of a
    ``DistributedDataParallel``. A layer is refused
    where its examples cannot be told apart from outside; ``environment_backward`` takes any module.

    Reference: Parascandolo, Neitz et al. 2021.

    Args:
        model: called in the block; the first dimension of what its layers get is the batch.
        environments: a number for each example, ``[batch]``; of several passes a list of these,
            one for each, in their order. None: every example is one.
        threshold: τ in [0, 1]; t agreeing environments of d are τ = 2t/d − 1.
        rescale: divide each parameter's gradient by its share of components that survive.

    Yields:
        An :class:`Agreement`, filled at the end of the block.

    Raises:
        InvalidInput: a number outside its range, fewer than two environments, a layer that cannot
            be streamed, gradients that do not come from the layers' own calls, no backward pass.

    Example:
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch...>
        >>> model = nn.Linear(3, 1)
        >>> x, y = torch.randn(8, 3), torch.randn(8, 1)
        >>> with agreement(model, environments=torch.arange(8) % 2, threshold=1.0) as found:
        ...     nn.functional.mse_loss(model(x), y).backward()
        >>> found.environments, sorted(found.kept)
        (2, ['bias', 'weight'])
    """
    check_number("threshold", threshold, at_least=0, at_most=1)
    check_choice("rescale", rescale, (False, True))
    watch = _Watch(model, environments)
    found = Agreement()
    try:
        yield found
        watch.finish(threshold, rescale, found)
    finally:
        watch.close()


class _Watch:
    """Stands in for the forward passes of a model and its layers while it is in the block."""

    def __init__(self, model: nn.Module, environments: Tensor | Sequence[Tensor] | None) -> None:
        self.given, self.passes = environments, 0
        self.now = Now(alone=isinstance(environments, Tensor))
        if isinstance(environments, Sequence):
            check_passes(environments)
        self.ranks = Ranks.of(model)
        layers = streamable(model)
        self.layers = [
            Streamed(
                name, layer, own, self.now,
                {n: torch.empty_like(p.data) for n, p in own.items()},
                {
                    n: torch.empty(p.shape, dtype=torch.float32, device=p.device)
                    for n, p in own.items()
                },
            )
            for name, layer, own in layers
        ]  # fmt: skip
        self._refuse_grads("be None or 0 before the block")
        hook = register_optimizer_step_pre_hook(self._refuse_step)
        self.ended: list[Callable[[], Any]] = [hook.remove]
        for streamed in self.layers:
            self._set(streamed.layer, "forward", streamed.forward)
        self._set(model, "forward", partial(self._whole, model.forward))
        if self.ranks.group is not None:
            # Its reducer would wait for gradients that are not to come.
            self._set(model, "require_backward_grad_sync", False)

    def _set(self, module: nn.Module, name: str, value: Any) -> None:
        own = module.__dict__
        if name in own:
            self.ended.append(partial(own.__setitem__, name, own[name]))
        else:
            self.ended.append(partial(own.__delitem__, name))
        own[name] = value

    def close(self) -> None:
        self.now.closed = True
        for end in reversed(self.ended):
            end()

    def _refuse_grads(self, rule: str) -> None:
        for streamed in self.layers:
            for own, parameter in streamed.parameters.items():
                if parameter.grad is not None and bool(parameter.grad.any()):
                    raise InvalidInput(
                        f"Gradients of layer `{streamed.name}` should {rule}. Found some of its "
                        f"{own}: {OTHER}"
                    )

    def _refuse_step(self, optimizer: torch.optim.Optimizer, *rest: Any) -> None:
        ours = {id(p) for streamed in self.layers for p in streamed.parameters.values()}
        if any(id(p) in ours for group in optimizer.param_groups for p in group["params"]):
            raise InvalidInput(
                "`step` should be called after the block, when gradients are there. Found a call "
                "in the block."
            )

    def _whole(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The model's forward pass."""
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        if self.ranks.group is None:
            refuse_parallel()
        tensors = [t for t in leaves([args, kwargs]) if isinstance(t, Tensor) and t.dim()]
        if not tensors:
            raise InvalidInput("The model should be called with tensors [batch, …]. Found none.")
        device = tensors[0].device
        with self.ranks.together(device) if self.ranks.count > 1 else nullcontext():
            of = Environments.of(self._next(), len(tensors[0]), device)
        self.ranks.check_whole(of.ids)
        together, parts = len(of.sizes), 1
        if self.ranks.count > 1:
            together = int(self.ranks.add(torch.tensor(together, device=device)))
        every = together
        if isinstance(self.given, Sequence):
            parts, every = len(self.given), sum(len(set(each.tolist())) for each in self.given)
            if self.ranks.count > 1:
                every = int(self.ranks.add(torch.tensor(every, device=device)))
        weights = of.weights(every, parts * self.ranks.count)
        self.now.current = current = Pass(of, weights, together)
        found = forward(*args, **kwargs)
        current.going = False
        return found

    def _next(self) -> Tensor | None:
        """The environments of the pass that begins."""
        self.passes += 1
        if not isinstance(self.given, Sequence):
            return self.given
        if self.passes > len(self.given):
            rule = f"for each of the {self.passes} or more forward passes of the block"
            raise invalid("environments", rule, f"{len(self.given)}")
        return self.given[self.passes - 1]

    def finish(self, threshold: float, rescale: bool, found: Agreement) -> None:
        """Give the parameters what the backward passes left, masked."""
        self._refuse_grads("come from its own calls alone")
        seen = self._seen()
        if not seen:
            raise InvalidInput("The block should hold a forward and a backward pass. Found none.")
        if isinstance(self.given, Sequence) and self.passes < len(self.given):
            rule = f"for each of the {self.passes} forward passes of the block"
            raise invalid("environments", rule, f"{len(self.given)}")
        found.environments = self.now.total
        with torch.no_grad():
            for streamed in self.layers:
                streamed.begin_sums()
            grads = [grad for streamed in seen for grad in streamed.grads.values()]
            masks = [mask for streamed in seen for mask in streamed.votes.values()]
            if self.ranks.count > 1:
                for grad, votes in zip(grads, masks, strict=True):
                    self.ranks.add(grad).div_(self.ranks.count)
                    self.ranks.add(votes)
            least = fewest(self.now.total, threshold)
            for votes in masks:
                votes.abs_().ge_(least)
            mask_in_place(grads, masks, rescale)
            for streamed in seen:
                prefix = streamed.name and f"{streamed.name}."
                for own, parameter in streamed.parameters.items():
                    if parameter.grad is None:
                        parameter.grad = streamed.grads[own]
                    else:
                        parameter.grad.copy_(streamed.grads[own])
                    found.masks[prefix + own] = streamed.votes[own]

    def _seen(self) -> list[Streamed]:
        """Layers that a backward pass went through, in one process or another."""
        flags = [float(streamed.seen) for streamed in self.layers]
        if self.ranks.count > 1:
            flags = self.ranks.add(
                torch.tensor(flags, device=next(iter(self.layers[0].votes.values())).device)
            ).tolist()
        return [streamed for streamed, flag in zip(self.layers, flags, strict=True) if flag]
