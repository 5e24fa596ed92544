"""One call of the teacher for all n inner batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .._params import leaves, tree_map


def teach(teacher: nn.Module, x_star: Any, *, per_batch: bool | None = None) -> Any:
    """What the teacher asks of each inner batch: x* [n, batch, ...] → targets [n, batch, ...].

    The teacher does not change inside the unroll, so it runs once, on n·batch examples. With
    batch normalisation in training mode that would change the mathematics (all n batches would
    share their statistics); then the batches are kept apart inside the one call (``vmap``), and
    its running statistics move one step towards the mean over the n batches.

    Args:
        teacher: any module.
        x_star: privileged information, nested tensors [n, batch, ...].
        per_batch: keep the batches apart; ``None`` does so where the teacher holds batch
            normalisation that uses batch statistics.

    Returns:
        The teacher's output with the leading axes [n, batch].

    Example:
        >>> teacher = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 16))
        >>> x_star = torch.randn(6, 4, 2)  # n = 6 batches of 4
        >>> targets = teach(teacher, x_star)
        >>> targets.shape
        torch.Size([6, 4, 16])
        >>> torch.allclose(targets[0], teacher(x_star[0]), atol=1e-6)
        True
    """
    if per_batch is None:
        per_batch = any(
            isinstance(m, _BatchNorm) and (m.training or m.running_mean is None)
            for m in teacher.modules()
        )
    n, size = leaves(x_star)[0].shape[:2]
    if not per_batch:
        out = teacher(tree_map(lambda t: t.flatten(0, 1), x_star))
        return tree_map(lambda t: t.unflatten(0, (n, size)), out)
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
