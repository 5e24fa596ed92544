import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact import InvalidInput
from didact.privileged import TRAM


class Both(nn.Linear):
    def forward(self, phi: Tensor, x_star: Tensor) -> Tensor:
        return super().forward(torch.cat([phi, x_star], 1))


def _tram(weight: float = 1.0) -> TRAM:
    torch.manual_seed(0)
    features = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    parts = (m.double() for m in (features, nn.Linear(4, 2), Both(4 + 2, 2)))
    return TRAM(*parts, label_loss=F.cross_entropy, weight=weight)


def _batch() -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(1)
    x, x_star = (torch.randn(6, k, generator=g, dtype=torch.float64) for k in (3, 2))
    return x, x_star, torch.randint(0, 2, (6,), generator=g)


def _gradients(loss: Tensor, module: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True))


def _cross_entropy(logits: np.ndarray, y: np.ndarray) -> float:
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return float(-np.log(p[np.arange(len(y)), y]).mean())


def test_the_loss_is_written_out() -> None:
    tram = _tram(0.3)
    x, x_star, y = (t.numpy() for t in _batch())
    w, b, v, c, u, d = (p.detach().numpy() for p in tram.parameters())
    phi = np.tanh(x @ w.T + b)
    with_privileged = _cross_entropy(np.concatenate([phi, x_star], 1) @ u.T + d, y)
    without = _cross_entropy(phi @ v.T + c, y)
    found = tram.loss(_batch()).item()
    assert found == pytest.approx(with_privileged + 0.3 * without, rel=1e-12)


def test_features_learn_through_the_privileged_head_alone() -> None:
    tram = _tram(0.3)
    x, x_star, y = _batch()
    loss = tram.loss((x, x_star, y))
    through = F.cross_entropy(tram.privileged_head(tram.features(x), x_star), y)
    own = F.cross_entropy(tram.head(tram.features(x)), y)
    torch.testing.assert_close(
        _gradients(loss, tram.features), _gradients(through, tram.features)
    )  # fmt: skip
    torch.testing.assert_close(
        _gradients(loss, tram.privileged_head), _gradients(through, tram.privileged_head)
    )
    expected = [0.3 * g for g in _gradients(own, tram.head)]
    torch.testing.assert_close(_gradients(loss, tram.head), expected)


def test_all_three_are_trained() -> None:
    tram = _tram()
    parts = (tram.features, tram.head, tram.privileged_head)
    assert [*map(id, tram.parameters())] == [id(p) for m in parts for p in m.parameters()]


def test_what_is_deployed_is_the_head_on_the_features_without_a_copy() -> None:
    tram = _tram()
    x, *_ = _batch()
    deployed = tram.deployed
    optimizer = torch.optim.SGD(tram.parameters(), 0.1)
    tram.loss(_batch()).backward()
    optimizer.step()
    assert torch.equal(deployed(x), tram.head(tram.features(x)))


def test_features_of_any_shape() -> None:
    class Pooled(nn.Module):
        def forward(self, phi: Tensor, x_star: dict[str, Tensor]) -> Tensor:
            return phi.mean((2, 3)) + x_star["shift"]

    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    tram = TRAM(nn.Conv2d(1, 2, 3), head, Pooled(), label_loss=F.cross_entropy)
    x, y = torch.randn(4, 1, 5, 5), torch.tensor([0, 1, 1, 0])
    tram.loss((x, {"shift": torch.randn(4, 2)}, y)).backward()
    assert tram.deployed(x).shape == (4, 2)


def test_arguments_are_checked() -> None:
    for weight in (0, -1.0, float("nan")):
        with pytest.raises(InvalidInput, match=r"`weight`.*above 0"):
            _tram(weight)
    tram = _tram()
    tram.features = nn.LSTM(3, 4).double()
    with pytest.raises(InvalidInput, match="`features` should be a module that returns one tensor"):
        tram.loss(_batch())


def test_noise_that_x_star_explains_stays_out_of_the_features() -> None:
    g = torch.Generator().manual_seed(0)
    truth = torch.randn(40, 1, generator=g, dtype=torch.float64)
    x, test = (torch.randn(n, 40, generator=g, dtype=torch.float64) for n in (60, 1000))
    noise = 10 * torch.randn(60, 1, generator=g, dtype=torch.float64)
    y = x @ truth + noise
    torch.manual_seed(0)
    parts = (nn.Linear(40, 1), nn.Linear(1, 1), Both(2, 1))
    tram = TRAM(*(m.double() for m in parts), label_loss=F.mse_loss)
    optimizer = torch.optim.Adam(tram.parameters(), 0.05)
    for _ in range(600):
        optimizer.zero_grad()
        tram.loss((x, noise, y)).backward()
        optimizer.step()
    least_squares = torch.linalg.lstsq(x, y).solution
    wrong = F.mse_loss(test @ least_squares, test @ truth).item()
    found = F.mse_loss(tram.deployed(test), test @ truth).item()
    assert found < wrong / 10
