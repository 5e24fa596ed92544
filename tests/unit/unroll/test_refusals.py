"""What would be wrong in silence is refused, and the message names it."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from didact._checks import Diverged, InvalidInput
from didact.unroll import SGD, Adam, NoSecondDerivative, functional, unroll

from ._asserts import assert_matches_plain_unroll, meta_loss, run_unroll
from ._oracle import Case, mlp_case, mlp_loss, mlp_theta, randn

THETA = {"w": randn(3, 3)}
X = randn(4, 5, 3, seed=1)
T = randn(4, 5, 3, seed=2).requires_grad_()
GLOBAL_WEIGHT = randn(3, seed=3).requires_grad_()


def train(loss: Any, theta: Any = THETA, **options: Any) -> Any:
    optimizer = options.pop("optimizer", SGD(0.1))
    return unroll(loss, theta, X, T.detach().requires_grad_(), optimizer, **options)


def through(operation: Any) -> Any:
    """A loss that has ``operation`` between its two ends."""

    def loss(theta, batch, target):
        return (operation(batch @ theta["w"]) - target).square().mean()

    return loss


# Captured tensors --------------------------------------------------------------------------------


class Trainer:
    """An object whose method is the loss and hides its teacher."""

    def __init__(self) -> None:
        self.teacher = nn.Linear(3, 3).double()

    def loss(self, theta: Any, batch: Tensor, target: Tensor) -> Tensor:
        return (batch @ theta["w"] - self.teacher(batch)).square().mean() + target.square().mean()


class Callable_:
    def __init__(self) -> None:
        self.scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def __call__(self, theta: Any, batch: Tensor, target: Tensor) -> Tensor:
        return self.scale * (batch @ theta["w"] - target).square().mean()


def with_global(theta: Any, batch: Tensor, target: Tensor) -> Tensor:
    return (batch @ theta["w"] * GLOBAL_WEIGHT - target).square().mean()


def with_extra(theta: Any, batch: Tensor, target: Tensor, extra: Any) -> Tensor:
    return (batch @ theta["w"] * extra["scale"] - target).square().mean()


def captured_in_closure() -> Any:
    hidden = randn(3).requires_grad_()
    return through(lambda z: z * hidden), "`operation.hidden`"


def captured_module() -> Any:
    teacher = nn.Linear(3, 3).double()

    def loss(theta, batch, target):
        return (batch @ theta["w"] - teacher(batch)).square().mean() + target.sum()

    return loss, "`teacher.weight`, `teacher.bias`"


def captured_result() -> Any:
    alpha = (2 * randn(1).requires_grad_()).exp()

    def loss(theta, batch, target):
        return (alpha * (batch @ theta["w"] - target)).square().mean()

    return loss, "`alpha`"


def captured_theta_0() -> Any:
    start = {"w": THETA["w"].clone().requires_grad_()}

    def loss(theta, batch, target):
        near = (theta["w"] - start["w"]).square().sum()
        return (batch @ theta["w"] - target).square().mean() + near

    return loss, "`start.w`"


def captured_beyond_reach() -> Any:
    boxes = [[[[[randn(3).requires_grad_()]]]]]
    return through(lambda z: z * boxes[0][0][0][0][0]), r"`a tensor of shape \(3,\)`"


CAPTURED = {
    "closure": captured_in_closure,
    "module": captured_module,
    "non-leaf": captured_result,
    "theta_0": captured_theta_0,
    "beyond reach": captured_beyond_reach,
    "global": lambda: (with_global, "`GLOBAL_WEIGHT`"),
    "method": lambda: (Trainer().loss, "`self.teacher.weight`, `self.teacher.bias`"),
    "callable": lambda: (Callable_(), "`scale`"),
    "partial": lambda: (
        functools.partial(with_extra, extra={"scale": GLOBAL_WEIGHT}),
        "`extra.scale`",
    ),
}


@pytest.mark.parametrize("where", CAPTURED)
@pytest.mark.parametrize("options", [{}, {"compile": True}], ids=["eager", "compiled"])
def test_captured_tensors_are_refused_by_name(where: str, options: Any) -> None:
    loss, names = CAPTURED[where]()
    with pytest.raises(InvalidInput, match=rf"`loss` should not capture tensors .* Found {names}"):
        train(loss, **options)


def test_captured_under_vmap() -> None:
    theta = {"w": randn(4, 3)}
    hidden = randn(3).requires_grad_()

    def loss(theta, batch, target):
        return (batch @ theta["w"] * hidden).sum() + target.sum()

    with pytest.raises(InvalidInput, match="Found `hidden`"):
        unroll(loss, theta, randn(2, 4, 3), randn(2, 4, 5), SGD(0.1), vmap=True)


def test_captured_constants_are_fine() -> None:
    teacher = nn.Linear(3, 3).double().requires_grad_(False)
    detached = GLOBAL_WEIGHT.detach()
    case = Case(
        through(lambda z: z * detached + teacher(z)), THETA, X, T.detach(), SGD(0.1, momentum=0.5)
    )
    assert_matches_plain_unroll(case)


# No second derivative ----------------------------------------------------------------------------


def squaring(name: str, backward: Any) -> Any:
    """x² as a custom Function with this backward."""

    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (torch.autograd.Function,), methods).apply


def exact(ctx: Any, g: Tensor) -> Tensor:
    return 2 * g * ctx.saved_tensors[0]


def without_grad(ctx: Any, g: Tensor) -> Tensor:
    with torch.no_grad():
        return 2 * g * ctx.saved_tensors[0]


def detached(ctx: Any, g: Tensor) -> Tensor:
    return 2 * g.detach() * ctx.saved_tensors[0]


def fused_attention(z: Tensor) -> Tensor:
    q = z.reshape(1, 1, 5, 3).expand(1, 2, 5, 3)
    out = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q)[0]
    return out.sum(1).reshape(5, 3)


def ctc(z: Tensor) -> Tensor:
    logits = z.log_softmax(-1)[:, None]
    size = torch.tensor([5]), torch.tensor([2])
    return z + nn.functional.ctc_loss(logits, torch.tensor([[1, 2]]), *size)


def nested_unroll(z: Tensor) -> Tensor:
    def inner(theta, batch, target):
        return (theta["z"] * batch).square().mean()

    return unroll(inner, {"z": z}, torch.ones(2, 1), None, SGD(0.1))["z"]


once = torch.autograd.function.once_differentiable
NO_SECOND: dict[str, tuple[Any, str]] = {
    "native fused attention": (fused_attention, "scaled_dot_product_flash_attention"),
    "native ctc": (ctc, "ctc_loss_backward"),
    "once_differentiable": (squaring("Once", once(exact)), "OnceBackward"),
    "no_grad": (squaring("Blind", without_grad), "BlindBackward"),
    "detached": (squaring("Cut", detached), "CutBackward"),
    "unroll in unroll": (nested_unroll, "UnrollBackward"),
    "reentrant checkpoint": (lambda z: checkpoint(torch.tanh, z, use_reentrant=True), "checkpoint"),
}


@pytest.mark.parametrize("name", NO_SECOND)
@pytest.mark.parametrize("rule", [SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.1)],
                         ids=["sgd", "momentum", "adam"])  # fmt: skip
@pytest.mark.parametrize("n", [1, 4])
def test_no_second_derivative_is_named(name: str, rule: Any, n: int) -> None:
    operation, found = NO_SECOND[name]
    targets = T[:n].detach().requires_grad_()
    with pytest.raises(NoSecondDerivative, match=rf"`\S*{found}\S*` has no second derivative"):
        meta_loss(unroll(through(operation), THETA, X[:n], targets, rule)).backward()


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_module_in_the_loss_is_named() -> None:
    compiled = torch.compile(lambda z: torch.tanh(z) * z, backend="aot_eager")
    with pytest.raises(NoSecondDerivative, match=r"`torch\.compile`"):
        meta_loss(train(through(compiled))).backward()


class StraightThrough(torch.autograd.Function):
    """Rounds, and passes the gradient on as if it did not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


class Reversed(torch.autograd.Function):
    """The gradient reversal of domain adaptation: 0 towards the second input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:
        return -g, torch.zeros_like(g)


LEGITIMATE = {
    "straight-through": StraightThrough.apply,
    "exact": squaring("Exact", exact),
    "reversal": lambda z: Reversed.apply(z, z.sin()) + z.tanh(),
    "checkpoint": lambda z: checkpoint(torch.tanh, z, use_reentrant=False),
    "detach": lambda z: z * z.tanh().detach(),
    "clamp": lambda z: z.clamp(-1, 1) + z.abs().sqrt(),
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_legitimate_operations_pass(name: str) -> None:
    loss = through(LEGITIMATE[name])
    for rule in (SGD(0.1), SGD(0.1, momentum=0.9), Adam(0.05)):
        assert_matches_plain_unroll(Case(loss, THETA, X, T.detach(), rule))


def test_a_custom_function_last_and_first() -> None:
    """The check must know the gradient that comes in when the function is the loss itself."""
    passed_on = lambda ctx, g: g  # noqa: E731
    cases = ((exact, False), (passed_on, False), (without_grad, True), (once(exact), True))
    for operation, refused in cases:
        apply = squaring("Last", operation)

        def loss(theta, batch, target, apply=apply):
            return apply((batch @ theta["w"] - target).mean())

        case = Case(loss, THETA, X, T.detach(), SGD(0.1))
        if refused:
            with pytest.raises(NoSecondDerivative, match="LastBackward"):
                meta_loss(train(loss)).backward()
        else:
            assert_matches_plain_unroll(case)


# Impure losses -----------------------------------------------------------------------------------


def impure_module_mode() -> Any:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).double()
    theta, buffers, call = functional(module)

    def loss(theta, buffers, batch, target):
        out, buffers = call(theta, buffers, batch)
        return (out - target).square().mean(), buffers

    return loss, theta, buffers, module.eval


def impure_generator() -> Any:
    generator = torch.Generator().manual_seed(0)

    def loss(theta, buffers, batch, target):
        noise = torch.randn(batch.shape, generator=generator, dtype=batch.dtype)
        return ((batch + noise) @ theta["w"] - target).square().mean(), buffers

    return loss, THETA, {}, lambda: None


def impure_counter() -> Any:
    state = SimpleNamespace(calls=0)

    def loss(theta, buffers, batch, target):
        state.calls += 1
        return (batch @ theta["w"] - target).square().mean() / state.calls, buffers

    return loss, THETA, {}, lambda: None


@pytest.mark.parametrize("make", [impure_module_mode, impure_generator, impure_counter])
def test_a_loss_that_changes_between_forward_and_backward_is_refused(make: Any) -> None:
    loss, theta, buffers, change = make()
    theta_n, _ = train(loss, theta, buffers=buffers)
    change()
    with pytest.raises(InvalidInput, match=r"same value whenever .* at inner step 0, .* backward"):
        meta_loss(theta_n).backward()


def test_a_mode_that_is_put_back_is_fine() -> None:
    loss, theta, buffers, _ = impure_module_mode()
    theta_n, _ = train(loss, theta, buffers=buffers)
    meta_loss(theta_n).backward()


@pytest.mark.parametrize("vmap", [False, True])
def test_a_loss_that_writes_to_its_arguments_is_refused(vmap: bool) -> None:
    def to_buffer(theta, buffers, batch, target):
        buffers["a"].add_(1)
        return (batch @ theta["w"]).sum() + target.sum(), buffers

    def to_batch(theta, buffers, batch, target):
        return (batch.mul_(2) @ theta["w"]).sum() + target.sum(), buffers

    lead = (2,) if vmap else ()
    for loss in (to_buffer, to_batch):
        with pytest.raises(InvalidInput, match="should not write to its arguments"):
            unroll(loss, {"w": randn(*lead, 3)}, randn(4, *lead, 5, 3), randn(4, *lead, 1),
                   SGD(0.1), buffers={"a": randn(*lead, 1)}, vmap=vmap)  # fmt: skip


@pytest.mark.parametrize("what", ["w1", "batches", "targets", "lr"])
def test_in_place_change_between_forward_and_backward_raises(what: str) -> None:
    lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    case = mlp_case(SGD(lr), 3)
    leaves = {k: t.clone().requires_grad_() for k, t in case.inputs().items()}
    theta, _ = run_unroll(case.with_inputs(leaves))
    key = {"w1": "theta_0.w1", "lr": "optimizer.lr"}.get(what, what)
    with torch.no_grad():
        leaves[key].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        meta_loss(theta).backward()


# Divergence --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 5])
def test_divergence_names_the_step(k: int) -> None:
    batches = randn(8, 5, 3)
    batches[k] = torch.nan
    case = mlp_case(SGD(0.1), 8)
    with pytest.raises(Diverged, match=rf"inner step {k} of 8 is not finite: nan"):
        unroll(mlp_loss, case.theta_0, batches, case.targets, SGD(0.1))


def test_divergence_under_vmap_and_by_learning_rate() -> None:
    def loss(theta, batch, target):
        return (theta["w"] * batch - target) ** 2

    lr = torch.tensor([0.1, 1e200], dtype=torch.float64)
    given = {"w": randn(2)}, randn(6, 2), randn(6, 2, seed=1)
    with pytest.raises(Diverged, match=r"inner step 1 of 6 .*: \[\d.*, inf\]. Lower the learning"):
        unroll(loss, *given, SGD(lr), vmap=True)


# Malformed arguments -----------------------------------------------------------------------------


def plain(theta: Any, batch: Any, target: Any) -> Tensor:
    return (batch @ theta["w"] - target).square().mean()


def buffered(theta: Any, buffers: Any, batch: Any, target: Any) -> Any:
    return plain(theta, batch, target), buffers


B = {"a": torch.ones(1)}
MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "loss": ({"loss": 3}, "`loss` should be a function of .* Found 3"),
    "loss vector": (
        {"loss": lambda th, x, t: (x @ th["w"]).sum(1)},
        r"`loss` .* one number \(a 0-d tensor\). Found \(5,\)",
    ),
    "loss float": ({"loss": lambda th, x, t: 1.0}, "`loss` .* one number .* Found 'float'"),
    "loss tuple": (
        {"loss": lambda th, x, t: (plain(th, x, t), {})},
        "`loss` .* one number .* Found 'tuple'",
    ),
    "loss of data": (
        {"loss": lambda th, x, t: x.sum()},
        "`loss` should be a function of `theta_0`. Found 'a value without gradient'",
    ),
    "loss of targets": (
        {"loss": lambda th, x, t: t.sum()},
        "`loss` should be a function of `theta_0`. Found 'a value that does not use it'",
    ),
    "theta list": ({"theta_0": [1]}, "`theta_0` should be a dict of tensors. Found 'list'"),
    "theta empty": ({"theta_0": {}}, "`theta_0` should be a dict of at least one float.* {}"),
    "theta integer": (
        {"theta_0": {"w": torch.ones(3, 3, dtype=torch.int64)}},
        "`theta_0` .* Found {'w': 'torch.int64'}",
    ),
    "no steps": (
        {"batches": None, "targets": None},
        r"`batches` and `targets` should be tensors with a leading step axis. Found \[\]",
    ),
    "scalar batch": ({"batches": torch.ones(())}, r"leading step axis. Found \[\(\), \(4, 5, 3\)"),
    "number target": ({"targets": 3.0}, r"leading step axis. Found \[\(4, 5, 3\), 'float'\]"),
    "lengths": (
        {"targets": T[:3]},
        r"`batches` and `targets` should have one .* equal length n ≥ 1. Found lengths \[3, 4\]",
    ),
    "length 0": ({"batches": X[:0], "targets": T[:0]}, r"n ≥ 1. Found lengths \[0\]"),
    "optimizer of torch": (
        {"optimizer": torch.optim.SGD([torch.ones(1, requires_grad=True)], 0.1)},
        "`optimizer` should be an instance of .* Found SGD",
    ),
    "optimizer class": ({"optimizer": SGD}, "`optimizer` should be an instance .* Found <class"),
    "truncate": ({"truncate": 0}, "`truncate` should be a positive integer. Found 0"),
    "truncate float": ({"truncate": 1.5}, "`truncate` should be a positive integer. Found 1.5"),
    "memory": ({"memory": 0}, "`memory` should be a positive integer. Found 0"),
    "memory small": (
        {"memory": 100},
        r"`memory` should be at least 15,384 bytes \(3 states for 4 steps\). Found 100",
    ),
    "buffers": ({"buffers": [1]}, "`buffers` should be a dict of tensors. Found 'list'"),
    "buffers unexpected": (
        {"loss": lambda th, b, x, t: plain(th, x, t), "buffers": B},
        r"`loss` should be a function that returns \(scalar, buffers\). Found 'Tensor'",
    ),
    "buffer missing": (
        {"loss": lambda th, b, x, t: (plain(th, x, t), {}), "buffers": B},
        "`loss` should be a function that returns the buffers `a`. Found {}",
    ),
    "buffer too many": (
        {"loss": lambda th, b, x, t: (plain(th, x, t), {**b, "c": b["a"]}), "buffers": B},
        "returns the buffers `a`. Found {'a': 'Tensor', 'c': 'Tensor'}",
    ),
    "buffer number": (
        {"loss": lambda th, b, x, t: (plain(th, x, t), {"a": 1.0}), "buffers": B},
        "returns the buffers `a`. Found {'a': 'float'}",
    ),
    "buffer with graph": (
        {"loss": lambda th, b, x, t: (plain(th, x, t), {"a": th["w"].sum()}), "buffers": B},
        "detach them in `loss`.* Found `a` with a gradient",
    ),
    "buffer given with gradient": (
        {"loss": buffered, "buffers": {"a": torch.ones(1, requires_grad=True)}},
        "Found `a` with a gradient",
    ),
    "vmap": (
        {"theta_0": {"w": randn(2, 3, 3)}, "vmap": True},
        r"`vmap`, .* leading axis \[S\].* Found sizes \[\(2,\), \(5,\)\]",
    ),
    "vmap of a vector": (
        {
            "loss": lambda th, x, t: x @ th["w"],
            "theta_0": {"w": randn(5, 3, 3)},
            "vmap": True,
        },
        r"`loss` .* one number \(a 0-d tensor\). Found \(5, 3\)",
    ),
    "hyper-parameter of another shape": (
        {"optimizer": SGD(torch.ones(2))},
        r"tensor of the leading axes of every parameter. Found shape \(2,\) .* \(3, 3\)",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_arguments_have_one_clear_message(name: str) -> None:
    change, message = MALFORMED[name]
    given = {"loss": plain, "theta_0": THETA, "batches": X, "targets": T, "optimizer": SGD(0.1)}
    with pytest.raises(InvalidInput, match=message) as caught:
        unroll(**{**given, **change})
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith((".", "…"))


def test_functional_refuses_what_is_no_module() -> None:
    with pytest.raises(InvalidInput, match=r"`module` should be a torch.nn.Module. Found 'dict'"):
        functional(mlp_theta())  # type: ignore[arg-type]


def test_the_result_is_differentiable_once() -> None:
    case = mlp_case(SGD(0.1), 3)
    targets = case.targets.requires_grad_()
    theta = unroll(mlp_loss, case.theta_0, case.batches, targets, SGD(0.1))
    g = torch.autograd.grad(meta_loss(theta), targets, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        g.square().sum().backward()
