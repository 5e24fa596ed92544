"""Adaptive skip intervals in the space of an encoder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._checks import Diverged, InvalidInput, check_callable, check_number, invalid
from ._given import check_finite, check_given
from ._losses import Loss, binary_cross_entropy, squared_error
from ._skip_loss import SkipLoss, skip_loss


@dataclass(frozen=True)
class LatentSkipLoss:
    """What :func:`latent_skip_loss` came to.

    Attributes:
        loss: that of the matched latent frames and the guard's, weighted.
        found: :class:`SkipLoss` in latent space: its own loss, matched frames, skips, evaluations.
        spread: standard deviation of the latent numbers over all frames of the batch, their mean.
    """

    loss: Tensor
    found: SkipLoss
    spread: float


def latent_skip_loss(
    encoder: Callable[[Tensor], Tensor],
    f: Callable[..., Any],
    trajectories: Tensor,
    lengths: Tensor | None = None,
    *,
    variance_weight: float = 1.0,
    deviation: float = 1.0,
    least_spread: float = 1e-4,
    loss: Loss = squared_error,
    observed: Tensor | None = None,
    **options: Any,
) -> LatentSkipLoss:
    r"""Adaptive skip intervals between latent frames: ``L(f(ẑ), sg z_s)`` with z = encoder(x).

    All frames are encoded; predictions are matched with latent frames, which are constants as
    targets. The encoder learns through the frames that are fed to f, the first and, with teacher
    forcing, others. Alone it may well learn that a latent space which is a point is easily
    predicted, so a hinge keeps it apart (VICReg's variance term): with σ_j the standard deviation
    of latent number j over the frames of the batch,

        ``loss = skip_loss + w · mean_j max(0, γ − √(σ_j² + 10⁻⁴))``.

    Reference: beyond the paper, which names it; A. Bardes, J. Ponce & Y. LeCun, "VICReg", ICLR
    2022.

    Args:
        encoder: ``[N, *frame] → [N, *latent]``, called once, on all observed frames of the batch.
        f: as in :func:`skip_loss`, between latent frames.
        trajectories: ``[B, T, *frame]``.
        lengths: frames of each trajectory, ``[B]``. None: T.
        variance_weight: w; 0 takes the guard away.
        deviation: γ, the standard deviation below which the guard pushes; sets the scale of the
            latent space.
        least_spread: below this mean of the σ_j the space has collapsed, which is an error.
        loss: as in :func:`skip_loss`, between latent frames.
        observed: as in :func:`skip_loss`; missing frames are not encoded either.
        **options: of :func:`skip_loss`.

    Returns:
        :class:`LatentSkipLoss`: the loss, what was matched, the spread.

    Raises:
        InvalidInput: as in :func:`skip_loss`; an encoder that returns another number of frames, or
            with the cross-entropy numbers outside [0, 1].
        Diverged: a collapsed latent space; a latent frame or a loss that is not finite.

    Example:
        >>> x = torch.rand(4, 9, 3, generator=torch.Generator().manual_seed(0))
        >>> encoder, f = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)
        >>> found = latent_skip_loss(encoder, f, x, horizon=4)
        >>> bool(found.loss > found.found.loss), found.found.matched.shape[1]
        (True, 4)
    """
    check_callable("encoder", encoder)
    check_callable("f", f)
    check_number("variance_weight", variance_weight, at_least=0)
    check_number("deviation", deviation, above=0)
    check_number("least_spread", least_spread, at_least=0)
    given = check_given(trajectories, lengths, squared_error, options.get("context", 1), observed)
    batch, padded = trajectories.shape[:2]
    seen = given.observed
    if seen is None:
        seen = np.arange(padded) <= given.last[:, None]
    places = torch.from_numpy(np.flatnonzero(seen)).to(trajectories.device)
    z = encoder(trajectories.flatten(0, 1).index_select(0, places))
    if not isinstance(z, Tensor) or z.dim() < 2 or len(z) != len(places):
        raise InvalidInput(
            f"Parameter `encoder` should return a latent frame for each of {len(places)} frames. "
            f"Found {tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__}."
        )
    if not bool(z.isfinite().all()):
        check_finite(given)
        raise Diverged("A latent frame is not finite, and its trajectory's frames are.")
    if loss is binary_cross_entropy and bool(((z < 0) | (z > 1)).any()):
        raise invalid(
            "encoder",
            "one to [0, 1] where `loss` is the cross-entropy (or `loss` another)",
            f"{float(z.detach().min()):.3g} … {float(z.detach().max()):.3g}",
        )
    latent = z.new_zeros(batch * padded, *z.shape[1:]).index_copy(0, places, z)
    found = skip_loss(
        f, latent.view(batch, padded, *z.shape[1:]), torch.from_numpy(given.last + 1), loss=loss,
        observed=observed, **options,
    )  # fmt: skip
    variance = z.flatten(1).var(0)
    spread = float(variance.detach().sqrt().mean())
    if spread < least_spread:
        raise Diverged(
            f"The latent frames of the batch are as good as one: standard deviation {spread:.2g}. "
            "A larger `variance_weight` keeps them apart."
        )
    hinge = (deviation - (variance + 1e-4).sqrt()).relu().mean()
    return LatentSkipLoss(found.loss + variance_weight * hinge, found, spread)
