"""The estimators keep scikit-learn's contract, and use what is privileged."""

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from didact._checks import InvalidInput
from didact.hindsight import HindsightClassifier, HindsightRegressor

CHECKS = [
    pytest.param(estimator, check, id=f"{type(estimator).__name__}-{_name}")
    for model in (HindsightClassifier(), HindsightRegressor())
    for estimator, check in estimator_checks_generator(model)
    for _name in [getattr(getattr(check, "func", check), "__name__", "check")]
    if "array_api" not in _name
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # the checks warn about what they provoke
@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def _noisy(seed: int, n: int = 120) -> tuple[Any, Any, Any, Any, Any]:
    """Two signals in 40 noisy mixtures; hindsight knows the signals. Few rows, many to test on."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(2, 40)) / 2

    def rows(count: int) -> tuple[Any, Any, Any]:
        z = rng.normal(size=(count, 2))
        x = z @ mixing + rng.normal(size=(count, 40))
        return x, z, z[:, 0] * np.sign(z[:, 1])

    x, z, y = rows(n)
    x_test, _, y_test = rows(2000)
    return x, z, y, x_test, y_test


def test_what_is_privileged_matters() -> None:
    gains, shuffled = [], []
    for seed in range(4):
        x, z, y, x_test, y_test = _noisy(seed)
        wrong = z[np.random.default_rng(seed).permutation(len(z))]
        score = {
            name: HindsightRegressor("auxiliary", settings={"weight": 3.0, "batch_size": 16})
            .fit(x, y, privileged=given)
            .score(x_test, y_test)
            for name, given in (("true", z), ("shuffled", wrong))
        }
        with pytest.warns(UserWarning, match="was given no `privileged`"):
            alone = HindsightRegressor("auxiliary", settings={"batch_size": 16}).fit(x, y)
        assert alone.method_ == "no_teacher"
        score["none"] = alone.score(x_test, y_test)
        gains.append(score["true"] - score["none"])
        shuffled.append(score["shuffled"] - score["none"])
    assert np.mean(gains) > 0.03
    assert np.mean(gains) > np.mean(shuffled) + 0.03


@pytest.mark.parametrize(
    "method",
    ["no_teacher", "auxiliary", "fixed_teacher", "generalised_distillation", "tram", "ldt"],
)
@pytest.mark.parametrize("kind", [HindsightClassifier, HindsightRegressor])
def test_every_method_fits_and_repeats_itself(kind: Any, method: str) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    x[3, 1] = z[4, 0] = np.nan
    y = (
        np.where(np.nan_to_num(x[:, 0]) > 0, "yes", "no")
        if kind is HindsightClassifier
        else x[:, 0]
    )
    made = [kind(method, epochs=2, random_state=s).fit(x, y, privileged=z) for s in (0, 0, 1)]
    found = [m.predict_proba(x) if kind is HindsightClassifier else m.predict(x) for m in made]
    assert np.isfinite(found[0]).all()
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
    assert made[0].method_ == method
    again = pickle.loads(pickle.dumps(made[0]))
    assert (again.predict(x) == made[0].predict(x)).all()


def test_privileged_travels_through_pipelines_and_searches() -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(90, 3)), rng.normal(size=(90, 2))
    y = (x[:, 0] + z[:, 0] > 0).astype(int)
    with config_context(enable_metadata_routing=True):
        model = HindsightClassifier("tram", epochs=3).set_fit_request(privileged=True)
        pipeline = make_pipeline(StandardScaler(), model)
        whole = clone(pipeline).fit(x, y, privileged=z)
        assert whole[-1].method_ == "tram"
        by_hand = clone(model).fit(StandardScaler().fit_transform(x), y, privileged=z)
        assert (
            whole.predict_proba(x) == by_hand.predict_proba(StandardScaler().fit_transform(x))
        ).all()
        grid = {"hindsightclassifier__settings": [{"width": 8}, {"width": 16}]}
        search = GridSearchCV(pipeline, grid, cv=3).fit(x, y, privileged=z)
        assert search.best_estimator_[-1].method_ == "tram"
        scores = cross_validate(
            pipeline, x, y, params={"privileged": z}, cv=3, return_estimator=True
        )
        assert {e[-1].method_ for e in scores["estimator"]} == {"tram"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "trees"}, "`method`"),
        ({"settings": {"breadth": 3}}, r"`settings` should be a dict with keys of .*'width'"),
        ({"epochs": 0}, "`epochs`"),
        ({"validation_fraction": 1.0}, "`validation_fraction`"),
    ],
)
def test_refused(options: dict[str, Any], message: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(InvalidInput, match=message):
        HindsightRegressor(**options).fit(x, x[:, 0], privileged=x)


@pytest.mark.parametrize(("shift", "scale"), [(1e9, 1.0), (0.0, 1e39), (0.0, 1e-39)])
def test_neither_level_nor_unit_of_a_column_matters(shift: float, scale: float) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(200, 2)).round(3), rng.normal(size=(200, 1))
    y = (x[:, 0] > 0).astype(int)
    plain = HindsightClassifier(epochs=20).fit(x, y, privileged=z)
    moved = HindsightClassifier(epochs=20).fit(x * scale + shift, y, privileged=z * scale + shift)
    assert plain.score(x, y) > 0.9
    np.testing.assert_allclose(
        moved.predict_proba(x * scale + shift), plain.predict_proba(x), atol=1e-3
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, r"settings\['depth'\].*positive integer.*Found 0"),
        ({"width": -1}, r"settings\['width'\]"),
        ({"batch_size": 0}, r"settings\['batch_size'\]"),
        ({"inner_steps": 1}, r"settings\['inner_steps'\].*at least 2"),
        ({"validation_split": 2}, r"settings\['validation_split'\].*below 1"),
        ({"all_rows": "no"}, r"settings\['all_rows'\].*one of False, True"),
        (["width"], r"`settings` should be a dict.*Found \['width'\]"),
        ({"alpha": np.nan}, r"settings\['alpha'\].*finite"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: Any, message: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(InvalidInput, match=message):
        HindsightRegressor(settings=settings).fit(x, x[:, 0], privileged=x)


def test_numbers_of_numpy_are_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    settings = {"alpha": np.int64(10), "width": np.int32(8), "dropout": np.float32(0.1)}
    model = HindsightRegressor(
        settings=settings, epochs=1, validation_fraction=np.float32(0.2)
    ).fit(x, x[:, 0], privileged=x)
    assert type(model.settings_["alpha"]) is float
    assert type(model.settings_["width"]) is int


@pytest.mark.parametrize("where", ["X", "y", "privileged"])
def test_numbers_that_cannot_be_squared_are_refused(where: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2))
    parts = {"X": x, "y": x[:, 0], "privileged": x}
    parts[where] = parts[where] * 1e200
    with pytest.raises(
        InvalidInput, match=rf"`{where}` should be numbers whose squares are finite"
    ):
        HindsightRegressor(epochs=1).fit(**parts)


def test_privileged_rows_must_be_as_many() -> None:
    x = np.zeros((20, 2))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HindsightRegressor().fit(x, np.arange(20.0), privileged=np.zeros((19, 1)))
    with pytest.raises(ValueError, match="infinity"):
        HindsightRegressor().fit(x, np.arange(20.0), privileged=np.full((20, 1), np.inf))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8, 0.999])
def test_held_out_rows_are_never_learnt_from(
    fraction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from didact.hindsight import _estimators

    seen: list[tuple[set[int], set[int]]] = []
    whole = _estimators.train

    def spying(method: str, settings: Any, training: Any, validation: Any, *rest: Any, **k: Any):
        seen.append((set(training.present.tolist()), set(validation.present.tolist())))
        return whole(method, settings, training, validation, *rest, **k)

    monkeypatch.setattr(_estimators, "train", spying)
    x, z, y, *_ = _noisy(0)
    given = {"epochs": 2, "validation_fraction": fraction}
    HindsightRegressor("auxiliary", **given).fit(x, y, privileged=z)
    ((training, validation),) = seen
    assert training
    assert not training & validation
    assert len(validation) == min(max(1, round(fraction * len(x))), len(x) - 1)


def test_the_head_of_a_regressor_is_no_setting() -> None:
    x, z, y, *_ = _noisy(0)
    with pytest.raises(ValueError, match="`settings` should be a dict with keys"):
        HindsightRegressor(settings={"head": "bins"}).fit(x, y, privileged=z)


def test_one_row_is_fitted_by_ldt_too() -> None:
    x, z, y, *_ = _noisy(0)
    model = HindsightRegressor("ldt", epochs=2).fit(x[:1], y[:1], privileged=z[:1])
    assert model.predict(x).shape == y.shape
