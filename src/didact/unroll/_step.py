"""One training step as a pure function, and its adjoint by reverse over reverse."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from .._checks import InvalidInput, invalid, listed
from .._params import Params, leaves, tree_map, with_leaves
from ._capture import refuse_captured
from ._optimizers import Optimizer, State
from ._second_order import ExactlyTwice, naming_the_operation, watching

Loss = Callable[..., Any]


class Student(NamedTuple):
    """All that a step reads and writes, but for the random state."""

    theta: Params
    optimizer: State
    buffers: Params


@dataclass(frozen=True)
class Step:
    """θ, optimizer state, buffers → the same after one step on one batch and target."""

    loss: Loss
    optimizer: Optimizer
    has_buffers: bool
    vmap: bool

    def hyper(self) -> list[Tensor]:
        """The optimizer's tensor fields, in order."""
        return [t for t in leaves(fields_of(self.optimizer)) if isinstance(t, Tensor)]

    def with_hyper(self, tensors: list[Tensor]) -> Optimizer:
        """The optimizer with its tensor fields replaced."""
        new = iter(tensors)
        swapped = tree_map(
            lambda leaf: next(new) if isinstance(leaf, Tensor) else leaf, fields_of(self.optimizer)
        )
        return replace(self.optimizer, **swapped)  # type: ignore[type-var]

    def value(
        self, theta: Params, buffers: Params, batch: Any, target: Any, *, twice: bool
    ) -> tuple[Tensor, Any]:
        """Evaluate the loss, to differentiate it once or twice; under ``vmap`` one per seed."""
        given = (self.loss, theta, buffers, batch, target, self.has_buffers, self.vmap)
        # The fused attention kernels have no second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            return evaluate(*given, twice=twice)

    def check_value(self, value: Any, theta: Params, new: Params, buffers: Params) -> None:
        """The rules a loss must keep, checked at the first step."""
        seeds = next(iter(theta.values())).shape[:1] if self.vmap else torch.Size()
        if not isinstance(value, Tensor) or value.shape != seeds:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise invalid("loss", "a function that returns one number (a 0-d tensor)", found)
        if not value.requires_grad:
            raise invalid("loss", "a function of `theta_0`", "a value without gradient")
        if new.keys() != buffers.keys() or not all(isinstance(b, Tensor) for b in new.values()):
            types = {k: type(b).__name__ for k, b in new.items()}
            raise invalid("loss", f"a function that returns the buffers {listed(buffers)}", types)
        if attached := [k for k, b in new.items() if b.requires_grad]:
            raise InvalidInput(
                "Buffers are constants to differentiation: detach them in `loss`, or make them "
                f"part of `theta_0`. Found {listed(attached)} with a gradient."
            )

    def advance(
        self, student: Student, batch: Any, target: Any, *, first: bool = False
    ) -> tuple[Student, Tensor]:
        """The student after the step, without a graph, and the loss before it."""
        return self.advance_and_list_unused(student, batch, target, first=first)[:2]

    def advance_and_list_unused(
        self, student: Student, batch: Any, target: Any, *, first: bool = True
    ) -> tuple[Student, Tensor, list[str]]:
        """As ``advance``, with the parameters that the loss did not use."""
        theta = {k: p.detach().requires_grad_() for k, p in student.theta.items()}
        given = leaves((student.buffers, batch, target))
        versions = [t._version for t in given]
        with torch.enable_grad():
            value, buffers = self.value(theta, student.buffers, batch, target, twice=False)
            if first:
                self.check_value(value, theta, buffers, student.buffers)
                refuse_captured(self.loss, value, [*theta.values(), *leaves((batch, target))])
                if versions != [t._version for t in given]:
                    raise InvalidInput(
                        "Parameter `loss` should not write to its arguments: a step could not be "
                        "replayed. Found a buffer, batch or target that was modified in place; "
                        "let it work on a copy (`functional` does so for a module)."
                    )
            with naming_the_operation(value):
                grads = _grad(value, theta)
            if first and not grads:
                raise invalid("loss", "a function of `theta_0`", "a value that does not use it")
        with torch.no_grad():
            new, state = self.optimizer.update(grads, student.optimizer, student.theta)
        unused = [k for k in theta if k not in grads]
        return Student(new, state, buffers), value.detach(), unused

    def adjoint(
        self,
        student: Student,
        batch: Any,
        target: Any,
        cotangents: list[Tensor | None],
        *,
        first: bool = False,
    ) -> tuple[list[Tensor | None], list[Tensor | None], list[Tensor | None], Tensor]:
        """Pull the adjoints of (θ, optimizer state) after the step back through it.

        Args:
            cotangents: one per float leaf of (θ, optimizer state), ``None`` for zero.

        Returns:
            The adjoints before the step, those of the float leaves of (batch, target) that
            require a gradient, those of the hyper-parameters, and the loss.
        """
        carried = (student.theta, student.optimizer)
        with torch.enable_grad():
            inputs = [_leaf(t) for t in leaves(carried)]
            theta, state = with_leaves(carried, inputs)
            hyper = [_leaf(t) for t in self.hyper()]
            optimizer = self.with_hyper(hyper) if hyper else self.optimizer
            value, _ = self.value(theta, student.buffers, batch, target, twice=True)
            seed = torch.ones_like(value, requires_grad=first)
            with naming_the_operation(value):
                if first:
                    with watching(value):
                        grads = _grad(value, theta, seed)
                else:
                    grads = _grad(value, theta, seed)
                new = leaves(optimizer.update(grads, state, theta))
                sources = [t for t in inputs if t.requires_grad]
                given = [t for t in leaves((batch, target)) if t.requires_grad]
                floats = [t for t in new if t.is_floating_point()]
                pairs = [
                    (t, c)
                    for t, c in zip(floats, cotangents, strict=True)
                    if c is not None and t.requires_grad
                ]
                found = torch.autograd.grad(
                    [t for t, _ in pairs],
                    [*sources, *given, *hyper],
                    [c for _, c in pairs],
                    allow_unused=True,
                )
        a, b = len(sources), len(sources) + len(given)
        return list(found[:a]), list(found[a:b]), list(found[b:]), value.detach()


def evaluate(
    loss: Loss,
    theta: Params,
    buffers: Params,
    batch: Any,
    target: Any,
    has_buffers: bool,
    vmap: bool,
    *,
    twice: bool = True,
) -> tuple[Tensor, Any]:
    """Call the loss in the form it was given: (value or values per seed, new buffers)."""
    given = (theta, buffers, batch, target) if has_buffers else (theta, batch, target)
    # For one derivative torch's own operations are right and faster, but vmap does without them.
    with ExactlyTwice() if twice or vmap else nullcontext():
        if vmap:  # `None` has no axis to map over
            axes = tree_map(lambda _: 0, given)
            out = torch.func.vmap(loss, in_dims=axes, randomness="different")(*given)
        else:
            out = loss(*given)
    if not has_buffers:
        return out, {}
    if not (isinstance(out, tuple) and len(out) == 2 and isinstance(out[1], dict)):
        raise invalid("loss", "a function that returns (scalar, buffers)", type(out).__name__)
    return out


def _leaf(t: Tensor) -> Tensor:
    t = t.detach()
    return t.requires_grad_() if t.is_floating_point() else t


def _grad(value: Tensor, theta: Params, seed: Tensor | None = None) -> Params:
    """∂value/∂θ, without the parameters that take no part; with a graph where ``seed`` is given."""
    grads = torch.autograd.grad(
        value,
        list(theta.values()),
        torch.ones_like(value) if seed is None else seed,
        create_graph=seed is not None,
        allow_unused=True,
    )
    return {k: g for k, g in zip(theta, grads, strict=True) if g is not None}


def fields_of(optimizer: Any) -> dict[str, Any]:
    """The arguments that would make this optimizer again."""
    return {f.name: getattr(optimizer, f.name) for f in fields(optimizer) if f.init}


class RandomState(NamedTuple):
    """The global random state of the CPU and of the devices in use."""

    cpu: Tensor
    cuda: dict[int, Tensor]

    @staticmethod
    def now(devices: list[int]) -> RandomState:
        return RandomState(torch.get_rng_state(), {d: torch.cuda.get_rng_state(d) for d in devices})

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)


@contextmanager
def keeping_random_state(devices: list[int]) -> Iterator[None]:
    """Leave the global random state as it was found."""
    before = RandomState.now(devices)
    try:
        yield
    finally:
        before.restore()
