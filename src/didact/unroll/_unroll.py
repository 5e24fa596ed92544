"""θ_n as one differentiable operation of θ_0 and of what each step was given."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._checks import Diverged, InvalidInput, check_integer, check_optimizer, invalid, shown
from .._params import Params, leaves, nbytes, tree_map, with_leaves
from ._checkpoints import backwards, branching, least, starts
from ._optimizers import Optimizer
from ._step import Loss, RandomState, Step, Student, keeping_random_state

_DEFAULT_MEMORY = 2**30


def unroll(
    loss: Loss,
    theta_0: Params,
    batches: Any,
    targets: Any,
    optimizer: Optimizer,
    *,
    buffers: Params | None = None,
    memory: int | None = None,
    truncate: int | None = None,
    vmap: bool = False,
    compile: bool = False,
) -> Any:
    r"""Train for n steps; the result is one differentiable node.

    ``θ_{i+1}, s_{i+1} = step(∇L(θ_i; batch_i, target_i), s_i, θ_i)``,  i = 0 … n−1

    Backward is the adjoint recursion: with (λ, ν) the adjoints of (θ_{i+1}, s_{i+1}), one
    vector-Jacobian product of the whole step gives those of (θ_i, s_i), of ``target_i`` and
    ``batch_i`` and of the optimizer's tensors (reverse over reverse, one step's graph at a time).
    States are kept, graphs are not: memory grows by at most one state per step, by √n states
    where ``memory`` asks for it, at the price of a second forward sweep.

    The gradient is exact. Random draws (dropout) are replayed from the global random state.
    Buffers (running statistics) are replayed too and are constants to differentiation.

    Reference: Maclaurin, Duvenaud & Adams 2015; Neitz, Parascandolo & Schölkopf 2021 (LDT).

    Args:
        loss: ``loss(theta, batch, target)`` → scalar, or, with ``buffers``,
            ``loss(theta, buffers, batch, target)`` → (scalar, new buffers). It must reach
            tensors that require gradients through its arguments only, and give the same value
            when backward replays a step (a module's train/eval mode must not have changed).
        theta_0: parameters by name, ``{name: [*shape]}``.
        batches: nested dicts, lists and tuples of tensors ``[n, ...]``, or ``None``.
        targets: likewise; typically one call of a teacher for all n steps.
        optimizer: ``SGD``, ``Adam``, ``AdamW``, or any ``Optimizer``. Its tensor fields receive
            gradients.
        buffers: state of the model that is not trained, by name.
        memory: bytes for kept states: all n while they fit, then √n, then more levels.
            ``None`` is 1 GiB, or what the fewest possible states need if that is more.
        truncate: differentiate through the last k steps only. **Biased**: earlier targets and
            ``theta_0`` receive no gradient, as if θ_{n−k} were a constant; k ≥ n truncates nothing.
        vmap: train S students at once: every tensor of ``theta_0`` and ``buffers`` has a leading
            axis [S], those of ``batches`` and ``targets`` have [n, S, ...]; ``loss`` is written
            for one. Hyper-parameters may be tensors [S].
        compile: compile the step and its adjoint with ``torch.compile``. Pays off over many
            calls with the same ``loss`` object and the same shapes.

    Returns:
        θ_n, or (θ_n, buffers_n) where buffers were given.

    Raises:
        InvalidInput: on a malformed argument, or a loss that captures a tensor requiring
            gradients.
        Diverged: naming the first step whose loss is not finite.
        NoSecondDerivative: naming an operation that cannot be differentiated twice; in backward,
            where it is first needed.

    Example:
        The gradient of the trained weight with respect to each step's target:

        >>> import torch
        >>> from didact.unroll import SGD, unroll
        >>> def loss(theta, x, target):
        ...     return 0.5 * (theta["w"] * x - target) ** 2
        >>> targets = torch.zeros(3, requires_grad=True)
        >>> theta = unroll(loss, {"w": torch.tensor(1.0)}, torch.ones(3), targets, SGD(0.5))
        >>> theta["w"]
        tensor(0.1250, grad_fn=<UnrollBackward>)
        >>> theta["w"].backward()
        >>> targets.grad
        tensor([0.1250, 0.2500, 0.5000])
    """
    if not callable(loss):
        raise invalid("loss", "a function of (theta, batch, target)", loss)
    check_optimizer("optimizer", optimizer)
    n = _check_inputs(theta_0, batches, targets, buffers, vmap)
    if truncate is not None:
        check_integer("truncate", truncate)
    step = Step(loss, optimizer, buffers is not None, vmap)
    if compile:
        from ._compiled import compiled

        step = compiled(step)
    first = max(0, n - truncate) if truncate is not None else 0
    students = Student(theta_0, optimizer.init(theta_0), buffers or {})
    levels = branching(n - first, _slots(memory, students, n - first))
    run = Run(step, n, first, levels, theta_0, buffers or {}, batches, targets)
    tensors = [*leaves((theta_0, buffers, batches, targets)), *step.hyper()]
    out = Unroll.apply(run, *tensors)  # type: ignore[no-untyped-call]
    theta_n = dict(zip(theta_0, out[: len(theta_0)], strict=True))
    if buffers is None:
        return theta_n
    return theta_n, dict(zip(buffers, out[len(theta_0) :], strict=True))


class Run(NamedTuple):
    """What the autograd node must know beside the tensors."""

    step: Step
    n: int
    first: int
    levels: list[int]
    theta: Params
    buffers: Params
    batches: Any
    targets: Any

    def unpack(self, tensors: list[Tensor]) -> tuple[Params, Params, Any, Any, list[Tensor]]:
        """The flat inputs of the node in the shapes the caller gave them."""
        trees = (self.theta, self.buffers, self.batches, self.targets)
        count = len(leaves(trees))
        theta, buffers, batches, targets = with_leaves(trees, tensors[:count])
        return theta, buffers, batches, targets, tensors[count:]


class Unroll(torch.autograd.Function):
    """The node: forward keeps states, backward walks them."""

    @staticmethod
    def forward(ctx: Any, run: Run, *tensors: Tensor) -> tuple[Tensor, ...]:
        theta, buffers, batches, targets, _ = run.unpack(list(tensors))
        ctx.devices = sorted({t.device.index for t in tensors if t.device.type == "cuda"})
        student = Student(theta, run.step.optimizer.init(theta), buffers)
        wanted = set(starts(run.first, run.n, run.levels[0])) if any(ctx.needs_input_grad) else ()
        kept: dict[int, tuple[Student, RandomState]] = {}
        values = []
        before = student
        for i in range(run.n):
            before = student
            if i in wanted:
                kept[i] = (student, RandomState.now(ctx.devices))
            student, value = run.step.advance(
                student, _at(batches, i), _at(targets, i), first=i == 0
            )
            values.append(value)
        ctx.run, ctx.kept, ctx.values = run, kept, torch.stack(values)
        _check_finite(ctx.values)
        ctx.save_for_backward(*tensors)
        # What a step passed on as it was is still an input or a kept state: the caller gets a copy.
        theta_n = [p.clone() if p is before.theta[k] else p for k, p in student.theta.items()]
        buffers_n = [b.clone() for b in student.buffers.values()]
        ctx.mark_non_differentiable(*buffers_n)
        return (*theta_n, *buffers_n)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        run: Run = ctx.run
        tensors = [
            t.detach().requires_grad_(needed and t.is_floating_point())
            for t, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[1:], strict=True)
        ]
        theta, buffers, batches, targets, hyper = run.unpack(tensors)
        given = [t for t in leaves((batches, targets)) if t.requires_grad]
        gradients = [torch.zeros_like(t) for t in given]
        hyper_gradients: list[Tensor | None] = [None] * len(hyper)
        n_theta = len(theta)
        state = [t for t in leaves(run.step.optimizer.init(theta)) if t.is_floating_point()]
        λ: list[Tensor | None] = [*cotangents[:n_theta], *([None] * len(state))]
        values = ctx.values.clone()

        def advance(i: int, kept: tuple[Student, RandomState]) -> tuple[Student, RandomState]:
            kept[1].restore()
            student, _ = run.step.advance(kept[0], _at(batches, i), _at(targets, i))
            return student, RandomState.now(ctx.devices)

        with keeping_random_state(ctx.devices):
            walk = backwards(dict(ctx.kept), run.n, run.levels, advance)
            for i, (student, random) in walk:
                random.restore()
                λ, per_step, per_hyper, values[i] = run.step.adjoint(
                    student, _at(batches, i), _at(targets, i), λ, first=i == run.n - 1
                )
                for total, g in zip(gradients, per_step, strict=True):
                    if g is not None:
                        total[i] = g
                hyper_gradients = [
                    _sum(a, b) for a, b in zip(hyper_gradients, per_hyper, strict=True)
                ]
        _check_replay(ctx.values, values)
        by_id = dict(zip(map(id, given), gradients, strict=True))
        λ_theta = λ[:n_theta] if run.first == 0 else [None] * n_theta
        per_input = [by_id.get(id(t)) for t in leaves((batches, targets))]
        return (None, *λ_theta, *([None] * len(buffers)), *per_input, *hyper_gradients)


def _at(tree: Any, i: int) -> Any:
    """Step i of everything, as leaves of a graph of its own."""
    return tree_map(lambda t: t[i].detach().requires_grad_(t.requires_grad), tree)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return a if b is None else b if a is None else a + b


def _slots(memory: int | None, student: Student, n: int) -> int:
    state = max(1, nbytes(student) + 5056)  # and the generator's 5,056 bytes
    if memory is None:
        return max(_DEFAULT_MEMORY // state, least(n))
    check_integer("memory", memory)
    if memory // state < least(n):
        need = f"at least {least(n) * state:,} bytes ({least(n)} states for {n} steps)"
        raise invalid("memory", need, memory)
    return memory // state


def _check_finite(values: Tensor) -> None:
    finite = torch.isfinite(values).flatten(1).all(1) if values.dim() > 1 else values.isfinite()
    if not bool(finite.all()):
        i = int((~finite).nonzero()[0])
        raise Diverged(
            f"The loss of inner step {i} of {len(values)} is not finite: {values[i].tolist()}. "
            "Lower the learning rate or the teaching coefficient."
        )


def _check_replay(values: Tensor, replayed: Tensor) -> None:
    """Raise if a loss came out otherwise in backward; leave room for devices that round anew."""
    room = 0.01 * values.abs() + 0.001 * values.abs().amax()
    off = ((replayed - values).abs() > room).reshape(len(values), -1).any(1)
    if bool(off.any()):
        i = int(off.nonzero()[0])
        raise InvalidInput(
            "Parameter `loss` should give the same value whenever a step is replayed. Found "
            f"{shown(values[i].tolist())} at inner step {i}, and {shown(replayed[i].tolist())} in "
            "backward. Does it use the mode (train, eval) of a module, autocast, a random "
            "generator of its own or anything else that changed in between?"
        )


def _check_inputs(theta: Any, batches: Any, targets: Any, buffers: Any, vmap: bool) -> int:
    for name, value in (("theta_0", theta), ("buffers", buffers)):
        if value is None and name == "buffers":
            continue
        if not isinstance(value, dict) or not all(isinstance(t, Tensor) for t in value.values()):
            raise invalid(name, "a dict of tensors", type(value).__name__)
    if not theta or not all(p.is_floating_point() for p in theta.values()):
        found = {k: str(p.dtype) for k, p in theta.items()}
        raise invalid("theta_0", "a dict of at least one float tensor and no others", found)
    given = leaves((batches, targets))
    if not given or not all(isinstance(t, Tensor) and t.dim() > 0 for t in given):
        shapes = [tuple(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in given]
        raise invalid("batches` and `targets", "tensors with a leading step axis", shapes)
    lengths = {len(t) for t in given}
    if len(lengths) != 1 or 0 in lengths:
        raise InvalidInput(
            "Parameters `batches` and `targets` should have one leading step axis of equal "
            f"length n ≥ 1. Found lengths {sorted(lengths)}."
        )
    if vmap:
        carried = [*theta.values(), *(buffers or {}).values()]
        seeds = {tuple(t.shape[:1]) for t in carried} | {tuple(t.shape[1:2]) for t in given}
        if len(seeds) != 1 or () in seeds:
            raise InvalidInput(
                "With `vmap`, `theta_0` and `buffers` should have a leading axis [S], `batches` "
                f"and `targets` [n, S, ...]. Found sizes {sorted(seeds)}."
            )
    return int(lengths.pop())
