import math
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from didact import DidactError, InvalidInput
from didact.privileged import Trees

Data = tuple[NDArray[np.float64], NDArray[np.float64]]


def _numbers(n: int, seed: int = 0, noise: float = 1.0) -> Data:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return x, 3 * np.sin(x[:, 0]) + x[:, 1] + noise * rng.normal(size=n) + 5


def _classes(n: int, k: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    return x, np.clip(np.floor(x[:, 0] + 0.7 * rng.normal(size=n) + k / 2), 0, k - 1).astype(int)


SETTINGS = {"learning_rate": 0.2, "max_leaf_nodes": 8, "min_samples_leaf": 5}


def test_the_best_round_of_regression_is_that_of_a_search_through_all() -> None:
    (x, y), (x_v, y_v) = _numbers(300), _numbers(120, 1)
    trees = Trees("regression", **SETTINGS, patience=7, seed=3).fit(x, y, (x_v, y_v))
    long = HistGradientBoostingRegressor(
        **SETTINGS, max_iter=trees.best_iteration + 7, early_stopping=False, random_state=3
    ).fit(x, y)
    stages = [np.full(len(y_v), y.mean()), *long.staged_predict(x_v)]
    losses = [sum((a - b) ** 2 for a, b in zip(s, y_v, strict=True)) / len(y_v) for s in stages]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    assert trees.best_iteration == best
    assert trees.stopped
    assert trees.validation_loss == pytest.approx(losses[best], rel=1e-12)
    np.testing.assert_array_equal(trees.predict(x_v), stages[best])


@pytest.mark.parametrize("k", [2, 4])
def test_the_best_round_of_classification_is_that_of_a_search_through_all(k: int) -> None:
    (x, y), (x_v, y_v) = _classes(300, k), _classes(120, k, 1)
    trees = Trees("classification", **SETTINGS, patience=7, seed=3).fit(x, y, (x_v, y_v))
    long = HistGradientBoostingClassifier(
        **SETTINGS, max_iter=trees.best_iteration + 7, early_stopping=False, random_state=3
    ).fit(x, y)
    shares = np.array([(y == c).mean() for c in range(k)])
    stages = [np.tile(shares, (len(y_v), 1)), *long.staged_predict_proba(x_v)]
    losses = [
        -sum(math.log(row[c]) for row, c in zip(s, y_v, strict=True)) / len(y_v) for s in stages
    ]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    assert trees.best_iteration == best
    assert trees.validation_loss == pytest.approx(losses[best], rel=1e-10)
    np.testing.assert_allclose(trees.predict(x_v), stages[best], rtol=1e-10)


def test_where_trees_only_harm_the_constant_is_predicted() -> None:
    (x, y), (x_v, y_v) = _numbers(100, noise=0), _numbers(50, 1, noise=0)
    trees = Trees("regression", patience=3, seed=0).fit(x, y, (-x_v, y_v))
    assert trees.best_iteration == 0
    assert trees.stopped
    assert trees.predict(x_v) == pytest.approx([y.mean()] * 50)
    assert trees.validation_loss == pytest.approx(((y_v - y.mean()) ** 2).mean())

    x, of = _classes(100, 3)
    trees = Trees("classification", patience=3, seed=0).fit(x, of, (-x, of))
    assert trees.best_iteration == 0
    assert trees.predict(x[:1])[0] == pytest.approx(np.bincount(of) / 100)


def test_a_run_cut_short_is_told_from_one_that_ended() -> None:
    (x, y), (x_v, y_v) = _numbers(300), _numbers(120, 1)

    def run(iterations: int) -> Trees:
        return Trees(
            "regression", **SETTINGS, iterations=iterations, patience=5, seed=0
        ).fit(x, y, (x_v, y_v))  # fmt: skip

    free = run(2000)
    end = free.best_iteration + 5
    assert free.stopped
    assert run(end).stopped  # patience ends in the very last round
    assert not run(end - 1).stopped
    short = run(3)
    assert not short.stopped
    assert short.best_iteration == 3
    assert short.validation_loss > free.validation_loss


def test_without_validation_every_round_is_used() -> None:
    """The same trees as scikit-learn's own, which stops at so many rounds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x[:, 0] ** 2 + rng.normal(size=200)
    trees = Trees("regression", iterations=30, seed=0).fit(x, y, None)
    model = HistGradientBoostingRegressor(max_iter=30, early_stopping=False, random_state=0)
    assert trees.predict(x) == pytest.approx(model.fit(x, y).predict(x), abs=1e-12)
    assert (trees.best_iteration, trees.stopped) == (30, True)
    assert trees.validation_loss == pytest.approx(((trees.predict(x) - y) ** 2).mean())
    kinds = Trees("classification", iterations=5, seed=0).fit(x, y > 1, None, classes=3)
    assert kinds.predict(x)[:, 2].tolist() == [0.0] * 200
    assert kinds.best_iteration == 5


def test_same_seed_same_trees() -> None:
    (x, y), (x_v, y_v) = _numbers(200), _numbers(80, 1)
    state = np.random.get_state()[1].tolist()

    def predicted(seed: int) -> NDArray[np.float64]:
        trees = Trees("regression", **SETTINGS, max_features=0.4, seed=seed)
        return trees.fit(x, y, (x_v, y_v)).predict(x_v)

    np.testing.assert_array_equal(predicted(1), predicted(1))
    assert not np.array_equal(predicted(1), predicted(2))
    assert np.random.get_state()[1].tolist() == state


def _coded(seed: int) -> Data:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 12, 400).astype(float)
    effect = np.random.default_rng(9).normal(size=12)
    return np.stack([rng.normal(size=400), codes], 1), effect[codes.astype(int)]


def test_codes_are_names_and_not_an_order() -> None:
    (x, y), (x_v, y_v) = _coded(0), _coded(1)
    names = np.random.default_rng(2).permutation(200)[:12].astype(float)

    def renamed(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([x[:, 0], names[x[:, 1].astype(int)]], 1)

    first, second = (
        Trees("regression", iterations=30, seed=0).fit(
            f(x), y, (f(x_v), y_v), categorical=[False, True]
        )
        for f in (lambda x: x, renamed)
    )
    np.testing.assert_allclose(first.predict(x_v), second.predict(renamed(x_v)), rtol=1e-10)
    # One split of names reaches what one split of an order cannot.
    stump = {"iterations": 1, "max_leaf_nodes": 2, "learning_rate": 1.0, "seed": 0}
    unordered, ordered = (
        Trees("regression", **stump).fit(x, y, (x_v, y_v), categorical=[False, flag])
        for flag in (True, False)
    )
    assert unordered.validation_loss < 0.8 * ordered.validation_loss


def test_an_unknown_code_counts_as_missing() -> None:
    x, y = _coded(0)
    x[::5, 1], y[::5] = np.nan, 10
    trees = Trees("regression", seed=0).fit(x, y, (x, y), categorical=np.array([False, True]))
    missing, unknown = trees.predict([[0.0, np.nan], [0.0, 77]])
    assert missing == unknown == pytest.approx(10, abs=0.1)


def test_what_is_missing_is_seen() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3))
    x[:, 2] = np.nan  # wholly missing
    x[::2, 0] = np.nan
    y = np.isnan(x[:, 0]).astype(int)
    flags = np.array([False, False, True])
    trees = Trees("classification", seed=0).fit(x, y, (x, y), categorical=flags)
    assert trees.validation_loss < 0.01
    assert (trees.predict(x).argmax(1) == y).all()


def test_columns_are_the_classes_whatever_training_has_seen() -> None:
    x, y = _classes(200, 2)
    seen = np.array([1, 4])[y]
    x_v, seen_v = x.copy(), seen.copy()
    seen_v[0] = 2
    trees = Trees("classification", iterations=20, seed=0)
    trees.fit(x, seen, (x_v, seen_v), classes=6)
    found = trees.predict(x)
    assert found.shape == (200, 6)
    assert found.sum(1) == pytest.approx(np.ones(200))
    assert not found[:, [0, 2, 3, 5]].any()
    alone = Trees("classification", iterations=20, seed=0).fit(x, y, (x[1:], y[1:]))
    np.testing.assert_allclose(found[:, [1, 4]], alone.predict(x))
    expected = (199 * alone.validation_loss - math.log(1e-12)) / 200
    assert trees.validation_loss == pytest.approx(expected)
    assert trees.fit(x, seen, (x, seen)).predict(x).shape == (200, 5)


def test_one_class_is_certain() -> None:
    x = np.zeros((5, 2))
    trees = Trees("classification", seed=0).fit(x, np.ones(5), (x, [1, 1, 1, 1, 0]), classes=3)
    assert trees.predict(x[:2]).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert trees.validation_loss == pytest.approx(-math.log(1e-12) / 5)
    assert trees.stopped


def test_no_rows_give_no_predictions() -> None:
    (x, y), (x_c, y_c) = _numbers(50), _classes(50, 3)
    trees = Trees("regression", iterations=3, seed=0).fit(x, y, (x, y))
    assert trees.predict(x[:0]).shape == (0,)
    trees = Trees("classification", iterations=3, seed=0).fit(x_c, y_c, (x_c, y_c))
    assert trees.predict(x_c[:0]).shape == (0, 3)


def test_a_failed_fit_leaves_the_one_before() -> None:
    x, y = _classes(60, 2)
    trees = Trees("classification", iterations=5, seed=0).fit(x, y, (x, y))
    before = trees.predict(x)
    with pytest.raises(InvalidInput, match="rows some of which have a class of training"):
        trees.fit(x, y, (x, y + 2), classes=4)
    np.testing.assert_array_equal(trees.predict(x), before)


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "ranking"},
        {"learning_rate": 0},
        {"max_leaf_nodes": 1},
        {"min_samples_leaf": 0},
        {"l2_regularization": -1},
        {"max_features": 1.5},
        {"iterations": 0},
        {"patience": 0},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(InvalidInput, match=f"`{name}`"):
        Trees(**{"task": "regression", "seed": 0, **wrong})  # type: ignore[arg-type]


X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[:, 0]}, r"`x, y`.*\[n, F\]"),
        ({"x": X[:, :0]}, r"`x, y`.*\[n, F\]"),
        ({"x": X[:5]}, r"`x, y`.*\(\(5, 2\), \(6,\)\)"),
        ({"x": np.where(X > 3, np.inf, X)}, "`x, y`.*finite"),
        ({"x": [["1"], ["a"]]}, "`x, y`.*array of numbers"),
        ({"y": np.where(Y, np.nan, 0)}, "`x, y`.*finite labels"),
        ({"y": np.where(Y, np.inf, 0)}, "`x, y`.*finite"),
        ({"y": Y - 1}, r"`y`.*from 0.*Found -1\.0"),
        ({"y": Y + 0.5}, r"`y`.*from 0.*Found 0\.5"),
        ({"y": Y * 1e300}, "`y`.*from 0"),
        ({"validation": X}, "`validation`.*pair"),
        ({"validation": (X[:0], Y[:0])}, "`validation`.*at least 1"),
        ({"validation": (X[:, :1], Y)}, "`validation`.*2 columns"),
        ({"validation": (X, Y + 1)}, "`classes`.*above every label, of which one is 2. Found 2"),
        ({"classes": 1}, "`classes`"),
        ({"classes": 0}, "`classes`.*positive integer"),
        ({"categorical": [True]}, "`categorical`.*2 columns"),
        ({"categorical": [0, 1]}, "`categorical`.*bool"),
        ({"categorical": [True, False], "x": X - 1}, "`categorical`.*column 0"),
        ({"categorical": [False, True], "x": X / 2}, "`categorical`.*column 1"),
    ],
)
def test_data_are_checked(arguments: dict[str, object], message: str) -> None:
    given = {"x": X, "y": Y, "validation": (X, Y), **arguments}
    with pytest.raises(InvalidInput, match=message):
        Trees("classification", seed=0).fit(**given)  # type: ignore[arg-type]


def test_255_codes_are_taken_and_256_refused() -> None:
    codes = np.arange(256.0)[:, None]
    y = codes[:, 0] % 3
    few = Trees("regression", iterations=2, seed=0)
    few.fit(codes[:255], y[:255], (codes, y), categorical=[True])
    with pytest.raises(InvalidInput, match="at most 255 codes"):
        few.fit(codes, y, (codes, y), categorical=[True])


def test_predictions_are_of_fitted_trees_and_the_same_columns() -> None:
    trees = Trees("regression", seed=0)
    with pytest.raises(InvalidInput, match="fitted before it predicts"):
        trees.predict(X)
    trees.fit(X, Y, (X, Y))
    with pytest.raises(InvalidInput, match="2 columns"):
        trees.predict(X[:, :1])
    with pytest.raises(InvalidInput, match=r"`x`.*finite"):
        trees.predict(np.full((1, 2), np.inf))


def test_without_scikit_learn_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(DidactError, match=r'pip install "didact\[fit\]"'):
        Trees("regression", seed=0).fit(X, Y, (X, Y))
