import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from didact import Diverged, InvalidInput
from didact.privileged import LDT, Auxiliary, FixedTeacher, NoTeacher, Taught, gated_mse, mse, stack
from didact.unroll import SGD, Adam

N, BATCH = 5, 4


def _data(seed: int = 0) -> tuple[list[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    g = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    batches = [draw(N, BATCH, 3), draw(N, BATCH, 2), draw(N, BATCH, 1)]
    return batches, (draw(7, 3), draw(7, 1))


def _student(norm: bool = False) -> Taught:
    torch.manual_seed(0)
    layers = [nn.Linear(3, 6), *([nn.BatchNorm1d(6)] if norm else []), nn.Tanh(), nn.Linear(6, 1)]
    return Taught(nn.Sequential(*layers).double(), ["0"])


def _teacher() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 12)).double()


def _ldt(student: nn.Module | None = None, **options: object) -> LDT:
    given: dict[str, object] = {"inner": SGD(0.1, 0.5), "alpha": 2.0, **options}
    return LDT(student or _student(), _teacher(), label_loss=F.mse_loss, **given)  # type: ignore[arg-type]


def _by_hand(ldt: LDT, batches: list[torch.Tensor], validation: object, mode: bool) -> torch.Tensor:
    """The meta-loss by copies of modules, one teacher call per step and plain SGD."""
    student = copy.deepcopy(ldt.student)
    buffers = dict(student.named_buffers())
    theta = {k: p.detach().requires_grad_() for k, p in student.named_parameters()}
    velocity = {k: torch.zeros_like(p) for k, p in theta.items()}
    for x, x_star, y in zip(*batches, strict=True):
        prediction, activations = torch.func.functional_call(student, {**theta, **buffers}, (x,))
        loss = F.mse_loss(prediction, y) + 2.0 * gated_mse(activations, ldt.teacher(x_star))
        grads = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
        for k, g in zip(list(theta), grads, strict=True):
            velocity[k] = 0.5 * velocity[k] + g
            theta[k] = theta[k] - 0.1 * velocity[k]
    student.train(mode)
    x, y = validation  # type: ignore[misc]
    return F.mse_loss(torch.func.functional_call(student, {**theta, **buffers}, (x,))[0], y)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_meta_gradient_equals_a_plain_unroll(norm: bool, mode: str) -> None:
    ldt = _ldt(_student(norm), validation_mode=mode)
    batches, validation = _data()
    parameters = list(ldt.teacher.parameters())
    found = ldt.meta_loss(batches, validation)
    expected = _by_hand(ldt, batches, validation, mode == "train")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    gradients = torch.autograd.grad(found, parameters)
    for a, b in zip(gradients, torch.autograd.grad(expected, parameters), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
        assert b.abs().max() > 1e-4


def test_the_meta_gradient_equals_finite_differences() -> None:
    ldt, (batches, validation) = _ldt(inner=Adam(0.05)), _data()
    weight = ldt.teacher[2].weight  # type: ignore[index]
    (gradient,) = torch.autograd.grad(ldt.meta_loss(batches, validation), [weight])
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)).double()
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight += step * direction
            values.append(ldt.meta_loss(batches, validation).item())
            weight -= step * direction
    slope = (values[0] - values[1]) / 2e-5
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-6)


def test_a_meta_step_moves_the_teacher_and_nothing_of_the_student() -> None:
    ldt, (batches, validation) = _ldt(_student(norm=True)), _data()
    student = copy.deepcopy(ldt.student.state_dict())
    teacher = copy.deepcopy(ldt.teacher.state_dict())
    random = torch.get_rng_state()
    meta = torch.optim.SGD(ldt.teacher.parameters(), lr=0.1)
    before = ldt.meta_loss(batches, validation).item()
    step = ldt.meta_step(meta, batches, validation)
    assert step.loss == pytest.approx(before)
    assert not step.skipped
    assert step.gradient_norm > 0
    assert all(torch.equal(student[k], v) for k, v in ldt.student.state_dict().items())
    assert not any(torch.equal(teacher[k], v) for k, v in ldt.teacher.state_dict().items())
    assert all(p.grad is None for p in [*ldt.teacher.parameters(), *ldt.student.parameters()])
    assert all(m.training for m in ldt.student.modules())
    assert torch.equal(random, torch.get_rng_state())
    assert ldt.meta_loss(batches, validation).item() < before


def test_without_teaching_the_meta_gradient_is_zero() -> None:
    ldt, (batches, validation) = _ldt(alpha=0.0), _data()
    meta = torch.optim.SGD(ldt.teacher.parameters(), lr=0.1)
    assert ldt.meta_step(meta, batches, validation).gradient_norm == 0


def test_non_finite_meta_gradients_are_skipped_counted_and_then_raised() -> None:
    ldt, (batches, validation) = _ldt(inner=SGD(1e200), max_skips=2), _data()
    teacher = copy.deepcopy(ldt.teacher.state_dict())
    meta = torch.optim.SGD(ldt.teacher.parameters(), lr=0.1)
    for expected in (1, 2):
        step = ldt.meta_step(meta, batches, validation)
        assert step.skipped
        assert math.isnan(step.loss)
        assert ldt.skipped == expected
    assert all(torch.equal(teacher[k], v) for k, v in ldt.teacher.state_dict().items())
    with pytest.raises(Diverged, match=r"3 meta-gradients.*`max_skips` = 2.*inner step"):
        ldt.meta_step(meta, batches, validation)


class _Columns(nn.Module):
    """A linear map whose weight's gradient comes out of autograd transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 24, dtype=torch.float64).view(12, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.einsum("bi,oi->bo", x, self.weight)


def test_a_fused_meta_optimizer_does_what_the_plain_one_does() -> None:
    batches, validation = _data()
    after = []
    for fused in (False, True):
        ldt = LDT(_student(), _Columns(), label_loss=F.mse_loss, inner=SGD(0.1))
        value = ldt.meta_loss(batches, validation)
        (gradient,) = torch.autograd.grad(value, [ldt.teacher.weight])
        assert not gradient.is_contiguous()
        meta = torch.optim.Adam(ldt.teacher.parameters(), lr=0.1, fused=fused)
        for _ in range(3):
            ldt.meta_step(meta, batches, validation)
        after.append(ldt.teacher.weight.detach())
    torch.testing.assert_close(*after, rtol=1e-9, atol=1e-9)


def test_clipping_by_component_and_by_norm() -> None:
    batches, validation = _data()
    moved = {}
    for name, options in {"none": {}, "clip": {"clip": 1e-4}, "norm": {"clip_norm": 1e-3}}.items():
        ldt = _ldt(**options)
        before = [p.detach().clone() for p in ldt.teacher.parameters()]
        step = ldt.meta_step(torch.optim.SGD(ldt.teacher.parameters(), lr=1.0), batches, validation)
        moved[name] = torch.cat(
            [(a - p).flatten() for a, p in zip(before, ldt.teacher.parameters(), strict=True)]
        ).detach()
        assert (step.clipped > 0) == (name == "clip")
    torch.testing.assert_close(moved["clip"], moved["none"].clamp(-1e-4, 1e-4))
    scaled = moved["none"] * 1e-3 / moved["none"].norm()
    torch.testing.assert_close(moved["norm"], scaled, rtol=1e-4, atol=0)


def test_the_students_loss_is_label_plus_teaching_with_constant_targets() -> None:
    ldt, (batches, _) = _ldt(), _data()
    x, x_star, y = (t[0] for t in batches)
    prediction, activations = ldt.student(x)
    expected = F.mse_loss(prediction, y) + 2.0 * gated_mse(activations, ldt.teacher(x_star))
    loss = ldt.loss((x, x_star, y))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is None for p in ldt.teacher.parameters())
    fixed = FixedTeacher(ldt.student, ldt.teacher, label_loss=F.mse_loss, alpha=2.0)
    assert torch.equal(fixed.loss((x, x_star, y)), loss)


def test_auxiliary_trains_student_and_head() -> None:
    student = _student()
    head = nn.Linear(6, 2).double()

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = head

        def forward(self, activations: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.head(activations["0"])

    method = Auxiliary(student, Last(), label_loss=F.mse_loss, weight=3.0)
    x, x_star, y = (t[0] for t in _data()[0])
    prediction, activations = student(x)
    expected = F.mse_loss(prediction, y) + 3.0 * F.mse_loss(head(activations["0"]), x_star)
    torch.testing.assert_close(method.loss((x, x_star, y)), expected)
    assert len(list(method.parameters())) == 6


def test_no_teacher_subtracts_the_entropy() -> None:
    student = Taught(nn.Sequential(nn.Linear(3, 4)).double(), ["0"])
    x, y = torch.randn(5, 3).double(), torch.tensor([0, 1, 2, 3, 0])
    p = student(x)[0].softmax(1)
    entropy = -(p * p.log()).sum(1).mean()
    plain = NoTeacher(student, label_loss=F.cross_entropy).loss((x, None, y))
    bonus = NoTeacher(student, label_loss=F.cross_entropy, entropy=0.5).loss((x, None, y))
    torch.testing.assert_close(bonus, plain - 0.5 * entropy)


def test_activations_may_be_any_nesting_and_the_student_recurrent() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, list[torch.Tensor]]]:
            states, _ = self.lstm(x)
            return self.out(states[:, -1]), {"states": [states]}

    torch.manual_seed(0)
    teacher = nn.Linear(2, 20)
    ldt = LDT(Recurrent(), teacher, label_loss=F.mse_loss, inner=SGD(0.1), teaching_loss=mse)
    batches = [torch.randn(3, 4, 5, 3), torch.randn(3, 4, 2), torch.randn(3, 4, 1)]
    loss = ldt.meta_loss(batches, (torch.randn(6, 5, 3), torch.randn(6, 1)))
    (gradient,) = torch.autograd.grad(loss, [teacher.weight])
    assert gradient.abs().max() > 0


def test_stack_is_what_a_loader_needs() -> None:
    batches, validation = _data()
    listed = [tuple(t[i] for t in batches) for i in range(N)]
    ldt = _ldt()
    assert torch.equal(ldt.meta_loss(stack(listed), validation), ldt.meta_loss(batches, validation))


def test_arguments_are_checked() -> None:
    with pytest.raises(InvalidInput, match="`teacher` should have parameters"):
        LDT(_student(), nn.Identity(), label_loss=F.mse_loss, inner=SGD(0.1))
    with pytest.raises(InvalidInput, match="alpha"):
        _ldt(alpha=-1.0)
    with pytest.raises(InvalidInput, match="validation_mode"):
        _ldt(validation_mode="test")


def test_the_meta_optimizer_must_hold_the_teacher() -> None:
    ldt, (batches, validation) = _ldt(), _data()
    rule = "`optimizer` should hold every parameter of the teacher"
    students = torch.optim.SGD(ldt.parameters(), lr=0.1)
    with pytest.raises(InvalidInput, match=rf"{rule}.*Found 4 of 4 missing"):
        ldt.meta_step(students, batches, validation)
    ldt.teacher[0].requires_grad_(False)  # type: ignore[index]
    last = torch.optim.SGD(ldt.teacher[2].parameters(), lr=0.1)  # type: ignore[index]
    assert not ldt.meta_step(last, batches, validation).skipped
    ldt.teacher[0].requires_grad_(True)  # type: ignore[index]
    with pytest.raises(InvalidInput, match=rf"{rule}.*Found 2 of 4 missing"):
        ldt.meta_step(last, batches, validation)


def test_the_forms_of_batches_and_validation_are_checked() -> None:
    ldt, ((x, x_star, y), validation) = _ldt(), _data()
    meta = torch.optim.SGD(ldt.teacher.parameters(), lr=0.1)
    axes = r"`batches` should be .* share the leading axes \[n, batch\]"
    wrong = [
        ((x[0], x_star[0], y[0]), rf"{axes}.*Found shapes \[\(4, 3\), \(4, 2\), \(4, 1\)\]"),
        ((x, x_star, y[:, 0, 0]), rf"{axes}.*\(5,\)"),
        ((x, x_star[:, :3], y), axes),
        ((x, [x_star, 3.0], y), rf"{axes}.*'float'"),
        ((x, y), r"`batches` should be a triple \(x, x\*, y\). Found 2"),
        (x, r"`batches` should be a triple \(x, x\*, y\). Found 'Tensor'"),
    ]
    for batches, message in wrong:
        with pytest.raises(InvalidInput, match=message):
            ldt.meta_step(meta, batches, validation)  # type: ignore[arg-type]
    for held in ((*validation, x), validation[0]):
        with pytest.raises(InvalidInput, match=r"`validation` should be a pair \(x, y\)"):
            ldt.meta_loss((x, x_star, y), held)  # type: ignore[arg-type]
    assert ldt.skipped == 0
