"""``fit_environments`` for real and tiny: who touches what, resuming, bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from didact import InvalidInput
from didact.hindsight import fit_environments, predict, report
from didact.hindsight._metrics import FORMAT as HINDSIGHT
from didact.hindsight._prepare import Question
from didact.hindsight.environments import _parts
from didact.hindsight.environments._measure import of_a_constant, worse_than_a_constant
from didact.hindsight.environments._metrics import CANDIDATES, FORMAT, NETWORKS
from didact.hindsight.environments._prepare import Table, prepare
from didact.hindsight.environments._rivals import fit_rival

SITES = ["north", "south", "east", "west"]


def _table(rows: int = 35, sites: list[str] = SITES, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    for e, name in enumerate(sites):
        a, b = rng.normal(size=(2, rows))
        parts.append(
            pd.DataFrame(
                {
                    "a": np.where(rng.random(rows) < 0.1, np.nan, a + 0.2 * e),
                    "größe": 10 * b,
                    "farbe": rng.choice(["rot", "grün", f"nur-{name}"], rows),
                    "site": name,
                    "class": np.where(a + 0.7 * rng.normal(size=rows) > 0, "yes", "no"),
                    "amount": 3 * a + rng.normal(size=rows),
                }
            )
        )
    return pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)


def _fit(table: pd.DataFrame, folder: Path, **options: Any) -> Any:
    folder.mkdir(exist_ok=True)
    table = table.drop(columns="amount", errors="ignore")
    table.to_csv(folder / "table.csv", index=False)
    given = {"label": "class", "environment": "site", "quick": True, "seeds": 1, "jobs": 1}
    given |= {"epochs": 4, "out": folder / "fit", **options}
    return fit_environments(folder / "table.csv", **given)


@pytest.fixture(scope="module")
def classified(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classified")
    _fit(_table(), folder, quick=False, trials=2, seeds=2)
    return folder


def _metrics(folder: Path) -> Any:
    return json.loads((folder / "fit" / "metrics.json").read_text())


def test_everything_promised_is_in_the_folder(classified: Path) -> None:
    home, metrics = classified / "fit", _metrics(classified)
    for name in ("report.html", "metrics.json", "student.onnx", "student.pt2", "schema.json"):
        assert (home / name).stat().st_size > 100, name
    events = list((home / "tensorboard").rglob("events*"))
    assert len(events) == 4 * 4 * 2 + 1  # networks, sites, seeds; and the model of all
    assert list(metrics["candidates"]) == list(CANDIDATES)
    assert metrics["format"] == FORMAT != HINDSIGHT
    assert metrics["data"]["inputs"] == ["a", "größe", "farbe"]
    assert [e["name"] for e in metrics["environments"]] == sorted(SITES)
    for record in metrics["candidates"].values():
        assert [choice["left_out"] for choice in record["choices"]] == [[s] for s in sorted(SITES)]
        assert len(record["trials"]) == 2
        assert all(len(trial["validation"]) == 5 for trial in record["trials"])
        for name in SITES:
            assert [run["seed"] for run in record["runs"][name]] == [0, 1]
            test = record["test"][name]["log_loss"]
            assert test["low"] <= test["mean"] <= test["high"]
        worst = max(record["test"][name]["log_loss"]["mean"] for name in SITES)
        assert record["worst"]["log_loss"]["mean"] == worst
        assert (
            record["test"][record["worst"]["log_loss"]["environment"]]["log_loss"]["mean"] == worst
        )
    assert metrics["verdict"]["worst"]["outcome"] == "cut short"  # four epochs are too few
    assert report(metrics) == (home / "report.html").read_text()


def test_the_page_says_what_is_there_and_what_is_missing(classified: Path) -> None:
    metrics = _metrics(classified)
    whole = report(metrics)
    assert "<script" not in whole
    assert metrics["verdict"]["sentence"].split("`")[0] in whole
    for name in SITES:
        assert f'<th scope="row" class="l">{name}</th>' in whole
    for word in ("AND-mask", "V-REx", "IRM", "boosted trees", "linear", "AUC", "share of “yes”"):
        assert word in whole, word
    gain = metrics["candidates"]["irm"]["gain"]["worst"]["mean"]
    assert f"{gain:#.3g}".replace("-", "−") in whole
    lost = metrics["candidates"]["irm"]
    lost |= {"runs": {}, "test": {}, "mean": {}, "worst": {}, "gain": None}
    lost["choices"][0]["validation"] = lost["trials"][0]["validation"][0] = None
    without = report(metrics)
    assert "IRM: no finite result" in without
    assert "IRM: 1 of 2 trials diverged in a run." in without
    del metrics["verdict"]
    with pytest.raises(InvalidInput, match=r"complete.*no verdict"):
        report(metrics)


def test_networks_share_the_settings_that_they_share(classified: Path) -> None:
    found = _metrics(classified)["candidates"]
    for k in range(2):
        plain = found["plain"]["trials"][k]["settings"]
        for name in NETWORKS[1:]:
            other = found[name]["trials"][k]["settings"]
            assert {n: other[n] for n in plain} == plain
            assert len(other) > len(plain)


def test_each_choice_is_the_best_trial_and_the_model_the_best_choice(classified: Path) -> None:
    metrics = _metrics(classified)
    for record in metrics["candidates"].values():
        for place, choice in enumerate([*record["choices"], record["final"]]):
            values = [trial["validation"][place] for trial in record["trials"]]
            assert choice["validation"] == min(values) == values[choice["trial"]]
            assert choice["settings"] == record["trials"][choice["trial"]]["settings"]
    last = {name: metrics["candidates"][name]["final"]["validation"] for name in NETWORKS}
    assert metrics["deployed"]["candidate"] == min(last, key=lambda name: last[name])


def test_the_model_predicts_rows_of_a_new_site_without_the_column(classified: Path) -> None:
    new = _table(7, ["elsewhere"], seed=1)[["farbe", "größe", "a"]]
    new.to_csv(classified / "new.csv", index=False)
    assert predict(classified / "fit", classified / "new.csv", classified / "out.csv") == 7
    found = pd.read_csv(classified / "out.csv")
    assert list(found) == ["prediction", "probability_no", "probability_yes"]
    columns = {
        c["name"] for c in json.loads((classified / "fit/schema.json").read_text())["columns"]
    }
    assert columns == {"a", "größe", "farbe"}


def _prepare(table: pd.DataFrame, folder: Path) -> tuple[Table, dict[str, Any]]:
    table.to_csv(folder / "table.csv", index=False)
    return prepare(folder / "table.csv", Question("class", drop=("amount",), group="site"))


def test_a_rival_is_scikit_learns_scaled_and_fitted_on_the_other_sites(tmp_path: Path) -> None:
    frame = _table().drop(columns="farbe").fillna({"a": 0.0})
    table, _ = _prepare(frame, tmp_path)
    y = (frame["class"] == "yes").to_numpy().astype(int)
    x = frame[["a", "größe"]].to_numpy()
    for part, name in enumerate(table.parts.names):
        out = (frame["site"] == name).to_numpy()
        data = table.prepared((part,))
        assert data.split.test.tolist() == np.flatnonzero(out).tolist()
        found = fit_rival("linear", data, {"l2": 0.5}, seed=0)["probability"]
        mean, scale = x[~out].mean(0), x[~out].std(0)
        model = LogisticRegression(C=2.0).fit((x[~out] - mean) / scale, y[~out])
        expected = model.predict_proba((x[out] - mean) / scale)
        assert found[out] == pytest.approx(expected, abs=1e-4)


def test_the_environment_that_is_tested_touches_nothing(tmp_path: Path) -> None:
    """Poison every cell of one site: what was chosen and learnt without it stays as it was."""
    table = _table()
    one = _fit(table, tmp_path / "one", quick=False, trials=2, epochs=2)
    here = table["site"] == "south"
    table.loc[here, ["a", "größe"]] = 1e6 * np.arange(2 * here.sum()).reshape(-1, 2)
    table.loc[here, "farbe"] = "gift"
    table.loc[here, "class"] = table.loc[here, "class"].map({"yes": "no", "no": "yes"})
    two = _fit(table, tmp_path / "two", quick=False, trials=2, epochs=2)
    place = sorted(SITES).index("south")
    for name in CANDIDATES:
        (first, second) = (m["candidates"][name] for m in (one, two))
        assert first["choices"][place] == second["choices"][place]
        assert first["test"]["south"] != second["test"]["south"]
        others = [p for p in range(4) if p != place]
        assert any(first["choices"][p] != second["choices"][p] for p in others)
    weights = [_weights(tmp_path / side / "fit", place) for side in ("one", "two")]
    assert set(weights[0]) == set(NETWORKS)
    for name, of in weights[0].items():
        for key, value in of.items():
            assert value.equal(weights[1][name][key]), (name, key)


def _weights(home: Path, place: int) -> dict[str, dict[str, torch.Tensor]]:
    """Candidate → weights of its final run without one part."""
    found = {}
    for path in (home / "state" / "cells").glob("*.json"):
        config = json.loads(path.read_text())["config"]
        student = path.with_suffix("") / "student.pt"
        if config["final"] and config["left_out"] == [place] and student.exists():
            found[config["candidate"]] = torch.load(student, weights_only=True)
    return found


def test_a_command_that_was_interrupted_ends_with_the_same_metrics(
    classified: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import didact.hindsight.environments._runs as runs

    whole, left = runs.run_cell, [0]

    def dies(*arguments: Any, **options: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return whole(*arguments, **options)

    monkeypatch.setattr(runs, "run_cell", dies)
    options = {"quick": False, "trials": 2, "seeds": 2}
    for cells in (30, 100, 3):
        left[0] = cells
        with pytest.raises(KeyboardInterrupt):
            _fit(_table(), tmp_path, **options)
        assert not (tmp_path / "fit" / "metrics.json").exists()
    assert _fit(_table(), tmp_path, **options) == _metrics(classified)
    assert (tmp_path / "fit" / "report.html").read_text() == (
        classified / "fit" / "report.html"
    ).read_text()


def test_a_number_of_three_sites_keeps_what_cannot_be_chosen(tmp_path: Path) -> None:
    table = _table(sites=SITES[:3]).drop(columns="class").rename(columns={"amount": "class"})
    metrics = _fit(table, tmp_path, quick=False, trials=3, epochs=3)
    assert metrics["loss"] == "squared error"
    assert any("With three environments" in w for w in metrics["data"]["warnings"])
    masks = [t["settings"] for t in metrics["candidates"]["and_mask"]["trials"]]
    assert {(s["threshold"], s["rescale"]) for s in masks} == {(0.4, False)}
    assert len({s["learning_rate"] for s in masks}) == 3
    # One environment to learn from: nothing can disagree, and all networks are judged alike.
    for place in range(3):
        chosen = [metrics["candidates"][name]["choices"][place] for name in NETWORKS]
        assert len({(c["trial"], c["epochs"], c["validation"]) for c in chosen}) == 1
    labels = metrics["environments"][0]["label"]
    assert set(labels) == {"mean", "deviation"}
    for name in CANDIDATES:
        assert metrics["candidates"][name]["mean"]["r2"]["mean"] < 1
    table.drop(columns=["site", "class"]).to_csv(tmp_path / "new.csv", index=False)
    assert predict(tmp_path / "fit", tmp_path / "new.csv", tmp_path / "out.csv") == len(table)


def test_many_sites_are_left_out_several_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_parts, "MOST_PARTS", 3)
    metrics = _fit(_table().drop(columns="farbe"), tmp_path, epochs=1)
    choices = metrics["candidates"]["plain"]["choices"]
    assert sorted(len(choice["left_out"]) for choice in choices) == [1, 1, 2]
    assert list(metrics["candidates"]["plain"]["test"]) == sorted(SITES)
    together = next(p for p, choice in enumerate(choices) if len(choice["left_out"]) == 2)
    table, _ = prepare(tmp_path / "table.csv", Question("class", group="site"))
    settings = metrics["candidates"]["linear"]["choices"][together]["settings"]
    found = fit_rival("linear", table.prepared((together,)), settings, seed=0)["probability"]
    y = table.prepared(()).y.numpy()
    for name in choices[together]["left_out"]:
        rows = np.flatnonzero(table.frame["site"] == name)
        recorded = metrics["candidates"]["linear"]["runs"][name][0]["test"]["log_loss"]
        assert recorded == pytest.approx(-np.log(found[rows, y[rows]]).mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"environment": "sit"}, "did you mean `site`"),
        ({"environment": "class"}, "another column than the label"),
        ({"drop": ["site"]}, "leaves out the environment `site`"),
        ({"drop": "a"}, "`drop` should be a list"),
        ({"drop": ["a", "größe", "farbe"]}, "a table with columns beside"),
        ({"seeds": 0}, "seeds"),
        ({"trials": 0}, "trials"),
        ({"epochs": 0}, "epochs"),
        ({"device": "quantum"}, "device"),
    ],
)
def test_arguments_meet_one_clear_error(
    options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match=message):
        _fit(_table(), tmp_path, **options)
    assert not (tmp_path / "fit").exists()


def _one_class_at_two_sites(table: pd.DataFrame) -> pd.DataFrame:
    alone = table["site"].isin(["north", "south"])
    return table.assign(**{"class": table["class"].where(alone, "no")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t[t["site"].isin(["north", "south"])],
            "at least 3 different values. Found 'north",
        ),
        (
            lambda t: t.drop(t[t["site"] == "east"].index[:6]),
            r"30 rows of each .*`east`.*29 rows of e",
        ),
        (
            lambda t: t.assign(site=t["site"].mask(t.index == 3)),
            r"row 4. Found '1 missing in `site`",
        ),
        (_one_class_at_two_sites, "two values at least where `north`, `south` are left out"),
        (lambda t: t.assign(answer=t["class"]), "`answer` equal to `class`"),
        (lambda t: t.assign(a=np.inf), "finite"),
        (lambda t: t.assign(**{"class": "yes"}), "two distinct"),
    ],
)
def test_tables_meet_one_clear_error(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        _fit(change(_table()), tmp_path)
    assert not (tmp_path / "fit").exists()


def test_columns_that_tell_the_site_are_warned_of(tmp_path: Path) -> None:
    table = _table()
    table["ward"] = table["site"] + "-" + (table.index % 2).astype(str)
    table["lab"] = table["a"].mask(table["site"] == "east")
    table["only"] = (table.index % 3) * (table["site"] == "west")
    warnings = _prepare(table, tmp_path)[1]["warnings"]
    said = "No two environments share a value of column `ward`: at a new one it tells nothing."
    assert f"{said} Drop it." in warnings
    assert any(
        w.startswith("Column `lab` is missing in 100% of the rows of east") for w in warnings
    )
    assert "Column `only` is empty or constant without `west`: not used there." in warnings
    assert not any("`farbe`" in w for w in warnings)


def test_the_results_of_another_question_are_not_written_over(classified: Path) -> None:
    from didact.hindsight import fit

    before = (classified / "fit" / "metrics.json").read_text()
    with pytest.raises(InvalidInput, match=r"another fit.*inputs"):
        _fit(_table().drop(columns="a"), classified)
    _table().drop(columns="amount").to_csv(classified / "table.csv", index=False)
    with pytest.raises(InvalidInput, match=r"another fit.*privileged"):
        fit(
            classified / "table.csv", label="class", privileged=["a"], quick=True,
            out=classified / "fit",
        )  # fmt: skip
    assert (classified / "fit" / "metrics.json").read_text() == before


def test_what_is_worse_than_guessing_is_said(tmp_path: Path) -> None:
    frame = _table()
    frame.loc[frame.site == "west", "class"] = "yes"
    table, _ = _prepare(frame, tmp_path)
    constants = of_a_constant(table)
    for e, name in enumerate(table.parts.names):
        others, own = frame[frame.site != name], frame[frame.site == name]
        share = others["class"].value_counts(normalize=True)
        assert constants[e] == pytest.approx(-np.log(own["class"].map(share)).mean())
    ones, factors = [np.ones((2, 35)) for _ in SITES], (0.5, 1.5, 0.5, 0.5)
    losses = {
        "plain": [c * f * one for c, f, one in zip(constants, factors, ones, strict=True)],
        "and_mask": [c * 1.1 * one for c, one in zip(constants, ones, strict=True)],
        "trees": [0 * one for one in ones],
    }
    name = table.parts.names[1]
    assert worse_than_a_constant(table, losses) == [
        f"No network is better than the others' mean label in `{name}`."
    ]
    losses["plain"][1] /= 2
    assert worse_than_a_constant(table, losses) == []
