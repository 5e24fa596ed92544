"""What the studies of gradient agreement are made of."""

import gzip
import hashlib
import itertools
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch.nn import functional as F

from didact import InvalidInput
from didact.agreement import agreement, and_mask
from didact.studies import _memory, _spirals
from didact.studies._ilc_correlations import regression
from didact.studies._ilc_losses import gradients, surfaces
from didact.studies._ilc_patchwork import CLAIMED, PATCHWORK, environments, network, target
from didact.studies._ilc_random_gradients import bound, exact, rate
from didact.studies._ilc_spirals import FOUND, Config, space, tries
from didact.tasks import spirals


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("agreeing", [0.5, 0.8, 1.0])
def test_masked_random_gradients_by_drawing_them(agreeing: float) -> None:
    for d in (2, 5, 8):
        grads = torch.randn(d, 400_000, generator=seeded(d), dtype=torch.float64)
        squares = and_mask(grads, 2 * agreeing - 1).square()
        error = float(squares.std()) / math.sqrt(squares.numel())
        assert exact(1, d, agreeing) == pytest.approx(float(squares.mean()), abs=4 * error)


def test_the_proofs_bound_and_rate() -> None:
    for d, agreeing in itertools.product(range(2, 60), (0.6, 0.8, 1.0)):
        t = math.ceil(agreeing * d - 1e-6)
        survives = 2 * sum(math.comb(d, k) for k in range(t, d + 1)) / 2**d
        assert exact(1, d, agreeing) <= min(1.0, survives) <= bound(1, d, agreeing) * (1 + 1e-12)
    assert rate(0.8) == pytest.approx((bound(1, 500, 0.8) / bound(1, 1000, 0.8)) ** 2e-3, rel=1e-2)


def test_surfaces_are_zero_at_both_minima_and_have_their_gradients() -> None:
    minima = torch.tensor([[1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
    assert bool((surfaces(minima) == 0).all())
    theta = 3 * torch.rand(50, 2, generator=seeded(), dtype=torch.float64) - 1.5
    assert bool((surfaces(theta) > 0).all())
    found, h = gradients(theta), 1e-6
    for j in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[j] = h
        slope = (surfaces(theta + step) - surfaces(theta - step)) / (2 * h)
        torch.testing.assert_close(found[..., j], slope, rtol=1e-6, atol=1e-8)


def test_the_patchwork_of_the_appendix() -> None:
    x = torch.linspace(0, 1, 501, dtype=torch.float64)
    for value, wanted in zip(x.tolist(), target(x).tolist(), strict=True):
        pieces = [
            (0.4, 0.0), (0.5, 10 * (value - 0.4)), (0.7, 1.0), (0.8, 10 * (value - 0.7) + 1),
            (math.inf, 2.0),
        ]  # fmt: skip
        assert wanted == pytest.approx(next(y for end, y in pieces if value < end))
    a, b = environments("halves", 1000)
    assert float(a(CLAIMED)) == pytest.approx(float(a(PATCHWORK)), abs=1e-9)
    assert float(b(CLAIMED)) > 1 > 100 * float(b(PATCHWORK))
    at = 1 / (1 + math.exp(-(100 * 0.6 - 50))) + 1 / (1 + math.exp(-(100 * 0.6 - 75)))
    assert float(network(PATCHWORK, torch.tensor(0.6).double())) == pytest.approx(at)
    c, d = environments("every other", 1000)
    together = [(float(a(w)) + float(b(w))) / 2 for w in (PATCHWORK, CLAIMED)]
    for weights, wanted in zip((PATCHWORK, CLAIMED), together, strict=True):
        assert (float(c(weights)) + float(d(weights))) / 2 == pytest.approx(wanted, rel=0.01)


def test_regression_is_scipys() -> None:
    x, noise = torch.randn(2, 200, generator=seeded(), dtype=torch.float64)
    y = 0.3 * x + noise
    wanted = scipy.stats.linregress(x.numpy(), y.numpy())
    assert regression(x, y) == pytest.approx((wanted.rvalue, wanted.slope), abs=1e-4)
    assert regression(torch.zeros(5), torch.ones(5)) == (None, None)


def test_batches_hold_every_example_once_and_as_many_of_each_environment() -> None:
    run = _spirals.Run(
        method="plain", settings={}, seed=0, environments=6, at_once=4, rows=10, passes=1
    )
    data = spirals(10, 6, shortcut=3, generator=seeded())
    walk = _spirals._batches(data, run, 5, seeded(1))
    seen = []
    for _ in range(4):  # two turns of three environments, two batches of five examples
        batch = next(walk)
        assert np.bincount(batch.environment.numpy(), minlength=6).tolist().count(5) == 3
        seen.append(batch.x)
    order = torch.cat(seen)[:, 0].sort().values
    assert order.equal(data.x[:, 0].sort().values)


def test_an_adversarys_features_climb_the_loss_of_environments() -> None:
    torch.manual_seed(0)
    net = _spirals.Adversary(5, 4, 3, reversal=0.5)
    data = spirals(8, 3, shortcut=3, generator=seeded())
    weight = net.features[0].weight
    features = F.leaky_relu(net.features(data.x))
    label = F.binary_cross_entropy_with_logits(net.classifier(features)[:, 0], data.y.float())
    told = F.cross_entropy(net.discriminator(features), data.environment)
    first, second = (torch.autograd.grad(v, weight, retain_graph=True)[0] for v in (label, told))
    of_discriminator = torch.autograd.grad(told, net.discriminator[0].weight)[0]
    net.loss(data).backward()
    torch.testing.assert_close(weight.grad, first - 0.5 * second)
    torch.testing.assert_close(net.discriminator[0].weight.grad, of_discriminator)


@pytest.mark.parametrize("method", ["plain", "and_mask", "irm", "v_rex", "dann"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_every_method_can_learn_the_shortcuts(
    method: _spirals.Method, batch_norm: bool, tmp_path: Path
) -> None:
    settings = {
        "width": 16, "batch": 32, "batch_norm": batch_norm, "threshold": 0.0, "penalty": 1.0,
        "reversal": 0.1,
    }  # fmt: skip
    run = _spirals.Run(
        method=method, settings=settings, seed=0, environments=3, at_once=3, rows=64, passes=60,
        test_rows=100,
    )  # fmt: skip
    record = _spirals.train_spirals(run, tmp_path, lambda step, values: None)
    assert max(record["training"]) > 0.95, record["training"]
    assert record["stopped"] == (record["training"][-1] > 0.97 and record["held_out"][-1] < 0.6)
    again = _spirals.train_spirals(run, tmp_path, lambda step, values: None)
    assert {**again, "seconds": 0} == {**record, "seconds": 0}


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    for method in ("and_mask", "irm"):
        run = _spirals.Run(
            method=method, settings={"learning_rate": 1e12, "optimizer": "sgd", "width": 8}, seed=0,
            environments=2, at_once=2, rows=32, passes=40, test_rows=50,
        )  # fmt: skip
        record = _spirals.train_spirals(run, tmp_path, lambda step, values: None)
        assert "loss of step" in record["diverged"]
        assert _spirals.reached(record).held_out <= 1


def test_settings_are_points_of_the_tables_and_the_same_every_time() -> None:
    config = Config(trials=60)
    for candidate in config.methods:
        options = space(candidate, config)
        tried = tries(candidate, config)
        assert tried == tries(candidate, config)
        assert tried[:5] == tries(candidate, Config(trials=5))
        assert len(tried) == 60
        for settings in tried:
            assert set(settings) <= {*options, "l1", "l2"}
            assert not (settings.get("l1") and settings.get("l2"))
        for name, choice in options.items():
            if name != "weights":
                assert {settings[name] for settings in tried} == set(choice.options)
        assert _spirals.Run(method="plain", settings=tried[0], seed=0).settings["width"] == 256
    assert tries("and_mask", config)[0] == FOUND


@pytest.mark.parametrize(("labels", "least", "most"), [("random", 0.88, 0.92), ("true", 0, 0)])
def test_labels_are_drawn_anew(labels: _memory.Labels, least: float, most: float) -> None:
    y = torch.arange(10).repeat(1000)
    found = _memory.relabelled(y, labels, 0.25, seeded())
    assert least <= float((found != y).double().mean()) <= most
    assert np.bincount(found).tolist() == pytest.approx([1000] * 10, rel=0.1)


def test_a_quarter_of_the_labels_is_drawn_anew() -> None:
    y = torch.arange(10).repeat(1000)
    found = _memory.relabelled(y, "noisy", 0.25, seeded())
    assert float((found != y).double().mean()) == pytest.approx(0.25 * 0.9, abs=0.01)


def test_the_resnet_can_be_streamed() -> None:
    torch.manual_seed(0)
    net = _memory.ResNet(1, 2).double()
    x = torch.randn(4, 1, 8, 8, generator=seeded(), dtype=torch.float64)
    y = torch.arange(4)
    each = [
        torch.autograd.grad(F.cross_entropy(net(x[i : i + 1]), y[i : i + 1]), net.parameters())
        for i in range(4)
    ]
    wanted = [and_mask(torch.stack(same), 0.5) for same in zip(*each, strict=True)]
    with agreement(net, threshold=0.5):
        F.cross_entropy(net(x), y).backward()
    for parameter, grad in zip(net.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


def test_files_are_checked_once_and_then_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidInput, match="`folder` should be where the files of mnist are"):
        _memory.prepare("mnist", "", tmp_path)
    shapes = {"train-images-idx3": (6, 4, 4), "train-labels-idx1": (6,)}
    shapes |= {"t10k-images-idx3": (3, 4, 4), "t10k-labels-idx1": (3,)}
    for name, shape in shapes.items():
        body = bytes(range(math.prod(shape)))
        header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        (tmp_path / f"{name}-ubyte.gz").write_bytes(gzip.compress(header + body))
    with pytest.raises(InvalidInput, match="MD5"):
        _memory.prepare("mnist", str(tmp_path), tmp_path)
    read = _memory.mnist
    monkeypatch.setattr(_memory, "mnist", lambda folder: read(folder, check=False))
    _memory.prepare("mnist", str(tmp_path), tmp_path)
    _memory.prepare("mnist", "nowhere", tmp_path)  # is there
    run = _memory.Run(
        data="mnist", labels="true", threshold=0.0, seed=0, learning_rate=0.1, decays=[], epochs=1
    )
    train, test = _memory.load(run, tmp_path)
    assert train.x.flatten().tolist() == list(range(96))
    assert train.y.tolist() == list(range(6))
    assert test.x.shape == (3, 1, 4, 4)


def test_a_file_of_pictures_bears_its_checksum(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8)
    y = np.arange(24) % 10
    path = tmp_path / "own.npz"
    np.savez(path, x_train=x[:16], y_train=y[:16], x_test=x[16:], y_test=y[16:])
    name = _memory.prepare("file", str(path), tmp_path)
    assert name == f"own-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    run = _memory.Run(
        data=name, labels="true", threshold=0.5, seed=0, learning_rate=1e-3, decays=[], epochs=1,
        rows=8, batch=4, width=8,
    )  # fmt: skip
    assert _memory.named_data(run) == f"{name}, 8 rows"
    record = _memory.train_pictures(run, tmp_path, lambda step, values: None)
    assert record["diverged"] is None
    assert len(record["test"]) == 1
    np.savez(path, x_train=x[:16], y_train=y[:16] + 1, x_test=x[16:], y_test=y[16:])
    with pytest.raises(InvalidInput, match=r"classes 0 … 9. Found 10"):
        _memory.prepare("file", str(path), tmp_path)


def test_digits_are_split_by_seed() -> None:
    runs = [
        _memory.Run(
            data="digits", labels="true", threshold=0.0, seed=seed, learning_rate=0.1, decays=[],
            epochs=1,
        )
        for seed in (0, 0, 1)
    ]  # fmt: skip
    first, again, other = (_memory.load(run, Path()) for run in runs)
    assert (len(first[0].y), len(first[1].y)) == (1297, 500)
    assert first[0].x.equal(again[0].x)
    assert not first[0].x.equal(other[0].x)
    rows = {tuple(x.flatten().tolist()) for part in first for x in part.x}
    assert len(rows) == 1797
