"""The four rules against literal gradients; what training sees; a shortcut of every site."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from didact._checks import Diverged
from didact.hindsight._network import Student
from didact.hindsight._output import Output
from didact.hindsight._rows import Rows
from didact.hindsight.environments._metrics import NETWORKS
from didact.hindsight.environments._train import Trained, backward, train

SETTINGS = {
    "learning_rate": 3e-3, "weight_decay": 1e-2, "width": 16, "depth": 2, "dropout": 0.0,
    "rows_per_environment": 16, "threshold": 0.6, "rescale": False, "weight": 5.0, "warm_up": 0,
}  # fmt: skip
VALUES = torch.tensor([-1.0, 0.0, 1.0])
OUTPUTS = {"classes": Output(3), "bins": Output(3, VALUES), "plain": Output(1, plain=True)}


def _rows(sizes: tuple[int, ...] = (40, 50, 60), seed: int = 0) -> tuple[Rows, Tensor]:
    g = torch.Generator().manual_seed(seed)
    n = sum(sizes)
    x = torch.randn(n, 5, generator=g)
    label = x[:, 0] + 0.3 * torch.randn(n, generator=g)
    y = (label[:, None] - VALUES).abs().argmin(1)
    site = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return Rows(x, x[:, :0], torch.arange(n), y, label), site


def _student(outputs: int) -> Student:
    torch.manual_seed(0)
    return Student(5, outputs, width=8, depth=2, dropout=0.0)


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("rule", NETWORKS)
def test_gradients_are_those_of_the_definitions(rule: str, kind: str) -> None:
    output = OUTPUTS[kind]
    rows, site = _rows((12, 12, 12))
    target = output.target(rows.y, rows.label)
    student = _student(output.size)
    backward(rule, SETTINGS, student, rows.x, target, site, output, 1)
    found = {name: p.grad for name, p in student.named_parameters()}
    student = _student(output.size)
    parameters = dict(student.named_parameters())

    def of_environment(e: int, scale: Tensor | float = 1.0) -> Tensor:
        z = scale * student(rows.x[site == e])[0]
        if output.plain:
            return F.mse_loss(z[:, 0], target[site == e])
        return F.cross_entropy(z, target[site == e])

    each = [of_environment(e) for e in range(3)]
    if rule == "and_mask":
        grads = [torch.autograd.grad(loss, list(parameters.values())) for loss in each]
        for j, name in enumerate(parameters):
            stacked = torch.stack([g[j] for g in grads])
            agree = stacked.sign().mean(0).abs() >= 0.6
            torch.testing.assert_close(found[name], agree * stacked.mean(0), msg=name)
        return
    loss = sum(each) / 3
    if rule == "v_rex":
        loss = loss + 5.0 * sum((one - loss) ** 2 for one in each) / 3
    if rule == "irm":
        slopes = []
        for e in range(3):
            scale = torch.ones((), requires_grad=True)
            slopes.append(
                torch.autograd.grad(of_environment(e, scale), scale, create_graph=True)[0]
            )
        loss = loss + 5.0 * sum(slope**2 for slope in slopes) / 3
    assert isinstance(loss, Tensor)
    expected = torch.autograd.grad(loss, list(parameters.values()))
    for name, grad in zip(parameters, expected, strict=True):
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-6, msg=name)


def test_a_penalty_grows_to_its_weight() -> None:
    rows, site = _rows((12, 12, 12))
    target = rows.y

    def grad(epoch: int, **over: object) -> Tensor:
        student = _student(3)
        settings = {**SETTINGS, **over}
        backward("v_rex", settings, student, rows.x, target, site, OUTPUTS["classes"], epoch)
        found = student.output.weight.grad
        assert found is not None
        return found

    torch.testing.assert_close(grad(3, warm_up=10), grad(1, weight=1.5))
    torch.testing.assert_close(grad(10, warm_up=10), grad(1))
    torch.testing.assert_close(grad(99, warm_up=10), grad(1))


def _train(candidate: str, rows: Rows, site: Tensor, epochs: int = 3, **over: object) -> Trained:
    known, held = site < 2, site == 2
    return train(
        candidate, {**SETTINGS, **over}, rows.only(known.nonzero().flatten()), site[known],
        OUTPUTS["classes"], held_out={7: [rows.only(held.nonzero().flatten())]}, epochs=epochs,
        patience=None, seed=3,
    )  # fmt: skip


@pytest.mark.parametrize("candidate", NETWORKS)
def test_what_is_held_out_is_judged_and_not_learnt_from(candidate: str) -> None:
    rows, site = _rows()
    poisoned, _ = _rows()
    held = site == 2
    poisoned.x[held], poisoned.y[held] = 1e6, (poisoned.y[held] + 1) % 3
    one, two = (_train(candidate, of, site) for of in (rows, poisoned))
    assert one.training == two.training
    for a, b in zip(one.student.parameters(), two.student.parameters(), strict=True):
        assert a.equal(b)
    assert one.curves[7] != two.curves[7]
    assert len(one.curves[7]) == 3


def test_the_methods_are_plain_where_they_ask_for_nothing() -> None:
    rows, site = _rows()
    plain = _train("plain", rows, site)
    for candidate, over in (("and_mask", {"threshold": 0.0}), ("v_rex", {"weight": 0.0}),
                            ("irm", {"weight": 0.0})):  # fmt: skip
        found = _train(candidate, rows, site, **over)
        assert found.training == pytest.approx(plain.training, rel=1e-5)
        assert found.curves[7] == pytest.approx(plain.curves[7], rel=1e-5)
    other = _train("and_mask", rows, site)
    assert other.training != pytest.approx(plain.training, rel=1e-5)


@pytest.mark.parametrize("candidate", NETWORKS)
def test_one_environment_alone_is_plain(candidate: str) -> None:
    rows, _ = _rows()
    alone = torch.zeros(len(rows), dtype=torch.int64)
    given = {"held_out": {}, "epochs": 2, "patience": None, "seed": 0}
    found = train(candidate, SETTINGS, rows, alone, OUTPUTS["classes"], **given)  # type: ignore[arg-type]
    plain = train("plain", SETTINGS, rows, alone, OUTPUTS["classes"], **given)  # type: ignore[arg-type]
    assert found.training == plain.training


def test_it_ends_when_all_that_is_held_out_has(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, site = _rows()
    known = rows.only((site == 0).nonzero().flatten()), site[site == 0]
    held = {e: [rows.only((site == e).nonzero().flatten())] for e in (1, 2)}
    found = train(
        "plain", {**SETTINGS, "learning_rate": 3e-2}, *known, OUTPUTS["classes"], held_out=held,
        epochs=400, patience=5, seed=0,
    )  # fmt: skip
    assert 5 < len(found.training) < 400
    last = [max(range(len(c)), key=lambda t: -c[t]) for c in found.curves.values()]  # type: ignore[operator]
    assert max(last) + 5 <= len(found.training)


@pytest.mark.parametrize("candidate", NETWORKS)
def test_divergence_is_named(candidate: str) -> None:
    rows, site = _rows()
    broken = Rows(rows.x * torch.nan, rows.x_star, rows.present, rows.y, rows.label)
    with pytest.raises(Diverged, match=f"`{candidate}` diverged in epoch 1"):
        _train(candidate, broken, site)


def _sites_with_codes(seed: int, new: int = 6, rows: int = 128) -> tuple[Rows, Tensor]:
    """A label that each of eight sites knows by a code of its own, beside a noisy sign for all.

    Column 0 is the label's sign and noise, right in 84 of 100 rows. The code is exact, and at the
    new sites it has nothing to do with the label.
    """
    g = torch.Generator().manual_seed(seed)
    x, y, site = [], [], []
    for e in range(8 + new):
        label = torch.randint(2, (rows,), generator=g)
        sign = 2 * label - 1.0
        shared = torch.randn(rows, 2, generator=g) + torch.stack([sign, 0 * sign], 1)
        told = sign if e < 8 else torch.randint(2, (rows,), generator=g) * 2 - 1.0
        code = told[:, None] * torch.randn(16, generator=g)
        x.append(torch.cat([shared, code + 0.1 * torch.randn(rows, 16, generator=g)], 1))
        y.append(label)
        site.append(torch.full((rows,), e))
    features, labels = torch.cat(x), torch.cat(y)
    whole = Rows(features, features[:, :0], torch.arange(len(features)), labels, labels.float())
    return whole, torch.cat(site)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_mask_learns_what_sites_share_where_plain_training_takes_the_shortcut(
    seed: int,
) -> None:
    rows, site = _sites_with_codes(seed)
    known = rows.only((site < 8).nonzero().flatten())
    new = [rows.only((site == e).nonzero().flatten()) for e in range(8, 14)]
    right, best = {}, {}
    for candidate in ("plain", "and_mask"):
        settings = {**SETTINGS, "width": 64, "rows_per_environment": 64, "threshold": 1.0}
        found = train(
            candidate, settings, known, site[site < 8], Output(2), held_out={0: new}, epochs=40,
            patience=None, seed=seed,
        )  # fmt: skip
        with torch.no_grad():
            guesses = [found.student(one.features(torch.arange(len(one))))[0] for one in new]
        right[candidate] = np.mean(
            [
                float((z.argmax(1) == one.y).double().mean())
                for z, one in zip(guesses, new, strict=True)
            ]
        )
        best[candidate] = min(v for v in found.curves[0] if v is not None)
    assert right["plain"] < 0.7
    assert right["and_mask"] > right["plain"] + 0.08
    assert best["and_mask"] < best["plain"] - 0.05  # wherever plain training had been stopped
