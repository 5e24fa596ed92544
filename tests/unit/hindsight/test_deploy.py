"""The deployed student: by hand, and the same numbers from PyTorch, ``.pt2`` and ONNX."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from didact._checks import DidactError, InvalidInput
from didact._table import numbers
from didact.hindsight._columns import Column, describe
from didact.hindsight._deploy import Deployed, load_deployed, save_deployed
from didact.hindsight._encode import Codes, Encoder
from didact.hindsight._label import Bins, Classes

torch.set_num_threads(1)


class _Student(nn.Module):
    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.hidden = nn.Linear(n_features, 8)
        self.norm = nn.LayerNorm(8)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(8, n_outputs)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def forward(self, features: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        hidden = self.drop(self.norm(self.hidden(features)).relu())
        return self.out(hidden), (hidden,)


def _frame(n: int = 80) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "income in €": np.where(rng.random(n) < 0.1, np.nan, rng.normal(1e6, 1e5, n)),
            "age": rng.integers(20, 90, n),
            "Stadt": rng.choice(np.array(["Köln", "東京", "Łódź"], dtype=object), n),
            "flag": rng.random(n) < 0.5,
        }
    )


def _deployed(
    label: Classes | Bins, names: list[str]
) -> tuple[Deployed, tuple[Column, ...], pd.DataFrame]:
    frame = _frame()[names]
    columns, _ = describe(frame, frame.columns)
    codes = Codes.of(frame, columns)
    encoder = Encoder.fit(columns, codes.numeric, codes.codes)
    student = _Student(encoder.n_features, label.n_outputs)
    return Deployed(encoder, student, label.values), columns, frame


CLASSES = Classes(("nein", "ja", "vielleicht"))
BINS = Bins((1e5, 2e5), (5e4, 1.5e5, 4e5))


@pytest.mark.parametrize(
    ("label", "names"),
    [
        (CLASSES, ["income in €", "age", "Stadt", "flag"]),
        (BINS, ["income in €", "age", "Stadt", "flag"]),
        (CLASSES, ["Stadt", "flag"]),
        (BINS, ["income in €", "age"]),
    ],
    ids=["classes", "bins", "only categorical", "only numeric"],
)
def test_three_ways_to_one_number(tmp_path: Path, label: Classes | Bins, names: list[str]) -> None:
    deployed, columns, frame = _deployed(label, names)
    deployed.train()
    example = Codes.of(frame, columns)
    save_deployed(tmp_path, deployed, columns, label, example, label_name="y", na=["?"])
    assert deployed.training
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "schema.json",
        "student.onnx",
        "student.pt2",
    ]
    loaded = load_deployed(tmp_path)
    assert (loaded.columns, loaded.label, loaded.label_name) == (columns, label, "y")
    assert loaded.na == ("?",)

    new = pd.DataFrame(
        {
            "income in €": [1e6, None, 1.3e6, -5e8, 9e5, 9e5, 9e5],
            "age": [30.0, 40.0, None, 200.0, 0.0, 50.0, 51.0],
            "Stadt": ["Köln", "東京", None, "Ulm", "köln", "Łódź", ""],
            "flag": ["True", "False", None, "true", "True", "", "no"],
        }
    )
    deployed.eval()
    schema = json.loads((tmp_path / "schema.json").read_text("utf-8"))
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx")
    assert [output.name for output in session.get_outputs()] == [schema["onnx_output"]]
    for batch in (new, new.iloc[:1], new.iloc[2:3]):
        codes = Codes.of(batch, columns)
        with torch.no_grad():
            expected = deployed(codes.numeric, codes.codes).numpy()
        feed = {}
        for column in columns:
            cells = batch[column.name]
            if column.kind == "numeric":
                feed[column.name] = numbers(cells).astype(np.float32)[:, None]
            else:
                feed[column.name] = np.array(cells.fillna(""), dtype=object)[:, None]
        tolerance = 1e-5 * max(1, float(np.abs(expected).max()))
        for found in (
            loaded.module(codes.numeric, codes.codes).numpy(),
            session.run(None, feed)[0],
        ):
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def test_output_by_hand() -> None:
    deployed, columns, frame = _deployed(BINS, ["age"])
    deployed.eval()
    codes = Codes.of(frame.iloc[:4], columns)
    logits, _ = deployed.student(deployed.encoder(codes.numeric, codes.codes))
    for row, found in zip(logits.tolist(), deployed(codes.numeric, codes.codes), strict=True):
        weights = np.exp(np.array(row) - max(row))
        expected = float((weights * np.array(BINS.means)).sum() / weights.sum())
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_plain_number_and_a_change_by_hand(tmp_path: Path) -> None:
    _, columns, frame = _deployed(BINS, ["income in €", "age"])
    codes = Codes.of(frame, columns)
    encoder = Encoder.fit(columns, codes.numeric, codes.codes)
    windows = codes.windows(torch.arange(2, 40), 3)
    student = _Student(3 * encoder.n_features, 1)
    plain = Deployed(encoder, student, None, unit=(1e5, 3e4), anchor=(0, 5e3, 7e5)).eval()
    found = plain(windows.numeric, windows.codes)
    for k in range(38):
        features = encoder(codes.numeric[k : k + 3], codes.codes[k : k + 3]).flatten()
        now = float(codes.numeric[k + 2, 0])
        now = 7e5 if np.isnan(now) else now + 5e3
        change = 1e5 + 3e4 * float(student(features[None])[0].detach())
        assert found[k].item() == pytest.approx(now + change, rel=1e-5)
    save_deployed(
        tmp_path, plain, columns, BINS, windows, label_name="income in €",
        series={"history": 3, "horizon": 2, "time": None, "step": None, "group": None},
    )  # fmt: skip
    loaded = load_deployed(tmp_path)
    assert loaded.series is not None
    assert torch.allclose(loaded.module(windows.numeric, windows.codes), found)
    session = onnxruntime.InferenceSession(tmp_path / "student.onnx")
    assert {tuple(column.shape) for column in session.get_inputs()} == {("batch", 3)}


def test_model_and_label_must_fit(tmp_path: Path) -> None:
    deployed, columns, frame = _deployed(BINS, ["age"])
    example = Codes.of(frame, columns)
    other = Bins((1.0,), (0.0, 2.0))
    for label in (CLASSES, other):
        with pytest.raises(InvalidInput, match=r"`deployed\.values`"):
            save_deployed(tmp_path, deployed, columns, label, example, label_name="y")
    bare = Deployed(deployed.encoder, deployed.student, None)
    two = Classes(("a", "b"))
    with pytest.raises(InvalidInput, match=r"output \(1, 2\).*\(1, 3\)"):
        save_deployed(tmp_path, bare, columns, two, example, label_name="y")
    with pytest.raises(InvalidInput, match="`example`"):
        save_deployed(tmp_path, deployed, columns, BINS, example[:0], label_name="y")
    assert not list(tmp_path.iterdir())


def test_broken_folders(tmp_path: Path) -> None:
    with pytest.raises(DidactError, match="Cannot read"):
        load_deployed(tmp_path)
    deployed, columns, frame = _deployed(BINS, ["age"])
    example = Codes.of(frame, columns)
    save_deployed(tmp_path, deployed, columns, BINS, example, label_name="y")
    schema = (tmp_path / "schema.json").read_text("utf-8")
    (tmp_path / "schema.json").write_text(schema.replace('"y"', '"z"'), "utf-8")
    with pytest.raises(InvalidInput, match="different runs"):
        load_deployed(tmp_path)
    (tmp_path / "schema.json").write_text(schema[:-20], "utf-8")
    with pytest.raises(InvalidInput, match="not JSON"):
        load_deployed(tmp_path)
    shutil.rmtree(tmp_path)
