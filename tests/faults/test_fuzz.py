"""Whatever the table: a result, or an error of didact."""

import datetime
import json
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings

from didact._checks import DidactError
from didact.hindsight import fit, predict
from didact.hindsight._prepare import Question, prepare

_WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=6
) | st.sampled_from(["NA", "", " ", "1", "1.0", "yes", "ja", "a,b", 'say "x"', "größe", "日本"])
_KINDS = st.sampled_from(
    ["normal", "huge", "tiny", "counts", "big integers", "missing", "infinite", "flags", "dates",
     "words", "many words", "constant", "empty", "mixed"]
)  # fmt: skip
_NAMES = st.sampled_from(
    ["a", "b", "z1", "z2", "größe", "日本 語", "x,y", 'q"q', "with space", "$m^2$", "<b>", "[c]*"]
)


def _column(kind: str, n: int, draw: np.random.Generator, words: list[str]) -> list[object]:
    match kind:
        case "normal":
            return list(draw.normal(size=n))
        case "huge":
            return list(draw.normal(size=n) * 1e37)
        case "tiny":
            return list(draw.normal(size=n) * 1e-40)
        case "counts":
            return [int(v) for v in draw.poisson(2, size=n)]
        case "big integers":
            return [2**53 + int(v) for v in draw.integers(0, 4, size=n)]
        case "missing":
            return [None if draw.random() < 0.4 else float(v) for v in draw.normal(size=n)]
        case "infinite":
            return [float("inf") if draw.random() < 0.05 else float(v) for v in draw.random(n)]
        case "flags":
            return [bool(v) for v in draw.random(n) < 0.5]
        case "dates":
            start = datetime.date(1960, 1, 1)
            return [start + datetime.timedelta(days=int(d)) for d in draw.permutation(n * 3)[:n]]
        case "words":
            return [words[int(i)] for i in draw.integers(0, len(words), size=n)]
        case "many words":
            return [f"w{i}" for i in draw.integers(0, 200, size=n)]
        case "constant":
            return ["same"] * n
        case "empty":
            return [None] * n
        case _:
            return [
                words[0] if draw.random() < 0.2 else float(draw.integers(0, 3)) for _ in range(n)
            ]


@st.composite
def _tables(draw: st.DrawFn) -> tuple[pd.DataFrame, Question, str]:
    """A table and a question about it, two in three of which have an answer."""
    names = draw(st.lists(_NAMES, min_size=3, max_size=6, unique=True))
    n = draw(st.sampled_from([60, 75, 90, 60, 75, 90, 0, 1, 2, 49]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    words = draw(st.lists(_WORDS, min_size=2, max_size=4))
    kinds = {name: draw(_KINDS) for name in names}
    label, later, *others = draw(st.permutations(names))
    if draw(st.integers(0, 3)):
        kinds[label] = draw(st.sampled_from(["normal", "counts", "flags", "huge", "tiny"]))
    frame = pd.DataFrame(
        {name: pd.Series(_column(kinds[name], n, rng, words)) for name in names}, columns=names
    )
    for name in names:
        if kinds[name] == "dates" and draw(st.booleans()):
            frame = frame.sort_values(name, ignore_index=True)
    series = draw(st.integers(0, 2)) == 0
    asked = {"label": label, "privileged": (later,)}
    if series:
        asked |= {"history": draw(st.integers(1, 5)), "horizon": draw(st.integers(2, 5))}
    if len(others) > 1 and draw(st.integers(0, 3)) == 0:
        asked["group"] = others[0]
    if draw(st.integers(0, 3)) == 0:
        asked |= draw(_NONSENSE)
    return frame, Question(**asked), draw(st.sampled_from([".csv", ".parquet"]))


_ANY = _NAMES | st.just("nowhere")
_NONSENSE = st.fixed_dictionaries(
    {},
    optional={
        "label": _ANY,
        "privileged": st.lists(_ANY | st.sampled_from(["z*", "*"]), max_size=2).map(tuple),
        "drop": st.lists(_ANY, max_size=2).map(tuple),
        "group": st.none() | _ANY,
        "task": st.sampled_from(["classification", "regression"]),
        "na": st.sampled_from([("yes",), ("?", "1")]),
        "history": st.integers(0, 100),
        "horizon": st.integers(0, 100),
        "time": _ANY,
        "split": st.sampled_from(["group", "time"]),
    },
)


def _written(frame: pd.DataFrame, folder: str, kind: str) -> Path:
    path = Path(folder, f"table{kind}")
    if kind == ".csv":
        frame.to_csv(path, index=False)
        return path
    try:
        frame.to_parquet(path)
    except Exception:  # Parquet has one type per column; CSV has none
        path = path.with_suffix(".csv")
        frame.to_csv(path, index=False)
    return path


@given(_tables())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_reading_and_splitting(made: tuple[pd.DataFrame, Question, str]) -> None:
    frame, question, kind = made
    with tempfile.TemporaryDirectory() as folder:
        path = _written(frame, folder, kind)
        try:
            prepared, target, facts = prepare(path, question)
        except DidactError:
            return
        json.dumps(facts, allow_nan=False)
        parts = (prepared.split.train, prepared.split.validation, prepared.split.test)
        assert all(len(part) for part in parts)
        assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts))
        assert target.n_outputs >= 2 or target.values is not None
        assert prepared.label.isfinite().all()
        assert prepared.scale > 0
        assert not prepared.inputs.numeric.isinf().any()


@given(_tables())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_whole_fit(made: tuple[pd.DataFrame, Question, str]) -> None:
    frame, question, kind = made
    with tempfile.TemporaryDirectory() as folder:
        path = _written(frame, folder, kind)
        try:
            metrics = fit(
                path, **vars(question), quick=True, epochs=1, seeds=1, jobs=1,
                out=Path(folder, "fit"),
            )  # fmt: skip
        except DidactError:
            return
        json.dumps(metrics, allow_nan=False)
        count = predict(Path(folder, "fit"), path, Path(folder, "out.csv"))
        # Of a series the first rows have too few behind them.
        assert count == len(frame) if question.history is None else 0 < count <= len(frame)
