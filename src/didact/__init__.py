"""didact: train on what you will not have at test time.

Users import rooms:

- ``didact.unroll``: n steps of training as one differentiable operation.
- ``didact.privileged``: learning to distill trajectories (LDT) and its baselines.
- ``didact.skips``: adaptive skip intervals: trajectories read at the model's own pace.
- ``didact.tasks``: seeded generators of the papers' data sets.
- ``didact.hindsight``: from a table to a verdict; the command ``didact fit``.
"""

from ._checks import DidactError, Diverged, InvalidInput

__version__ = "0.1.0"

__all__ = ["DidactError", "Diverged", "InvalidInput", "__version__"]
