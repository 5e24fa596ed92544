"""The main job: data → windows → candidates → verdict.

- ``fit``: from a table to a verdict, a report and a deployable student.
- ``predict``: the deployed student on new rows.
- ``report``: the page again, from ``metrics.json`` alone.
"""

from ._fit import fit
from ._predict import predict
from ._report import report

__all__ = ["fit", "predict", "report"]
