"""The lines that the report shows are run, and they all predict the same."""

import html
import re
import shlex

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from didact.cli import main
from didact.hindsight._columns import describe
from didact.hindsight._deploy import Deployed, save_deployed
from didact.hindsight._encode import Codes, Encoder
from didact.hindsight._label import Bins, Classes
from didact.hindsight._use import use

LABELS = {"classes": Classes(("no", "yes")), "numbers": Bins((1.0,), (0.0, 10.0))}
NEW = (
    "later,größe,ward,day,tick\n1,1.5,b,2024-01-02,1000000001.5\n2,,a,,1000000003\n"
    "3,-4,,2024-01-03 12:00,\n4,2.5,unseen,2024-01-01,999999999\n"
)


class Student(nn.Module):
    def __init__(self, features):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("weight", torch.randn(features, 2, generator=generator))

    def forward(self, features):
        return features @ self.weight, ()


def metrics(kind="classes", *, series=None, trees=None, validation=0.6, dates=()):
    """``validation``: mean over seeds, of which the deployed run is the best."""
    candidates = {"no_teacher": {"validation": 0.7}, "ldt": {"validation": validation}}
    if trees is not None:
        candidates["trees"] = {"validation": trees}
    return {
        "candidates": candidates,
        "data": {
            "inputs": ["größe", "ward", "empty"],
            "dates": dates,
            "dropped": ["empty", "gone"],
            "classes": ["no", "yes"] if kind == "classes" else None,
            "series": series,
        },
        "deployed": {"candidate": "ldt", "seed": 2, "validation": 0.5},
    }


def lines(kind):
    """The code that is shown: command, Python, ONNX Runtime, TensorBoard."""
    page = "".join(map(str, use(metrics(kind, dates=["day"]))))
    return [html.unescape(text) for text in re.findall(r"<code>(.*?)</code>", page, re.DOTALL)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_every_way_predicts_the_same(kind, delimiter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame(
        {
            "größe": [1.0, 2.0, 4.0, np.nan],
            "ward": ["a", "b", "a", None],
            "day": pd.to_datetime(
                ["2024-01-01 00:00:00", "2024-01-01 00:00:07", "2024-01-04 00:00:00", None]
            ),
            "tick": [1e9, 1e9 + 1, 1e9 + 2, 1e9 + 5],
        }
    )
    columns, _ = describe(table, ["größe", "ward", "day", "tick"])
    codes = Codes.of(table, columns)
    encoder = Encoder.fit(columns, codes.numeric, codes.codes)
    label = LABELS[kind]
    deployed = Deployed(encoder, Student(encoder.n_features), label.values)
    (tmp_path / "DIR").mkdir()
    save_deployed(tmp_path / "DIR", deployed, columns, label, codes, label_name="y")
    (tmp_path / "new.csv").write_text(NEW.replace(",", delimiter), "utf-8-sig")
    command, python, onnx, board = (text.replace("NEW_DATA", "new.csv") for text in lines(kind))

    assert main(shlex.split(command)[1:]) == 0
    by_command = pd.read_csv("predictions.csv")
    (tmp_path / "predictions.csv").unlink()
    names: dict[str, object] = {}
    exec(python, names)
    assert names["rows"] == 4
    pd.testing.assert_frame_equal(pd.read_csv("predictions.csv"), by_command)
    exec(onnx, names)
    expected = (
        by_command[["probability_no", "probability_yes"]]
        if kind == "classes"
        else (by_command["prediction"])
    )
    np.testing.assert_allclose(names["found"], expected, rtol=1e-5)
    assert board == "tensorboard --logdir DIR/tensorboard"


def test_columns_that_were_dropped_are_not_needed():
    said = " ".join(map(str, use(metrics())))
    assert "The exported student is ldt, seed 2" in said
    assert "that seed is its best run" in said
    assert said.count("2 input columns") == 2


SERIES = {"history": 7, "horizon": 4, "time": None, "step": None, "examples": 90}


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("numbers", "the predicted label 4 rows after it, in its units"),
        ("classes", "the most probable class 4 rows after it and the probability of each"),
    ],
)
def test_of_a_series_the_window_is_said_and_no_lines_for_single_rows_are_shown(kind, what):
    page = "".join(map(str, use(metrics(kind, series=SERIES))))
    assert f"for every row, {what} (empty where too few rows came before)" in page
    assert "each of shape [batch, 7], oldest row first" in page
    assert "onnxruntime" not in page
    assert "didact predict DIR NEW_DATA" in page
    alone = "".join(map(str, use(metrics(kind))))
    assert "rows after it" not in alone
    assert "each of shape [batch, 1]:" in alone
    assert "import onnxruntime" in alone


def test_better_trees_are_said_by_their_mean_over_seeds():
    """One run of ldt beats the trees' mean; ldt's own mean does not."""
    said = " ".join(map(str, use(metrics(trees=0.55, validation=0.6))))
    assert "The boosted trees have a smaller mean validation loss (0.550, and it 0.600)" in said
    assert "use trees" in said
    for other in (metrics(trees=0.6), metrics(trees=0.65), metrics()):
        assert "trees" not in " ".join(map(str, use(other)))
    failed = metrics(trees=0.55)
    failed["candidates"]["trees"]["validation"] = None
    assert "trees" not in " ".join(map(str, use(failed)))
