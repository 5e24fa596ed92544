"""From recorded trajectories to a model of where they go: ``didact fit-dynamics``.

- :func:`fit_dynamics`: fixed steps and adaptive skip intervals on the same recordings, compared
  where both may call their model as often; a report, and the model of the better.
- :func:`dynamics_report`: the page, from ``metrics.json`` alone.
- :func:`read_recordings`: ``.npz`` of states or pictures, a table of states.
- :class:`Unrolled`: a model applied to its own predictions, as one module to export.
"""

from ._fit import fit_dynamics
from ._models import Unrolled
from ._recordings import Recordings, read_recordings
from ._report import dynamics_report

__all__ = ["Recordings", "Unrolled", "dynamics_report", "fit_dynamics", "read_recordings"]
