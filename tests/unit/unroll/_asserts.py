"""The properties of an unroll; every case lists those it must have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from didact.unroll import unroll

from ._oracle import Case, named, plain_unroll, randn


def run_unroll(case: Case, **options: Any) -> tuple[dict[str, Tensor], Any]:
    """(θ_n, buffers_n) of the library."""
    given = (case.loss, case.theta_0, case.batches, case.targets, case.optimizer)
    out = unroll(*given, buffers=case.buffers, **{**case.options, **options})
    return (out, None) if case.buffers is None else out


def meta_loss(theta: dict[str, Tensor]) -> Tensor:
    """A smooth scalar of θ_n in which every entry counts differently."""
    total = torch.zeros((), dtype=torch.float64)
    for i, p in enumerate(theta.values()):
        p = p.to(torch.float64)
        total = total + (randn(*p.shape, seed=100 + i) * torch.sin(p)).sum() + 0.1 * (p**2).sum()
    return total


def gradients(run: Any, case: Case, **options: Any) -> tuple[dict[str, Tensor | None], Any, Any]:
    """(meta-gradient by input, θ_n, buffers_n), from one fixed random state."""
    leaves = {k: t.detach().clone().requires_grad_() for k, t in case.inputs().items()}
    torch.manual_seed(0)
    theta, buffers = run(case.with_inputs(leaves), **options)
    found = torch.autograd.grad(meta_loss(theta), list(leaves.values()), allow_unused=True)
    return dict(zip(leaves, found, strict=True)), theta, buffers


def assert_close(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-9) -> None:
    """Equal to ``tolerance`` of the largest entry; an absent gradient is 0."""
    assert found.keys() == expected.keys()
    for k, b in expected.items():
        a = found[k]
        if a is None or b is None:
            assert all(x is None or not x.any() for x in (a, b)), k
            continue
        assert torch.isfinite(a).all(), k
        scale = float(b.detach().abs().max()) if b.numel() else 0.0
        error = float((a.detach() - b.detach()).abs().max()) if b.numel() else 0.0
        assert error <= tolerance * max(scale, 1e-6), (k, error, scale)


def assert_matches_plain_unroll(
    case: Case, tolerance: float = 1e-9, truncate: int | None = None, **options: Any
) -> None:
    """θ_n, buffers_n and the gradient of every input are those of one long autograd graph."""
    if truncate is not None:
        options["truncate"] = truncate
    found, theta, buffers = gradients(run_unroll, case, **options)
    expected, plain_theta, plain_buffers = gradients(plain_unroll, case, truncate=truncate)
    assert_close(theta, plain_theta, tolerance)
    assert_close(found, expected, tolerance)
    assert any(g is not None and g.any() for k, g in found.items() if not k.startswith("theta"))
    if case.buffers is not None:
        floats = {k: b for k, b in buffers.items() if b.is_floating_point()}
        assert_close(floats, {k: plain_buffers[k] for k in floats}, tolerance)
        assert all(torch.equal(b, plain_buffers[k]) for k, b in buffers.items() if k not in floats)


def assert_matches_finite_differences(case: Case, tolerance: float = 1e-6) -> None:
    """The gradient along one random direction per input, by central differences of order four."""
    found, _, _ = gradients(run_unroll, case)
    inputs = case.inputs()

    def value(name: str, shifted: Tensor) -> float:
        torch.manual_seed(0)
        with torch.no_grad():
            return float(meta_loss(run_unroll(case.with_inputs({name: shifted}))[0]))

    for i, (name, t) in enumerate(inputs.items()):
        direction = randn(*t.shape, seed=200 + i)
        # A hyper-parameter near 0 (ε) is moved by a part of itself.
        h = 1e-4 if t.dim() else 1e-3 * float(t.abs())
        d = {s: value(name, t + s * h * direction) for s in (-2, -1, 1, 2)}
        slope = (8 * (d[1] - d[-1]) - (d[2] - d[-2])) / (12 * h)
        g = found[name]
        mine = 0.0 if g is None else float((g * direction).sum())
        scale = max(abs(slope), 1e-3 if g is None else float((g * direction).norm()), 1e-3)
        assert abs(mine - slope) <= tolerance * scale, (name, mine, slope)


def assert_checkpoints_change_nothing(case: Case, states: int, memory: int) -> None:
    """With few kept states the gradients are bit for bit those with all of them."""
    found, theta, _ = gradients(run_unroll, case, memory=memory)
    expected, all_kept, _ = gradients(run_unroll, case)
    for k, b in [*expected.items(), *all_kept.items()]:
        a = {**found, **theta}[k]
        assert (a is None and b is None) or torch.equal(a, b), (k, states)


def assert_leaves_random_state_after_forward(case: Case) -> None:
    """Backward does not move the global random state; forward moves it as plain training does."""
    leaves = {k: t.detach().clone().requires_grad_() for k, t in case.inputs().items()}
    torch.manual_seed(0)
    plain_unroll(case.with_inputs(leaves))
    plain = torch.get_rng_state()
    torch.manual_seed(0)
    theta, _ = run_unroll(case.with_inputs(leaves))
    assert torch.equal(torch.get_rng_state(), plain)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    meta_loss(theta).backward()
    assert torch.equal(torch.get_rng_state(), before)


def assert_caller_is_untouched(case: Case) -> None:
    """No argument is written to, by forward or by backward."""
    leaves = {k: t.detach().clone().requires_grad_() for k, t in case.inputs().items()}
    given = case.with_inputs(leaves)
    trees = {"b": given.batches, "t": given.targets, "0": given.theta_0, "s": given.buffers}
    before = {k: t.detach().clone() for k, t in named(trees)}
    meta_loss(run_unroll(given)[0]).backward()
    for k, t in named(trees):
        assert torch.equal(t.detach(), before[k]), k
        assert t.requires_grad == (t.is_floating_point() and not k.startswith("s."))


def assert_vmap_matches_single_runs(case: Case, buffers: bool = False) -> None:
    """S students at once are S unrolls: values and gradients (float64)."""
    assert case.options == {"vmap": True}
    found, theta, after = gradients(run_unroll, case)
    seeds = len(next(iter(case.theta_0.values())))
    weights = {k: randn(*p.shape, seed=100 + i) for i, (k, p) in enumerate(theta.items())}
    for s in range(seeds):
        one = replace(case, options={}, buffers=_seed(case.buffers, s, 0))
        leaves = {}
        for k, t in case.inputs().items():
            axis = 0 if k.startswith("theta_0") else 1 if not k.startswith("optimizer") else None
            own = t[s] if axis == 0 or (axis is None and t.dim()) else t
            leaves[k] = (t[:, s] if axis == 1 else own).detach().clone().requires_grad_()
        rest = replace(one, batches=_seed(case.batches, s, 1), targets=_seed(case.targets, s, 1))
        single, single_after = run_unroll(rest.with_inputs(leaves))
        total = sum(
            (weights[k][s] * torch.sin(p)).sum() + 0.1 * (p**2).sum() for k, p in single.items()
        )
        grads = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
        assert_close({k: p[s] for k, p in theta.items()}, single)
        expected = dict(zip(leaves, grads, strict=True))
        mine = {}
        for k, g in found.items():
            shared = k.startswith("optimizer") and case.inputs()[k].dim() == 0
            if shared:
                del expected[k]
            elif g is not None:
                mine[k] = g[s] if k.startswith(("theta_0", "optimizer")) else g[:, s]
        assert_close(mine, expected)
        if case.buffers is not None:
            assert_close(
                {k: b[s].double() for k, b in after.items()},
                {k: b.double() for k, b in single_after.items()},
            )


def _seed(tree: Any, s: int, axis: int) -> Any:
    if isinstance(tree, Tensor):
        return tree.select(axis, s)
    if isinstance(tree, dict):
        return {k: _seed(v, s, axis) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_seed(v, s, axis) for v in tree)
    return tree
