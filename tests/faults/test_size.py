"""Many rows, many columns: a fit that ends, and one that says what it was given."""

from pathlib import Path

import numpy as np
import pandas as pd

from didact.hindsight import fit, predict


def test_a_million_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(10**6, 2)).astype(np.float32), rng.normal(size=10**6)
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "later": z, "y": x[:, 0] + z})
    table.to_parquet(tmp_path / "table.parquet")
    metrics = fit(
        tmp_path / "table.parquet", label="y", privileged=["later"], quick=True, epochs=1, seeds=1,
        jobs=1, out=tmp_path / "fit",
    )  # fmt: skip
    assert metrics["split"]["train"] == 600_000
    assert metrics["candidates"]["oracle"]["test"]["r2"]["mean"] > 0.9
    assert 0.4 < metrics["candidates"]["no_teacher"]["test"]["r2"]["mean"] < 0.55
    assert predict(tmp_path / "fit", tmp_path / "table.parquet", tmp_path / "out.csv") == 10**6


def test_five_thousand_columns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5_000)).round(3)
    table = pd.DataFrame(x, columns=[f"c{j}" for j in range(5_000)])
    table["y"] = x[:, 0] + x[:, 4_000]
    table.to_csv(tmp_path / "table.csv", index=False)
    metrics = fit(
        tmp_path / "table.csv", label="y", privileged=["c4*"], quick=True, epochs=1, seeds=1,
        jobs=1, out=tmp_path / "fit",
    )  # fmt: skip
    assert len(metrics["data"]["inputs"]) + len(metrics["data"]["privileged"]) == 5_000
    assert (tmp_path / "fit" / "student.onnx").stat().st_size > 10**6
    assert predict(tmp_path / "fit", tmp_path / "table.csv", tmp_path / "out.csv") == 200
