"""Streamed votes against a loop over environments, layer by layer."""

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import optimizer
from torch.utils.checkpoint import checkpoint

from didact import InvalidInput
from didact.agreement import _environments as environments_module
from didact.agreement import _streamable, agreement, and_mask, environment_backward
from didact.agreement._votes import votes_of


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.first(x), inplace=False))


class Attention(nn.Module):
    """Of its own layers, not of torch's module."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(6, 6, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return (self.q(x) @ self.k(x).mT).softmax(-1) @ self.v(x)


def _image(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 3), (6,)),
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)), (6,)
    ),
    "residual": (lambda: nn.Sequential(Residual(), nn.LayerNorm(6), nn.Linear(6, 3)), (6,)),
    "sequence": (
        lambda: nn.Sequential(nn.Linear(6, 6), nn.RMSNorm(6), Attention(), nn.Flatten(),
                              nn.Linear(30, 3)), (5, 6),
    ),
    "frozen": (
        lambda: nn.Sequential(nn.Linear(6, 8).requires_grad_(False), nn.Tanh(), nn.Linear(8, 3)),
        (6,),
    ),
    "conv1d": (
        lambda: _image(nn.Conv1d(2, 4, 3, stride=2, dilation=2, padding=2), nn.ReLU()), (2, 9)
    ),
    "conv2d": (
        lambda: _image(
            nn.Conv2d(2, 6, 3, padding=1, padding_mode="circular"), nn.GroupNorm(2, 6), nn.ReLU(),
            nn.Conv2d(6, 4, (2, 3), stride=(1, 2), groups=2, bias=False),
        ), (2, 5, 6),
    ),
    "conv2d same": (lambda: _image(nn.Conv2d(2, 3, (3, 5), padding="same")), (2, 5, 5)),
    "conv3d": (lambda: _image(nn.Conv3d(2, 3, 2, dilation=(1, 2, 1))), (2, 3, 4, 3)),
    "batch norm in eval mode": (
        lambda: _image(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU()).eval(), (2, 4, 4)
    ),
}  # fmt: skip


def _made(name: str, batch: int, seed: int) -> tuple[nn.Module, Tensor, Tensor]:
    make, shape = MODELS[name]
    torch.manual_seed(seed)
    model = make().double()
    x, y = torch.randn(batch, *shape).double(), torch.randn(batch, 3).double()
    with torch.no_grad():
        model(x)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    model.zero_grad()
    return model, x, y


def _loop(model: nn.Module, x: Any, y: Tensor, of: Tensor, threshold: float) -> dict[str, Tensor]:
    """One backward pass for each environment, stacked, masked by the function."""
    stacked: dict[str, list[Tensor]] = {}
    for e in of.unique():
        there = of == e
        model.zero_grad()
        F.mse_loss(model(x[there]), y[there]).backward()
        for name, p in model.named_parameters():
            if p.requires_grad:
                grad = torch.zeros_like(p) if p.grad is None else p.grad.clone()
                stacked.setdefault(name, []).append(grad)
    model.zero_grad()
    return {name: and_mask(torch.stack(grads), threshold) for name, grads in stacked.items()}


def _grads(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


OF = {
    "each": torch.arange(12),
    "pairs": torch.arange(12) // 2,
    "mixed": torch.arange(12) % 3 + 7,
    "ragged": torch.tensor([0, 0, 0, 0, 0, 1, 2, 2, 0, 3, 3, 3]),
}


@pytest.mark.parametrize("of", OF)
@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_loop_over_environments(name: str, of: str) -> None:
    for threshold in (0.0, 0.5, 1.0):
        model, x, y = _made(name, 12, seed=len(name))
        expected = _loop(model, x, y, OF[of], threshold)
        with agreement(model, environments=OF[of], threshold=threshold) as found:
            F.mse_loss(model(x), y).backward()
        assert found.environments == len(OF[of].unique())
        grads = _grads(model)
        assert set(grads) == set(expected) == set(found.kept)
        for key, grad in grads.items():
            torch.testing.assert_close(grad, expected[key], rtol=1e-9, atol=1e-12, msg=key)
            share = float((expected[key] != 0).double().mean())
            assert found.kept[key] >= share - 1e-6
            assert bool((found.masks[key] >= (expected[key] != 0).float()).all())


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=2, max_size=9).filter(lambda ids: len(set(ids)) > 1),
    st.sampled_from(["perceptron", "sequence", "conv2d"]),
    st.sampled_from([0.0, 0.34, 0.6, 1.0]),
)
def test_ragged_environments_in_any_order(ids: list[int], name: str, threshold: float) -> None:
    of = torch.tensor(ids)
    model, x, y = _made(name, len(ids), seed=sum(ids))
    expected = _loop(model, x, y, of, threshold)
    with agreement(model, environments=of, threshold=threshold):
        F.mse_loss(model(x), y).backward()
    for key, grad in _grads(model).items():
        torch.testing.assert_close(grad, expected[key], rtol=1e-9, atol=1e-12)


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for chunk in (1, 200, 1 << 21):
        monkeypatch.setattr(environments_module, "CHUNK", chunk)
        model, x, y = _made("conv2d", 12, seed=0)
        with agreement(model, environments=OF["ragged"], threshold=0.6):
            F.mse_loss(model(x), y).backward()
        found.append(_grads(model))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(7, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.table(x).mean(1))


@pytest.mark.parametrize("of", OF)
def test_embeddings(of: str) -> None:
    torch.manual_seed(0)
    model, x, y = Words().double(), torch.randint(7, (12, 5)), torch.randn(12, 3).double()
    expected = _loop(model, x, y, OF[of], 0.5)
    with agreement(model, environments=OF[of], threshold=0.5):
        F.mse_loss(model(x), y).backward()
    for key, grad in _grads(model).items():
        torch.testing.assert_close(grad, expected[key], rtol=1e-9, atol=1e-12)


def test_without_environments_every_example_is_one() -> None:
    model, x, y = _made("perceptron", 12, seed=1)
    expected = _loop(model, x, y, torch.arange(12), 0.6)
    with agreement(model, threshold=0.6, rescale=True) as found:
        F.mse_loss(model(x), y).backward()
    for key, grad in _grads(model).items():
        torch.testing.assert_close(grad * found.kept[key], expected[key], rtol=1e-5, atol=1e-9)


def test_gradients_accumulate_over_batches() -> None:
    model, x, y = _made("perceptron", 12, seed=1)
    expected = _loop(model, x, y, torch.arange(12), 0.6)
    with agreement(model, threshold=0.6) as found:
        for part in (slice(0, 4), slice(4, 12)):
            (F.mse_loss(model(x[part]), y[part], reduction="sum") / 36).backward()
    assert found.environments == 12
    for key, grad in _grads(model).items():
        torch.testing.assert_close(grad, expected[key], rtol=1e-9, atol=1e-12)


def test_dropout_under_equal_masks() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    x, y = torch.randn(6, 6).double(), torch.randn(6, 3).double()
    state = torch.get_rng_state()
    with agreement(model, threshold=0.6):
        F.mse_loss(model(x), y).backward()
    streamed = {name: grad.clone() for name, grad in _grads(model).items()}
    torch.set_rng_state(state)
    losses = list(F.mse_loss(model(x), y, reduction="none").mean(1))
    environment_backward(losses, model, threshold=0.6)
    torch.testing.assert_close(_grads(model), streamed, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_votes_as_its_own_gradients_do(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    x, y = torch.randn(12, 16), torch.randn(12, 3)
    with agreement(model, threshold=0.6) as found, torch.autocast("cpu", dtype):
        F.mse_loss(model(x).float(), y).backward()
    half = {name: grad.clone() for name, grad in _grads(model).items()}
    with torch.autocast("cpu", dtype):
        losses = [F.mse_loss(model(x[i]).float(), y[i]) for i in range(12)]
    other = environment_backward(losses, model, threshold=0.6)
    for name, grad in _grads(model).items():
        assert abs(found.kept[name] - other.kept[name]) < 0.05
        different = (grad == 0) != (half[name] == 0)  # votes of rounding errors
        assert float(different.float().mean()) < 0.02
        torch.testing.assert_close(half[name][~different], grad[~different], rtol=0.05, atol=0.01)


def test_a_model_in_lower_precision() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)).bfloat16()
    with agreement(model, threshold=0.05) as found:
        model(torch.randn(300, 16).bfloat16()).float().square().mean().backward()
    assert found.environments == 300
    assert 0 < min(found.kept.values()) < 1


def test_environment_backward_takes_any_module() -> None:
    """A shared layer, a recurrent one, BatchNorm in training mode."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.shared = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 6)
            self.norm, self.out = nn.BatchNorm1d(6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.rnn(x)[0][:, -1]
            return self.out(self.norm(self.shared(self.shared(h))))

    torch.manual_seed(0)
    model = Odd().double()
    twin = copy.deepcopy(model)
    x, y = torch.randn(4, 5, 2, 6).double(), torch.randn(4, 5, 3).double()
    found = environment_backward(
        (F.mse_loss(model(a), b) for a, b in zip(x, y, strict=True)), model, threshold=0.5
    )
    assert found.environments == 4
    stacked: dict[str, list[Tensor]] = {}
    for a, b in zip(x, y, strict=True):
        twin.zero_grad()
        F.mse_loss(twin(a), b).backward()
        for name, p in twin.named_parameters():
            stacked.setdefault(name, []).append(p.grad.clone())
    for name, grad in _grads(model).items():
        torch.testing.assert_close(grad, and_mask(torch.stack(stacked[name]), 0.5))


def _fit(model: nn.Module, x: Tensor, **options: Any) -> None:
    with agreement(model, **options):
        model(x).square().mean().backward()


class Twice(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.layer, self.how = nn.Linear(4, 4), how
        if how == "owned":
            self.scale = nn.Parameter(torch.ones(4))
        if how == "shared":
            self.other = nn.Linear(4, 4)
            self.other.weight = self.layer.weight

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "twice":
                return self.layer(self.layer(x))
            case "functional":
                return self.layer(x) + F.linear(x, self.layer.weight)
            case "only functional":
                return F.linear(x, self.layer.weight)
            case "tokens":
                return self.layer(x.reshape(-1, 4))
            case "owned":
                return self.layer(x) * self.scale
            case _:
                return self.other(self.layer(x))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Twice("twice"), "`layer` should be used once.*environment_backward"),
        (Twice("functional"), "Gradients of layer `layer` should come from its own calls"),
        (Twice("only functional"), "come from its own calls alone. Found some of its weight"),
        (Twice("owned"), r"`Twice` \(Twice\) with the parameters scale"),
        (Twice("shared"), "share parameters. Found `other.weight`, which is `layer.weight`"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), r"`1` \(BatchNorm1d\) with statistics"),
        (nn.GRU(4, 4), r"`GRU` \(GRU\) with the parameters weight_ih_l0"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), "Trained modules should be"),
        (nn.Linear(4, 4).requires_grad_(False), "parameters that are trained"),
        (nn.Sequential(nn.Embedding(4, 4, max_norm=1.0)), "no max_norm"),
    ],
)
def test_what_cannot_be_streamed_is_refused(model: nn.Module, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        _fit(model, torch.randn(6, 4))


def test_attention_of_torch_is_refused() -> None:
    model = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    with pytest.raises(InvalidInput, match=r"`self_attn` \(MultiheadAttention\)"):
        _fit(model, torch.randn(6, 3, 4))


def test_bad_input_is_said() -> None:
    model, x = nn.Linear(4, 4), torch.randn(6, 4)
    with pytest.raises(InvalidInput, match=r"`threshold`.*at most 1"):
        _fit(model, x, threshold=1.5)
    with pytest.raises(InvalidInput, match=r"each of the 6 examples, \[6\]. Found \[5\]"):
        _fit(model, x, environments=torch.arange(5))
    with pytest.raises(InvalidInput, match=r"at least two different numbers. Found \[0\]"):
        _fit(model, x, environments=torch.zeros(6, dtype=torch.long))
    with pytest.raises(InvalidInput, match="at least two: examples"):
        _fit(model, x[:1])
    with pytest.raises(InvalidInput, match=r"`layer` should get \[batch = 3"):
        _fit(Twice("tokens"), torch.randn(3, 2, 4))
    with (
        pytest.raises(InvalidInput, match=r"a forward and a backward pass\. Found none"),
        agreement(model),
    ):
        model(x)
    model(x).sum().backward()
    with pytest.raises(InvalidInput, match="None or 0 before"):
        _fit(model, x)
    model.zero_grad(set_to_none=False)
    _fit(model, x)
    sums = nn.Linear(4, 4)

    def twice() -> None:
        with agreement(sums):
            loss = sums(x).square().sum()
            loss.backward(retain_graph=True)
            loss.backward()

    with pytest.raises(InvalidInput, match=r"one backward pass\. Found a second"):
        twice()
    with pytest.raises(InvalidInput, match=r"one for each environment\. Found 1"):
        environment_backward([sums(x).sum()], sums)
    with pytest.raises(InvalidInput, match="finite scalars"):
        environment_backward([sums(x).sum() * torch.nan], sums)


def test_a_step_in_the_block_is_refused() -> None:
    model, other = nn.Linear(4, 4), nn.Linear(4, 4)

    def train(stepped: nn.Module) -> None:
        with agreement(model):
            model(torch.randn(6, 4)).square().mean().backward()
            torch.optim.SGD(stepped.parameters()).step()

    train(other)
    model.zero_grad()
    with pytest.raises(InvalidInput, match="after the block"):
        train(model)


def test_what_is_not_finite_passes_as_in_plain_backprop() -> None:
    """A GradScaler waits for it."""
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), torch.randn(6, 4)
    x[2, 1] = torch.inf
    with agreement(model, threshold=0.9):
        model(x).square().mean().backward()
    assert not model[0].weight.grad.isfinite().all()


def test_differentiating_through_a_backward_pass_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.GroupNorm(2, 4))
    for layers in (model, model[1:]):
        with pytest.raises(InvalidInput, match="create_graph"), agreement(layers):
            layers(torch.randn(6, 4)).square().mean().backward(create_graph=True)


def test_layers_have_their_names() -> None:
    shared = nn.Linear(4, 4)
    model = nn.ModuleDict({"b": nn.Sequential(shared, Residual()), "a": nn.ModuleList([shared])})
    model.register_module("none", None)
    assert _streamable._modules(model) == list(model.named_modules())


@pytest.mark.parametrize("change", ["divided", "flattened", "sigmoid"])
def test_weights_of_ragged_environments_reach_what_is_made_of_outputs(change: str) -> None:
    def loss(out: Tensor, y: Tensor) -> Tensor:
        if change == "divided":
            out /= 2
        elif change == "sigmoid":
            out.sigmoid_()
        else:
            out, y = out.flatten(), y.flatten()
        return F.mse_loss(out, y)

    model, x, y = _made("conv2d", 12, seed=3)
    stacked = []
    for e in OF["ragged"].unique():
        model.zero_grad()
        loss(model(x[OF["ragged"] == e]), y[OF["ragged"] == e]).backward()
        stacked.append({n: g.clone() for n, g in _grads(model).items()})
    model.zero_grad()
    with agreement(model, environments=OF["ragged"], threshold=0.6):
        loss(model(x), y).backward()
    for key, grad in _grads(model).items():
        expected = and_mask(torch.stack([of[key] for of in stacked]), 0.6)
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-12)


def test_a_backward_pass_after_the_block_is_refused() -> None:
    model, x, _ = _made("perceptron", 12, seed=1)
    with agreement(model):
        model(x).square().mean().backward()
        later = model(x).sum()
    before = {name: grad.clone() for name, grad in _grads(model).items()}
    with pytest.raises(InvalidInput, match=r"in the block\. Found one after it"):
        later.backward()
    torch.testing.assert_close(_grads(model), before)


def test_a_forward_pass_without_a_backward_has_no_votes() -> None:
    model, x, y = _made("perceptron", 12, seed=1)
    expected = _loop(model, x, y, OF["ragged"], 0.6)
    with agreement(model, environments=OF["ragged"], threshold=0.6) as found:
        F.mse_loss(model(x), y).backward()
        assert len(model(x).argmax(1)) == 12
    assert found.environments == 4
    torch.testing.assert_close(_grads(model), expected, rtol=1e-9, atol=1e-12)


def test_a_layer_that_is_not_used_has_no_gradient() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model.forward = model[0].__call__
    with agreement(model) as found:
        model(torch.randn(6, 4)).square().mean().backward()
    assert set(found.kept) == {"0.weight", "0.bias"}
    assert model[1].weight.grad is None
    assert "forward" in model.__dict__


def test_gradients_may_be_zeros_of_somebody_else() -> None:
    model, x = nn.Linear(4, 4), torch.randn(6, 4)
    model.weight.grad = held = torch.zeros(4, 4)
    with agreement(model, threshold=0.0):
        model(x).square().mean().backward()
    assert model.weight.grad is held
    plain = torch.autograd.grad(model(x).square().mean(), model.weight)[0]
    torch.testing.assert_close(held, plain)


def test_hooks_of_parameters_are_refused() -> None:
    model = nn.Linear(4, 4)
    model.weight.register_hook(lambda grad: 2 * grad)
    with pytest.raises(
        InvalidInput, match=r"no hooks on their gradients\. Found one of the weight"
    ):
        _fit(model, torch.randn(6, 4))


def test_hooks_are_gone_afterwards() -> None:
    model, x = nn.Linear(4, 4), torch.randn(6, 4)
    with agreement(model):
        model(x).square().mean().backward()
    other = copy.deepcopy(model)
    other.zero_grad()
    with pytest.raises(RuntimeError, match="of the user"), agreement(other):
        raise RuntimeError("of the user")
    assert not other._forward_hooks
    model.zero_grad()
    model(x).square().mean().backward()
    once = model.weight.grad.clone()
    fresh = copy.deepcopy(model)
    fresh.zero_grad()
    fresh(x).square().mean().backward()
    assert torch.equal(once, fresh.weight.grad)
    for module in (model, other):
        assert "forward" not in module.__dict__
    assert not optimizer._global_optimizer_pre_hooks


@pytest.mark.parametrize("name", ["perceptron", "conv2d"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_gradients_of_other_things_do_not_vote(name: str, when: str) -> None:
    model, x, y = _made(name, 12, seed=1)
    expected = _loop(model, x, y, OF["ragged"], 0.6)
    x.requires_grad_()
    saliency = torch.autograd.grad(F.mse_loss(model(x), y), x)[0]
    with agreement(model, environments=OF["ragged"], threshold=0.6) as found:
        loss = F.mse_loss(model(x), y)
        if when == "before":
            torch.testing.assert_close(torch.autograd.grad(loss, x, retain_graph=True)[0], saliency)
        loss.backward(retain_graph=when == "after")
        if when == "after":
            torch.testing.assert_close(torch.autograd.grad(loss, x)[0], saliency)
    assert found.environments == 4
    torch.testing.assert_close(_grads(model), expected, rtol=1e-9, atol=1e-12)


class Checkpointed(nn.Module):
    """Its inner layers are computed again on the way back."""

    def __init__(self, inner: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.first, self.inner, self.reentrant = nn.Linear(4, 5), inner, reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        if self.reentrant is None:
            return self.inner(x)
        return checkpoint(self.inner, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("reentrant", [True, False])
def test_layers_that_are_checkpointed(reentrant: bool) -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 2)).double()
    model = Checkpointed(inner, reentrant).double()
    x, y = torch.randn(12, 4).double(), torch.randn(12, 2).double()
    plain = copy.deepcopy(model)
    plain.reentrant = None
    expected = _loop(plain, x, y, OF["ragged"], 0.6)
    with agreement(model, environments=OF["ragged"], threshold=0.6):
        F.mse_loss(model(x), y).backward()
    torch.testing.assert_close(_grads(model), expected, rtol=1e-9, atol=1e-12)


def test_a_part_of_the_model_alone_is_refused() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), torch.randn(6, 4)
    with agreement(model):
        with pytest.raises(InvalidInput, match="its layer `0` alone"):
            model[0](x)
        model(x).sum().backward()
        with pytest.raises(InvalidInput, match="its layer `1` alone"):
            model[1](x)


def test_a_copy_in_the_block_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with agreement(model):
        for part in (model, model[0]):
            with pytest.raises(InvalidInput, match="copied outside of the block"):
                copy.deepcopy(part)
        model(torch.randn(6, 4)).sum().backward()


def test_a_backward_pass_under_autocast_is_as_one_outside() -> None:
    model, x, y = _made("perceptron", 12, seed=1)
    model, x, y = model.float(), x.float(), y.float()
    found = []
    for around in (False, True):
        model.zero_grad()
        with agreement(model, environments=OF["ragged"], threshold=0.6):
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.mse_loss(model(x).float(), y)
            with torch.autocast("cpu", torch.bfloat16, enabled=around):
                loss.backward()
        found.append({name: grad.clone() for name, grad in _grads(model).items()})
    torch.testing.assert_close(*found, rtol=0, atol=0)


def test_outputs_that_nothing_needs_are_freed() -> None:
    kept: list[Any] = []

    class Seen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            kept.append(weakref.ref(x.untyped_storage()))
            return x.relu()

    model = nn.Sequential(*[m for _ in range(3) for m in (nn.Conv1d(2, 2, 1), Seen())])
    with agreement(model):
        loss = model(torch.randn(4, 2, 8)).sum()
        assert [ref() for ref in kept] == [None] * 3
        loss.backward()


def test_an_input_without_a_batch_is_refused() -> None:
    model = nn.Conv1d(4, 4, 1)
    with pytest.raises(InvalidInput, match=r"should get \[batch = 4, …\]\. Found \[4, 5\]"):
        _fit(model, torch.randn(4, 5))


def test_padding_that_was_changed_is_seen() -> None:
    torch.manual_seed(0)
    model, x = nn.Conv1d(2, 3, 3, padding=1).double(), torch.randn(4, 2, 6).double()
    model.padding = (2,)
    with agreement(model, threshold=1.0) as found:
        model(x).square().sum().backward()
    each = [torch.autograd.grad(model(one[None]).square().sum(), model.weight)[0] for one in x]
    assert torch.equal(found.masks["weight"], (votes_of(torch.stack(each)).abs() == 4).float())


def test_complex_parameters_are_refused() -> None:
    with pytest.raises(InvalidInput, match="real: complex numbers have no sign"):
        _fit(nn.Linear(4, 4, dtype=torch.complex64), torch.randn(6, 4))


def test_environment_backward_leaves_gradients_as_they_were_where_it_raises() -> None:
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)), torch.randn(3, 4)
    with torch.no_grad():
        model[1].weight[0, 1] = torch.inf
    losses = [torch.where(out.isfinite(), out, 0).sum() for out in model[0](x)]
    losses.append(model(x).clamp(-1, 1).mul(0).nan_to_num().sum())
    with pytest.raises(InvalidInput, match="should be finite"):
        environment_backward(losses, model)
    assert all(p.grad is None for p in model.parameters())
    with pytest.raises(InvalidInput, match=r"scalars. Found '\[3\] in number 0'"):
        environment_backward([x.sum(1)], model)
