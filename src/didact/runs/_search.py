"""Search by TPE in batches, the same again whenever it is asked again."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._checks import DidactError, check_integer, extra, invalid
from ._database import Database, Memory
from ._space import Settings, Space, check_settings, decoded, distribution, encoded

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True)
class Trial:
    """One evaluated point.

    Args:
        number: its place in the search, from 0.
        settings: one value per name of the space.
        value: what ``evaluate`` said; lower is better, not finite means failed.
    """

    number: int
    settings: Settings
    value: float


Searching = Generator[list[Settings], Sequence[float], list[Trial]]
WAIT = 1.0
"""Seconds between two looks at what other processes have not finished."""


def search(
    space: Space,
    evaluate: Callable[[list[Settings]], Sequence[float]],
    *,
    trials: int,
    batch: int = 4,
    seed: int = 0,
    first: Settings | None = None,
) -> list[Trial]:
    """Minimise by the tree-structured Parzen estimator, ``batch`` settings at a time.

    TPE (Bergstra et al., 2011, "Algorithms for hyper-parameter optimization") models the settings
    of good trials by a density l and of the others by g, and asks where l/g is largest; Optuna's
    multivariate form. The first ten trials are random; those of the running batch count as bad, so
    that a batch spreads.

    The k-th setting is a function of ``space``, ``seed``, ``batch``, ``first`` and the values of
    the batches before: a search over stored cells (:func:`run_cells` inside ``evaluate``) that was
    killed asks for the same cells again and goes on, and one with more trials starts with those of
    one with fewer.

    Args:
        space: name → :class:`Real`, :class:`Integer` or :class:`Choice`.
        evaluate: takes one batch of settings, returns one value each; lower is better. A value that
            is not finite is a failed trial, which the search counts among the worst.
        trials: how many settings to evaluate.
        batch: how many to ask for at a time; fixed, so that the result does not depend on how many
            processes evaluate them.
        seed: of every random draw.
        first: settings of trial 0, for example the defaults, so that the best is never worse.

    Returns:
        All trials, by number.

    Raises:
        InvalidInput: if an argument breaks its rule or ``evaluate`` returns another number of
            values than it was given settings.

    Example:
        >>> from didact.runs import Choice, Integer, Real
        >>> space = {"x": Real(-3, 3), "layers": Integer(1, 4), "act": Choice(["relu", "tanh"])}
        >>> def evaluate(batch):
        ...     return [(s["x"] - 1) ** 2 + s["layers"] + (s["act"] == "relu") for s in batch]
        >>> best(search(space, evaluate, trials=40)).settings["layers"]
        1
    """
    asking = searching(space, trials=trials, batch=batch, seed=seed, first=first)
    try:
        settings = next(asking)
        while True:
            settings = asking.send(evaluate(settings))
    except StopIteration as ended:
        done: list[Trial] = ended.value
        return done


def searching(
    space: Space,
    *,
    trials: int,
    batch: int = 4,
    seed: int = 0,
    first: Settings | None = None,
    storage: str | None = None,
    name: str = "search",
    shared: bool = False,
) -> Searching:
    """:func:`search` from the other side: yields batches of settings, is sent their values.

    Several searches can so be run side by side, a batch of each at a time.

    Args:
        space, trials, batch, seed, first: as in :func:`search`.
        storage: a database that keeps the trials, ``sqlite:///file.db`` or
            ``postgresql://user@host/database`` (to look at them with Optuna's dashboard, say).
        name: of the search in the database.
        shared: go on with what the database holds, beside other processes and machines, until
            ``trials`` are done in all. A trial whose process shows no sign of life for
            two minutes is asked for again. What is asked then depends on who was first. Otherwise
            the database is written anew.

    Yields:
        Settings to evaluate; ``send`` their values, one each, for the next batch. Of a shared
        search none, a second later, while others are at the last ones.

    Returns:
        All trials, by number, as the value of ``StopIteration``; of a shared search those of all.

    Raises:
        DidactError: if the database cannot be used.

    Example:
        >>> from didact.runs import Real
        >>> asking = searching({"x": Real(0, 1)}, trials=5, batch=4)
        >>> len(next(asking)), len(asking.send([1.0, 2.0, 3.0, 4.0]))
        (4, 1)
    """
    check_integer("trials", trials)
    check_integer("batch", batch)
    check_integer("seed", seed, at_least=0)
    if not space:
        raise invalid("space", "a dict with at least one name", space)
    with extra("fit"), _quiet():
        import optuna

        memory = Database(storage, name, fresh=not shared) if storage else Memory()
    ranges = {name: distribution(choice) for name, choice in space.items()}
    told: dict[int, float] = {}  # NaN and ±∞ as they were; Optuna keeps no such value
    with memory as study:
        if first is not None:
            check_settings("first", first, space)
            with memory.alone():
                if not study.get_trials(deepcopy=False):
                    study.enqueue_trial(encoded(first, space))
        while True:
            with _quiet(), memory.alone():
                memory.bury()
                begun = len(_in(study, "COMPLETE", "PRUNED", "RUNNING"))
                if begun >= trials and not (shared and _in(study, "RUNNING")):
                    break
                study.sampler = optuna.samplers.TPESampler(
                    # Seeded anew by place: a running sampler's state would depend on history.
                    seed=int(np.random.SeedSequence([seed, begun]).generate_state(1)[0]),
                    multivariate=True,
                    constant_liar=True,
                )
                asked = [study.ask(ranges) for _ in range(max(0, min(batch, trials - begun)))]
            if not asked:
                time.sleep(WAIT)
            with memory.alive(asked):
                values = yield [decoded(trial.params, space) for trial in asked]
            if len(values) != len(asked):
                rule = f"a function that returns {len(asked)} values here"
                raise invalid("evaluate", rule, list(values))
            for trial, value in zip(asked, map(float, values), strict=True):
                told[trial.number] = value
                _tell(study, trial, value)
        return [
            Trial(t.number, decoded(t.params, space), told.get(t.number, _value(t)))
            for t in _in(study, "COMPLETE", "PRUNED")
        ]


def _tell(study: optuna.Study, trial: optuna.Trial, value: float) -> None:
    from optuna.trial import TrialState

    with _quiet():
        if math.isfinite(value):
            study.tell(trial, value)
        else:
            # Not FAIL: TPE overlooks failed trials and would come back to the same place.
            study.tell(trial, state=TrialState.PRUNED)


def _in(study: optuna.Study, *states: str) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=[TrialState[state] for state in states])


def _value(trial: optuna.trial.FrozenTrial) -> float:
    return math.inf if trial.values is None else float(trial.values[0])


Together = Generator[
    dict[str, list[Settings]], Mapping[str, Sequence[float]], dict[str, list[Trial]]
]


def together(searches: Mapping[str, Searching]) -> Together:
    """Several searches side by side: a batch of each at a time, so that many processes have work.

    Args:
        searches: by name, from :func:`searching`, not yet started.

    Yields:
        For each search that is not done, its next batch of settings; ``send`` their values.

    Returns:
        All trials of each, as the value of ``StopIteration``.

    Example:
        >>> from didact.runs import Real
        >>> asking = together({n: searching({"x": Real(0, 1)}, trials=2) for n in ("a", "b")})
        >>> {name: len(batch) for name, batch in next(asking).items()}
        {'a': 2, 'b': 2}
    """
    batches: dict[str, list[Settings]] = {}
    tried: dict[str, list[Trial]] = {}
    for name, search in searches.items():
        try:
            batches[name] = next(search)
        except StopIteration as ended:  # Other processes have asked for all.
            tried[name] = ended.value
    while batches:
        values = (yield dict(batches)) if any(batches.values()) else dict.fromkeys(batches, ())
        for name in list(batches):
            try:
                batches[name] = searches[name].send(values[name])
            except StopIteration as ended:
                tried[name] = ended.value
                del batches[name]
    return {name: tried[name] for name in searches}


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the lowest finite value, the earliest of equals.

    Raises:
        DidactError: if no trial has a finite value.

    Example:
        >>> best([Trial(0, {}, 2.0), Trial(1, {}, float("nan")), Trial(2, {}, 1.0)]).number
        2
    """
    finite = [trial for trial in trials if math.isfinite(trial.value)]
    if not finite:
        raise DidactError(f"None of the {len(trials)} trials of the search gave a finite value.")
    return min(finite, key=lambda trial: trial.value)


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Asked and told, not optimised: `Database.alive` gives the signs of life.
            warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
