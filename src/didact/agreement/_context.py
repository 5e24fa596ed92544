"""The AND-mask around an ordinary backward pass."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from .._checks import InvalidInput, check_number, invalid
from .._params import leaves
from ._and_mask import mask_in_place
from ._environments import Environments
from ._layers import LAYERS, Ballot, Votes
from ._ranks import Ranks
from ._votes import fewest

OTHER = "`environment_backward` takes any module."


@dataclass
class Agreement:
    """What a pass through :func:`agreement` came to.

    Attributes:
        environments: d, of all backward passes together.
        kept: the share of each parameter's components that survived, by name.
    """

    environments: int = 0
    kept: dict[str, float] = field(default_factory=dict)


@contextmanager
def agreement(
    model: nn.Module,
    *,
    environments: Tensor | None = None,
    threshold: float = 0.8,
    rescale: bool = False,
) -> Iterator[Agreement]:
    r"""Make the gradients of a backward pass those that environments agree on.

    ``p.grad ← m ⊙ mean_e g_e``, ``m_j = 1[|mean_e sign(g_ej)| ≥ τ]``: as :func:`and_mask`, but only
    Σ_e g_e and Σ_e sign(g_e) ever exist. Environments weigh equally, however many examples they
    have, if the loss is a mean or sum over examples without weights of its own.

    One backward pass, or several with a batch each, whose gradients add up. In a
    ``DistributedDataParallel`` each environment should be whole in one process. A layer is refused
    where its examples cannot be told apart from outside; ``environment_backward`` takes any module.

    Reference: Parascandolo, Neitz et al. 2021.

    Args:
        model: called in the block; the first dimension of what its layers get is the batch.
        environments: a number for each example, ``[batch]``; None: every example is one.
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
    watch = _Watch(model, environments)
    found = Agreement()
    try:
        yield found
        watch.finish(threshold, rescale, found)
    finally:
        watch.close()


class _Watch:
    """Hooks on the layers of a model while it is in the block."""

    def __init__(self, model: nn.Module, environments: Tensor | None) -> None:
        self.model, self.given = model, environments
        self.seen: dict[str, list[Ballot]] = {}
        self.waiting: set[str] = set()
        self.of: Environments | None = None
        self.weights: Tensor | None = None
        self.ranks = Ranks.of(model)
        self.total = 0
        layers = streamable(model)
        self.layers = {name: trained(layer) for name, layer in layers.items()}
        self.parameters = {
            f"{name}.{own}" if name else own: parameter
            for name, of_layer in self.layers.items()
            for own, parameter in of_layer.items()
        }
        self.flat, self.votes = _blank(self.parameters)
        for name, parameter in self.parameters.items():
            if parameter.grad is not None and bool(parameter.grad.any()):
                raise InvalidInput(
                    f"Gradients should be None or 0 before the block: `zero_grad()`. Found some of "
                    f"`{name}`, on which nobody has voted."
                )
        self.handles: list[RemovableHandle] = [
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            *(
                layer.register_forward_hook(
                    partial(self._called, name, self._own_votes(name)), with_kwargs=True
                )
                for name, layer in layers.items()
            ),
            model.register_forward_hook(self._end),
        ]

    def close(self) -> None:
        for handle in self.handles:
            handle.remove()

    def _begin(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if not torch.is_grad_enabled():
            return
        tensors = [t for t in leaves([args, kwargs]) if isinstance(t, Tensor) and t.dim()]
        if not tensors:
            raise InvalidInput("The model should be called with tensors [batch, …]. Found none.")
        self.of = Environments.of(self.given, len(tensors[0]), tensors[0].device)
        self.ranks.check_whole(self.of.ids)
        together = len(self.of.sizes)
        if self.ranks.count > 1:
            together = int(self.ranks.add(torch.tensor(together, device=tensors[0].device)))
        self.total += together
        self.weights = self.of.weights(together, self.ranks.count)

    def _end(self, model: nn.Module, args: Any, output: Any) -> Any:
        """Where environments are of several sizes, weigh examples on the way back."""
        if self.weights is None or not torch.is_grad_enabled():
            return None
        weights = self.weights

        def weighed(output: Any) -> Any:
            if not isinstance(output, Tensor) or not output.requires_grad:
                return output
            if output.dim() == 0 or len(output) != len(weights):
                raise InvalidInput(
                    "Where environments have several sizes, the model's outputs should be "
                    f"[batch, …], with a loss of examples outside. Found {list(output.shape)}."
                )
            # A tensor of its own: the last layer must see what this hook makes of the gradient.
            output = output.view_as(output)
            shape = [-1] + [1] * (output.dim() - 1)
            output.register_hook(lambda grad: grad * weights.view(shape).to(grad.dtype))
            return output

        return _mapped(weighed, output)

    def _own_votes(self, layer: str) -> Votes:
        return {own: self.votes[f"{layer}.{own}" if layer else own] for own in self.layers[layer]}

    def _called(
        self, name: str, votes: Votes, layer: nn.Module, args: Any, kwargs: Any, output: Any
    ) -> None:
        if not torch.is_grad_enabled() or not output.requires_grad:
            return
        if self.of is None:
            raise InvalidInput(
                f"The model should be called as a whole in the block. Found a call of its layer "
                f"`{name}` alone."
            )
        if name in self.waiting:
            raise InvalidInput(
                f"Layer `{name}` should be used once in each backward pass. Found a second use: "
                f"{OTHER}"
            )
        inputs = args[0] if args else kwargs["input"]
        if inputs.dim() < 1 + (type(layer) is not nn.Embedding) or len(inputs) != len(
            self.of.index
        ):
            raise InvalidInput(
                f"Layer `{name}` should get [batch = {len(self.of.index)}, …]. Found "
                f"{list(inputs.shape)}: {OTHER}"
            )
        self.waiting.add(name)
        output.register_hook(partial(self._voted, name, votes, layer, self.of, inputs.detach()))

    def _voted(
        self, name: str, votes: Votes, layer: nn.Module, of: Environments, inputs: Tensor,
        delta: Tensor,
    ) -> None:  # fmt: skip
        if name not in self.waiting:
            raise InvalidInput(
                f"Each forward pass should have one backward pass. Found a second one of `{name}`."
            )
        self.waiting.discard(name)
        with torch.no_grad():
            ballot = LAYERS[type(layer)](layer, of, inputs, delta, votes)
        self.seen.setdefault(name, []).append(ballot)

    def finish(self, threshold: float, rescale: bool, found: Agreement) -> None:
        """Mask what the backward passes left."""
        if not self.seen:
            raise InvalidInput("The block should hold a forward and a backward pass. Found none.")
        found.environments = self.total
        grads = {name: p.grad for name, p in self.parameters.items() if p.grad is not None}
        with torch.no_grad():
            self._check()
            for votes in self.flat:
                self.ranks.add(votes).abs_().ge_(fewest(self.total, threshold))
            masks = [self.votes[name] for name in grads]
            shares = mask_in_place(list(grads.values()), masks, rescale)
        found.kept = dict(zip(grads, shares, strict=True))

    def _check(self) -> None:
        """Gradients must be those that were seen on their way, by one process or another."""
        terms, there, norms, rounding = [], [], [], []
        for name, own in self.layers.items():
            grads = {n: p.grad for n, p in own.items() if p.grad is not None}
            ballots = self.seen.get(name)
            if ballots:
                each = [ballot.terms for ballot in ballots]
                terms.append(each[0] if len(each) == 1 else torch.cat(each))
                value, norm = ballots[0].project(grads)
                rounding.append(ballots[0].rounding)
            else:
                device = next(iter(own.values())).device
                terms.append(torch.zeros(1, device=device))
                norm = torch.zeros((), device=device)
                value = sum((grad.abs().sum().float() for grad in grads.values()), norm)
                rounding.append(float(self.ranks.count > 1))
            there.append(value)
            norms.append(norm)
        sums = _sums(terms)
        if self.ranks.count > 1:
            sums = self.ranks.add(sums) / self.ranks.count
        here_too = torch.stack([t.to(sums.device) for t in there + norms]).view(2, -1)
        numbers = torch.cat([sums, here_too]).T.tolist()
        for name, share, (of_calls, size, here, norm) in zip(
            self.layers, rounding, numbers, strict=True
        ):
            # A probe may cancel what is large: rounding is that of the whole gradient, too. Written
            # so that NaN is refused.
            if not abs(of_calls - here) <= share * (size + (norm if math.isfinite(norm) else 0)):
                raise InvalidInput(
                    f"The gradients of layer `{name}` should come from its own calls alone. Found "
                    f"another part (a projection of them is {here:g}, of the calls {of_calls:g}): "
                    f"{OTHER}"
                )


def _blank(parameters: dict[str, nn.Parameter]) -> tuple[list[Tensor], dict[str, Tensor]]:
    """No votes yet: one piece of memory for each device, and what of it is each parameter's."""
    by_device: dict[torch.device, list[str]] = {}
    for name, parameter in parameters.items():
        by_device.setdefault(parameter.device, []).append(name)
    flat: list[Tensor] = []
    votes: dict[str, Tensor] = {}
    for device, names in by_device.items():
        shapes = [parameters[name].detach() for name in names]
        flat.append(torch.zeros(sum(shape.numel() for shape in shapes), device=device))
        parts = torch._utils._unflatten_dense_tensors(flat[-1], shapes)  # type: ignore[no-untyped-call]
        votes.update(zip(names, parts, strict=True))
    return flat, votes


def _sums(vectors: list[Tensor]) -> Tensor:
    """Of each its sum and the sum of its sizes, ``[2, vectors]``; those of one length at once."""
    by_length: dict[int, list[int]] = {}
    for k, vector in enumerate(vectors):
        by_length.setdefault(len(vector), []).append(k)
    found, order = [], []
    for places in by_length.values():
        rows = torch.stack([vectors[k].to(vectors[0].device) for k in places])
        found.append(torch.stack([rows.sum(1), rows.abs_().sum(1)]))
        order += places
    if len(found) == 1:
        return found[0]
    return torch.cat(found, 1)[:, torch.tensor(order, device=vectors[0].device).argsort()]


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """A module's own parameters that get gradients."""
    own = module._parameters
    return {name: p for name, p in own.items() if p is not None and p.requires_grad}


def streamable(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that are trained, by name.

    Raises:
        InvalidInput: naming the first module whose votes cannot be seen from outside.
    """
    if hasattr(model, "_orig_mod") or isinstance(model, nn.DataParallel):
        raise invalid(
            "model", f"neither compiled nor a DataParallel; {OTHER}", type(model).__name__
        )
    found: dict[str, nn.Module] = {}
    owner: dict[int, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            here = _place(name, module)
            raise InvalidInput(
                f"Modules should treat each example alone. Found {here} with statistics of the "
                f"batch: put it in eval mode, or `environment_backward`, which takes any module."
            )
        own = trained(module)
        if not own:
            continue
        if type(module) not in LAYERS or not set(own) <= {"weight", "bias"}:
            known, here = ", ".join(sorted({e.__name__ for e in LAYERS})), _place(name, module)
            raise InvalidInput(
                f"Trained modules should be of {known}, as they are. Found {here} with the "
                f"parameters {', '.join(own)}: {OTHER}"
            )
        if isinstance(module, nn.Embedding) and (
            module.max_norm is not None or module.scale_grad_by_freq or module.sparse
        ):
            raise InvalidInput(
                f"An embedding should have no max_norm, no scale_grad_by_freq and dense gradients. "
                f"Found {_place(name, module)}: {OTHER}"
            )
        for parameter_name, parameter in own.items():
            whole = f"{name}.{parameter_name}" if name else parameter_name
            if id(parameter) in owner:
                raise InvalidInput(
                    f"Layers should not share parameters. Found `{whole}`, which is "
                    f"`{owner[id(parameter)]}`: {OTHER}"
                )
            owner[id(parameter)] = whole
        found[name] = module
    if not found:
        raise invalid("model", "a module with parameters that are trained", type(model).__name__)
    return found


def _place(name: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"`{name or kind}` ({kind})"


def _mapped(function: Any, tree: Any) -> Any:
    """Apply to the leaves of nested dicts, lists and tuples, whose kinds are kept."""
    if isinstance(tree, dict):
        return type(tree)((k, _mapped(function, v)) for k, v in tree.items())
    if isinstance(tree, list | tuple):
        values = [_mapped(function, v) for v in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return function(tree)
