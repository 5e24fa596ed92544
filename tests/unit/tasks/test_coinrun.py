"""An expert's games of CoinRun: what is read is what was written, and nothing else is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from didact import InvalidInput
from didact.tasks import coinrun


def games(levels: int = 3, n: int = 2, m: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "x": rng.integers(256, size=(levels, n, 3, 64, 64), dtype=np.uint8),
        "p": rng.dirichlet(np.ones(15), (levels, n)).astype(np.float32),
        "x_test": rng.integers(256, size=(m, 3, 64, 64), dtype=np.uint8),
        "p_test": rng.dirichlet(np.ones(15), m).astype(np.float32),
        "about": np.array(json.dumps({"expert": "PPO", "solved": 0.5})),
    }


def test_it_is_what_was_written(tmp_path: Path) -> None:
    written = games()
    np.savez_compressed(tmp_path / "games.npz", **written)
    found = coinrun(tmp_path / "games.npz")
    for name in ("x", "p", "x_test", "p_test"):
        assert getattr(found, name).numpy().dtype == written[name].dtype
        assert (getattr(found, name).numpy() == written[name]).all()
    assert found.about == {"expert": "PPO", "solved": 0.5}


def test_a_missing_file_meets_the_command_that_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "games.npz"
    with pytest.raises(InvalidInput, match=r"no such file; `python scripts/collect_coinrun\.py"):
        coinrun(path)
    script = Path(__file__).parents[3] / "scripts" / "collect_coinrun.py"
    assert 'add("--out"' in script.read_text()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros((3, 2, 64, 64, 3), np.uint8)}, r"3 × 64 × 64 bytes\. Found uint8 \[3, 2,"),
        ({"x_test": np.zeros((4, 3, 64, 64))}, "Found float64"),
        ({"x_test": np.zeros((0, 3, 64, 64), np.uint8)}, "bytes"),
        ({"p": np.full((3, 2, 14), 1 / 14, np.float32)}, "15 floats a state"),
        ({"p": np.full((3, 1, 15), 1 / 15, np.float32)}, r"\[3, 1, 15\] for \[3, 2\]"),
        ({"p_test": np.full((4, 15), 0.1, np.float32)}, "probabilities"),
        ({"p_test": np.full((4, 15), np.nan, np.float32)}, "probabilities"),
        ({"about": np.array("[1]")}, "tell of the expert"),
        ({"about": np.array("{")}, r"should be an \.npz of"),
        ({"p": np.array([{}], object)}, r"should be an \.npz of"),  # a pickle is not read
    ],
)
def test_other_contents_are_refused(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "games.npz", **(games() | changed))
    with pytest.raises(InvalidInput, match=message):
        coinrun(tmp_path / "games.npz")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "games.npz"
    np.savez_compressed(path, **games())
    whole = path.read_bytes()
    missing = games()
    del missing["p_test"]
    np.savez_compressed(path, **missing)
    with pytest.raises(InvalidInput, match="p_test"):
        coinrun(path)
    middle = len(whole) // 2
    for damaged in (b"", b"no archive", whole[:middle], whole[:100] + b"\0" * 99 + whole[199:]):
        path.write_bytes(damaged)
        with pytest.raises(InvalidInput, match=r"should be an \.npz of"):
            coinrun(path)
