"""The report's section on the student: the lines that make predictions with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..export._frame import code
from ._metrics import TREES, Metrics
from ._wording import counted, score, title

if TYPE_CHECKING:
    from markupsafe import Markup

_COMMAND = "didact predict DIR NEW_DATA --out predictions.csv"
_PYTHON = """\
from didact.hindsight import predict

rows = predict("DIR", "NEW_DATA", "predictions.csv")"""
_ONNX = """\
import onnxruntime
import pandas as pd

with open("NEW_DATA", encoding="utf-8-sig") as file:
    delimiter = max(",;\\t|", key=file.readline().count)
table = pd.read_csv("NEW_DATA", sep=delimiter, dtype=str, skipinitialspace=True)
model = onnxruntime.InferenceSession("DIR/student.onnx")
feed = {}
for column in model.get_inputs():
    cells = table[[column.name]]
    if column.type == "tensor(string)":
        feed[column.name] = cells.fillna("").to_numpy(object)
    else:
        feed[column.name] = cells.astype("float32").to_numpy()
found = model.run(None, feed)[0]"""
_BOARD = "tensorboard --logdir DIR/tensorboard"


def use(metrics: Metrics) -> list[str | Markup]:
    """Which student was exported, and how to use it: from a terminal, Python, or elsewhere."""
    chosen, data = metrics["deployed"], metrics["data"]
    columns = counted(len(set(data["inputs"]) - set(data["dropped"])), "input column")
    if data["classes"] is None:
        written = "the prediction, in units of the label"
        found = "found has one prediction per row, in units of the label"
    else:
        written = "the most probable class and the probability of each"
        found = "found has one row per row of the table, with the probability of each class in "
        found += "the order given under Data"
    window = "[batch, 1]"
    if data["series"] is not None:
        series = data["series"]
        window = f"[batch, {series['history']}], oldest row first"
        written += f" {series['horizon']} rows after it (empty where too few rows came before)"
    better = _better_trees(metrics)
    return [
        f"The exported student is {title(chosen['candidate'])}, seed {chosen['seed']}: it has the "
        f"least validation loss ({score(chosen['validation'])}) of the runs that may be "
        f"deployed. It needs only {columns}; a table without the privileged columns will do. "
        f"{better}Below, DIR is the folder of this page, and NEW_DATA a table (CSV or Parquet) of "
        "new rows.",
        f"In a terminal; predictions.csv then has, for every row, {written}:",
        code(_COMMAND),
        "The same in Python (it reads student.pt2 and schema.json):",
        code(_PYTHON),
        "Without didact and PyTorch, and in any language that has ONNX Runtime: student.onnx takes "
        f"the {columns} as they are, by name, each of shape {window}: numbers as float32, NaN "
        "where missing, dates as seconds since 1970-01-01 UTC; categories as strings, empty where "
        "missing. It does not know the tokens given with --na: empty their cells first. "
        + ("" if data["series"] else f"Here in Python, from CSV; {found}:"),
        *([] if data["series"] else [code(_ONNX)]),
        "The curves of every final run, training loss included:",
        code(_BOARD),
    ]


def _better_trees(metrics: Metrics) -> str:
    trees = metrics["candidates"].get(TREES)
    loss, own = None if trees is None else trees["validation"], metrics["deployed"]["validation"]
    if loss is None or own is None or loss >= own:
        return ""
    return (
        f"The boosted trees have less ({score(loss)}), but are not exported: where nothing else "
        "counts, use trees. "
    )
