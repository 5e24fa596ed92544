"""The report, read back from the page: every number that decides is there, and only there once."""

import copy
import html
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from didact._bootstrap import paired_bootstrap
from didact._checks import InvalidInput
from didact.hindsight._calibration import calibration
from didact.hindsight._metrics import CANDIDATES
from didact.hindsight._report import _READ, report
from didact.hindsight._scores import score_intervals, scores
from didact.hindsight._verdict import judge

INPUTS = ["school", "sex", "age", "famsize", "Mjob", "Fjob", "studytime", "failures", "größe_温度"]
GAINS = {
    "no_teacher": 0.0,
    "auxiliary": 0.04,
    "fixed_teacher": -0.03,
    "generalised_distillation": 0.06,
    "tram": 0.02,
    "ldt": 0.11,
    "trees": -0.08,
    "oracle": 0.4,
}
TITLES = [
    "no teacher",
    "auxiliary",
    "fixed teacher",
    "generalised distillation",
    "tram",
    "ldt",
    "boosted trees",
    "oracle (ceiling)",
]
SERIES = {"history": 7, "horizon": 4, "time": "day", "step": 86400.0, "examples": 640}


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
            given = {"prediction": label + error}
            if name != "trees":
                given["nll"] = nll
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
        columns = {}
        if name == "trees":
            settings = {"learning_rate": 0.1, "max_leaf_nodes": 31}
        if name in ("ldt", "oracle"):
            columns = {"G1": 0.4, "G2": 0.75} if name == "ldt" else {"G1": 1.25, "G2": -0.3}
        if name == "ldt":
            settings |= {"alpha": 31.6, "inner_steps": 16, "meta_learning_rate": 0.001}
        trials = [
            {
                "settings": {**settings, "learning_rate": 0.01 + t / 100},
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
                    }
                    if name != "trees"
                    else {"train": [], "validation": []},
                    "cut_short": False,
                    "skipped_meta_steps": 3 if name == "ldt" and s == 2 else 0,
                }
            )
        difference = losses["no_teacher"] - losses[name]
        records[name] = {
            "settings": settings,
            "validation": validation[name],
            "trials": trials,
            "seeds": runs,
            "cut_short": 0,
            "test": {k: v.to_json() for k, v in intervals.items()},
            "gain": None
            if name == "no_teacher"
            else paired_bootstrap(difference, seed=0).to_json(),
            "calibration": calibration(label, **given),
            "columns": columns,
        }
    loss = "squared error" if task == "regression" else "log loss"
    verdict = judge(losses, validation, unit=loss, demonstration=quick)
    return {
        "format": 3,
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
            "dates": [],
            "privileged": ["G1", "G2"],
            "dropped": ["id"],
            "warnings": ["`absences` is empty in 12 rows; filled with the median of training."],
            "classes": None if task == "regression" else ["fail", "pass"],
            "bins": 20 if task == "regression" else None,
            "series": None,
        },
        "split": {"kind": "random", "seed": 0, "train": 389, "validation": 130, "test": 130},
        "settings": {
            "quick": quick,
            "trials": 20,
            "epochs": 500,
            "seeds": seeds,
            "device": "cpu",
        },
        "loss": loss,
        "persistence": None,
        "candidates": records,
        "predictability": {"label": 0.81, "columns": {"G1": 0.16, "G2": 0.14}},
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


def pictures(page, begins=""):
    """The figures whose descriptions begin like this."""
    svgs = [e for e in page.iter() if e.tag.endswith("}svg")]
    return [svg for svg in svgs if svg[0].text.startswith(begins)]


def written_in(svg):
    return [words(e) for e in svg.iter() if e.tag.endswith("}text")]


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
    assert list(found) == TITLES
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
            if (name, key) == ("trees", "log_loss"):  # trees know no bins
                assert row[title] == "–"
                continue
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
    # One of all losses, three of privileged columns, calibration of all but the oracle, curves of
    # all but the trees.
    assert len(svgs) == 1 + 3 + 7 + 7
    mean = metrics["candidates"]["oracle"]["test"]["squared_error"]["mean"]
    assert svgs[0][0].text.startswith("Test squared error, mean and 95 % interval: no teacher ")
    assert f"oracle (ceiling) {mean:.3g}" in svgs[0][0].text
    labels = written_in(svgs[0])
    assert {"squared error (less is better)", "generalised", "distillation"} <= set(labels)
    assert {title for title in TITLES if title != "generalised distillation"} <= set(labels)
    privileged = ("share explained", "share of what the teacher says", "rise of squared error")
    for svg, begins in zip(svgs[1:4], privileged, strict=True):
        assert svg[0].text.startswith(begins)
    for svg, title in zip(svgs[4:11], TITLES[:-1], strict=True):
        assert svg[0].text.startswith(f"Calibration of {title}: ")
        assert {title, "predicted", "observed"} <= set(written_in(svg))
    for svg, title in zip(svgs[11:], [t for t in TITLES if t != "boosted trees"], strict=True):
        assert f"Validation loss of {title} by epoch" in svg[0].text
    assert "Boosted trees have no epochs, and no curve." in words(parsed(built))
    ids = re.findall(r' id="([^"]+)"', built)
    assert len(ids) == len(set(ids))


def test_settings_trials_and_failures(built):
    page = parsed(built)
    found = table_of(page, "Chosen settings")
    assert found["learning_rate"]["no teacher"] == "0.00316"
    assert (found["alpha"]["ldt"], found["alpha"]["oracle (ceiling)"]) == ("31.6", "–")
    assert (found["trials"]["ldt"], found["failed trials"]["ldt"]) == ("20", "2")
    assert found["skipped meta-steps"]["ldt"] == "3"
    assert (found["max_leaf_nodes"]["boosted trees"], found["hidden"]["boosted trees"]) == (
        "31",
        "–",
    )
    assert set(found[CUT].values()) == {CUT, "0"}
    items = [words(li) for li in page.iter("li")]
    assert "ldt: 2 of 20 trials failed or diverged." in items
    assert (
        "ldt: 3 meta-steps skipped, because inner steps diverged; after each the inner learning "
        "rate was halved." in items
    )
    assert not [item for item in items if "ut short" in item]


CUT = "runs cut short, of all finalists"


def test_runs_cut_short_are_in_the_sentence_the_table_and_the_list(metrics):
    """The sentence is that of a verdict; which runs they were is said further down."""
    short = copy.deepcopy(metrics)
    for name, count in (("tram", 2), ("oracle", 1)):
        short["candidates"][name]["cut_short"] = count
    rng = np.random.default_rng(0)
    losses = {name: rng.uniform(1, 2, size=(3, 130)) for name in CANDIDATES}
    validation = {name: record["validation"] for name, record in short["candidates"].items()}
    verdict = judge(losses, validation, cut_short=["tram", "oracle"])
    short["verdict"] = verdict.to_json()
    page = parsed(report(short))
    first = page.find("body/main/section/p")
    assert first.get("class") == "verdict"
    assert words(first).startswith("No verdict: tram had not gone 25 epochs without a gain")
    assert [code.text for code in first.iter("code")] == ["tram", "--epochs"]
    found = table_of(page, "Chosen settings")[CUT]
    assert (found["tram"], found["oracle (ceiling)"], found["ldt"]) == ("2", "1", "0")
    items = [words(li) for li in page.iter("li")]
    assert (
        "Cut short, they or their teacher: not yet 25 epochs without a gain when the budget of 500 "
        "epochs (or of trees) ended: tram (2 runs); oracle (ceiling) (1 run)." in items
    )


def test_data_versions_and_use(metrics, built):
    page = parsed(built)
    found = table_of(page, "The table")
    assert found["rows"]["found"] == "649: 389 train, 130 validation, 130 test"
    assert found["inputs (9)"]["found"] == ", ".join(INPUTS)
    assert found["privileged (2)"]["found"] == "G1, G2"
    assert found["dropped (1)"]["found"] == "id"
    assert found["bins of the label"]["found"] == "20"
    text = words(page)
    (warning,) = metrics["data"]["warnings"]
    assert "`" in warning
    assert warning.replace("`", "") in text
    assert "absences" in [code.text for code in page.iter("code")]
    assert metrics["command"] in text
    assert "python 3.12.4, torch 2.13.0; device cpu; seeds 0, 1, 2." in text
    assert all(name in text for name in ("student.onnx", "student.pt2", "didact predict"))
    assert "The exported student is ldt, seed 0" in text
    assert "series" not in found
    assert "stays as it is" not in text


def of_a_series():
    metrics = made()
    metrics["data"] |= {"series": SERIES, "privileged": INPUTS}
    metrics["split"]["kind"] = "time"
    metrics["persistence"] = 2 * metrics["candidates"]["ldt"]["test"]["squared_error"]["mean"]
    return metrics


def test_a_series_says_how_it_was_cut():
    page = parsed(report(of_a_series()))
    found = table_of(page, "The table")
    assert found["rows"]["found"].endswith("130 test (of 640 examples)")
    assert found["split"]["found"].startswith("in time: trained on what came first, tested on what")
    assert found["inputs of an example"]["found"] == (
        "the last 7 rows, one every 86 400 of day (of dates: seconds)"
    )
    assert found["label of an example"]["found"] == "4 rows ahead"
    assert found["privileged"]["found"] == "the 3 rows between"
    assert "each of shape [batch, 7]" in words(page)
    untimed = of_a_series()
    untimed["data"]["series"] = {**SERIES, "time": None, "step": None}
    found = table_of(parsed(report(untimed)), "The table")
    assert found["inputs of an example"]["found"] == "the last 7 rows"


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (2.0, "the best on validation rows (ldt) has 50 % less."),
        (0.8, "the best on validation rows (ldt) has 25 % more: better predict no change."),
        (1.0, "the best on validation rows (ldt) does no better."),
        (0.0, "the best on validation rows (ldt) has more: better predict no change."),
    ],
)
def test_a_series_is_compared_with_no_change(times, said):
    """By the candidate that was best on validation rows, whatever is best on test rows."""
    metrics = of_a_series()
    loss = metrics["candidates"]["ldt"]["test"]["squared_error"]["mean"]
    metrics["persistence"] = times * loss
    metrics["candidates"]["trees"]["test"]["squared_error"]["mean"] = loss / 10
    text = words(parsed(report(metrics)))
    assert "The prediction that “G3” stays as it is has a squared error of " in text
    assert f"on test rows. Of all but the oracle, {said}" in text
    metrics["candidates"]["trees"]["validation"] = 1e-6
    assert "the best on validation rows (boosted trees) " in words(parsed(report(metrics)))


def test_a_series_without_any_result_says_so():
    metrics = of_a_series()
    for name, candidate in metrics["candidates"].items():
        if name != "oracle":
            candidate |= {"validation": None, "test": {}, "gain": None, "calibration": None}
    text = words(parsed(report(metrics)))
    assert "No candidate has a result to compare with it." in text
    assert "No candidate has finite predictions." in text


def test_large_and_small_losses_leave_no_power_of_ten_over_other_text(metrics):
    for scale, power in ((1e6, "10⁷"), (1e-6, "10⁻⁵")):
        other = copy.deepcopy(metrics)
        for candidate in other["candidates"].values():
            for interval in candidate["test"].values():
                for key in interval:
                    interval[key] *= scale
            for run in candidate["seeds"]:
                run["curve"]["validation"] = [scale * v for v in run["curve"]["validation"]]
            for part in ("predicted", "observed"):
                candidate["calibration"][part] = [scale * v for v in candidate["calibration"][part]]
        page = parsed(report(other))
        (forest,) = pictures(page, "Test squared error")
        assert f"squared error, in {power} (less is better)" in written_in(forest)
        assert f"Validation loss (squared error, in {power}) by epoch" in words(page)
        first, *_ = pictures(page, "Calibration of")
        assert f"predicted, in {power}" in written_in(first)
        assert not [t for svg in pictures(page) for t in written_in(svg) if "1e" in t]


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
    assert "the predicted chance of “pass” and how often it came" in words(page)
    metrics["data"]["classes"] = ["fail", "pass", "gone"]
    assert "chance of the most probable class and how often it was right" in (
        words(parsed(report(metrics)))
    )


def test_calibration_is_that_of_the_metrics(metrics, built):
    page = parsed(built)
    text = words(page)
    assert "the predicted number and the mean of the label" in text
    said = re.search(r"Mean distance from the line: ([^.]+(?:\.\d+[^.]*)*)\. ", text)[1]
    errors = dict(part.rsplit(" ", 1) for part in said.split("; "))
    assert list(errors) == TITLES[:-1]
    for title, name in zip(TITLES, CANDIDATES, strict=True):
        if name != "oracle":
            expected = metrics["candidates"][name]["calibration"]["error"]
            assert float(errors[title]) == pytest.approx(expected, rel=0.01)
    changed = copy.deepcopy(metrics)
    changed["candidates"]["tram"]["calibration"] = None
    page = parsed(report(changed))
    assert "No finite predictions: tram." in words(page)
    assert len(pictures(page, "Calibration of")) == 6
    assert not pictures(page, "Calibration of tram")


def test_the_give_away_stands_out(metrics, built):
    assert not [p for p in parsed(built).iter("p") if p.get("class") == "banner"]
    told = copy.deepcopy(metrics)
    told["predictability"]["label"] = 0.97
    (banner,) = [p for p in parsed(report(told)).iter("p") if p.get("class") == "banner"]
    assert words(banner).startswith(
        "The privileged columns give the label away: trees on them alone explain 97 % of it."
    )


def test_trees_that_would_do_better_are_said_where_the_student_is_used(metrics, built):
    assert "but are not exported" not in words(parsed(built))
    better = copy.deepcopy(metrics)
    better["candidates"]["trees"]["validation"] = 1.0
    assert "smaller mean validation loss (1.00, and it 6.94), but are not exported" in (
        words(parsed(report(better)))
    )


def test_the_page_depends_on_the_file_alone(metrics, built):
    before = copy.deepcopy(metrics)
    assert report(json.loads(json.dumps(metrics, allow_nan=False))) == built
    assert metrics == before


def test_what_is_missing_is_said(metrics):
    """A candidate not run, one without a finite result, nulls in curves, a diverged oracle."""
    broken = copy.deepcopy(metrics)
    del broken["candidates"]["auxiliary"]
    fixed = broken["candidates"]["fixed_teacher"]
    fixed |= {"test": {}, "gain": None, "validation": None, "seeds": [], "calibration": None}
    ldt = broken["candidates"]["ldt"]["seeds"][1]
    ldt |= {"validation": None, "curve": {"train": [], "validation": [3.0, None, 2.0]}}
    none = {"mean": None, "low": None, "high": None}
    broken["candidates"]["oracle"]["test"] = {"squared_error": none, "rmse": none}
    broken["candidates"]["oracle"] |= {"gain": none, "columns": {}}
    broken["predictability"] = {"label": None, "columns": {"G1": None, "G2": None}}
    page = parsed(report(broken))
    items = [words(li) for li in page.iter("li")]
    assert "auxiliary: was not run." in items
    assert "fixed teacher: no finite result for every seed." in items
    assert "ldt: no finite result for seed 1." in items
    text = words(page)
    assert "No finite predictions: fixed teacher." in text
    assert "Which columns oracle (ceiling) used is not known: it has no result." in text
    assert "How far the privileged columns alone tell the label is not known" in text
    assert "How far the inputs tell the privileged columns is not known" in text
    found = table_of(page, "Mean over 3 seeds")
    assert found["oracle (ceiling)"]["squared error"] == found["fixed teacher"]["RMSE"] == "–"
    for candidate in broken["candidates"].values():
        candidate |= {"test": {}, "seeds": [], "gain": None, "calibration": None, "columns": {}}
    text = words(parsed(report(broken)))
    assert "No candidate has finite predictions." in text
    assert "Which columns ldt used is not known" in text
    assert "No candidate has a finite test loss." in text
    assert "No validation losses were recorded." in text


def test_names_from_the_table_cannot_become_tags(metrics):
    evil = "<img src=x onerror=alert(1)>"
    changed = copy.deepcopy(metrics)
    for key in ("file", "label"):
        changed["data"][key] = evil
    for key in ("inputs", "privileged", "dropped", "warnings"):
        changed["data"][key] = [evil]
    changed["data"]["classes"] = [evil, evil]
    for name in ("ldt", "oracle"):
        changed["candidates"][name]["columns"] = {evil: 0.5}
    changed["predictability"]["columns"] = {evil: 0.5}
    changed["command"] = changed["verdict"]["sentence"] = evil
    text = report(changed)
    assert "<img" not in text
    assert text.count(html.escape(evil)) >= 9 + 3 + 1  # three figures say it, and calibration
    parsed(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 1}, "format 3"),
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
