"""A series from its table to its predictions."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch

from didact._checks import InvalidInput
from didact.cli import main
from didact.hindsight import fit, predict
from didact.hindsight._deploy import load_deployed
from didact.hindsight._encode import Codes
from didact.hindsight._fit import too_short
from didact.hindsight._prepare import Question, prepare
from didact.hindsight._prepared import encoded, encoders
from didact.hindsight._train import Budget, _descend

HISTORY, HORIZON = 3, 4
CPU = torch.device("cpu")


def _table(rows: int = 70, seed: int = 0) -> pd.DataFrame:
    """Two stations by the hour, rows of both mixed; one of them has a gap in time."""
    rng = np.random.default_rng(seed)
    parts = []
    for station in ("north", "süd"):
        hours = np.arange(rows, dtype=float)
        hours[rows // 2 :] += 5 if station == "north" else 0
        load = np.sin(hours / 4) + 0.1 * rng.normal(size=rows)
        parts.append(
            pd.DataFrame(
                {
                    "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h"),
                    "station": station,
                    "load": load,
                    "wind": rng.normal(size=rows),
                    "sky": rng.choice(["clear", "grey"], rows),
                    "later": rng.normal(size=rows),
                }
            )
        )
    return pd.concat(parts).sort_values("when", kind="stable", ignore_index=True)


QUESTION = Question("load", ("later",), group="station", history=HISTORY, horizon=HORIZON)


def _prepared(table: pd.DataFrame, folder: Path, **changed: Any) -> Any:
    path = folder / "table.csv"
    table.to_csv(path, index=False)
    return prepare(path, replace(QUESTION, **changed))


def test_windows_are_slices_of_the_table(tmp_path: Path) -> None:
    table = _table()
    table.loc[41, "load"] = np.nan
    prepared, _, facts = _prepared(table, tmp_path)
    assert facts["data"]["inputs"] == ["load", "wind", "sky"]
    assert facts["data"]["privileged"] == ["load", "wind", "sky", "later"]
    assert facts["data"]["series"]["time"] == "when"
    assert facts["data"]["series"]["step"] == 3600
    said = " ".join(facts["data"]["warnings"])
    assert "1 of 138 steps" in said
    assert "have no label" in said
    rows = encoded(prepared, None, hindsight=False, device=CPU)["train"]
    encode, encode_later = encoders(prepared, None)
    stations = {name: part.reset_index() for name, part in table.groupby("station")}
    order = [i for part in stations.values() for i in part["index"]]
    for k in range(len(rows)):
        present = int(rows.present[k])
        station = table.station[order[present]]
        part = stations[station]
        t = int(np.flatnonzero(part["index"] == order[present])[0])
        past, future = part[t - HISTORY + 1 : t + 1], part[t + 1 : t + HORIZON]
        assert len(past) == HISTORY
        codes = Codes.of(past, prepared.columns)
        assert torch.equal(
            rows.features(torch.tensor(k)), encode(codes.numeric, codes.codes).flatten()
        )
        codes = Codes.of(future, prepared.privileged_columns)
        expected = encode_later(codes.numeric, codes.codes)
        assert torch.equal(rows.privileged(torch.tensor(k)), expected)
        now = part["load"][t]
        change = part["load"][t + HORIZON] - (float(_mean(prepared)) if np.isnan(now) else now)
        assert float(rows.label[k]) == pytest.approx(
            (change - prepared.offset) / prepared.scale, abs=1e-5
        )
        assert (part["when"][t + HORIZON] - part["when"][t - HISTORY + 1]) == pd.Timedelta(
            hours=HISTORY + HORIZON - 1
        )


def _mean(prepared: Any) -> float:
    seen = np.concatenate([prepared.split.train, prepared.split.validation])
    return float((prepared.label + prepared.anchor)[seen].mean())


def test_what_comes_after_the_first_test_moment_touches_nothing(tmp_path: Path) -> None:
    table = _table()
    one, bins, _ = _prepared(table, tmp_path)
    first = int(one.present[one.split.test].min())
    order = [i for _, part in table.groupby("station") for i in part.index]
    cut = table.when[order[first]]
    changed = table.copy()
    late = changed.when > cut
    changed.loc[late, ["load", "wind", "later"]] += 100.0
    changed.loc[late, "sky"] = "storm"
    two, bins_too, _ = _prepared(changed, tmp_path)
    assert bins == bins_too
    assert (one.offset, one.scale) == (two.offset, two.scale)
    for name in ("train", "validation"):
        a, b = (encoded(p, None, hindsight=True, device=CPU)[name] for p in (one, two))
        every = torch.arange(len(a))
        assert torch.equal(a.features(every), b.features(every))
        assert torch.equal(a.label, b.label)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    _table().to_csv(folder / "table.csv", index=False)
    fit(
        folder / "table.csv", label="load", privileged=["later"], group="station",
        history=HISTORY, horizon=HORIZON, quick=True, epochs=2, seeds=1, jobs=1, out=folder / "fit",
    )  # fmt: skip
    return folder


def test_the_record_of_a_series(fitted: Path) -> None:
    metrics = json.loads((fitted / "fit" / "metrics.json").read_text())
    assert metrics["split"]["kind"] == "time"
    assert metrics["persistence"] > 0
    assert metrics["data"]["series"]["history"] == HISTORY
    assert set(metrics["candidates"]["ldt"]["columns"]) == {"load", "wind", "sky", "later"}
    assert all(c["test"]["rmse"]["mean"] > 0 for c in metrics["candidates"].values())


def test_predictions_are_those_of_the_windows_in_every_way(fitted: Path) -> None:
    new = _table(12, seed=1).drop(columns="later")
    new.loc[3, "wind"] = np.nan
    new.to_csv(fitted / "new.csv", index=False)
    count = predict(fitted / "fit", fitted / "new.csv", fitted / "out.csv")
    written = pd.read_csv(fitted / "out.csv")
    assert list(written.columns) == ["station", "when", "prediction"]
    assert written.station.tolist() == new.station.tolist()
    found = written.prediction
    assert count == found.notna().sum()
    loaded = load_deployed(fitted / "fit")
    session = onnxruntime.InferenceSession(fitted / "fit" / "student.onnx")
    expected = np.full(len(new), np.nan)
    for _, part in new.groupby("station"):
        for k in range(HISTORY - 1, len(part)):
            window = part.iloc[k - HISTORY + 1 : k + 1]
            if window.when.iloc[-1] - window.when.iloc[0] != pd.Timedelta(hours=HISTORY - 1):
                continue
            codes = Codes.of(window, loaded.columns)
            with torch.no_grad():
                value = float(loaded.module(codes.numeric[None], codes.codes[None])[0])
            expected[window.index[-1]] = value
            feed = {
                column.name: window[column.name].to_numpy()[None].astype(
                    object if column.type == "tensor(string)" else np.float32
                )
                for column in session.get_inputs()
            }  # fmt: skip
            assert session.run(None, feed)[0][0] == pytest.approx(value, abs=1e-5)
    assert np.isnan(expected).sum() == 2 * (HISTORY - 1) + HISTORY - 1  # starts, and one gap
    assert found.to_numpy() == pytest.approx(expected, abs=1e-5, nan_ok=True)


def test_rows_in_another_mixture_have_the_same_predictions(fitted: Path) -> None:
    new = _table(12, seed=1)
    for name, table in (("mixed", new), ("apart", new.sort_values(["station", "when"]))):
        table.to_csv(fitted / f"{name}.csv", index=False)
        predict(fitted / "fit", fitted / f"{name}.csv", fitted / f"{name}.out.csv")
    mixed, apart = (
        pd.read_csv(fitted / f"{name}.out.csv", skip_blank_lines=False).prediction
        for name in ("mixed", "apart")
    )
    order = new.sort_values(["station", "when"]).index
    assert mixed[order].to_numpy() == pytest.approx(apart.to_numpy(), nan_ok=True)


@pytest.mark.parametrize("missing", ["when", "station", "wind"])
def test_predict_needs_its_columns(fitted: Path, missing: str) -> None:
    _table(12).drop(columns=missing).to_csv(fitted / "less.csv", index=False)
    with pytest.raises(InvalidInput, match=missing):
        predict(fitted / "fit", fitted / "less.csv", fitted / "less.out.csv")


def test_classes_by_group_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "who": np.repeat(np.arange(12), 10),
            "x": rng.normal(size=120),
            "odd": rng.normal(size=120),
        }
    )
    table["state"] = np.where(table.x.rolling(3, min_periods=1).mean() > 0, "up", "down")
    table.to_csv("table.csv", index=False)
    command = (
        "fit table.csv --series --label state --history 2 --horizon 3 --group who --split group"
    )
    command += " --drop odd --quick --epochs 1 --seeds 1 --jobs 1 --out fit"
    assert main(command.split()) == 0
    metrics = json.loads(Path("fit/metrics.json").read_text())
    assert metrics["split"]["kind"] == "group"
    assert metrics["data"]["inputs"] == ["x", "state"]
    assert metrics["data"]["dropped"] == ["odd"]
    assert metrics["persistence"] is None
    assert main(["predict", "fit", "table.csv", "--out", "out.csv"]) == 0
    out = pd.read_csv("out.csv", skip_blank_lines=False)
    assert len(out) == 120
    assert out.prediction.isna().sum() == 12
    assert main([*command.split()[:-2], "--history", "3", "--out", "fit"]) == 2
    assert "differs in: series" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"horizon": None}, "both `history` and `horizon`"),
        ({"horizon": 1}, "`horizon` should be an integer of at least 2"),
        ({"history": 0}, "`history` should be a positive integer"),
        ({"group": None, "split": "group"}, "'group' only where `group` is given"),
        ({"history": None, "horizon": None, "time": "when"}, "with `history` and `horizon` only"),
        ({"history": None, "horizon": None, "split": "time"}, "'time' only with `history`"),
        ({"time": "load"}, "another column than label and group"),
        ({"time": "clock"}, "one of the columns"),
        ({"drop": ("load",)}, "leaves out the label"),
        ({"drop": ("lod",)}, "did you mean"),
        ({"history": 30, "horizon": 30}, "at least 50 examples.*11"),
        ({"history": 90}, "The longest stretch has 70 rows"),
        ({"horizon": 20}, "long enough"),
    ],
)
def test_questions_meet_one_clear_error(
    changed: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=message):
        _prepared(_table(), tmp_path, **changed)


def test_two_columns_of_dates_have_to_be_told_apart(tmp_path: Path) -> None:
    table = _table()
    table["measured"] = table.when + pd.Timedelta(minutes=5)
    with pytest.raises(InvalidInput, match="one of the columns of dates `when`, `measured`"):
        _prepared(table, tmp_path)
    _, _, facts = _prepared(table, tmp_path, time="when", drop=("measured",))
    assert facts["data"]["series"]["time"] == "when"


def _visits(patients: int = 60) -> pd.DataFrame:
    """Five visits each; score and dose are 0 at the first, and relapses come later."""
    rng = np.random.default_rng(0)
    rows = []
    for patient in range(patients):
        a, dose, score, event = rng.normal(), 0.0, 0.0, "none"
        for visit in range(5):
            rows.append((patient, visit, a, score, dose, event))
            event = "relapse" if rng.random() < 0.3 else event
            dose += rng.random()
            score += 0.3 * a + 0.2 * dose + (event == "relapse")
    columns = ["patient", "visit", "a", "score", "dose", "event"]
    return pd.DataFrame(rows, columns=columns)


OF_VISITS: dict[str, Any] = {
    "group": "patient", "time": "visit", "history": 1, "horizon": 4, "split": "group",
}  # fmt: skip


def _prepared_visits(table: pd.DataFrame, folder: Path, **question: Any) -> Any:
    table.to_csv(folder / "visits.csv", index=False)
    asked = {**OF_VISITS, "label": "score", **question}
    return prepare(folder / "visits.csv", Question(**asked))


def test_what_is_constant_now_may_be_what_matters_later(tmp_path: Path) -> None:
    prepared, _, facts = _prepared_visits(_visits(), tmp_path)
    assert [column.name for column in prepared.columns] == ["a"]
    later = {column.name: column for column in prepared.privileged_columns}
    assert set(later) == {"a", "score", "dose", "event"}
    assert set(later["event"].categories) == {"none", "relapse"}
    _, encoder = encoders(prepared, None)
    features = encoder.features_of(prepared.privileged_columns)
    assert len(features["event"]) == 2
    # Statistics are of the visits in between: those of the first alone would be 0.
    dose = _visits().query("visit in (1, 2, 3)").dose
    (place,) = features["dose"]
    assert float(encoder.scale[place]) == pytest.approx(dose.std(), rel=0.2)
    # The label is the same for all now: there is nothing to learn its change from.
    assert prepared.anchor is None
    assert facts["data"]["series"]["examples"] == 60


def test_a_label_that_the_present_does_not_tell_is_learnt_to_the_end(tmp_path: Path) -> None:
    late = _visits()
    late["outcome"] = late.score.where(late.visit == 4)
    late.drop(columns="score").to_csv(tmp_path / "visits.csv", index=False)
    metrics = fit(
        tmp_path / "visits.csv", label="outcome", quick=True, epochs=2, seeds=1, jobs=1,
        out=tmp_path / "fit", **OF_VISITS,
    )  # fmt: skip
    assert metrics["persistence"] is None
    assert (tmp_path / "fit" / "student.onnx").exists()
    assert predict(tmp_path / "fit", tmp_path / "visits.csv", tmp_path / "out.csv") == 300


def test_a_date_that_is_none_is_said_not_taken_for_a_category(tmp_path: Path) -> None:
    table = _table(40)
    table["when"] = table["when"].astype(str)
    table.loc[3, "when"] = "yesterday"
    table.to_csv(tmp_path / "t.csv", index=False)
    question = Question("load", group="station", history=2, horizon=3)
    with pytest.raises(InvalidInput, match=r"`when` should be dates.*row 4\. Found 'yesterday'"):
        prepare(tmp_path / "t.csv", question)


def test_numbers_too_large_for_float32_are_a_series_like_any_other(tmp_path: Path) -> None:
    found = []
    for level in (0.0, 1e9):
        table = _table(40).assign(load=lambda t, level=level: level + t.load.round(3))
        table.to_csv(tmp_path / "t.csv", index=False)
        question = Question("load", group="station", history=2, horizon=3)
        prepared, _, _ = prepare(tmp_path / "t.csv", question)
        rows = encoded(prepared, None, hindsight=False, device=CPU)["train"]
        assert prepared.anchor is not None
        features = rows.features(torch.arange(len(rows)))
        found.append((features, rows.label, prepared.anchor - level))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_series_of_one_large_column_is_predicted_from_its_past(tmp_path: Path) -> None:
    load = 1e9 + np.sin(np.arange(200) / 4).round(3)
    plain = pd.DataFrame({"load": load})
    stamped = pd.DataFrame({"when": pd.date_range("2024-01-01", periods=200), "load": load})
    for name, table in (("plain", plain), ("stamped", stamped)):
        path = tmp_path / f"{name}.csv"
        table.to_csv(path, index=False)
        metrics = fit(
            path, label="load", history=4, horizon=3, quick=True, epochs=8, seeds=1, jobs=1,
            out=tmp_path / name,
        )  # fmt: skip
        assert metrics["data"]["inputs"] == ["load"]
        assert predict(tmp_path / name, path, tmp_path / "out.csv") == 197
        found = pd.read_csv(tmp_path / "out.csv")["prediction"].iloc[3:]
        assert 1e9 - 2 < found.min() < found.max() < 1e9 + 2
        session = onnxruntime.InferenceSession(tmp_path / name / "student.onnx")
        (column,) = session.get_inputs()
        assert (column.name, column.type) == ("load", "tensor(double)")
        windows = np.lib.stride_tricks.sliding_window_view(load, 4)
        (by_onnx,) = session.run(None, {"load": windows})
        np.testing.assert_allclose(by_onnx, found, rtol=1e-12, atol=1e-3)


def test_groups_and_times_are_written_as_they_were_read(tmp_path: Path) -> None:
    hours = pd.date_range("2024-01-01", periods=60, freq="h").strftime("%Y-%m-%d %H:%M")
    table = pd.DataFrame({
        "when": [*hours, *hours], "station": ["007"] * 60 + ["3"] * 60,
        "load": np.sin(np.arange(120) / 4),
    })  # fmt: skip
    table.to_csv(tmp_path / "t.csv", index=False)
    fit(
        tmp_path / "t.csv", label="load", group="station", history=2, horizon=3, quick=True,
        epochs=2, seeds=1, jobs=1, out=tmp_path / "fit",
    )  # fmt: skip
    assert predict(tmp_path / "fit", tmp_path / "t.csv", tmp_path / "out.csv") == 118
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert found.station.tolist() == table.station.tolist()
    assert found.when.tolist() == table.when.tolist()


def test_dates_that_are_not_iso_are_pointed_out(tmp_path: Path) -> None:
    table = _table(40)
    table["when"] = table["when"].dt.strftime("%m/%d/%Y")
    table.to_csv(tmp_path / "t.csv", index=False)
    question = Question("load", group="station", history=2, horizon=3)
    _, _, facts = prepare(tmp_path / "t.csv", question)
    assert any("`when` looks like dates" in line for line in facts["data"]["warnings"])
    _table(40).to_csv(tmp_path / "t.csv", index=False)
    for wrong, match in (
        ({"time": "when", "drop": ("when",)}, "`time` should be a column that `drop` does not"),
        ({"privileged": ("when",)}, "`privileged` should be columns other than the time `when`"),
    ):
        with pytest.raises(InvalidInput, match=match):
            prepare(tmp_path / "t.csv", replace(question, **wrong))


def test_files_of_two_runs_are_refused(tmp_path: Path) -> None:
    """As a fit that was killed between model and metrics would leave them."""
    pd.DataFrame({"load": np.sin(np.arange(120) / 4)}).to_csv(tmp_path / "t.csv", index=False)
    folder = tmp_path / "fit"
    metrics = fit(
        tmp_path / "t.csv", label="load", history=2, horizon=3, quick=True, epochs=2, seeds=1,
        jobs=1, out=folder,
    )  # fmt: skip
    schema = json.loads((folder / "schema.json").read_text())
    assert schema["run"] == metrics["deployed"]["run"] != ""
    assert (folder / "metrics.json").stat().st_mtime_ns >= max(
        (folder / name).stat().st_mtime_ns for name in ("schema.json", "student.pt2", "report.html")
    )
    stored = json.loads((folder / "metrics.json").read_text())
    stored["deployed"]["run"] = "another"
    (folder / "metrics.json").write_text(json.dumps(stored))
    with pytest.raises(InvalidInput, match=r"`metrics\.json` and `student\.pt2`.*different runs"):
        predict(folder, tmp_path / "t.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(("falls_until", "cut_short"), [(34, False), (35, False), (36, True)])
def test_a_run_with_more_patience_than_epochs_is_judged_by_its_last_25(
    falls_until: int, cut_short: bool
) -> None:
    module = torch.nn.Linear(1, 1)
    losses = iter([1.0 / min(epoch, falls_until) for epoch in range(1, 61)])
    curve = _descend(
        module, torch.optim.SGD(module.parameters(), 0.1), lambda step: module.weight.sum(),
        lambda: next(losses), 1, Budget(60, 60), None,
    )  # fmt: skip
    assert len(curve.validation) == 60
    assert curve.cut_short is cut_short


def test_too_few_epochs_for_a_verdict_are_said_at_once() -> None:
    assert too_short(25, quick=False)[0].startswith("In 25 epochs no run can go 25 without a gain")
    assert too_short(26, quick=False) == too_short(5, quick=True) == []
