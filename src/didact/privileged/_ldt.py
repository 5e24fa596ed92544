"""Learning to distill trajectories: a teacher trained through the student's training."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .._checks import (
    Diverged,
    InvalidInput,
    check_choice,
    check_integer,
    check_number,
    check_optimizer,
    invalid,
)
from .._params import Params, leaves, tree_map
from ..unroll import Optimizer, functional, unroll
from ._fixed_teacher import FixedTeacher, TeachingLoss
from ._losses import gated_mse
from ._no_teacher import LabelLoss
from ._teach import teach


class MetaStep(NamedTuple):
    """What one step of the teacher did.

    Attributes:
        loss: L_y of the hypothetical student θ_n on validation data; NaN where the inner steps
            diverged.
        gradient_norm: Euclidean norm of the meta-gradient, before clipping.
        clipped: components cut to ±``clip``.
        skipped: the gradient was not finite, and the teacher was left as it was.
    """

    loss: float
    gradient_norm: float
    clipped: int
    skipped: bool


class LDT:
    r"""Learning to distill trajectories (Neitz, Parascandolo & Schölkopf, ICLR 2021).

    The student trains on ``L_y(ŷ, y) + α L_h(h, T(x*; φ))``; the teacher is updated to make
    that training work:

    ``φ ← φ − meta-optimizer( d/dφ L_y(S(x_val; θ_n), y_val) )``,  θ_n = n inner steps from θ.

    Two phases in turn, both under the caller's control: ``meta_step`` (the teacher; θ_n is
    thrown away) and a number of ordinary optimizer steps on ``loss`` (the student). Split the
    training set once, train on one part, and take ``validation`` from the other.

    Args:
        student: module returning (prediction, activations: any nesting of tensors); ``Taught``
            makes one from any module.
        teacher: module from x* to the targets that ``teaching_loss`` takes. It is called once
            for all n inner batches; see ``teach``.
        label_loss: ``L_y(prediction, y)`` → scalar.
        inner: optimizer of the inner steps; its state starts afresh at every meta-step.
        teaching_loss: ``L_h(activations, targets)`` → scalar.
        alpha: the teaching coefficient α ≥ 0.
        clip: component-wise bound of the meta-gradient.
        clip_norm: bound of its Euclidean norm, after ``clip``; ``None`` for no bound.
        max_skips: non-finite meta-gradients to skip and count before ``Diverged`` is raised.
        validation_mode: ``"eval"``: θ_n is judged as it would be deployed; batch normalisation
            then uses the running statistics of the inner steps, which count as constants in
            the gradient. ``"train"``: batch statistics, differentiated exactly.
        memory, truncate, compile: as in ``didact.unroll.unroll``.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from didact.privileged import LDT, Taught
        >>> from didact.unroll import SGD
        >>> _ = torch.manual_seed(0)
        >>> student = Taught(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 1)), ["0"])
        >>> ldt = LDT(student, nn.Linear(2, 16), label_loss=nn.functional.mse_loss, inner=SGD(0.1))
        >>> meta = torch.optim.Adam(ldt.teacher.parameters(), lr=1e-2)
        >>> adam = torch.optim.Adam(ldt.parameters(), lr=1e-2)
        >>> x, x_star, y = torch.randn(64, 3), torch.randn(64, 2), torch.randn(64, 1)
        >>> batches = [t[:48].unflatten(0, (6, 8)) for t in (x, x_star, y)]  # n = 6 of 8
        >>> step = ldt.meta_step(meta, batches, (x[48:], y[48:]))
        >>> step.skipped
        False
        >>> loss = ldt.loss((x[:8], x_star[:8], y[:8]))
        >>> loss.backward(); adam.step(); adam.zero_grad()
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        *,
        label_loss: LabelLoss,
        inner: Optimizer,
        teaching_loss: TeachingLoss = gated_mse,
        alpha: float = 1.0,
        clip: float = 1e8,
        clip_norm: float | None = None,
        max_skips: int = 10,
        validation_mode: str = "eval",
        memory: int | None = None,
        truncate: int | None = None,
        compile: bool = False,
    ) -> None:
        self.taught = FixedTeacher(
            student, teacher, label_loss=label_loss, teaching_loss=teaching_loss, alpha=alpha
        )
        check_optimizer("inner", inner)
        self.inner = inner
        self.clip = check_number("clip", clip, above=0)
        self.clip_norm = (
            None if clip_norm is None else check_number("clip_norm", clip_norm, above=0)
        )
        self.max_skips = check_integer("max_skips", max_skips, at_least=0)
        self.validation_mode = check_choice("validation_mode", validation_mode, ("eval", "train"))
        self.memory, self.truncate, self.compile = memory, truncate, compile
        self.skipped = 0
        if not any(p.requires_grad for p in teacher.parameters()):
            raise InvalidInput(
                "Parameter `teacher` should have parameters to train. Found none that requires a "
                "gradient; `FixedTeacher` takes such a teacher."
            )
        _, _, call = functional(student)
        combined = self.taught.combined

        # One object for life: what is compiled is kept per loss function.
        def inner_loss(
            theta: Params, buffers: Params, batch: Any, targets: Any
        ) -> tuple[Tensor, Params]:
            x, y = batch
            (prediction, activations), buffers = call(theta, buffers, x)
            return combined(prediction, activations, y, targets), buffers

        self._inner_loss, self._call = inner_loss, call

    @property
    def student(self) -> nn.Module:
        """The module that is taught; it returns (prediction, activations)."""
        return self.taught.student

    @property
    def teacher(self) -> nn.Module:
        """The module that is trained by ``meta_step``."""
        return self.taught.teacher

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the student's optimizer trains; the teacher has its meta-optimizer."""
        return self.taught.parameters()

    def loss(self, batch: tuple[Any, Any, Any]) -> Tensor:
        """The student's loss on one batch (x, x*, y); the teacher's targets are constants."""
        return self.taught.loss(batch)

    def meta_loss(self, batches: Sequence[Any], validation: tuple[Any, Any]) -> Tensor:
        """L_y(S(x_val; θ_n), y_val): a scalar that is differentiable in the teacher.

        Args:
            batches: (x, x*, y), nested tensors [n, batch, ...].
            validation: (x, y), nested tensors [rows, ...].

        Raises:
            InvalidInput: if ``batches`` or ``validation`` has another form.
            Diverged: if an inner loss is not finite.
        """
        _check_batches(batches)
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise invalid("validation", "a pair (x, y)", _form(validation))
        x, x_star, y = batches
        theta, buffers, _ = functional(self.student)
        theta_n, buffers_n = unroll(
            self._inner_loss,
            theta,
            (x, y),
            teach(self.teacher, x_star),
            self.inner,
            buffers=buffers,
            memory=self.memory,
            truncate=self.truncate,
            compile=self.compile,
        )
        x_val, y_val = validation
        with _mode(self.student, self.validation_mode == "train"):
            (prediction, _), _ = self._call(theta_n, buffers_n, x_val)
        return self.taught.label_loss(prediction, y_val)

    def meta_step(
        self,
        optimizer: torch.optim.Optimizer,
        batches: Sequence[Any],
        validation: tuple[Any, Any],
    ) -> MetaStep:
        """One step of the teacher; the student stays as it is.

        Args:
            optimizer: the meta-optimizer, over all of the teacher's parameters that require a
                gradient.
            batches: (x, x*, y), nested tensors [n, batch, ...]; see ``stack``.
            validation: (x, y), nested tensors [rows, ...].

        Raises:
            InvalidInput: if ``optimizer`` lacks a parameter of the teacher, or as ``meta_loss``.
            Diverged: when more than ``max_skips`` meta-gradients were not finite.
        """
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise invalid("optimizer", "an optimizer of the teacher's parameters", optimizer)
        taught = [p for p in self.teacher.parameters() if p.requires_grad]
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        if missing := sum(id(p) not in held for p in taught):
            raise InvalidInput(
                "Parameter `optimizer` should hold every parameter of the teacher that requires a "
                f"gradient. Found {missing} of {len(taught)} missing: make it from "
                "`teacher.parameters()`."
            )
        loss, norm, clipped, reason = math.nan, math.nan, 0, ""
        try:
            value = self.meta_loss(batches, validation)
            loss = float(value.detach())
            found = torch.autograd.grad(value, taught, allow_unused=True)
            gradients = [
                torch.zeros_like(p) if g is None else g for p, g in zip(taught, found, strict=True)
            ]
            whole = torch.cat([g.flatten() for g in gradients]).double()  # 1e20² is inf in float32
            norm = float(torch.linalg.vector_norm(whole))
            if not math.isfinite(norm):
                reason = f"the meta-gradient's norm is {norm} at a validation loss of {loss:g}"
        except Diverged as error:
            reason = str(error)
        if reason:
            self.skipped += 1
            if self.skipped > self.max_skips:
                raise Diverged(
                    f"{self.skipped} meta-gradients were not finite, more than `max_skips` = "
                    f"{self.max_skips}. The last: {reason}"
                )
            return MetaStep(loss, norm, 0, True)
        clipped = sum(int((g.abs() > self.clip).sum()) for g in gradients)
        for p, g in zip(taught, gradients, strict=True):
            # In the parameter's own layout: fused optimizers read memory as if it were, and
            # autograd.grad hands out transposed views.
            p.grad = torch.empty_like(p).copy_(g.clamp(-self.clip, self.clip))
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(taught, self.clip_norm)
        optimizer.step()
        for p in taught:
            p.grad = None
        return MetaStep(loss, norm, clipped, False)


def stack(batches: Iterable[Any]) -> Any:
    """n batches of one structure as one with a leading axis [n], as ``meta_step`` takes them.

    Args:
        batches: nested tensors, of the same shapes in each batch.

    Returns:
        The same nesting, of tensors [n, ...].

    Raises:
        InvalidInput: there is no batch, or another nesting or other shapes from batch to batch.

    Example:
        >>> x, y = stack([(torch.zeros(4, 3), torch.zeros(4))] * 5)
        >>> x.shape, y.shape
        (torch.Size([5, 4, 3]), torch.Size([5, 4]))
    """
    each = list(batches)
    if not each:
        raise invalid("batches", "at least one batch", each)
    forms = [tree_map(lambda leaf: getattr(leaf, "shape", None), batch) for batch in each]
    if other := [form for form in forms if form != forms[0]]:
        raise invalid("batches", f"alike, {forms[0]} as the first", other[0])
    if not all(isinstance(leaf, Tensor) for leaf in leaves(each[0])):
        raise invalid("batches", "nested tensors", each[0])
    return tree_map(lambda *tensors: torch.stack(tensors), *each)


def _check_batches(batches: Any) -> None:
    if not isinstance(batches, tuple | list) or len(batches) != 3:
        raise invalid("batches", "a triple (x, x*, y)", _form(batches))
    found = leaves(batches)
    axes = {tuple(t.shape[:2]) if isinstance(t, Tensor) and t.dim() > 1 else None for t in found}
    if len(axes) != 1 or None in axes:
        shapes = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in found]
        raise InvalidInput(
            "Parameter `batches` should be tensors (x, x*, y) that share the leading axes "
            f"[n, batch]; `stack` makes them of n batches. Found shapes {shapes}."
        )


def _form(value: Any) -> Any:
    """What to say of a wrong argument, without its numbers."""
    return len(value) if isinstance(value, tuple | list) else type(value).__name__


@contextmanager
def _mode(module: nn.Module, training: bool) -> Iterator[None]:
    """Every submodule in train or eval mode for a while, then each as it was."""
    before = [(m, m.training) for m in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for m, flag in before:
            m.training = flag
