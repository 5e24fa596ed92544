"""Adaptive skip intervals against Algorithm 3 in plain loops, and by hand."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from didact import Diverged, InvalidInput
from didact.skips import (
    aligned_loss,
    binary_cross_entropy,
    latent_skip_loss,
    rollout,
    skip_loss,
    squared_error,
)

from ._literal import cross_entropy, draws_of, literal, squares

LOSSES = {"bce": (binary_cross_entropy, cross_entropy), "mse": (squared_error, squares)}


class Net(nn.Module):
    """Any frame, any context, actions and cumulants: what goes in is flattened, frames come out."""

    def __init__(
        self,
        frame: tuple[int, ...],
        seed: int,
        context: int = 1,
        extra: int = 0,
        gain: bool = False,
    ) -> None:
        super().__init__()
        self.frame, self.gain = frame, gain
        size = torch.Size(frame).numel()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.first = nn.Linear(context * size + extra, 7).double()
            self.second = nn.Linear(7, size + gain).double()
            nn.init.normal_(self.second.weight, std=3.0)

    def forward(self, x: Tensor, *more: Tensor) -> Any:
        seen = torch.cat([x.flatten(1), *(each.double().flatten(1) for each in more)], 1)
        out = self.second(self.first(seen).tanh())
        size = torch.Size(self.frame).numel()
        frames = out[:, :size].sigmoid().view(len(x), *self.frame)
        return (frames, out[:, size]) if self.gain else frames


def gradients(loss: Tensor, f: nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(f.parameters())))


def equal(found: Any, expected: Any, f: nn.Module) -> None:
    """Matches exactly, loss and gradients to 1e-12."""
    assert found.matched.tolist() == expected.padded()
    assert found.evaluations == len(expected.losses)
    torch.testing.assert_close(found.loss, expected.loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradients(found.loss, f), gradients(expected.loss, f), rtol=1e-12, atol=1e-12
    )


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    context = draw(st.sampled_from([1, 1, 1, 2, 3]))
    lengths = draw(st.lists(st.integers(context + 1, 9), min_size=1, max_size=4))
    horizon = draw(st.integers(1, 11))
    return {
        "frame": draw(st.sampled_from([(1,), (3,), (2, 3), (1, 2, 2)])),
        "lengths": lengths,
        "padded": max(lengths) + draw(st.integers(0, 2)),
        "seed": draw(st.integers(0, 10**6)),
        "loss": draw(st.sampled_from(sorted(LOSSES))),
        "options": {
            "horizon": horizon,
            "shortest": draw(st.one_of(st.just(1), st.integers(1, horizon))),
            "exploration": draw(st.sampled_from([0.0, 0.3, 1.0])),
            "teacher_forcing": draw(st.sampled_from([0.0, 0.5, 1.0])),
            "context": context,
        },
        "with": draw(st.sets(st.sampled_from(["observed", "cumulants", "actions"]))),
    }


@settings(max_examples=150, deadline=None)
@given(problems())
def test_algorithm_3(problem: dict[str, Any]) -> None:
    frame, lengths, padded = problem["frame"], problem["lengths"], problem["padded"]
    options, also, batch = dict(problem["options"]), problem["with"], len(lengths)
    context, horizon = options["context"], options["horizon"]
    generator = torch.Generator().manual_seed(problem["seed"])

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator).double()

    x = rand(batch, padded, *frame)
    if "observed" in also:
        observed = rand(batch, padded) < 0.6
        observed[:, :context] = True
        observed[:, context] |= ~observed[:, context : min(lengths)].any(1)
        options["observed"] = observed
    if "cumulants" in also:
        options |= {"cumulants": rand(batch, padded), "cumulant_weight": 0.3}
    if "actions" in also:
        options["actions"] = rand(batch, padded, 2)
    f = Net(frame, problem["seed"], context, 3 * horizon if "actions" in also else 0,
            "cumulants" in also)  # fmt: skip
    ours, theirs = LOSSES[problem["loss"]]
    state = generator.get_state()
    draws = draws_of(generator, padded, batch)
    generator.set_state(state)
    expected = literal(f, x, lengths, loss=theirs, draws=draws, **options)

    # Neither padding nor what is missing is ever looked at.
    beyond = torch.arange(padded) >= torch.tensor(lengths)[:, None]
    missing = beyond if "observed" not in also else beyond | ~options["observed"]
    x = x.masked_fill(missing.view(batch, padded, *[1] * len(frame)), torch.nan)
    if "cumulants" in also:
        options["cumulants"] = options["cumulants"].masked_fill(beyond, torch.nan)
    if "actions" in also:
        options["actions"] = options["actions"].masked_fill(beyond[..., None], torch.nan)
    found = skip_loss(f, x, torch.tensor(lengths), loss=ours, generator=generator, **options)
    equal(found, expected, f)
    steps = found.skips.sum(0) + context - 1
    assert steps.tolist() == [path[-1] for path in expected.matched]


@pytest.mark.parametrize("context", [1, 2])
def test_models_that_write_into_their_input(context: int) -> None:
    """Predictions are fed back before their loss is taken: an in-place ReLU must not reach them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 9, 4, generator=generator, dtype=torch.float64)
    kept = x.clone()
    linear = nn.Linear(4 * context, 4).double()
    encoder = nn.Linear(4, 4).double()

    def numbers(inplace: bool) -> list[Tensor]:
        f = nn.Sequential(nn.ReLU(inplace=inplace), nn.Flatten(), linear)
        given: dict[str, Any] = {"horizon": 3, "loss": squared_error}
        found = [skip_loss(f, x, context=context, **given).loss]
        found.append(latent_skip_loss(encoder, f, x, context=context, **given).loss)
        if context == 1:
            found.append(aligned_loss(f, x, **given).loss)
        found += gradients(sum(found, torch.zeros(())), linear)
        return [*found, rollout(f, x[:, 0] if context == 1 else x[:, :2], 5, context=context)]

    for ours, expected in zip(numbers(inplace=True), numbers(inplace=False), strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    assert torch.equal(x, kept)


def test_without_a_generator_nothing_is_drawn() -> None:
    x, f = torch.rand(3, 8, 2, generator=torch.Generator().manual_seed(0)).double(), Net((2,), 0)
    for forcing in (0.0, 1.0):
        expected = literal(f, x, [8, 5, 2], horizon=3, teacher_forcing=forcing)
        found = skip_loss(f, x, torch.tensor([8, 5, 2]), horizon=3, teacher_forcing=forcing)
        equal(found, expected, f)
    for options in ({"exploration": 0.1}, {"teacher_forcing": 0.9}):
        with pytest.raises(InvalidInput, match="`generator`"):
            skip_loss(f, x, **options)


@pytest.mark.parametrize("forcing", [0.0, 1.0])
def test_the_order_of_trajectories_does_not_matter(forcing: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, f = torch.rand(6, 12, 3, generator=generator).double(), Net((3,), 1)
    lengths = torch.tensor([12, 3, 7, 2, 12, 9])
    order = torch.randperm(6, generator=generator)
    a = skip_loss(f, x, lengths, horizon=4, teacher_forcing=forcing)
    b = skip_loss(f, x[order], lengths[order], horizon=4, teacher_forcing=forcing)
    assert torch.equal(a.matched[:, order], b.matched)
    torch.testing.assert_close(a.loss, b.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradients(a.loss, f), gradients(b.loss, f))


@pytest.mark.parametrize("step", [1, 2, 3, 20, 10**30])
def test_fixed_steps_by_hand(step: int) -> None:
    x = torch.tensor([[[0.0], [1.0], [4.0], [9.0], [16.0], [25.0]]]).repeat(2, 1, 1)
    expected: list[list[int]] = []
    errors = []
    for length in (6, 4):
        frames = [*range(step, length - 1, step), length - 1]
        expected.append(frames)
        errors += [((1.0 + k) - float(s * s)) ** 2 for k, s in enumerate(frames)]
    found = skip_loss(
        lambda x: x + 1, x, torch.tensor([6, 4]), shortest=step, horizon=step, loss=squared_error
    )
    assert [[t for t in path if t >= 0] for path in found.matched.T.tolist()] == expected
    assert float(found.loss) == pytest.approx(sum(errors) / len(errors))


def test_a_horizon_beyond_every_end_is_as_if_none() -> None:
    x = torch.rand(3, 7, 2, generator=torch.Generator().manual_seed(0))
    near, far = (skip_loss(lambda x: x / 2, x, horizon=h, loss=squared_error) for h in (6, 10**30))
    assert near.loss == far.loss
    assert torch.equal(near.matched, far.matched)


def test_of_equal_frames_the_first_is_matched() -> None:
    """A ball at rest: rounding must not tell equal frames apart."""
    generator = torch.Generator().manual_seed(0)
    for numbers in (1, 3, 7, 64, 1001):
        for loss in (binary_cross_entropy, squared_error):
            still = torch.rand(3, 1, numbers, generator=generator).expand(3, 22, numbers)
            found = skip_loss(lambda x: 0.9 * x + 0.05, still, loss=loss)
            assert found.matched.tolist() == [[t] * 3 for t in range(1, 22)]


def test_batch_norm_sees_those_that_run() -> None:
    """Statistics of each step are those of its own trajectories; the oracle batches by steps."""
    torch.manual_seed(0)
    f = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1),
        nn.Sigmoid(),
    ).double()  # fmt: skip
    other = copy.deepcopy(f)
    x, lengths = torch.rand(4, 9, 1, 4, 5).double(), [9, 4, 6, 2]
    found = skip_loss(f, x, torch.tensor(lengths), horizon=3)

    at, fed, losses, path = [0] * 4, {b: x[b, 0] for b in range(4)}, [], []
    while any(at[b] < lengths[b] - 1 for b in range(4)):
        running = [b for b in range(4) if at[b] < lengths[b] - 1]
        predictions = other(torch.stack([fed[b] for b in running]))
        for b, prediction in zip(running, predictions, strict=True):
            window = range(at[b] + 1, min(at[b] + 3, lengths[b] - 1) + 1)
            costs = [cross_entropy(prediction, x[b, s]).mean() for s in window]
            at[b] = window[min(range(len(window)), key=lambda j: float(costs[j].detach()))]
            losses.append(cross_entropy(prediction, x[b, at[b]]).mean())
            fed[b] = prediction
        path.append([at[b] if b in running else -1 for b in range(4)])
    assert found.matched.tolist() == path
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(found.loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(found.loss, f), gradients(expected, other))
    torch.testing.assert_close(dict(f.named_buffers()), dict(other.named_buffers()))


def test_exploration_draws_every_frame_as_often() -> None:
    x = torch.rand(4000, 9, 1, generator=torch.Generator().manual_seed(0))
    observed = torch.ones(4000, 9, dtype=torch.bool)
    for missing, frames in (([], [1, 2, 3, 4, 5]), ([2, 5], [1, 3, 4])):
        observed[:, missing] = False
        generator = torch.Generator().manual_seed(1)
        found = skip_loss(lambda x: x, x, horizon=5, exploration=1.0, generator=generator,
                          observed=observed)  # fmt: skip
        drawn = torch.bincount(found.matched[0], minlength=9)[frames] / 4000
        assert int(torch.bincount(found.matched[0], minlength=9)[frames].sum()) == 4000
        p = 1 / len(frames)
        assert float((drawn - p).abs().max()) < 4.5 * (p * (1 - p) / 4000) ** 0.5


def test_only_matched_frames_have_gradient_and_targets_have_none() -> None:
    x = torch.rand(1, 7, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    f = Net((2,), 0).float()
    grad = torch.autograd.grad(skip_loss(f, x, horizon=3).loss, x)[0]
    assert bool(grad[0, 0].any())
    assert not bool(grad[0, 1:].any())
    found = skip_loss(f, x, horizon=3, teacher_forcing=1.0)
    grad = torch.autograd.grad(found.loss, x)[0]
    fed = {0, *found.matched[:-1, 0].tolist()}
    assert {t for t in range(7) if bool(grad[0, t].any())} == fed


def _one_pixel_of_a_thousand(dtype: torch.dtype) -> tuple[nn.Module, Tensor]:
    """Frame t is brighter in pixel t; the model is surest of pixel 4."""
    x = torch.full((1, 6, 1000), 0.5)
    for t in range(6):
        x[0, t, t] = 1.0
    f = nn.Sequential(nn.Linear(1000, 1000), nn.Sigmoid())
    with torch.no_grad():
        f[0].weight.zero_()
        f[0].bias.fill_(2.0)
        f[0].bias[4] = 5.0
    return f.to(dtype), x.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_low_precision_searches_in_float32(dtype: torch.dtype) -> None:
    f, x = _one_pixel_of_a_thousand(dtype)
    found = skip_loss(f, x, horizon=5)
    assert found.matched[0].tolist() == [4]
    assert found.loss.dtype == torch.promote_types(dtype, torch.float32)


def test_autocast_searches_in_float32() -> None:
    f, x = _one_pixel_of_a_thousand(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = skip_loss(f, x, horizon=5)
        assert f(x).dtype == torch.bfloat16
    assert found.matched[0].tolist() == [4]
    found.loss.backward()
    assert f[0].bias.grad is not None


def test_missing_frames_by_hand() -> None:
    """Noise at every other frame is skipped; a gap longer than the horizon is jumped."""
    x = torch.tensor([0.0, 9, 1, 9, 2, 9, 9, 9, 3])[None, :, None]
    observed = x[..., 0] != 9
    found = skip_loss(lambda x: x + 1, x, horizon=2, observed=observed, loss=squared_error)
    assert found.matched[:, 0].tolist() == [2, 4, 8]
    assert float(found.loss) == 0
    noisy = skip_loss(lambda x: x + 1, x, horizon=4, loss=squared_error)
    assert noisy.matched[:, 0].tolist() == [2, 4, 8]


def test_cumulants_by_hand() -> None:
    x = torch.tensor([0.0, 1, 2, 3, 4])[None, :, None]
    reward = torch.tensor([[100.0, 1, 2, 3, 4]])

    def f(x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 2, 4 * x[:, 0]

    found = skip_loss(f, x, horizon=3, loss=squared_error, cumulants=reward, cumulant_weight=0.1)
    assert found.matched[:, 0].tolist() == [2, 4]
    assert float(found.loss) == pytest.approx(0.1 * ((1 + 2 - 0) ** 2 + (3 + 4 - 8) ** 2) / 2)


def test_actions_by_hand() -> None:
    """A model that adds the next two actions up lands two frames later."""
    actions = torch.tensor([[1.0, 2, 4, 8, 16, 32]])[..., None]
    x = torch.cat([torch.zeros(1, 1, 1), actions.cumsum(1)[:, :-1]], 1)
    masks = []

    def f(x: Tensor, ahead: Tensor, mask: Tensor) -> Tensor:
        masks.append(mask.int().tolist())
        return x + ahead[:, :2].sum(1)

    found = skip_loss(f, x, horizon=3, loss=squared_error, actions=actions)
    assert found.matched[:, 0].tolist() == [2, 4, 5]
    assert float(found.loss) == 0
    assert masks == [[[1, 1, 1]], [[1, 1, 1]], [[1, 0, 0]]]


def test_context_by_hand() -> None:
    """A velocity is seen in two frames; the model goes on by twice of it."""
    x = torch.arange(8.0)[None, :, None]
    seen = []

    def f(pair: Tensor) -> Tensor:
        seen.append(pair[0, :, 0].tolist())
        return 2 * pair[:, 1] - pair[:, 0] + 1

    found = skip_loss(f, x, horizon=5, loss=squared_error, context=2)
    assert found.matched[:, 0].tolist() == [3, 6, 7]
    assert found.skips[:, 0].tolist() == [2, 3, 1]
    assert seen == [[0.0, 1.0], [1.0, 3.0], [3.0, 6.0]]


class TestRefused:
    x = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))

    @pytest.mark.parametrize(
        ("options", "match"),
        [
            ({"lengths": torch.tensor([6, 2])}, "`lengths` should be at most 5.*Found 6"),
            ({"lengths": torch.tensor([5, 1])}, "`lengths` should be at least 2.*Found 1"),
            ({"lengths": torch.tensor([5, 2]), "context": 2}, "`lengths` should be at least 3"),
            ({"lengths": torch.tensor([5])}, "`lengths`.*2 integers"),
            ({"lengths": torch.tensor([5.0, 2.0])}, "`lengths`.*integers"),
            ({"horizon": 0}, "`horizon`.*positive integer"),
            ({"shortest": 0}, "`shortest`.*positive integer"),
            ({"shortest": 4, "horizon": 3}, "`shortest` should be at most the horizon, 3"),
            ({"exploration": 1.1}, "`exploration`.*at most 1"),
            ({"exploration": -0.1}, "`exploration`.*at least 0"),
            ({"teacher_forcing": 2}, "`teacher_forcing`.*at most 1"),
            ({"context": 0}, "`context`"),
            ({"cumulant_weight": -1.0}, "`cumulant_weight`"),
            ({"loss": nn.functional.mse_loss}, "`loss` should average nothing"),
            ({"observed": torch.ones(2, 4, dtype=torch.bool)}, "`observed`"),
            ({"observed": torch.ones(2, 5)}, r"`observed`.*bool.*\(2, 5\) torch.float32"),
            ({"cumulants": torch.ones(2, 4)}, "`cumulants`"),
            ({"cumulants": torch.ones(2, 5)}, "`f` should return a pair"),
            ({"actions": torch.ones(2, 5)}, "`actions`"),
        ],
    )  # fmt: skip
    def test_options(self, options: dict[str, Any], match: str) -> None:
        with pytest.raises(InvalidInput, match=match):
            skip_loss(lambda x: x, self.x, **options)

    @pytest.mark.parametrize(
        "x", [torch.rand(3, 4), torch.rand(2, 5, 0), torch.ones(2, 5, 3, dtype=torch.uint8), "x"]
    )
    def test_trajectories(self, x: Any) -> None:
        with pytest.raises(InvalidInput, match="`trajectories`"):
            skip_loss(lambda x: x, x)

    @pytest.mark.parametrize(
        "f", [lambda x: x[:, :2], lambda x: x[:1], lambda x: (x, x), lambda x: x.sum()]
    )
    def test_models(self, f: Any) -> None:
        with pytest.raises(InvalidInput, match=r"`f` should return a frame for each.*\(2, 3\)"):
            skip_loss(f, self.x)

    def test_a_cumulant_of_another_shape(self) -> None:
        with pytest.raises(InvalidInput, match=r"cumulant for each frame, \(2,\)"):
            skip_loss(lambda x: (x, x), self.x, cumulants=torch.ones(2, 5))

    def test_frames_outside_the_cross_entropy(self) -> None:
        for wrong in (-0.01, 1.01, float("nan")):
            x = self.x.clone()
            x[1, 3, 2] = wrong
            with pytest.raises(InvalidInput, match=f"Found {wrong:g} in frame 3 of trajectory 1"):
                skip_loss(lambda x: x, x)
            skip_loss(lambda x: x, x, torch.tensor([5, 3]))
            there = torch.ones(2, 5, dtype=torch.bool)
            there[1, 3] = False
            skip_loss(lambda x: x, x, observed=there)

    def test_nothing_observed(self) -> None:
        there = torch.ones(2, 5, dtype=torch.bool)
        there[1, 0] = False
        with pytest.raises(InvalidInput, match=r"first frame.*trajectory 1"):
            skip_loss(lambda x: x, self.x, observed=there)
        there[1] = torch.tensor([True, False, False, True, True])
        with pytest.raises(InvalidInput, match=r"after those.*trajectory 1"):
            skip_loss(lambda x: x, self.x, torch.tensor([5, 3]), observed=there)

    def test_not_finite(self) -> None:
        calls = []

        def f(x: Tensor) -> Tensor:
            calls.append(len(x))
            return x if len(calls) < 3 else x * torch.nan

        with pytest.raises(Diverged, match="loss of step 2 is nan"):
            skip_loss(f, self.x, horizon=1, loss=squared_error)
        with pytest.raises(Diverged, match=r"step 0 is nan.*sigmoid"):
            skip_loss(lambda x: x + 2, self.x)

    def test_frames_that_are_not_finite_are_told_from_a_model_that_diverged(self) -> None:
        x = self.x.clone()
        x[1, 2] = torch.nan
        with pytest.raises(InvalidInput, match=r"be finite\. Found nan in frame 2 of trajectory 1"):
            skip_loss(lambda x: x, x, horizon=1, loss=squared_error)
        lengths = torch.tensor([x.shape[1], 2, *[x.shape[1]] * (len(x) - 2)])
        assert bool(skip_loss(lambda x: x, x, lengths, loss=squared_error).loss.isfinite())

    def test_trajectories_of_one_frame(self) -> None:
        told = r"`trajectories` should be of 2 frames or more.*Found 1"
        with pytest.raises(InvalidInput, match=told):
            skip_loss(lambda x: x, self.x[:, :1])

    def test_what_is_not_finite_is_named(self) -> None:
        gained = torch.ones(2, 5)
        with pytest.raises(Diverged, match=r"is inf\. The cumulant that f returned is not finite"):
            skip_loss(lambda x: (x.sigmoid(), x.sum(1) / 0), self.x, cumulants=gained)
        pushes = torch.zeros(2, 5, 1)
        pushes[:, 4] = torch.nan  # Nothing is done after the last frame.

        def driven(x: Tensor, ahead: Tensor, mask: Tensor) -> Tensor:
            return (x + ahead.sum((1, 2))[:, None]).sigmoid()

        assert bool(skip_loss(driven, self.x, actions=pushes).loss.isfinite())
        pushes[1, 2, 0] = torch.nan
        with pytest.raises(InvalidInput, match=r"`actions` should be finite.*nan.* at \[1, 2\]"):
            skip_loss(driven, self.x, actions=pushes)

    def test_cumulants_that_are_not_finite(self) -> None:
        def f(x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x.flatten(1).sum(1)

        gained = torch.ones(self.x.shape[:2])
        gained[:, 0] = torch.nan  # Nothing arrives there.
        assert bool(skip_loss(f, self.x, cumulants=gained).loss.isfinite())
        gained[1, 2] = torch.inf
        with pytest.raises(InvalidInput, match=r"`cumulants` should be finite.*inf at \[1, 2\]"):
            skip_loss(f, self.x, cumulants=gained)
