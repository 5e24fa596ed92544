"""The main job: from a table to a verdict, and a model that needs only the present.

- ``fit``: trains the candidates, judges them, leaves a report and a deployable student.
- ``predict``: the deployed student on new rows.
- ``report``: the page again, from ``metrics.json`` alone.
"""

from ..runs import need

need(
    "fit", "pandas", "pyarrow", "optuna", "joblib", "filelock", "tqdm", "tensorboard",
    "matplotlib", "jinja2", "onnx", "onnxscript", "onnxruntime",
)  # fmt: skip

from ._fit import fit  # noqa: E402
from ._predict import predict  # noqa: E402
from ._report import report  # noqa: E402

__all__ = ["fit", "predict", "report"]
