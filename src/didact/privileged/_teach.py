"""One call of the teacher for all n inner batches."""

from __future__ import annotations

from contextlib import nullcontext
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .._checks import invalid
from .._params import leaves, tree_map


def teach(teacher: nn.Module, x_star: Any, *, per_batch: bool | None = None) -> Any:
    """What the teacher asks of each inner batch: x* [n, batch, ...] → targets [n, batch, ...].

    The teacher does not change inside the unroll, so it runs once, on n·batch examples. With
    batch normalisation in training mode that would change the mathematics (all n batches would
    share their statistics); then the batches are kept apart inside the one call, and its running
    statistics move one step towards the mean over the n batches.

    Args:
        teacher: any module.
        x_star: privileged information, nested tensors [n, batch, ...].
        per_batch: ``True`` keeps the batches apart in every operation (``vmap``: right for any
            module that mixes examples, at the price of copies). ``False`` runs them as one.
            ``None`` runs them as one but for batch normalisation with batch statistics, which
            sees each batch alone; where its input has another first axis than n·batch, as
            ``True``.

    Returns:
        The teacher's output with the leading axes [n, batch].

    Raises:
        InvalidInput: ``x_star`` lacks these axes.

    Example:
        >>> teacher = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 16))
        >>> x_star = torch.randn(6, 4, 2)  # n = 6 batches of 4
        >>> targets = teach(teacher, x_star)
        >>> targets.shape
        torch.Size([6, 4, 16])
        >>> torch.allclose(targets[0], teacher(x_star[0]), atol=1e-6)
        True
    """
    axes = {tuple(t.shape[:2]) if isinstance(t, Tensor) else () for t in leaves(x_star)}
    if len(axes) != 1 or len(found := axes.pop()) != 2:
        shapes = [tuple(getattr(leaf, "shape", ())) for leaf in leaves(x_star)]
        raise invalid("x_star", "nested tensors that share the axes [n, batch]", shapes)
    n, size = found
    if not per_batch:
        before = [b.clone() for b in teacher.buffers()]
        try:
            with _Grouped(n, size) if per_batch is None else nullcontext():
                out = teacher(tree_map(lambda t: t.flatten(0, 1), x_star))
            return tree_map(lambda t: t.unflatten(0, (n, size)), out)
        except _AnotherAxis:  # some statistics may have moved already
            for b, old in zip(teacher.buffers(), before, strict=True):
                b.copy_(old)
    return _mapped(teacher, x_star, n)


class _AnotherAxis(Exception):
    """Batch normalisation met an input whose first axis is not that of the examples."""


class _Grouped(TorchFunctionMode):
    """Batch normalisation with the statistics of each of n batches, within one call."""

    def __init__(self, n: int, size: int) -> None:
        super().__init__()
        self.n, self.size = n, size

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        call = signature(F.batch_norm).bind(*args, **(kwargs or {}))
        call.apply_defaults()
        given = call.arguments
        if not given["training"]:
            return func(*args, **(kwargs or {}))
        if len(given["input"]) != self.n * self.size:
            raise _AnotherAxis
        running = [given[name] for name in ("running_mean", "running_var")]
        moved: list[list[Tensor]] = [[], []]
        out = []
        for batch in given["input"].split(self.size):
            copies = [None if r is None else r.clone() for r in running]
            own = {"input": batch, "running_mean": copies[0], "running_var": copies[1]}
            out.append(F.batch_norm(**{**given, **own}))
            for kept, copy in zip(moved, copies, strict=True):
                kept.extend([] if copy is None else [copy])
        with torch.no_grad():
            for r, kept in zip(running, moved, strict=True):
                if r is not None:
                    r.copy_(torch.stack(kept).mean(0))
        return torch.cat(out)


def _mapped(teacher: nn.Module, x_star: Any, n: int) -> Any:
    """The teacher on each batch alone, by ``vmap``."""
    parameters = dict(teacher.named_parameters())
    buffers = dict(teacher.named_buffers())

    def one(buffers: dict[str, Tensor], x_star: Any) -> tuple[Any, dict[str, Tensor]]:
        state = {**parameters, **buffers}
        out = torch.func.functional_call(teacher, state, (x_star,))
        return out, {k: state[k] for k in buffers}

    copies = {k: b.expand(n, *b.shape).clone() for k, b in buffers.items()}
    out, after = torch.func.vmap(one, randomness="different")(copies, x_star)
    with torch.no_grad():
        for k, b in buffers.items():
            b.copy_(after[k].mean(0) if b.is_floating_point() else after[k].amax(0))
    return out
