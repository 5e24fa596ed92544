"""Matching in latent space: what is matched, what has gradient, collapse and its guard."""

import pytest
import torch
from torch import Tensor, nn

from didact import Diverged, InvalidInput
from didact.skips import binary_cross_entropy, latent_skip_loss, skip_loss, squared_error


def test_it_is_the_loss_of_encoded_trajectories() -> None:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    f = nn.Linear(3, 3).double()
    x, lengths = torch.randn(4, 9, 2, 3).double(), torch.tensor([9, 5, 2, 7])
    beyond = torch.arange(9) >= lengths[:, None]
    x[beyond] = torch.nan
    found = latent_skip_loss(encoder, f, x, lengths, horizon=3, variance_weight=0.7, deviation=2.0,
                             teacher_forcing=1.0)  # fmt: skip
    z = torch.zeros(4, 9, 3).double()
    z[~beyond] = encoder(x[~beyond])
    plain = skip_loss(f, z, lengths, horizon=3, teacher_forcing=1.0, loss=squared_error)
    deviations = torch.cat([z[b, :t] for b, t in enumerate(lengths)]).var(0)
    expected = plain.loss + 0.7 * (2 - (deviations + 1e-4).sqrt()).clamp_min(0).mean()
    assert torch.equal(found.found.matched, plain.matched)
    torch.testing.assert_close(found.loss, expected)
    assert found.spread == pytest.approx(float(deviations.detach().sqrt().mean()))
    parameters = [*encoder.parameters(), *f.parameters()]
    grads = [torch.autograd.grad(each, parameters) for each in (found.loss, expected)]
    torch.testing.assert_close(*grads)


def test_targets_have_no_gradient() -> None:
    """Without teacher forcing the encoder learns through the first frame alone."""
    torch.manual_seed(0)
    encoder, f = nn.Linear(3, 2), nn.Linear(2, 2)
    x = torch.randn(2, 6, 3, requires_grad=True)
    loss = latent_skip_loss(encoder, f, x, horizon=2, variance_weight=0.0).loss
    grad = torch.autograd.grad(loss, x)[0]
    assert bool(grad[:, 0].any())
    assert not bool(grad[:, 1:].any())


def test_missing_frames_are_not_encoded() -> None:
    x = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))
    observed = torch.tensor([[True, True, False, True, False, True]])
    seen = []

    def encoder(frames: Tensor) -> Tensor:
        seen.append(frames)
        return frames

    found = latent_skip_loss(encoder, lambda z: z, x, horizon=2, observed=observed)
    assert torch.equal(torch.cat(seen), x[observed])
    assert {2, 4}.isdisjoint(found.found.matched[:, 0].tolist())


def _trained(weight: float, steps: int) -> float:
    """What comes next is noise, and f starts out larger than the encoder: both shrink the product,
    and ‖f‖² − ‖encoder‖² stays, so the encoder is the one that vanishes."""
    x = torch.randn(32, 4, 2, generator=torch.Generator().manual_seed(0))
    encoder, f = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        encoder.weight.copy_(0.5 * torch.eye(2))
        f.weight.copy_(1.5 * torch.eye(2))
    sgd = torch.optim.SGD([*encoder.parameters(), *f.parameters()], lr=0.2)
    for _ in range(steps):
        found = latent_skip_loss(encoder, f, x, horizon=2, variance_weight=weight,
                                 least_spread=1e-3)  # fmt: skip
        sgd.zero_grad()
        found.loss.backward()
        sgd.step()
    return found.spread


def test_without_its_guard_it_collapses() -> None:
    with pytest.raises(Diverged, match=r"as good as one: standard deviation .*variance_weight"):
        _trained(0.0, 150)


def test_with_its_guard_it_does_not() -> None:
    assert 0.8 < _trained(1.0, 100) < 1.3


def test_refused() -> None:
    x = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    for options, match in (
        ({"variance_weight": -1.0}, "`variance_weight`"),
        ({"deviation": 0.0}, "`deviation`"),
        ({"least_spread": -1.0}, "`least_spread`"),
        ({"horizon": 0}, "`horizon`"),
        ({"lengths": torch.tensor([5, 1])}, "`lengths`"),
    ):
        with pytest.raises(InvalidInput, match=match):
            latent_skip_loss(lambda x: x, lambda z: z, x, **options)
    for encoder in (lambda x: x.mean(), lambda x: x[1:], lambda x: x[:, 0]):
        with pytest.raises(InvalidInput, match="`encoder` should return a latent frame for each"):
            latent_skip_loss(encoder, lambda z: z, x)
    with pytest.raises(InvalidInput, match=r"`encoder` should be one to \[0, 1\].*Found '-"):
        latent_skip_loss(lambda x: x, lambda z: z, x, loss=binary_cross_entropy)
    with pytest.raises(Diverged, match="latent frame is not finite"):
        latent_skip_loss(lambda x: x * torch.inf, lambda z: z, x)
    for horizon in (1, 2):
        with pytest.raises(InvalidInput, match=r"be finite\. Found nan in frame 1 of trajectory 0"):
            latent_skip_loss(
                lambda x: x, lambda z: z, x.index_fill(1, torch.tensor(1), torch.nan),
                horizon=horizon, shortest=horizon,
            )  # fmt: skip
    within = latent_skip_loss(torch.sigmoid, lambda z: z, x, loss=binary_cross_entropy)
    assert bool(within.loss.isfinite())
