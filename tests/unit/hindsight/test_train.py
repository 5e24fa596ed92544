"""Training: what stops it, what is kept, who sees which rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from didact._checks import Diverged
from didact.hindsight import _courses
from didact.hindsight._courses import INNER_MOMENTUM, _inner_learning_rate, _split_once, course
from didact.hindsight._metrics import CANDIDATES
from didact.hindsight._network import Student
from didact.hindsight._output import Output
from didact.hindsight._rows import Rows
from didact.hindsight._settings import space, start
from didact.hindsight._train import Budget, judge, train
from didact.runs._space import check_settings

NETWORKS = [name for name in CANDIDATES if name != "trees"]
VALUES = torch.linspace(-1.5, 1.5, 6)


def _rows(n: int = 60, *, horizon: int = 0, seed: int = 0) -> Rows:
    g = torch.Generator().manual_seed(seed)
    x, x_star = torch.randn(n + 8, 4, generator=g), torch.randn(n + 8, 3, generator=g)
    label = (x[:n, 0] + x_star[:n, 0]) / 2
    y = (label[:, None] - VALUES).abs().argmin(1)
    history = 2 if horizon else 1
    return Rows(x, x_star, torch.arange(n) + history - 1, y, label, history, horizon)


def _settings(candidate: str, **over: object) -> dict[str, object]:
    small = {"width": 8, "depth": 2, "batch_size": 16, "inner_steps": 4}
    known = start(candidate, number=True, rows=60)
    return {**known, **{k: v for k, v in small.items() if k in known}, **over}


def _train(candidate: str, rows: Rows, budget: Budget, seed: int = 0, **over: object):  # type: ignore[no-untyped-def]
    rows = replace(rows, hindsight=candidate == "oracle")
    settings = _settings(candidate, **over)
    output = Output(1, plain=True) if settings["head"] == "plain" else Output(6, VALUES)
    parts = rows.only(torch.arange(40)), rows.only(torch.arange(40, 60))
    trained = train(candidate, settings, *parts, output, groups=None, budget=budget, seed=seed)
    return trained, parts, output


@pytest.mark.parametrize("horizon", [0, 5])
@pytest.mark.parametrize("head", ["bins", "plain"])
@pytest.mark.parametrize("candidate", NETWORKS)
def test_every_candidate_keeps_its_best_and_repeats_itself(
    candidate: str, head: str, horizon: int
) -> None:
    rows = _rows(horizon=horizon)
    trained, (_, validation), output = _train(candidate, rows, Budget(4, 4), head=head)
    assert judge(trained.student, validation, output) == pytest.approx(trained.curve.best, abs=1e-6)
    assert trained.curve.best == min(trained.curve.validation)
    assert len(trained.curve.validation) == 4
    again, _, _ = _train(candidate, rows, Budget(4, 4), head=head)
    assert again.curve == trained.curve
    other, _, _ = _train(candidate, rows, Budget(4, 4), head=head, seed=1)
    assert other.curve != trained.curve


def test_a_run_that_ends_by_patience_is_not_cut_short() -> None:
    short, _, _ = _train("no_teacher", _rows(), Budget(3, 10))
    assert short.cut_short
    long, _, _ = _train("no_teacher", _rows(), Budget(2000, 10), learning_rate=1e-2)
    curve = long.curve.validation
    assert not long.cut_short
    assert len(curve) < 2000
    # Ten epochs at the end brought no gain of 0.1 % on the best before them.
    assert min(curve[-10:]) >= min(curve[:-10]) * (1 - 1e-3)


def test_a_teacher_that_is_cut_short_is_said_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(candidate: str, *arguments: object) -> _courses.Course:
        made = course(candidate, *arguments)  # type: ignore[arg-type]
        assert made.teacher is not None
        with torch.no_grad():  # so wrong that it improves for long
            made.teacher[-1].bias.fill_(30.0)  # type: ignore[index, operator]
        return made

    monkeypatch.setattr("didact.hindsight._train.course", slow)
    trained, _, _ = _train(
        "generalised_distillation",
        _rows(),
        Budget(30, 5),
        learning_rate=3e-2,
        imitation=0.5,
        head="plain",
    )
    assert trained.cut_short
    assert not trained.curve.cut_short  # the student itself was not


def test_validation_rows_choose_and_do_not_teach() -> None:
    rows = _rows()
    for candidate in NETWORKS:
        first, _, _ = _train(candidate, rows, Budget(3, 3))
        x = rows.x.clone()
        x[40:60] += 1.0
        x_star = rows.x_star.clone()
        x_star[40:60] += 1.0
        changed = replace(rows, x=x, x_star=x_star)
        if candidate == "generalised_distillation":
            continue  # its teacher's best epoch is chosen on them, which the student imitates
        second, _, _ = _train(candidate, changed, Budget(3, 3))
        assert first.curve.training == second.curve.training, candidate


def test_the_kept_student_of_ldt_sees_all_rows_or_its_part() -> None:
    """Which rows can a student have learnt from? Those whose labels change it."""
    for all_rows in (False, True):
        touched = []
        base = _after_a_step(_rows(), all_rows)
        for i in range(20):
            rows = _rows()
            rows.label[i] += 100.0
            touched.append(not torch.equal(base, _after_a_step(rows, all_rows)))
        assert sum(touched) == (20 if all_rows else 14)  # a split of 0.3


def _after_a_step(rows: Rows, all_rows: bool) -> torch.Tensor:
    """The kept student's gradients over an epoch, with a teacher that is left as it was drawn."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    settings = _settings(
        "ldt", head="plain", all_rows=all_rows, batch_size=2, dropout=0.0, alpha=0.0,
        meta_learning_rate=0.0,
    )  # fmt: skip
    made = course(
        "ldt", settings, rows.only(torch.arange(20)), Output(1, plain=True), None, generator
    )
    for step in range(10):
        made.loss(step).backward()
    grads = [p.grad for p in made.student.parameters() if p.grad is not None]
    return torch.cat([g.flatten() for g in grads])


def test_groups_stay_whole_in_the_split_of_ldt() -> None:
    groups = torch.arange(40) // 5
    pool, held = _split_once(40, 0.3, groups, torch.Generator().manual_seed(0))
    assert sorted([*pool.tolist(), *held.tolist()]) == list(range(40))
    assert not set(groups[pool].tolist()) & set(groups[held].tolist())
    one = torch.zeros(40, dtype=torch.long)
    pool, held = _split_once(40, 0.3, one, torch.Generator().manual_seed(0))
    assert (len(pool), len(held)) == (28, 12)


def test_the_inner_learning_rate_is_a_share_of_the_stability_limit() -> None:
    rows = _rows()
    student = Student(4, 6, width=8, depth=2, dropout=0.0)
    x = rows.features(torch.arange(60)).double().numpy()
    largest = np.linalg.eigvalsh(x.T @ x / len(x))[-1]
    for alpha, share in ((300.0, 0.2), (1000.0, 1.0)):
        settings = {"alpha": alpha, "inner_learning_rate": share}
        limit = 2 * (1 + INNER_MOMENTUM) / (2 * alpha / 16 * largest)
        found = _inner_learning_rate(student, settings, rows)
        assert found == pytest.approx(min(share * limit, 0.1), rel=1e-3)
    assert _inner_learning_rate(student, {"alpha": 1e-9, "inner_learning_rate": 1.0}, rows) == 0.1


def test_inner_steps_that_diverge_are_counted_and_become_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_courses, "MOST_INNER_LEARNING_RATE", 1e3)
    monkeypatch.setattr(_courses, "INNER_MOMENTUM", 0.0)
    limit = _inner_learning_rate  # a hundred times the limit: it must come down
    monkeypatch.setattr(_courses, "_inner_learning_rate", lambda *given: 100 * limit(*given))
    trained, _, _ = _train(
        "ldt", _rows(), Budget(30, 30), alpha=100.0, inner_steps=16, inner_learning_rate=1.0
    )
    assert 0 < trained.skipped <= 10
    assert np.isfinite(trained.curve.best)


def test_divergence_names_candidate_and_epoch() -> None:
    with pytest.raises(Diverged, match=r"Candidate `no_teacher` diverged in epoch 1.*settings"):
        _train("no_teacher", _rows(), Budget(3, 3), learning_rate=1e30, head="plain")


@pytest.mark.parametrize("number", [True, False])
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_the_first_trial_lies_in_the_space(candidate: str, number: bool) -> None:
    for rows in (100, 10_000, 10**6):
        ranges = space(candidate, number=number, rows=rows)
        first = start(candidate, number=number, rows=rows)
        assert set(ranges) == set(first)
        check_settings("first", first, ranges)
