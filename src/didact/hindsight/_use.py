"""The report's section on the student: the lines that make predictions with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..export._frame import code
from ._metrics import TREES, DataRecord, Metrics
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
DATESmodel = onnxruntime.InferenceSession("DIR/student.onnx")
feed = {}
for column in model.get_inputs():
    cells = table[[column.name]]
    if column.type == "tensor(string)":
        feed[column.name] = cells.fillna("").to_numpy(object)
    else:
        kind = "float64" if column.type == "tensor(double)" else "float32"
        feed[column.name] = cells.astype(kind).to_numpy()
found = model.run(None, feed)[0]"""
_DATES = """\
for name in NAMES:
    stamps = pd.to_datetime(table[name], utc=True, format="ISO8601")
    table[name] = (stamps - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
"""
WHERE = "Below, DIR is the folder of this page, and NEW_DATA a table (CSV or Parquet) of new rows."
_BOARD = "tensorboard --logdir DIR/tensorboard"


def use(metrics: Metrics) -> list[str | Markup]:
    """Which student was exported, and how to use it: from a terminal, Python, or elsewhere."""
    chosen = metrics["deployed"]
    return [
        f"The exported student is {title(chosen['candidate'])}, seed {chosen['seed']}: of the "
        "candidates that can be used, this one has the least mean validation loss, and that seed "
        "is its best run, each judged beside the other candidates' on the same rows (validation "
        f"loss {score(chosen['validation'])}). It needs only {inputs_of(metrics['data'])}; a table "
        f"without the privileged columns will do. {_better_trees(metrics)}{WHERE}",
        *ways(metrics["data"]),
    ]


def inputs_of(data: DataRecord) -> str:
    """How many columns the student needs."""
    return counted(len(set(data["inputs"]) - set(data["dropped"])), "input column")


def ways(data: DataRecord) -> list[str | Markup]:
    """The lines that make predictions: in a terminal, in Python, with ONNX Runtime alone."""
    columns = inputs_of(data)
    series = data["series"]
    later = "" if series is None else f" {series['horizon']} rows after it"
    if data["classes"] is None:
        written = f"the predicted label{later}, in its units"
        found = "found has one prediction per row, in units of the label"
    else:
        written = f"the most probable class{later} and the probability of each"
        found = "found has one row per row of the table, with the probability of each class in "
        found += "the order given under Data"
    window = "[batch, 1]"
    if series is not None:
        window = f"[batch, {series['history']}], oldest row first"
        written += " (empty where too few rows came before)"
    return [
        f"In a terminal; predictions.csv then has, for every row, {written}:",
        code(_COMMAND),
        "The same in Python (it reads student.pt2 and schema.json):",
        code(_PYTHON),
        "Without didact and PyTorch, and in any language that has ONNX Runtime: student.onnx takes "
        f"the {columns} as they are, by name, each of shape {window}: numbers as float32 "
        "(float64 where the model asks for it), NaN where missing, dates as seconds since "
        "1970-01-01 UTC; categories as strings, empty where "
        "missing. It does not know the tokens given with --na: empty their cells first. "
        + ("" if series else f"Here in Python, from CSV; {found}:"),
        *([] if series else [code(_ONNX.replace("DATES", _dates(data["dates"])))]),
        "The curves of every final run, training loss included:",
        code(_BOARD),
    ]


def _dates(names: list[str]) -> str:
    """The lines that turn dates into seconds; none without dates."""
    return _DATES.replace("NAMES", str(names)) if names else ""


def _better_trees(metrics: Metrics) -> str:
    trees = metrics["candidates"].get(TREES)
    loss = None if trees is None else trees["validation"]
    own = metrics["candidates"][metrics["deployed"]["candidate"]]["validation"]
    if loss is None or own is None or loss >= own:
        return ""
    return (
        f"The boosted trees have a smaller mean validation loss ({score(loss)}, and it "
        f"{score(own)}), but are not exported: where nothing else counts, use trees. "
    )
