"""Global alignment against the enumeration of every alignment."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from didact import Diverged, InvalidInput
from didact.skips import aligned_loss, binary_cross_entropy, skip_loss, squared_error
from didact.skips._sliding import least_before

from ._literal import cross_entropy, squares

LOSSES = {"bce": (binary_cross_entropy, cross_entropy), "mse": (squared_error, squares)}


def alignments(last: int, horizon: int, most: int, at: int = 0) -> list[list[int]]:
    """All ways from ``at`` to ``last``."""
    if at == last:
        return [[]]
    if most == 0:
        return []
    return [
        [s, *rest]
        for s in range(at + 1, min(at + horizon, last) + 1)
        for rest in alignments(last, horizon, most - 1, s)
    ]


def enumerated(
    f: nn.Module, frames: Tensor, last: int, horizon: int, most: int, temperature: float, loss: Any
) -> tuple[Tensor, list[int]]:
    predictions, x = [], frames[:1]
    for _ in range(last):
        x = f(x)
        predictions.append(x[0])
    ways = alignments(last, horizon, most)
    costs = [
        torch.stack([loss(predictions[k], frames[s]).mean() for k, s in enumerate(way)])
        for way in ways
    ]
    means = torch.stack([each.mean() for each in costs])
    best = int(means.argmin())
    if temperature == 0:
        return means[best], ways[best]
    numbers = sorted({len(way) for way in ways})
    soft = [
        -temperature
        * (-torch.stack([c.sum() for c in costs if len(c) == k]) / temperature).logsumexp(0)
        / k
        for k in numbers
    ]
    return -temperature * (-torch.stack(soft) / temperature).logsumexp(0), ways[best]


def net(seed: int, frame: tuple[int, ...]) -> nn.Module:
    size = torch.Size(frame).numel()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        f = nn.Sequential(
            nn.Flatten(), nn.Linear(size, 6), nn.Tanh(), nn.Linear(6, size), nn.Sigmoid(),
            nn.Unflatten(1, frame),
        ).double()  # fmt: skip
        nn.init.normal_(f[3].weight, std=3.0)
    return f


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(2, 7), min_size=1, max_size=3),
    st.integers(1, 7),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.01, 0.2]),
    st.sampled_from(sorted(LOSSES)),
    st.sampled_from([(1,), (3,), (2, 2)]),
    st.integers(0, 10**6),
)
def test_every_alignment(
    lengths: list[int],
    horizon: int,
    spare: int,
    temperature: float,
    loss: str,
    frame: tuple[int, ...],
    seed: int,
) -> None:
    x = torch.rand(len(lengths), max(lengths) + 1, *frame,
                   generator=torch.Generator().manual_seed(seed)).double()  # fmt: skip
    f, (ours, theirs) = net(seed, frame), LOSSES[loss]
    steps = -(-(max(lengths) - 1) // horizon) + spare
    expected = [
        enumerated(f, x[b], length - 1, horizon, steps, temperature, theirs)
        for b, length in enumerate(lengths)
    ]
    value = torch.stack([each for each, _ in expected]).mean()
    beyond = torch.arange(x.shape[1]) >= torch.tensor(lengths)[:, None]
    found = aligned_loss(
        f, x.masked_fill(beyond.view(*beyond.shape, *[1] * len(frame)), torch.nan),
        torch.tensor(lengths), horizon=horizon, steps=steps, temperature=temperature, loss=ours,
    )  # fmt: skip
    assert [[t for t in path if t >= 0] for path in found.matched.T.tolist()] == [
        way for _, way in expected
    ]
    torch.testing.assert_close(found.loss, value, rtol=1e-11, atol=1e-12)
    gradients = [torch.autograd.grad(each, list(f.parameters())) for each in (found.loss, value)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    assert found.evaluations == sum(min(steps, length - 1) for length in lengths)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 14), st.integers(0, 10**6))
def test_sliding_minima(n: int, length: int, width: int, seed: int) -> None:
    values = torch.randn(n, length, generator=torch.Generator().manual_seed(seed))
    least, where = least_before(values, width)
    for row in range(n):
        assert float(least[row, 0]) == torch.inf
        for s in range(1, length):
            window = values[row, max(0, s - width) : s]
            assert least[row, s] == window.min()
            assert values[row, where[row, s]] == window.min()
            assert s - width <= where[row, s] < s


def test_it_is_never_above_what_greedy_steps_reach() -> None:
    """The greedy path of free predictions is one of the alignments."""
    generator = torch.Generator().manual_seed(0)
    for seed in range(5):
        x, f = torch.rand(1, 30, 4, generator=generator).double(), net(seed, (4,))
        greedy = skip_loss(f, x, horizon=6)
        best = aligned_loss(f, x, horizon=6)
        assert float(best.loss.detach()) <= float(greedy.loss.detach()) + 1e-12


def test_greedy_loses_the_thread_and_alignment_does_not() -> None:
    """The first prediction is a little nearer to a frame too far on: greedy jumps there."""
    x = torch.tensor([0.0, 1.0, 2.0, 1.05, 3.0])[None, :, None]

    def f(x: Tensor) -> Tensor:
        return torch.where(x < 0.5, 1.04, x + 1)

    greedy = skip_loss(f, x, horizon=4, loss=squared_error)
    assert greedy.matched[:, 0].tolist() == [3, 4]
    best = aligned_loss(f, x, horizon=4, loss=squared_error)
    assert best.matched[:, 0].tolist() == [1, 2, 4]
    assert float(best.loss) < 0.01 < float(greedy.loss)


def test_low_temperatures_tend_to_the_hard_loss() -> None:
    x, f = torch.rand(3, 20, 4, generator=torch.Generator().manual_seed(0)).double(), net(0, (4,))
    hard = aligned_loss(f, x, horizon=5)
    gaps = [
        float((hard.loss - aligned_loss(f, x, horizon=5, temperature=t).loss).detach())
        for t in (1e-1, 1e-2, 1e-3, 1e-5)
    ]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 <= gaps[-1] < 1e-6 < gaps[0]


def test_float32_and_a_low_temperature_have_finite_gradients() -> None:
    x, f = torch.rand(3, 40, 4, generator=torch.Generator().manual_seed(0)), net(0, (4,)).float()
    found = aligned_loss(f, x, torch.tensor([40, 2, 17]), horizon=7, temperature=1e-4)
    for grad in torch.autograd.grad(found.loss, list(f.parameters())):
        assert bool(grad.isfinite().all())
        assert bool(grad.any())


def test_refused() -> None:
    x = torch.rand(2, 9, 3, generator=torch.Generator().manual_seed(0))
    for options, match in (
        ({"steps": 2, "horizon": 3}, "`steps` should be at least 3, to reach frame 8"),
        ({"steps": 0}, "`steps`"),
        ({"temperature": -1.0}, "`temperature`"),
        ({"temperature": 1e-30}, "`temperature` should be 0, or at least 1e-12"),
        ({"horizon": 0}, "`horizon`"),
        ({"lengths": torch.tensor([9, 10])}, "`lengths`"),
        ({"loss": nn.functional.mse_loss}, "`loss`"),
    ):
        with pytest.raises(InvalidInput, match=match):
            aligned_loss(lambda x: x, x, **options)
    with pytest.raises(InvalidInput, match="`f` should return a frame"):
        aligned_loss(lambda x: x[:, :1], x)
    with pytest.raises(Diverged, match=r"Step 0 of the free rollout, of 8, is not finite"):
        aligned_loss(lambda x: x * torch.nan, x)
    with pytest.raises(Diverged, match="With the cross-entropy f should"):
        aligned_loss(lambda x: x * 0 + 1.5, x)
    with pytest.raises(Diverged, match="loss of step 0 is nan"):
        aligned_loss(lambda x: x + 2, x)
    x[1, 3, 1] = torch.inf
    with pytest.raises(InvalidInput, match=r"be finite\. Found inf in frame 3 of trajectory 1"):
        aligned_loss(lambda x: x, x, loss=squared_error)
    padded = aligned_loss(lambda x: x, x, torch.tensor([9, 3]), loss=squared_error)
    assert bool(padded.loss.isfinite())


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_what_is_not_aligned_must_be_finite_too(temperature: float) -> None:
    x = torch.linspace(0.1, 1, 30).view(1, 30, 1)
    f = nn.Linear(1, 1)
    nn.init.constant_(f.weight, 30.0)
    with pytest.raises(Diverged, match=r"Step \d+ of the free rollout, of 29, .*Fewer `steps`"):
        aligned_loss(f, x, loss=squared_error, temperature=temperature)
    found = aligned_loss(f, x, loss=squared_error, temperature=temperature, steps=8)
    for grad in torch.autograd.grad(found.loss, list(f.parameters())):
        assert bool(grad.isfinite().all())
