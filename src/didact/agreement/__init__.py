"""Gradient agreement: train on what several environments agree on.

- :func:`agreement`: two lines around an ordinary backward pass, at about its cost.
- :func:`environment_backward`: the same for any module, a backward pass for each environment.

Pure functions of gradients ``[env, *param]``: :func:`and_mask`, :func:`geometric_mean`,
:func:`xor_mask`, :func:`sand_mask`, :func:`sign_dropout`, :func:`agreement_filter`. Agreement over
time, in an optimizer: :class:`TemporalAndMaskAdam`.

How consistent a minimum is: :func:`quadratic_inconsistency`, :func:`inconsistency`,
:func:`climbed_inconsistency`, :func:`bound_of_means`, :func:`ilc`.

Reference: G. Parascandolo, A. Neitz et al., "Learning explanations that are hard to vary", ICLR
2021.
"""

from ._agreement_filter import agreement_filter
from ._and_mask import and_mask, xor_mask
from ._backward import environment_backward
from ._consistency import (
    Inconsistency,
    bound_of_means,
    climbed_inconsistency,
    ilc,
    inconsistency,
    quadratic_inconsistency,
)
from ._context import Agreement, agreement
from ._geometric_mean import geometric_mean
from ._sand_mask import sand_mask
from ._sign_dropout import sign_dropout
from ._temporal import TemporalAndMaskAdam

__all__ = [
    "Agreement",
    "Inconsistency",
    "TemporalAndMaskAdam",
    "agreement",
    "agreement_filter",
    "and_mask",
    "bound_of_means",
    "climbed_inconsistency",
    "environment_backward",
    "geometric_mean",
    "ilc",
    "inconsistency",
    "quadratic_inconsistency",
    "sand_mask",
    "sign_dropout",
    "xor_mask",
]
