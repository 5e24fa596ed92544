"""n training steps as one differentiable operation.

- ``unroll``: θ_n as a function of θ_0, of each step's batch and target, of the optimizer.
- ``SGD``, ``Adam``, ``AdamW``: ``torch.optim`` as pure functions; ``Optimizer``: write your own.
- ``functional``: a module as (theta, buffers, call).
- ``NoSecondDerivative``: what is raised where an operation cannot be differentiated twice.
"""

from ._functional import functional
from ._optimizers import SGD, Adam, AdamW, Optimizer
from ._second_order import NoSecondDerivative
from ._unroll import unroll

__all__ = ["SGD", "Adam", "AdamW", "NoSecondDerivative", "Optimizer", "functional", "unroll"]
