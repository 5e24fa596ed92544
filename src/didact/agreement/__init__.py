"""Gradient agreement: train on what several environments agree on.

- :func:`agreement`: two lines around an ordinary backward pass, at about its cost.
- :func:`environment_backward`: the same for any module, a backward pass for each environment.

Pure functions of gradients ``[env, *param]``: :func:`and_mask`, :func:`geometric_mean`,
:func:`xor_mask`, :func:`sand_mask`, :func:`sign_dropout`, :func:`agreement_filter`. Agreement over
time, in an optimizer: :class:`TemporalAndMaskAdam`.

Reference: G. Parascandolo, A. Neitz et al., "Learning explanations that are hard to vary", ICLR
2021.
"""

from ._agreement_filter import agreement_filter
from ._and_mask import and_mask, xor_mask
from ._backward import environment_backward
from ._context import Agreement, agreement
from ._geometric_mean import geometric_mean
from ._sand_mask import sand_mask
from ._sign_dropout import sign_dropout
from ._temporal import TemporalAndMaskAdam

__all__ = [
    "Agreement",
    "TemporalAndMaskAdam",
    "agreement",
    "agreement_filter",
    "and_mask",
    "environment_backward",
    "geometric_mean",
    "sand_mask",
    "sign_dropout",
    "xor_mask",
]
