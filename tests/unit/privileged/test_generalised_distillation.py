from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact import InvalidInput
from didact.privileged import GeneralisedDistillation, NoTeacher, Taught, kl

Batch = tuple[Tensor, Tensor, Tensor]


def _batch(n: int = 6) -> Batch:
    g = torch.Generator().manual_seed(0)
    x, x_star = (torch.randn(n, k, generator=g, dtype=torch.float64) for k in (3, 2))
    return x, x_star, torch.randint(0, 4, (n,), generator=g)


def _modules(outputs: int = 4) -> tuple[Taught, nn.Module]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs)).double()
    return Taught(net, ["0"]), nn.Linear(2, outputs).double()


def _softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("imitation", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 7.0])
def test_the_loss_is_that_of_the_paper(imitation: float, temperature: float) -> None:
    student, teacher = _modules()
    x, x_star, y = _batch()
    method = GeneralisedDistillation(
        student, teacher, label_loss=F.cross_entropy, imitation=imitation, temperature=temperature
    )
    with torch.no_grad():
        p = _softmax(student(x)[0].numpy())
        s = _softmax(teacher(x_star).numpy() / temperature)
    hard, soft = -np.log(p[np.arange(6), y.numpy()]).mean(), -(s * np.log(p)).sum(1).mean()
    expected = (1 - imitation) * hard + imitation * soft
    assert method.loss((x, x_star, y)).item() == pytest.approx(expected, rel=1e-12)


def test_at_temperature_1_gradients_are_those_of_kl() -> None:
    student, teacher = _modules()
    x, x_star, y = _batch()
    method = GeneralisedDistillation(student, teacher, label_loss=F.cross_entropy, imitation=1.0)
    parameters = list(method.parameters())
    found = torch.autograd.grad(method.loss((x, x_star, y)), parameters)
    with torch.no_grad():
        asked = teacher(x_star)
    expected = torch.autograd.grad(kl(student(x)[0], asked), parameters)
    torch.testing.assert_close(found, expected)


def test_leading_axes_are_averaged() -> None:
    g = torch.Generator().manual_seed(0)
    prediction, said = (torch.randn(2, 3, 4, generator=g) for _ in range(2))
    method = GeneralisedDistillation(*_modules(), label_loss=F.cross_entropy, temperature=2.0)
    rows = [
        float(method.imitation_loss(prediction[i, j][None], said[i, j][None]))
        for i in range(2)
        for j in range(3)
    ]
    assert float(method.imitation_loss(prediction, said)) == pytest.approx(np.mean(rows))


def test_the_teacher_is_constant_for_the_student_and_learns_from_its_own_loss() -> None:
    student, teacher = _modules()
    batch = _batch()
    method = GeneralisedDistillation(student, teacher, label_loss=F.cross_entropy)
    method.loss(batch).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())
    student.zero_grad()
    loss = method.teacher_loss(batch)
    loss.backward()
    assert torch.equal(loss, F.cross_entropy(teacher(batch[1]), batch[2]))
    assert all(p.grad is not None for p in teacher.parameters())
    assert all(p.grad is None for p in student.parameters())
    assert {*map(id, method.parameters())} == {*map(id, student.parameters())}
    assert {*map(id, method.teacher_parameters())} == {*map(id, teacher.parameters())}


def test_imitation_0_is_no_teacher_and_does_not_ask_the_teacher() -> None:
    class Silent(nn.Module):
        def forward(self, x_star: Tensor) -> Tensor:
            raise AssertionError

    student, _ = _modules()
    batch = _batch()
    method = GeneralisedDistillation(
        student, Silent(), label_loss=F.cross_entropy, imitation=0.0
    )  # fmt: skip
    alone = NoTeacher(student, label_loss=F.cross_entropy)
    assert torch.equal(method.loss(batch), alone.loss(batch))


def test_imitation_1_needs_no_labels() -> None:
    x, x_star, y = _batch()
    method = GeneralisedDistillation(*_modules(), label_loss=F.cross_entropy, imitation=1.0)
    assert torch.equal(method.loss((x, x_star, y)), method.loss((x, x_star, None)))


def test_the_teacher_speaks_in_evaluation_mode_and_is_left_as_it_was() -> None:
    student, linear = _modules()
    frozen = nn.Sequential(nn.BatchNorm1d(2).double()).eval()
    teacher = nn.Sequential(frozen, nn.Dropout(0.5), nn.BatchNorm1d(2).double(), linear)
    before = [m.training for m in teacher.modules()]
    state = {k: v.clone() for k, v in teacher.state_dict().items()}
    assert before == [True, False, False, True, True, True]
    method = GeneralisedDistillation(student, teacher, label_loss=F.cross_entropy)
    assert torch.equal(method.loss(_batch()), method.loss(_batch()))
    assert [m.training for m in teacher.modules()] == before
    assert all(torch.equal(v, state[k]) for k, v in teacher.state_dict().items())
    x, x_star, y = _batch()
    with pytest.raises(RuntimeError):
        method.loss((x, x_star[:, :1], y))
    assert [m.training for m in teacher.modules()] == before


def test_numbers_are_imitated_by_a_loss_of_ones_own() -> None:
    student, teacher = _modules(1)
    x, x_star, _ = _batch()
    y = torch.arange(6.0, dtype=torch.float64)[:, None]
    method = GeneralisedDistillation(
        student, teacher, label_loss=F.mse_loss, imitation=0.25, imitation_loss=F.mse_loss
    )
    said, told = student(x)[0], teacher(x_star)
    expected = (0.75 * (said - y) ** 2 + 0.25 * (said - told) ** 2).mean()
    assert method.loss((x, x_star, y)).item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"imitation": 1.1}, "`imitation`"),
        ({"imitation": -0.1}, "`imitation`"),
        ({"temperature": 0}, "`temperature`.*above 0"),
        (
            {"temperature": 2.0, "imitation_loss": F.mse_loss},
            r"`temperature` should be 1 where `imitation_loss` is given.*Found 2\.0",
        ),
    ],
)
def test_settings_are_checked(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        GeneralisedDistillation(
            *_modules(), label_loss=F.cross_entropy, **wrong  # type: ignore[arg-type]
        )  # fmt: skip


@pytest.mark.parametrize("outputs", [(1, 1), (4, 1), (4, 3)])
def test_soft_labels_are_of_the_same_two_or_more_classes(outputs: tuple[int, int]) -> None:
    student, teacher = _modules(outputs[0])[0], _modules(outputs[1])[1]
    method = GeneralisedDistillation(student, teacher, label_loss=F.mse_loss, imitation=1.0)
    with pytest.raises(InvalidInput, match=rf"`imitation_loss`.*\(6, {outputs[1]}\)"):
        method.loss(_batch())


def _trained(parameters: list[nn.Parameter], loss: Callable[[], Tensor]) -> None:
    optimizer = torch.optim.LBFGS(parameters, max_iter=60, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)


def test_soft_labels_of_clean_numbers_beat_noisy_labels() -> None:
    # After the first experiment of the paper: x* is the distance to the boundary, labels are noisy.
    g = torch.Generator().manual_seed(0)
    boundary = torch.randn(50, generator=g)
    x, test = torch.randn(200, 50, generator=g), torch.randn(2000, 50, generator=g)
    x_star = (x @ boundary)[:, None]
    y = (x_star[:, 0] + 3 * torch.randn(200, generator=g) > 0).long()
    shares = []
    for imitation in (0.0, 1.0):
        torch.manual_seed(0)
        student, teacher = Taught(nn.Sequential(nn.Linear(50, 2)), ["0"]), nn.Linear(1, 2)
        method = GeneralisedDistillation(
            student, teacher, label_loss=F.cross_entropy, imitation=imitation
        )
        batch = x, x_star, y
        _trained(list(method.teacher_parameters()), lambda: method.teacher_loss(batch))  # noqa: B023
        _trained(list(method.parameters()), lambda: method.loss(batch))  # noqa: B023
        right = student(test)[0].argmax(1) == (test @ boundary > 0)
        shares.append(float(right.float().mean()))
    assert shares[1] > 0.95
    assert shares[0] < 0.9
