"""ONNX from raw columns: fed with strings, compared with PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from didact._checks import DidactError, InvalidInput
from didact.export import save_onnx

torch.set_num_threads(1)


class _Core(nn.Module):
    """Reads every numeric column and every code, and tells them apart."""

    def __init__(self, n_numeric: int, n_codes: int, n_outputs: int = 3) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(7)
        width = 2 * n_numeric + n_codes
        self.n_numeric, self.n_codes = n_numeric, n_codes
        self.register_buffer("weight", torch.randn(width, n_outputs, generator=generator))

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        parts = []
        if self.n_numeric:
            missing = numeric.isnan()
            parts += [(numeric / 1e6).masked_fill(missing, 0.0), missing.float()]
        if self.n_codes:
            parts += [codes.float()]
        return (torch.cat(parts, 1) @ self.weight).tanh()


def _run(path: Path, feed: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)[0]


def _strings(words: list[str]) -> np.ndarray:
    return np.array(words, dtype=object)[:, None]


def test_raw_columns(tmp_path: Path) -> None:
    core = _Core(2, 2).train()
    categorical = {"Straße 雪": ["a", "ü b", "1"], "numeric": ["x"]}
    example = (torch.tensor([[1e6, -2e6], [3.0, 4.0]]), torch.tensor([[2, 0], [4, 2]]))
    path = tmp_path / "m.onnx"
    name = save_onnx(core, example, path, numeric=["core/age", "codes"], categorical=categorical)
    assert name == "output"
    assert core.training
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    inputs = {i.name: i.type.tensor_type for i in model.graph.input}
    assert list(inputs) == ["core/age", "codes", "Straße 雪", "numeric"]
    for tensor in (*inputs.values(), model.graph.output[0].type.tensor_type):
        assert tensor.shape.dim[0].dim_param == "batch"
    assert inputs["codes"].elem_type == onnx.TensorProto.FLOAT
    assert inputs["numeric"].elem_type == onnx.TensorProto.STRING

    rows = [
        (1e6, -1e6, "a", "x", 2, 2),
        (np.nan, 2.5e6, "ü b", "", 3, 1),
        (0.0, np.nan, "never seen", "X", 0, 0),
        (-3e6, 1.0, "", "x ", 1, 0),
        (7.0, 8.0, "1", "x", 4, 2),
        (7.0, 8.0, "1.0", "x", 0, 2),
        (np.nan, np.nan, "", "", 1, 1),
    ]
    for batch in (rows, rows[:1], rows[2:3]):
        x = np.array([row[:2] for row in batch], dtype=np.float32)
        feed = {
            "core/age": x[:, :1],
            "codes": x[:, 1:],
            "Straße 雪": _strings([row[2] for row in batch]),
            "numeric": _strings([row[3] for row in batch]),
        }
        expected = core(torch.from_numpy(x), torch.tensor([row[4:] for row in batch]))
        np.testing.assert_allclose(_run(path, feed), expected.numpy(), rtol=0, atol=1e-5)


def test_no_paths_and_no_rows_in_the_file(tmp_path: Path) -> None:
    example = (torch.full((3, 1), 123456.789), torch.zeros(3, 0, dtype=torch.int64))
    save_onnx(_Core(1, 0), example, tmp_path / "m.onnx", numeric=["x"], categorical={})
    content = (tmp_path / "m.onnx").read_bytes()
    assert Path(__file__).name.encode() not in content
    assert np.float32(123456.789).tobytes() not in content


def test_output_keeps_clear_of_columns(tmp_path: Path) -> None:
    example = (torch.zeros(2, 2), torch.zeros(2, 0, dtype=torch.int64))
    path = tmp_path / "m.onnx"
    columns = ["output", "output_"]
    name = save_onnx(_Core(2, 0), example, path, numeric=columns, categorical={})
    assert name == "output__"
    assert onnx.load(path).graph.output[0].name == name


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_table(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5)
    names = data.draw(st.lists(text, min_size=1, max_size=5, unique=True))
    cut = data.draw(st.integers(0, len(names)))
    known = st.lists(text, max_size=4, unique=True)
    categorical = {name: data.draw(known) for name in names[cut:]}
    n = data.draw(st.integers(1, 8))
    value = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6, width=32))
    x = [[data.draw(value) for _ in range(cut)] for _ in range(n)]
    words = {
        name: [data.draw(st.one_of(st.just(""), text, *map(st.just, ws))) for _ in range(n)]
        for name, ws in categorical.items()
    }
    numeric = torch.tensor(x).reshape(n, cut)
    codes = torch.zeros(n, len(categorical), dtype=torch.int64)
    for column, (name, ws) in enumerate(categorical.items()):
        for row, word in enumerate(words[name]):
            codes[row, column] = 1 if word == "" else 2 + ws.index(word) if word in ws else 0
    core = _Core(cut, len(categorical))
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    save_onnx(core, (numeric, codes), path, numeric=names[:cut], categorical=categorical)
    feed = {name: numeric[:, j : j + 1].numpy() for j, name in enumerate(names[:cut])}
    feed |= {name: _strings(cells) for name, cells in words.items()}
    np.testing.assert_allclose(_run(path, feed), core(numeric, codes).numpy(), rtol=0, atol=1e-5)


class _Wrong(nn.Module):
    """Says one thing in PyTorch and another in the graph."""

    def forward(self, numeric: Tensor, codes: Tensor) -> Tensor:
        return numeric.nan_to_num() + float(torch.compiler.is_exporting()) * 1e-3


def test_disagreement_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    example = (torch.zeros(2, 1), torch.zeros(2, 0, dtype=torch.int64))
    path = tmp_path / "m.onnx"
    arguments: dict[str, Any] = {"numeric": ["x"], "categorical": {}}
    with pytest.raises(DidactError, match="onnxruntime and PyTorch disagree"):
        save_onnx(_Wrong(), example, path, **arguments)
    assert not list(tmp_path.iterdir())
    save_onnx(_Wrong(), example, path, **arguments, tolerance=2e-3)


def test_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    example = (torch.zeros(2, 1), torch.zeros(2, 1, dtype=torch.int64))
    for numeric, categorical in ((["x", "y"], {"c": ["a"]}), (["x"], {})):
        with pytest.raises(InvalidInput, match="`example_inputs`"):
            save_onnx(_Core(1, 1), example, path, numeric=numeric, categorical=categorical)
    for twice in ("x", ""):
        with pytest.raises(InvalidInput, match="given once"):
            save_onnx(_Core(1, 1), example, path, numeric=["x"], categorical={twice: ["a"]})
    with pytest.raises(InvalidInput, match=r"`categorical`.*given once"):
        save_onnx(_Core(1, 1), example, path, numeric=["x"], categorical={"c": ["a", "a"]})
    with pytest.raises(InvalidInput, match=r"`categorical`.*not empty"):
        save_onnx(_Core(1, 1), example, path, numeric=["x"], categorical={"c": [""]})
