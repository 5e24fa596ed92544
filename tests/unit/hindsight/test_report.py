"""The report, read back from the page: every number that decides is there, and only there once."""

import copy
import html
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from didact._checks import InvalidInput
from didact.hindsight._bootstrap import paired_bootstrap
from didact.hindsight._metrics import CANDIDATES
from didact.hindsight._report import _READ, report
from didact.hindsight._scores import score_intervals, scores
from didact.hindsight._verdict import judge

INPUTS = ["school", "sex", "age", "famsize", "Mjob", "Fjob", "studytime", "failures", "größe_温度"]
GAINS = {"no_teacher": 0.0, "auxiliary": 0.04, "fixed_teacher": -0.03, "ldt": 0.11, "oracle": 0.4}


def curve(rng, start, end, epochs):
    steps = end + (start - end) * np.exp(-np.arange(epochs) / 6) + rng.normal(0, 0.01, epochs)
    return [float(v) for v in steps]


def made(quick=False, task="regression"):
    """Metrics of a run on grades of pupils, made with the functions that make real ones."""
    rng = np.random.default_rng(0)
    seeds, rows = [0, 1, 2], 130
    label = rng.normal(11, 3, rows) if task == "regression" else np.arange(rows) % 2
    noise = rng.normal(size=(1, rows))  # what nobody knows of a row, the same for all
    losses, records = {}, {}
    start, best = (14.0, 7.8) if task == "regression" else (1.1, 0.55)
    validation = {n: best * (1 - g) for n, g in GAINS.items()}
    for number, (name, gain) in enumerate(GAINS.items()):
        error = np.sqrt(best * (1 - gain)) * noise + rng.normal(0, 0.3, (3, rows))
        if task == "regression":
            nll = 1.2 + error**2 / (2 * best)
            given = {"prediction": label + error, "nll": nll}
            losses[name] = error**2
        else:
            p = 1 / (1 + np.exp(error - 1.2))
            given = {
                "probability": np.stack([np.where(label, 1 - p, p), np.where(label, p, 1 - p)])
            }
            given["probability"] = np.moveaxis(given["probability"], 0, -1)
            losses[name] = -np.log(p)
        per_seed = scores(label, **given)
        intervals = score_intervals(label, **given, resamples=100, seed=0)
        settings = {"learning_rate": 10 ** -(2.5 + number / 3), "hidden": 64, "layers": 2}
        if name == "ldt":
            settings |= {"alpha": 31.6, "inner_steps": 16, "meta_learning_rate": 0.001}
        trials = [
            {
                "settings": {**settings, "hidden": 2 ** (4 + t % 4)},
                "validation": None if name == "ldt" and t in (3, 8) else validation[name] + t / 40,
            }
            for t in range(1 if quick else 20)
        ]
        runs = []
        for s in seeds:
            epochs = int(rng.integers(24, 45))
            runs.append(
                {
                    "seed": s,
                    "validation": validation[name] + 0.01 * s,
                    "test": {k: float(v[s]) for k, v in per_seed.items()},
                    "epochs": epochs,
                    "curve": {
                        "train": curve(rng, 3.2, 2.1, epochs),
                        "validation": curve(rng, start, validation[name], epochs),
                    },
                    "skipped_meta_steps": 3 if name == "ldt" and s == 2 else 0,
                }
            )
        difference = losses["no_teacher"] - losses[name]
        records[name] = {
            "settings": settings,
            "validation": validation[name],
            "trials": trials,
            "seeds": runs,
            "test": {k: v.to_json() for k, v in intervals.items()},
            "gain": None
            if name == "no_teacher"
            else paired_bootstrap(difference, seed=0).to_json(),
        }
    loss = "squared error" if task == "regression" else "log loss"
    verdict = judge(losses, validation, unit=loss, demonstration=quick)
    return {
        "format": 1,
        "didact": "0.1.0",
        "command": "didact fit students.csv --label G3 --privileged 'G[12]' --seeds 3",
        "versions": {"python": "3.12.4", "torch": "2.13.0"},
        "data": {
            "file": "students.csv",
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "rows": 649,
            "task": task,
            "label": "G3",
            "group": None,
            "inputs": INPUTS,
            "privileged": ["G1", "G2"],
            "dropped": ["id"],
            "warnings": ["`absences` is empty in 12 rows; filled with the median of training."],
            "classes": None if task == "regression" else ["fail", "pass"],
            "bins": 20 if task == "regression" else None,
        },
        "split": {"kind": "random", "seed": 0, "train": 389, "validation": 130, "test": 130},
        "settings": {"quick": quick, "trials": 20, "seeds": seeds, "device": "cpu"},
        "loss": loss,
        "candidates": records,
        "deployed": {"candidate": "ldt", "seed": 0, "validation": validation["ldt"]},
        "verdict": verdict.to_json(),
    }


@pytest.fixture(scope="module")
def metrics():
    return made()


@pytest.fixture(scope="module")
def built(metrics):
    return report(metrics)


def parsed(text):
    """The page as a tree: our HTML is XML but for three empty tags and the doctype."""
    text = re.sub(r"<(meta|link)([^>]*)>", r"<\1\2/>", text.replace("<br>", "<br/>"))
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>"))


def words(element):
    return " ".join("".join(element.itertext()).split())


def table_of(page, caption):
    """{row title: {column title: text}} of the table whose caption begins like this."""
    for table in page.iter("table"):
        if words(table.find("caption")).startswith(caption):
            head = [words(cell) for cell in table.find("thead/tr")]
            body = [[" ".join(c.itertext()) for c in row] for row in table.find("tbody")]
            return {row[0]: dict(zip(head, row, strict=True)) for row in body}
    raise AssertionError(f"no table {caption}")


def test_the_verdict_is_the_first_thing_said(metrics, built):
    page = parsed(built)
    first = page.find("body/main/section/p")
    assert first.get("class") == "verdict"
    assert words(first) == metrics["verdict"]["sentence"]
    assert re.match(
        r"Hindsight helps: the student taught by ldt has \d+ % less squared error on unseen rows ",
        words(first),
    )
    titles = [words(h) for h in page.iter("h2")]
    assert titles[0] == "Test loss"
    assert titles[-3:] == ["Use the model", "How to read this page", "Repeat this run"]


def test_the_banner_shows_only_in_a_demonstration(built):
    assert not [p for p in parsed(built).iter("p") if p.get("class") == "banner"]
    (banner,) = [
        p for p in parsed(report(made(quick=True))).iter("p") if p.get("class") == "banner"
    ]
    assert words(banner).startswith("Demonstration: fixed settings, no search")


def test_scores_and_differences_are_those_of_the_metrics(metrics, built):
    found = table_of(parsed(built), "Mean over 3 seeds and 130 test rows")
    assert list(found) == ["no teacher", "auxiliary", "fixed teacher", "ldt", "oracle (ceiling)"]
    titles = ["squared error", "less than no teacher by", "RMSE", "MAE", "R²", "log loss of bins"]
    assert list(found["ldt"])[1:] == titles
    for row, name in zip(found.values(), CANDIDATES, strict=True):
        expected = metrics["candidates"][name]
        for title, key in (
            ("squared error", "squared_error"),
            ("RMSE", "rmse"),
            ("R²", "r2"),
            ("log loss of bins", "log_loss"),
        ):
            numbers = [float(v) for v in re.findall(r"-?[\d.]+", row[title].replace("−", "-"))]
            record = expected["test"][key]
            assert numbers == pytest.approx([record[k] for k in ("mean", "low", "high")], rel=0.01)
        if expected["gain"] is None:
            assert row["less than no teacher by"] == "baseline"
        else:
            numbers = re.findall(r"−?[\d.]+", row["less than no teacher by"])
            gain = [expected["gain"][k] for k in ("mean", "low", "high")]
            assert [float(n.replace("−", "-")) for n in numbers] == pytest.approx(gain, rel=0.01)


def test_figures_say_what_they_show(metrics, built):
    svgs = [e for e in parsed(built).iter() if e.tag.endswith("}svg")]
    assert len(svgs) == 1 + len(CANDIDATES)
    mean = metrics["candidates"]["oracle"]["test"]["squared_error"]["mean"]
    assert svgs[0][0].text.startswith("Test squared error, mean and 95 % interval: no teacher ")
    assert f"oracle (ceiling) {mean:.3g}" in svgs[0][0].text
    labels = [words(e) for e in svgs[0].iter() if e.tag.endswith("}text")]
    assert {"no teacher", "ldt", "oracle (ceiling)", "squared error (less is better)"} <= set(
        labels
    )
    for svg, title in zip(svgs[1:], ("no teacher", "auxiliary", "fixed teacher"), strict=False):
        assert f"Validation loss of {title} by epoch" in svg[0].text
    ids = re.findall(r' id="([^"]+)"', built)
    assert len(ids) == len(set(ids))


def test_settings_trials_and_failures(built):
    page = parsed(built)
    found = table_of(page, "Chosen settings")
    assert found["learning_rate"]["no teacher"] == "0.00316"
    assert (found["alpha"]["ldt"], found["alpha"]["oracle (ceiling)"]) == ("31.6", "–")
    assert (found["trials"]["ldt"], found["failed trials"]["ldt"]) == ("20", "2")
    assert found["skipped meta-steps"]["ldt"] == "3"
    items = [words(li) for li in page.iter("li")]
    assert "ldt: 2 of 20 trials failed or diverged." in items
    assert "ldt: 3 meta-steps skipped, the meta-gradient was not finite." in items


def test_data_versions_and_use(metrics, built):
    page = parsed(built)
    found = table_of(page, "The table")
    assert found["rows"]["found"] == "649: 389 train, 130 validation, 130 test"
    assert found["inputs (9)"]["found"] == ", ".join(INPUTS)
    assert found["privileged (2)"]["found"] == "G1, G2"
    assert found["dropped (1)"]["found"] == "id"
    assert found["bins of the label"]["found"] == "20"
    text = words(page)
    assert metrics["data"]["warnings"][0] in text
    assert metrics["command"] in text
    assert "python 3.12.4, torch 2.13.0; device cpu; seeds 0, 1, 2." in text
    assert all(name in text for name in ("student.onnx", "student.pt2", "didact predict"))
    assert "The exported student is ldt, seed 0" in text


def test_how_to_read_it_is_six_sentences():
    assert len(re.findall(r"\.(?: |$)", _READ)) == 6


def test_classification():
    metrics = made(task="classification")
    page = parsed(report(metrics))
    found = table_of(page, "Mean over 3 seeds")
    assert list(found["ldt"])[1:] == ["log loss", "less than no teacher by", "accuracy", "AUC"]
    assert found["ldt"]["log loss"] != "–"
    assert "squared" not in words(page)
    assert table_of(page, "The table")["classes"]["found"] == "fail, pass"


def test_the_page_depends_on_the_file_alone(metrics, built):
    before = copy.deepcopy(metrics)
    assert report(json.loads(json.dumps(metrics, allow_nan=False))) == built
    assert metrics == before


def test_what_is_missing_is_said(metrics):
    """A candidate not run, one without a finite result, nulls in curves, a diverged oracle."""
    broken = copy.deepcopy(metrics)
    del broken["candidates"]["auxiliary"]
    fixed = broken["candidates"]["fixed_teacher"]
    fixed |= {"test": {}, "gain": None, "validation": None, "seeds": []}
    ldt = broken["candidates"]["ldt"]["seeds"][1]
    ldt |= {"validation": None, "curve": {"train": [], "validation": [3.0, None, 2.0]}}
    none = {"mean": None, "low": None, "high": None}
    broken["candidates"]["oracle"]["test"] = {"squared_error": none, "rmse": none}
    broken["candidates"]["oracle"]["gain"] = none
    page = parsed(report(broken))
    items = [words(li) for li in page.iter("li")]
    assert "auxiliary: was not run." in items
    assert "fixed teacher: no finite result for every seed." in items
    assert "ldt: no finite result for seed 1." in items
    found = table_of(page, "Mean over 3 seeds")
    assert found["oracle (ceiling)"]["squared error"] == found["fixed teacher"]["RMSE"] == "–"
    for candidate in broken["candidates"].values():
        candidate |= {"test": {}, "seeds": [], "gain": None}
    text = words(parsed(report(broken)))
    assert "No candidate has a finite test loss." in text
    assert "No validation losses were recorded." in text


def test_names_from_the_table_cannot_become_tags(metrics):
    evil = "<img src=x onerror=alert(1)>"
    changed = copy.deepcopy(metrics)
    for key in ("file", "label"):
        changed["data"][key] = evil
    for key in ("inputs", "privileged", "dropped", "warnings"):
        changed["data"][key] = [evil]
    changed["command"] = changed["verdict"]["sentence"] = evil
    text = report(changed)
    assert "<img" not in text
    assert text.count(html.escape(evil)) >= 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 1"),
        ({"loss": "log loss of the binned label"}, "'squared error'"),
        ({"candidates": {}}, "no_teacher"),
        ({"candidates": {"no_teacher": {}, "wizard": {}}}, "wizard"),
    ],
)
def test_refuses(metrics, change, message):
    with pytest.raises(InvalidInput, match=message):
        report({**metrics, **change})
    with pytest.raises(InvalidInput, match="verdict"):
        report({k: v for k, v in metrics.items() if k != "verdict"})
