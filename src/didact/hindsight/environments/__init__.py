"""What holds at an environment that was left out: ``didact fit --environment``.

- ``fit_environments``: plain training, the AND-mask, V-REx, IRM and two rivals without networks;
  each environment is left out once, and the model of all is kept.
- ``environments_report``: the page again, from ``metrics.json`` alone, where
  ``is_of_environments``.
"""

from ._fit import fit_environments
from ._report import environments_report, is_of_environments

__all__ = ["environments_report", "fit_environments", "is_of_environments"]
