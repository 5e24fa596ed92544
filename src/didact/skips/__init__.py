"""Adaptive skip intervals: predict what comes next, but not when.

- :func:`skip_loss`: each prediction is matched with the frame of a window that it is nearest to
  (ASI); fixed steps are the same function.
- :func:`aligned_loss`: all predictions with all frames at once, by dynamic programming.
- :func:`latent_skip_loss`: in the space of an encoder, which is kept from collapsing.
- :func:`rollout`: what the model predicts.

How exploration and teacher forcing fade: :func:`linear`, :func:`reciprocal`, :func:`cosine`.
Losses: :func:`binary_cross_entropy`, :func:`squared_error`, or any that averages nothing.

Reference: A. Neitz, G. Parascandolo, S. Bauer & B. Schölkopf, "Adaptive skip intervals: Temporal
abstraction for recurrent dynamical models", NeurIPS 2018.
"""

from ._align import aligned_loss
from ._latent import LatentSkipLoss, latent_skip_loss
from ._losses import binary_cross_entropy, squared_error
from ._rollout import rollout
from ._schedules import cosine, linear, reciprocal
from ._skip_loss import SkipLoss, skip_loss

__all__ = [
    "LatentSkipLoss",
    "SkipLoss",
    "aligned_loss",
    "binary_cross_entropy",
    "cosine",
    "latent_skip_loss",
    "linear",
    "reciprocal",
    "rollout",
    "skip_loss",
    "squared_error",
]
