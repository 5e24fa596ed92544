"""``didact fit`` end to end, for real and tiny."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from didact import DidactError, InvalidInput
from didact.hindsight import fit, predict, report

CANDIDATES = [
    "no_teacher", "auxiliary", "fixed_teacher", "generalised_distillation", "tram", "ldt", "trees",
    "oracle",
]  # fmt: skip


def _table(rows: int = 60, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, rows))
    later = a + 0.1 * rng.normal(size=rows)
    return pd.DataFrame(
        {
            "a": np.where(rng.random(rows) < 0.1, np.nan, a),
            "größe": b,
            "farbe": rng.choice(["rot", "grün"], rows),
            "site": rng.integers(0, 12, rows),
            "later 1": later,
            "later 2": rng.choice(["u", "v"], rows),
            "class": np.where(a + 0.5 * rng.normal(size=rows) > 0, "yes", "no"),
            "amount": 3 * a + rng.normal(size=rows),
        }
    )


def _write(table: pd.DataFrame, folder: Path) -> Path:
    path = folder / "table.csv"
    table.to_csv(path, index=False)
    return path


def _fit(table: pd.DataFrame, folder: Path, **options: object) -> dict:  # type: ignore[type-arg]
    given = {"label": "class", "privileged": ["later *"], "quick": True, "seeds": 1, "jobs": 1}
    given["epochs"] = 6
    data = _write(table.drop(columns="amount", errors="ignore"), folder)
    return fit(data, **{"out": folder / "fit", **given, **options})  # type: ignore[arg-type, return-value]


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classified")
    _fit(_table(), folder, seeds=2)
    return folder


def test_everything_promised_is_in_the_folder(classified: Path) -> None:
    home = classified / "fit"
    for name in ("report.html", "metrics.json", "student.onnx", "student.pt2", "schema.json"):
        assert (home / name).stat().st_size > 100, name
    events = list((home / "tensorboard").rglob("events*"))
    assert len(events) == (len(CANDIDATES) - 1) * 2  # two seeds each; trees write none
    metrics = json.loads((home / "metrics.json").read_text())
    assert list(metrics["candidates"]) == CANDIDATES
    assert metrics["split"] == {
        "kind": "random", "seed": 0, "train": 36, "validation": 12, "test": 12,
    }  # fmt: skip
    assert metrics["data"]["inputs"] == ["a", "größe", "farbe", "site"]
    assert metrics["data"]["privileged"] == ["later 1", "later 2"]
    for record in metrics["candidates"].values():
        assert [run["seed"] for run in record["seeds"]] == [0, 1]
        assert all(run["test"]["log_loss"] > 0 for run in record["seeds"])
    assert metrics["verdict"]["sentence"].startswith("Demonstration")
    assert "too little data" in metrics["verdict"]["outcome"]  # 12 test rows
    assert report(metrics) == (home / "report.html").read_text()


def test_the_deployed_student_predicts_from_the_present_alone(classified: Path) -> None:
    new = _table(7, seed=1)[["farbe", "a", "größe", "site"]]
    new.loc[0, "farbe"] = "never seen"
    new.to_csv(classified / "new.csv", index=False)
    assert predict(classified / "fit", classified / "new.csv", classified / "out.csv") == 7
    found = pd.read_csv(classified / "out.csv")
    assert list(found) == ["prediction", "probability_no", "probability_yes"]
    assert np.allclose(found.iloc[:, 1:].sum(axis=1), 1, atol=1e-5)


def test_the_numbers_in_metrics_come_from_the_deployed_student(classified: Path) -> None:
    """The exported file, asked again for the test rows, gives the recorded log loss."""
    from didact.hindsight._split import split

    table = _table().drop(columns="amount")
    labels = (table["class"] == "yes").to_numpy().astype(int)
    rows = split(60, labels=labels, seed=0).test
    table.iloc[rows].to_csv(classified / "test.csv", index=False)
    predict(classified / "fit", classified / "test.csv", classified / "test-out.csv")
    found = pd.read_csv(classified / "test-out.csv")
    p = np.where(labels[rows] == 1, found["probability_yes"], found["probability_no"])
    metrics = json.loads((classified / "fit" / "metrics.json").read_text())
    run = metrics["deployed"]
    recorded = metrics["candidates"][run["candidate"]]["seeds"][run["seed"]]["test"]["log_loss"]
    assert -np.log(p).mean() == pytest.approx(recorded, abs=1e-5)


def test_a_regression_by_group_with_a_search(tmp_path: Path) -> None:
    table = _table(80).drop(columns="class").rename(columns={"amount": "class"})
    metrics = _fit(table, tmp_path, group="site", quick=False, trials=2, seeds=2)
    assert metrics["verdict"]["outcome"] == "cut short"  # six epochs are too few
    assert "No verdict" in metrics["verdict"]["sentence"]
    assert metrics["data"]["task"] == "regression"
    assert metrics["loss"] == "squared error"
    assert metrics["split"]["kind"] == "group"
    assert not metrics["verdict"]["demonstration"]
    for name, record in metrics["candidates"].items():
        assert len(record["trials"]) == (8 if name == "no_teacher" else 2)
        assert record["settings"] in [t["settings"] for t in record["trials"]]
    assert metrics["candidates"]["oracle"]["test"]["rmse"]["mean"] > 0


def test_test_rows_touch_nothing_but_the_test_scores(tmp_path: Path) -> None:
    from didact.hindsight._split import split

    table = _table()
    labels = (table["class"] == "yes").to_numpy().astype(int)
    rows = split(60, labels=labels, seed=0).test
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = _fit(table, tmp_path / "one")
    table.loc[rows, ["a", "größe", "later 1"]] = 1e6
    table.loc[rows, "farbe"] = "neu"
    second = _fit(table, tmp_path / "two")
    for name in CANDIDATES:
        (one,), (two,) = first["candidates"][name]["seeds"], second["candidates"][name]["seeds"]
        assert one["curve"] == two["curve"]
        if name != "trees":  # which make a constant of 36 rows
            assert one["test"] != two["test"]


def test_an_interrupted_command_ends_with_the_same_metrics(tmp_path: Path) -> None:
    """Ctrl-C, then kill -9, then to the end; beside it a run that nobody stopped."""
    data = _write(_table(120).drop(columns="amount"), tmp_path)
    shared = [sys.executable, "-m", "didact.cli", "fit", str(data), "--label", "class"]
    shared += ["--privileged", "later *", "--quick", "--seeds", "1", "--epochs", "2"]

    def start(jobs: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*shared, "--jobs", str(jobs), "--out", "fit"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that started us in the background has told us to ignore Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def cells() -> int:
        return len(list((tmp_path / "fit" / "state" / "cells").glob("*.json")))

    def wait_for(count: int, process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + 240
        while cells() < count and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert process.poll() is None, process.stderr.read() if process.stderr else ""

    process = start(2)
    wait_for(2, process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    assert not (tmp_path / "fit" / "metrics.json").exists()

    process = start(2)
    wait_for(5, process)
    before = cells()
    process.kill()
    process.communicate(timeout=120)

    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "fit/state/cells").glob("*.json")}
    assert len(times) >= before
    process = start(1)
    process.communicate(timeout=540)
    assert process.returncode == 0
    assert all(p.stat().st_mtime_ns == t for p, t in times.items())  # finished runs stay

    whole = tmp_path / "whole"
    whole.mkdir()
    last = ["--jobs", "1", "--out", "whole/fit"]
    undisturbed = subprocess.run([*shared, *last], cwd=tmp_path, check=False)
    assert undisturbed.returncode == 0
    one, two = (
        (tmp_path / path / "metrics.json").read_text().replace("whole/fit", "fit")
        for path in ("fit", "whole/fit")
    )
    assert one == two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": "clas"}, "did you mean `class`"),
        ({"privileged": ["latr*"]}, "there are|columns"),
        ({"privileged": []}, "known only in hindsight"),
        ({"privileged": ["later *", "class"]}, "leaves out the label"),
        ({"label": "later 1", "task": "ranking"}, "task"),
        ({"group": "center"}, "group"),
        ({"seeds": 0}, "seeds"),
        ({"device": "quantum"}, "device"),
    ],
)
def test_arguments_meet_one_clear_error(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=message):
        _fit(_table(), tmp_path, **options)
    assert not (tmp_path / "fit").exists()


def _copy_of_label(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(answer=table["class"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_copy_of_label, "`answer` equal to `class`"),
        (lambda t: t.assign(**{"class": "yes"}), "two distinct"),
        (lambda t: t.head(20), "at least 50 rows"),
        (lambda t: t.head(0), "row"),
        (lambda t: t.assign(**{"class": t["class"].mask(t.index == 3)}), "missing"),
        (lambda t: t.assign(a=np.inf), "`a`|infinite|finite"),
        (lambda t: t[["class", "later 1", "later 2"]], "input"),
        (lambda t: t.assign(a=None, größe=None, farbe="x", site=1), "column"),
    ],
)
def test_tables_meet_one_clear_error(change: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        _fit(change(_table()), tmp_path)  # type: ignore[operator]


def test_one_string_is_not_a_list_of_patterns(tmp_path: Path) -> None:
    for name in ("privileged", "na"):
        with pytest.raises(InvalidInput, match=f"`{name}` should be a list"):
            _fit(_table(), tmp_path, **{name: "later"})


def test_large_labels_are_learnt_and_too_large_ones_refused(tmp_path: Path) -> None:
    table = _table().drop(columns="class")
    (tmp_path / "small").mkdir()
    small = _fit(table.rename(columns={"amount": "class"}), tmp_path / "small", epochs=20)
    (tmp_path / "large").mkdir()
    moved = table.assign(**{"class": 1.7e9 + 1e3 * table["amount"]}).drop(columns="amount")
    large = _fit(moved, tmp_path / "large", epochs=20)
    for name in CANDIDATES:
        one, two = (m["candidates"][name]["seeds"][0]["test"]["r2"] for m in (small, large))
        assert two == pytest.approx(one, abs=1e-3)
    assert small["deployed"]["candidate"] == large["deployed"]["candidate"]
    said = []
    for name in ("small", "large"):
        predict(
            tmp_path / name / "fit", tmp_path / name / "table.csv", tmp_path / name / "said.csv"
        )
        said.append(pd.read_csv(tmp_path / name / "said.csv").prediction)
    moved_back = (said[1] - 1.7e9) / 1e3
    assert (moved_back - said[0]).abs().mean() < 0.1
    assert (said[1] % 128).nunique() > 30  # where float32 has multiples of 128
    with pytest.raises(InvalidInput, match="numbers up to 1e"):
        _fit(moved.assign(**{"class": 1e31 * (1 + table["amount"].abs())}), tmp_path / "large")


def test_the_results_of_another_fit_are_not_written_over(classified: Path) -> None:
    before = (classified / "fit" / "metrics.json").read_text()
    with pytest.raises(InvalidInput, match=r"another fit.*privileged"):
        _fit(_table(), classified, privileged=["later 1"])
    assert (classified / "fit" / "metrics.json").read_text() == before


def test_a_column_that_tells_the_label_is_warned_of(tmp_path: Path) -> None:
    table = _table()
    metrics = _fit(table.assign(sign=(table["class"] == "yes").astype(int)), tmp_path)
    assert any("`sign` tells the label exactly" in w for w in metrics["data"]["warnings"])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(DidactError, match="didact-fit"):
        _fit(_table(), tmp_path, out="/proc/didact-fit")
    (tmp_path / "file").write_text("")
    with pytest.raises(DidactError, match="file"):
        _fit(_table(), tmp_path, out=tmp_path / "file")


def test_columns_without_content_are_dropped_and_said(tmp_path: Path) -> None:
    metrics = _fit(_table().assign(empty=None, same=1), tmp_path)
    assert metrics["data"]["dropped"] == ["empty", "same"]
    assert any("`empty`" in warning for warning in metrics["data"]["warnings"])


def test_a_privileged_copy_of_the_label_is_warned_of(tmp_path: Path) -> None:
    metrics = _fit(_table().assign(**{"later 3": _table()["class"]}), tmp_path)
    assert any("`later 3`" in w and "label" in w for w in metrics["data"]["warnings"])


def test_a_second_command_on_the_folder_is_refused(tmp_path: Path) -> None:
    from didact.runs import FolderBusy, locked

    code = f"from didact.runs import locked\nwith locked({os.fspath(tmp_path / 'fit')!r}):\n"
    code += "    print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(FolderBusy):
            _fit(_table(), tmp_path)
        other.communicate("\n")
    with locked(tmp_path / "fit"):
        pass
