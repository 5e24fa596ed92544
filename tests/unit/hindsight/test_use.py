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
NEW = "later,größe,ward\n1,1.5,b\n2,,a\n3,-4,\n4,2.5,unseen\n"


class Student(nn.Module):
    def __init__(self, features):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("weight", torch.randn(features, 2, generator=generator))

    def forward(self, features):
        return features @ self.weight, ()


def metrics(kind="classes"):
    return {
        "data": {
            "inputs": ["größe", "ward", "empty"],
            "dropped": ["empty", "gone"],
            "classes": ["no", "yes"] if kind == "classes" else None,
        },
        "deployed": {"candidate": "ldt", "seed": 2, "validation": 0.5},
    }


def lines(kind):
    """The code that is shown: command, Python, ONNX Runtime, TensorBoard."""
    page = "".join(map(str, use(metrics(kind))))
    return [html.unescape(text) for text in re.findall(r"<code>(.*?)</code>", page, re.DOTALL)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_every_way_predicts_the_same(kind, delimiter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = pd.DataFrame({"größe": [1.0, 2.0, 4.0, np.nan], "ward": ["a", "b", "a", None]})
    columns, _ = describe(table, ["größe", "ward"])
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
    assert said.count("2 input columns") == 2
