"""The AND-mask for any module: one ordinary backward pass for each environment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from .._checks import InvalidInput, check_choice, check_number, invalid
from ._and_mask import mask_in_place
from ._context import Agreement
from ._ranks import Ranks
from ._votes import fewest


def environment_backward(
    losses: Iterable[Tensor],
    model: nn.Module,
    *,
    threshold: float = 0.8,
    rescale: bool = False,
) -> Agreement:
    r"""Fill ``p.grad`` with what environments agree on, from one loss for each of them.

    ``p.grad ← m ⊙ mean_e ∇L_e``, ``m_j = 1[|mean_e sign(∇_j L_e)| ≥ τ]``. In memory are two sums of
    the parameters' size, and one gradient. Any module will do, with BatchNorm in training mode,
    recurrence, shared weights; as slow as a backward pass for each environment is.

    Reference: Parascandolo, Neitz et al. 2021.

    Args:
        losses: L_e, scalars. From a generator each forward pass is made when it is its turn, and
            its graph is gone before the next; in a list they may share a graph.
        model: whose parameters. Of a ``DistributedDataParallel`` each process gives the losses of
            environments of its own, as many or not, and all get the same gradients.
        threshold: τ in [0, 1].
        rescale: divide each parameter's gradient by its share of components that survive.

    Returns:
        How many environments there were, and what survived. ``p.grad`` is replaced.

    Raises:
        InvalidInput: fewer than two losses, no scalars, NaN; gradients stay as they were.

    Example:
        >>> model = nn.Linear(2, 1, bias=False)
        >>> x = torch.tensor([[[1.0, 1.0]], [[1.0, -1.0]]])
        >>> found = environment_backward((model(x_e).sum() for x_e in x), model, threshold=1.0)
        >>> model.weight.grad, found.kept
        (tensor([[1., 0.]]), {'weight': 0.5})
    """
    check_number("threshold", threshold, at_least=0, at_most=1)
    check_choice("rescale", rescale, (False, True))
    if not isinstance(model, nn.Module):
        raise invalid("model", "a torch.nn.Module", model)
    if isinstance(losses, Tensor) or not isinstance(losses, Iterable):
        raise invalid("losses", "a list of scalars, or a generator of them", losses)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise invalid("model", "a module with parameters that are trained", type(model).__name__)
    together = isinstance(losses, Sequence)
    last = len(losses) - 1 if isinstance(losses, Sequence) else 0
    sums = {name: torch.zeros_like(p) for name, p in parameters.items()}
    votes = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    count = 0
    ranks = Ranks.of(model)
    with ranks.together(next(iter(parameters.values())).device):
        for e, loss in enumerate(losses):
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                found = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
                raise invalid("losses", "scalars", f"{found} in number {e}")
            if not bool(loss.isfinite()):
                raise invalid("losses", "finite scalars", f"{float(loss.detach())} in number {e}")
            if not loss.requires_grad:
                raise invalid("losses", "of the model, with a gradient", f"none in number {e}")
            try:
                grads = torch.autograd.grad(
                    loss.squeeze(), list(parameters.values()), retain_graph=together and e < last,
                    allow_unused=True,
                )  # fmt: skip
            except RuntimeError as error:
                if "second time" not in str(error):
                    raise
                rule = "with a graph each, or a list: in a list they may share one"
                raise invalid("losses", rule, f"that of number {e} gone") from None
            for name, grad in zip(parameters, grads, strict=True):
                if grad is not None:
                    sums[name] += grad
                    votes[name] += grad.sign()
            count += 1
        for name, total in sums.items():
            if not bool(total.isfinite().all()):
                raise InvalidInput(f"The gradient of `{name}` should be finite. Found NaN or ∞.")
    if ranks.count > 1:
        count = int(ranks.add(torch.tensor(count, device=next(iter(sums.values())).device)))
        for total in (*sums.values(), *votes.values()):
            ranks.add(total)
    if count < 2:
        raise invalid("losses", "at least two, one for each environment", count)
    for name, parameter in parameters.items():
        parameter.grad = sums[name].div_(count)
    least = fewest(count, threshold)
    masks = {name: vote.abs_().ge_(least) for name, vote in votes.items()}
    mask_in_place(list(sums.values()), list(masks.values()), rescale)
    return Agreement(count, masks)
