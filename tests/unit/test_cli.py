"""Every command, for real and tiny."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from didact import __version__
from didact.cli import main


def test_simulate_fit_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        main(shlex.split("simulate hopper --rollouts 60 --jobs 1 --out data/hopper.parquet")) == 0
    )
    table = pd.read_parquet("data/hopper.parquet")
    assert len(table) == 60
    command = "fit data/hopper.parquet --label return --privileged future_* --quick --seeds 1"
    assert main([*shlex.split(command), "--jobs", "1", "--out", "fit"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Demonstration")
    assert "fit/report.html" in said.out
    assert "9/9" in said.err  # eight candidates, and how predictable things are
    metrics = json.loads(Path("fit/metrics.json").read_text())
    assert metrics["command"] == (
        "didact fit data/hopper.parquet --label return --privileged 'future_*' --quick --seeds 1 "
        "--jobs 1 --out fit"
    )
    assert len(metrics["data"]["inputs"]) == 11 + 16 * 3
    present = [name for name in table if not name.startswith("future_")]
    table[present].drop(columns="return").to_csv("new.csv", index=False)
    assert main(shlex.split("predict fit new.csv --out predictions.csv")) == 0
    assert len(pd.read_csv("predictions.csv")) == 60
    assert not Path("MUJOCO_LOG.TXT").exists()


def test_an_error_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "nowhere.csv", "--label", "y", "--privileged", "z"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("didact: Parameter")
    assert "nowhere.csv" in said.err
    assert said.err.count("\n") == 1
    assert not Path("didact-fit").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("predict fit new.csv --out out.csv", "nothing was written"),
        ("fit x.csv --label y", "the same command goes on"),
    ],
)
def test_ctrl_c_says_how_to_go_on(
    command: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    arguments = shlex.split(command)
    monkeypatch.setattr(f"didact.hindsight.{arguments[0]}", interrupt)
    assert main(arguments) == 130
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["fit"], ["fit", "x.csv"], ["teach"], shlex.split("fit x.csv --label y --seed 1")],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: didact" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"didact {__version__}\n"


def test_what_a_series_lacks_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "t.csv", "--series", "--label", "y", "--history", "3"]) == 2
    assert "Missing: --horizon." in capsys.readouterr().err
    assert main(["fit", "t.csv", "--label", "y", "--horizon", "3"]) == 2
    assert "Missing: --series, --history." in capsys.readouterr().err


def _sites(path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2))
    y = np.where(x[:, 0] + 0.5 * rng.normal(size=120) > 0, "yes", "no")
    site = np.array(["a", "b", "c", "d"])[np.arange(120) % 4]
    pd.DataFrame({"u": x[:, 0], "v": x[:, 1], "site": site, "y": y}).to_csv(path, index=False)


def test_fit_by_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _sites(Path("sites.csv"))
    command = "fit sites.csv --label y --environment site --quick --seeds 1 --epochs 4 --jobs 1"
    assert main([*shlex.split(command), "--out", "fit"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("Demonstration")
    assert "fit/report.html" in said.out
    assert "85/85" in said.err  # 6 candidates, 10 runs by which is chosen, 4 final; and the model
    metrics = json.loads(Path("fit/metrics.json").read_text())
    assert metrics["command"] == f"didact {command} --out fit"
    new = pd.read_csv("sites.csv").drop(columns=["y", "site"])
    new.to_csv("new.csv", index=False)
    assert main(shlex.split("predict fit new.csv --out predictions.csv")) == 0
    assert len(pd.read_csv("predictions.csv")) == 120


@pytest.mark.parametrize(
    "more",
    [
        "--privileged z",
        "--group g",
        "--series --history 3 --horizon 2",
        "--time t",
        "--split group",
    ],
)
def test_by_environment_hindsight_is_refused(more: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(shlex.split(f"fit t.csv --label y --environment site {more}")) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"didact: With --environment there is no {more.split()[0]}")
    assert "without --environment" in said
    assert said.count("\n") == 1


def test_nobody_need_read_to_the_end() -> None:
    """`didact rules | head -1`."""
    command = [sys.executable, "-m", "didact", "rules"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
