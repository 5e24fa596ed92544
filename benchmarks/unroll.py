"""Time and memory of ``didact.unroll`` against ``higher`` 0.2.1 and a plain unroll.

    python benchmarks/unroll.py time --repeats 9    # CPU time of one meta-step, two settings
    python benchmarks/unroll.py memory              # peak resident set, fresh processes
    python benchmarks/unroll.py all

Every contender of a setting computes the same meta-gradient, and that is checked before anything
is timed: in float64 on a few steps, in float32 at full size. Times are CPU times of one thread,
taken in turns; ratios are ratios of medians.
"""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", tempfile.mkdtemp())  # compile times from cold

import argparse
import gc
import itertools
import math
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, linear
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import register_parametrization

from didact.unroll import SGD, Adam, unroll

with warnings.catch_warnings():  # `is` with a literal, invalid escapes
    warnings.simplefilter("ignore")
    import higher

Params = dict[str, Tensor]
Gradient = list[Tensor]


# The MuJoCo setting: Hopper's sizes ---------------------------------------------------------

INPUTS, CHANNELS, HORIZON, BINS, WIDTH, DEPTH = 11 + 16 * 3, 11 + 1, 16, 32, 128, 5
ALPHA = 100.0


class WrittenOut(nn.Module):
    """``weight_norm`` in elementary operations: torch's own has a wrong second derivative.

    Found by ``gradgradcheck`` in torch 2.13: the backward of ``torch._weight_norm`` is
    differentiated as if the norm were a constant. ``unroll`` replaces it; a plain unroll and
    ``higher`` compute a wrong meta-gradient, without a word.
    """

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        return v * (g / torch.linalg.vector_norm(v, dim=1, keepdim=True))

    def right_inverse(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return torch.linalg.vector_norm(w, dim=1, keepdim=True), w


def written_out(layer: nn.Module) -> nn.Module:
    return register_parametrization(layer, "weight", WrittenOut())


class RewardStudent(nn.Module):
    """5 × 128 ReLU, weight norm → (logits of the bins, pre-activations [batch, 5 * 128])."""

    def __init__(self, normed: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        sizes = [INPUTS] + [WIDTH] * DEPTH
        self.hidden = nn.ModuleList(normed(nn.Linear(a, b)) for a, b in itertools.pairwise(sizes))
        self.output = normed(nn.Linear(WIDTH, BINS))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        taught = []
        for layer in self.hidden:
            h = layer(x)
            taught.append(h)
            x = h.relu()
        return self.output(x), torch.cat(taught, dim=-1)


class TrajectoryTeacher(nn.Sequential):
    """[batch, channels, 16] → (m, h*) of every student neuron, [batch, 2 * 5 * 128]."""

    def __init__(self) -> None:
        sizes = [CHANNELS, 96, 96, 96, 256]
        convolutions: list[nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            convolutions += [nn.Conv1d(a, b, 3, padding=1), nn.ReLU(), nn.BatchNorm1d(b)]
        super().__init__(
            *convolutions,
            nn.Flatten(),
            nn.Linear(sizes[-1] * HORIZON, 768),
            nn.ReLU(),
            nn.Linear(768, 2 * DEPTH * WIDTH),
        )


def gated(h: Tensor, target: Tensor) -> Tensor:
    m, wanted = target.chunk(2, dim=-1)
    return (torch.sigmoid(m / 2 - 1) * (h - wanted) ** 2).mean()


def grouped(teacher: nn.Module, x_star: Tensor) -> Tensor:
    """One call for all n batches, in training mode, with batch norm's statistics per batch.

    Everything else sees the n batches as one. (``torch.vmap`` over the n axis does the same with
    copies around every batch norm: a quarter slower here.)
    """
    x = x_star.flatten(0, 1)
    for layer in teacher.children():
        if isinstance(layer, nn.BatchNorm1d):
            x = torch.cat([layer(batch) for batch in x.split(x_star.shape[1])])
        else:
            x = layer(x)
    return x.unflatten(0, x_star.shape[:2])


@dataclass(frozen=True)
class Setting:
    """A student, a teacher and the data of one meta-step."""

    student: nn.Module
    teacher: nn.Module
    train_loss: Callable[[tuple[Tensor, Tensor], Tensor, Tensor], Tensor]
    label_loss: Callable[[Tensor, Tensor], Tensor]
    targets: Callable[[nn.Module, Tensor], Tensor]
    optimizer: SGD | Adam
    x: Tensor
    x_star: Tensor
    y: Tensor
    x_val: Tensor
    y_val: Tensor

    def loss(self, theta: Params, batch: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        x, y = batch
        return self.train_loss(functional_call(self.student, theta, (x,)), y, target)

    def validation(self, theta: Params) -> Tensor:
        return self.label_loss(functional_call(self.student, theta, (self.x_val,))[0], self.y_val)

    def double(self, n: int) -> Setting:
        """The same in float64, on the first n steps."""
        data = {k: getattr(self, k)[:n] for k in ("x", "x_star", "y")}
        data |= {k: getattr(self, k) for k in ("x_val", "y_val")}
        data = {k: t.double() if t.is_floating_point() else t for k, t in data.items()}
        self.student.double(), self.teacher.double()
        return replace(self, **data)  # type: ignore[arg-type]

    def single(self) -> None:
        self.student.float(), self.teacher.float()


def mujoco(
    normed: Callable[[nn.Module], nn.Module], n: int = 96, batch: int = 24, rows: int = 256
) -> Setting:
    torch.manual_seed(0)

    def train_loss(out: tuple[Tensor, Tensor], y: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(out[0], y) + ALPHA * gated(out[1], target)

    return Setting(
        student=RewardStudent(normed),
        teacher=TrajectoryTeacher(),
        train_loss=train_loss,
        label_loss=cross_entropy,
        targets=grouped,
        optimizer=SGD(1e-2, momentum=0.75, weight_decay=1e-8),
        x=torch.randn(n, batch, INPUTS),
        x_star=torch.randn(n, batch, CHANNELS, HORIZON),
        y=torch.randint(BINS, (n, batch)),
        x_val=torch.randn(rows, INPUTS),
        y_val=torch.randint(BINS, (rows,)),
    )


# Task A ---------------------------------------------------------------------------------------


class XorStudent(nn.Module):
    """D → 32 → 128 ReLU → 1, the first hidden layer (no activation) taught."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, 32), nn.Linear(32, 128)
        self.output = nn.Linear(128, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.first(x)
        return self.output(self.second(h).relu()).squeeze(-1), h


def task_a(seed: int, n: int = 32, batch: int = 32, rows: int = 256, inputs: int = 256) -> Setting:
    torch.manual_seed(seed)
    A = (2 * torch.rand(2, inputs) - 1) / math.sqrt(inputs)
    x, x_val = torch.randn(n, batch, inputs), torch.randn(rows, inputs)
    h, h_val = x @ A.T, x_val @ A.T
    s = torch.randint(2, h.shape).mul(2).sub(1).float()

    def train_loss(out: tuple[Tensor, Tensor], y: Tensor, target: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(out[0], y) + ((out[1] - target) ** 2).mean()

    return Setting(
        student=XorStudent(inputs),
        teacher=nn.Sequential(
            nn.Linear(4, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 32)
        ),
        train_loss=train_loss,
        label_loss=binary_cross_entropy_with_logits,
        targets=lambda teacher, x_star: teacher(x_star),
        optimizer=Adam(1e-3),
        x=x,
        x_star=torch.cat([s, s * h], dim=-1),
        y=((h[..., 0] > 0) ^ (h[..., 1] > 0)).float(),
        x_val=x_val,
        y_val=((h_val[..., 0] > 0) ^ (h_val[..., 1] > 0)).float(),
    )


# Contenders: a setting → the meta-gradient of the teacher's parameters -----------------------


def gradient(value: Tensor, teacher: nn.Module) -> Gradient:
    return list(torch.autograd.grad(value, list(teacher.parameters())))


def theta_of(student: nn.Module) -> Params:
    return {k: p.detach() for k, p in student.named_parameters()}


def by_higher(s: Setting) -> Gradient:
    """As the papers' reference code drives it: the teacher is called once per step."""
    given = s.optimizer
    inner: torch.optim.Optimizer
    if isinstance(given, SGD):
        inner = torch.optim.SGD(
            s.student.parameters(), given.lr, given.momentum, weight_decay=given.weight_decay
        )
    else:
        inner = torch.optim.Adam(s.student.parameters(), given.lr, given.betas, given.eps)
    with higher.innerloop_ctx(s.student, inner) as (student, optimizer):
        for i in range(len(s.x)):
            loss = s.train_loss(student(s.x[i]), s.y[i], s.teacher(s.x_star[i]))
            override = None
            if isinstance(given, Adam):  # higher's ε is √(1 − β₂ᵗ) times torch's
                override = {"eps": [given.eps * math.sqrt(1 - given.betas[1] ** (i + 1))]}
            optimizer.step(loss, override=override)
        return gradient(s.label_loss(student(s.x_val)[0], s.y_val), s.teacher)


def by_plain_unroll(s: Setting) -> Gradient:
    """One teacher call, all n graphs alive, the same optimizer functions."""
    targets = s.targets(s.teacher, s.x_star)
    theta = {k: p.requires_grad_() for k, p in theta_of(s.student).items()}
    state = s.optimizer.init(theta)
    for i in range(len(s.x)):
        loss = s.loss(theta, (s.x[i], s.y[i]), targets[i])
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        theta, state = s.optimizer.update(dict(zip(theta, grads, strict=True)), state, theta)
    return gradient(s.validation(theta), s.teacher)


def by_didact(loss: Callable[..., Tensor], s: Setting, compile: bool = False) -> Gradient:
    targets = s.targets(s.teacher, s.x_star)
    theta = unroll(loss, theta_of(s.student), (s.x, s.y), targets, s.optimizer, compile=compile)
    return gradient(s.validation(theta), s.teacher)


def by_teacher_alone(s: Setting) -> Gradient:
    """One forward and backward of the teacher over all examples: the floor under any engine."""
    return gradient(s.targets(s.teacher, s.x_star).square().mean(), s.teacher)


class Seeds:
    """S settings of one architecture as one vmapped unroll."""

    def __init__(self, settings: list[Setting]) -> None:
        self.first = settings[0]
        self.phi, _ = stack_module_state([s.teacher for s in settings])
        self.theta = {
            k: p.detach() for k, p in stack_module_state([s.student for s in settings])[0].items()
        }
        self.x, self.y, self.x_star = (
            torch.stack([getattr(s, k) for s in settings], dim=1) for k in ("x", "y", "x_star")
        )
        self.x_val, self.y_val = (
            torch.stack([getattr(s, k) for s in settings]) for k in ("x_val", "y_val")
        )
        self.loss = self.first.loss  # one object: compiled steps are kept per loss

    def meta_gradient(self, compile: bool = False) -> Gradient:
        """[S, *param] for every parameter of the teachers."""
        teach = torch.vmap(
            lambda phi, x: functional_call(self.first.teacher, phi, (x,)), (0, 1), out_dims=1
        )
        targets = teach(self.phi, self.x_star)
        theta = unroll(
            self.loss,
            self.theta,
            (self.x, self.y),
            targets,
            self.first.optimizer,
            vmap=True,
            compile=compile,
        )

        def validate(theta: Params, x: Tensor, y: Tensor) -> Tensor:
            return self.first.label_loss(functional_call(self.first.student, theta, (x,))[0], y)

        value = torch.vmap(validate)(theta, self.x_val, self.y_val).sum()
        return list(torch.autograd.grad(value, list(self.phi.values())))


# Timing ---------------------------------------------------------------------------------------


def difference(a: Gradient, b: Gradient) -> float:
    """Largest deviation over the parameters, each relative to its largest entry."""
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(a, b, strict=True))


def check_equal(what: str, found: dict[str, Gradient], tolerance: float) -> None:
    (reference, expected), *others = found.items()
    for name, got in others:
        off = difference(got, expected)
        print(f"{what}: {name} differs from {reference} by {off:.1e} (allowed {tolerance:.0e})")
        if not off <= tolerance:
            raise AssertionError(f"{name} and {reference} disagree on the meta-gradient: {off}")


def cpu_times(contenders: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of CPU, the contenders taking turns so that a busy moment hits them alike."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            gc.collect()
            start = time.process_time()
            run()
            times[name].append(time.process_time() - start)
    return times


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def report(title: str, times: dict[str, list[float]], base: str, parts: dict[str, int]) -> None:
    """A row per contender; ``parts``: how many meta-steps one run of it holds."""
    print(f"\n### {title}\n")
    print(f"| contender | CPU s per meta-step (median) | min … max | ratio to {base} |")
    print("|---|---|---|---|")
    median = {k: statistics.median(v) / parts.get(k, 1) for k, v in times.items()}
    for name, values in times.items():
        k = parts.get(name, 1)
        spread = f"{min(values) / k:.4f} … {max(values) / k:.4f}"
        print(f"| {name} | {median[name]:.4f} | {spread} | {median[name] / median[base]:.2f} |")
    print(flush=True)


def time_mujoco(repeats: int) -> None:
    s, fused = mujoco(written_out), mujoco(weight_norm)  # the same numbers, the same function
    small, small_fused = s.double(n=4), fused.double(n=4)
    found = {"plain unroll": by_plain_unroll(small), "higher": by_higher(small)}
    found["didact"] = by_didact(small_fused.loss, small_fused)
    found["didact, compiled"] = by_didact(small_fused.loss, small_fused, compile=True)
    check_equal("MuJoCo, float64, n = 4", found, 1e-8)
    s.single()
    fused.single()
    loss = fused.loss
    compiling = seconds(lambda: by_didact(loss, fused, compile=True))
    wrong = "higher, torch's weight_norm (wrong gradient)"
    contenders = {
        "higher": lambda: by_higher(s),
        "plain unroll": lambda: by_plain_unroll(s),
        "didact": lambda: by_didact(loss, fused),
        "didact, compiled": lambda: by_didact(loss, fused, compile=True),
    }
    found = {k: run() for k, run in contenders.items()}
    check_equal("MuJoCo, float32, n = 96", found, 1e-3)
    print(f"{wrong}: off by {difference(by_higher(fused), found['higher']):.1e}")
    contenders[wrong] = lambda: by_higher(fused)
    contenders["teacher alone"] = lambda: by_teacher_alone(s)
    by_teacher_alone(s)
    report("MuJoCo setting, n = 96, batch 24", cpu_times(contenders, repeats), "higher", {})
    print(f"The first compiled meta-step took {compiling:.0f} s of wall time.\n")


def time_task_a(repeats: int, count: int = 16) -> None:
    settings = [task_a(seed) for seed in range(count)]
    one = settings[0]
    small = [s.double(n=4) for s in settings]
    found = {"plain unroll": by_plain_unroll(small[0]), "higher": by_higher(small[0])}
    found["didact"] = by_didact(small[0].loss, small[0])
    vmapped = Seeds(small)
    found["didact, vmapped"] = [g[0] for g in vmapped.meta_gradient()]
    check_equal("Task A, float64, n = 4", found, 1e-8)
    last = {"plain unroll": by_plain_unroll(small[-1])}
    last["didact, vmapped"] = [g[-1] for g in vmapped.meta_gradient()]
    check_equal("Task A, float64, n = 4, last seed", last, 1e-8)
    for s in settings:
        s.single()
    seeds, loss = Seeds(settings), one.loss
    many, compiled = f"didact, {count} seeds vmapped", f"didact, {count} seeds vmapped, compiled"
    compiling = seconds(lambda: seeds.meta_gradient(compile=True))
    contenders: dict[str, Callable[[], Gradient]] = {
        "higher": lambda: by_higher(one),
        "plain unroll": lambda: by_plain_unroll(one),
        "didact": lambda: by_didact(loss, one),
        many: lambda: [g[0] for g in seeds.meta_gradient()],
        compiled: lambda: [g[0] for g in seeds.meta_gradient(compile=True)],
    }
    check_equal("Task A, float32, n = 32", {k: run() for k, run in contenders.items()}, 1e-3)
    times = cpu_times(contenders, repeats)
    report("Task A, D = 256, n = 32, batch 32", times, "higher", {many: count, compiled: count})
    print(f"The first compiled meta-step took {compiling:.0f} s of wall time.\n")


# Memory ---------------------------------------------------------------------------------------


def measure_peak(engine: str, n: int) -> None:
    """Run one meta-step in this process and print (peak resident set in MiB, CPU seconds)."""
    torch.manual_seed(0)
    width, inputs, batch, depth = 1024, 32, 32, 4
    sizes = [inputs] + [width] * depth + [inputs]
    theta = {}
    for i, (a, b) in enumerate(itertools.pairwise(sizes)):
        theta[f"w{i}"], theta[f"b{i}"] = torch.randn(b, a) / math.sqrt(a), torch.zeros(b)
    x, y = torch.randn(n, batch, inputs), torch.randn(n, batch, inputs)
    targets = torch.randn(n, batch, depth * width, requires_grad=True)
    optimizer = SGD(1e-2, momentum=0.9)

    def loss(theta: Params, batch: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        x, taught = batch[0], []
        for i in range(depth):
            h = linear(x, theta[f"w{i}"], theta[f"b{i}"])
            taught.append(h)
            x = h.relu()
        out = linear(x, theta[f"w{depth}"], theta[f"b{depth}"])
        return ((out - batch[1]) ** 2).mean() + ((torch.cat(taught, -1) - target) ** 2).mean()

    start = time.process_time()
    if engine == "plain unroll":
        state = optimizer.init(theta)
        theta = {k: p.requires_grad_() for k, p in theta.items()}
        for i in range(n):
            value = loss(theta, (x[i], y[i]), targets[i])
            grads = torch.autograd.grad(value, list(theta.values()), create_graph=True)
            theta, state = optimizer.update(dict(zip(theta, grads, strict=True)), state, theta)
        del state, grads, value
    else:
        theta = unroll(loss, theta, (x, y), targets, optimizer)
    value = ((theta["w0"] - 1) ** 2).mean()
    (found,) = torch.autograd.grad(value, targets)
    size = float(torch.linalg.vector_norm(found))  # `isfinite` would copy all of it: a peak of ours
    assert 0 < size < math.inf, size
    status = Path("/proc/self/status").read_text().split()
    peak = int(status[status.index("VmHWM:") + 1]) / 1024
    print(peak, time.process_time() - start)


def peak(engine: str, n: int) -> tuple[float, float]:
    """(MiB, CPU seconds) of a fresh process.

    The allocator's threshold for mapped blocks is pinned: left alone it adapts, and blocks kept
    by the heap for reuse would be counted as memory of the unroll.
    """
    command = [sys.executable, __file__, "_peak", engine, str(n)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1048576"}
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    mebibytes, cpu = out.stdout.split()
    return float(mebibytes), float(cpu)


def memory(longest: int) -> None:
    print("\n### Memory, 4 × 1024 student, SGD with momentum, batch 32, hidden layers taught\n")
    print("| engine | n | peak resident set, MiB | growth, MiB a step | CPU s |")
    print("|---|---|---|---|---|")
    for engine in ("plain unroll", "didact"):
        base, cpu = peak(engine, 16)
        print(f"| {engine} | 16 | {base:.0f} | | {cpu:.1f} |")
        for n in (128, longest) if engine == "didact" and longest else (128,):
            found, cpu = peak(engine, n)
            print(f"| {engine} | {n} | {found:.0f} | {(found - base) / (n - 16):.2f} | {cpu:.1f} |")
            sys.stdout.flush()
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["time", "memory", "all", "_peak"])
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=9, help="turns per contender")
    parser.add_argument("--longest", type=int, default=2000, help="steps of the long unroll, or 0")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "_peak":
        measure_peak(given.rest[0], int(given.rest[1]))
        return
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    print(
        f"{processor}, {os.cpu_count()} cores, one thread used; Python "
        f"{platform.python_version()}, torch {torch.__version__}, higher 0.2.1; "
        f"{given.repeats} turns.\n"
    )
    if given.what in ("time", "all"):
        time_mujoco(given.repeats)
        time_task_a(given.repeats)
    if given.what in ("memory", "all"):
        memory(given.longest)


if __name__ == "__main__":
    main()
