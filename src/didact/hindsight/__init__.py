"""The main job: from a table to a verdict, and a model that needs only the present.

- ``fit``: trains the candidates, judges them, leaves a report and a deployable student.
- ``fit_environments``: what holds at an environment that was left out; the same files.
- ``first_visit``: a long table, a row per visit, as one with later visits privileged.
- ``predict``: the deployed student on new rows.
- ``HindsightClassifier``, ``HindsightRegressor``: one method as a scikit-learn estimator.
- ``report``: the page again, from ``metrics.json`` alone.
"""

from ..runs import need

need(
    "fit", "pandas", "pyarrow", "optuna", "joblib", "filelock", "tqdm", "tensorboard",
    "matplotlib", "jinja2", "sklearn", "threadpoolctl", "onnx", "onnxscript", "onnxruntime",
)  # fmt: skip

from ._estimators import HindsightClassifier, HindsightRegressor  # noqa: E402
from ._fit import fit  # noqa: E402
from ._predict import predict  # noqa: E402
from ._report import report  # noqa: E402
from ._visits import first_visit  # noqa: E402
from .environments import fit_environments  # noqa: E402

__all__ = [
    "HindsightClassifier",
    "HindsightRegressor",
    "first_visit",
    "fit",
    "fit_environments",
    "predict",
    "report",
]
