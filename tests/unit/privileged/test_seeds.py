"""S networks as one module train as S separate ones do."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from didact import InvalidInput
from didact.privileged import LDT, Seeds, each, mse
from didact.unroll import SGD, Adam

S, ROWS, N, BATCH = 3, 24, 4, 6


class Student(nn.Module):
    def __init__(self, normed: bool) -> None:
        super().__init__()
        first = nn.Linear(3, 5)
        self.first = weight_norm(first) if normed else first
        self.norm = nn.BatchNorm1d(5) if normed else nn.Identity()
        self.out = nn.Linear(5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.first(x)
        return self.out(self.norm(h).tanh()).squeeze(-1), h


def _made(normed: bool) -> tuple[list[nn.Module], list[nn.Module]]:
    students, teachers = [], []
    for seed in range(S):
        torch.manual_seed(seed)
        students.append(Student(normed).double())
        norm = nn.BatchNorm1d(8) if normed else nn.Identity()
        teachers.append(nn.Sequential(nn.Linear(2, 8), norm, nn.Tanh(), nn.Linear(8, 5)).double())
    return students, teachers


def _trained(
    student: nn.Module, teacher: nn.Module, data: list[Tensor], together: bool, inner: SGD | Adam
) -> dict[str, Tensor]:
    wrap = each if together else (lambda loss: loss)
    ldt = LDT(
        student, teacher, label_loss=wrap(F.mse_loss), inner=inner, teaching_loss=wrap(mse),
        alpha=2.0,
    )  # fmt: skip
    meta = torch.optim.Adam(teacher.parameters(), 1e-2)
    adam = torch.optim.Adam(ldt.parameters(), 1e-2)
    for _ in range(3):
        batches = [t[: N * BATCH].unflatten(0, (N, BATCH)) for t in data]
        ldt.meta_step(meta, batches, (data[0][-5:], data[2][-5:]))
        adam.zero_grad()
        ldt.loss((data[0][:7], data[1][:7], data[2][:7])).backward()
        adam.step()
    return {
        f"{part}.{name}": t.detach()
        for part, module in (("student", student), ("teacher", teacher))
        for name, t in [*module.named_parameters(), *module.named_buffers()]
    }


@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize("inner", [SGD(0.1, 0.9), Adam(1e-2)])
def test_ldt_of_seeds_is_ldt_of_each(normed: bool, inner: SGD | Adam) -> None:
    generator = torch.Generator().manual_seed(0)
    data = [
        torch.randn(ROWS, S, *shape, generator=generator, dtype=torch.float64)
        for shape in ((3,), (2,), ())
    ]
    with torch.random.fork_rng():
        students, teachers = _made(normed)
        together = _trained(Seeds(students), Seeds(teachers), data, True, inner)
        for s in range(S):
            alone = _trained(students[s], teachers[s], [t[:, s] for t in data], False, inner)
            assert len(alone) == len(together)
            for name, value in alone.items():
                part, rest = name.split(".", 1)
                found = together[f"{part}.net.{rest}"][s]
                torch.testing.assert_close(found, value, rtol=1e-9, atol=1e-9)


def test_the_given_modules_stay_as_they_are() -> None:
    given = [nn.Linear(2, 1), nn.Linear(2, 1)]
    before = [m.weight.clone() for m in given]
    seeds = Seeds(given)
    with torch.no_grad():
        for p in seeds.parameters():
            p.zero_()
    assert all(torch.equal(m.weight, b) for m, b in zip(given, before, strict=True))


def test_modules_of_two_architectures_are_refused() -> None:
    with pytest.raises(InvalidInput, match="number 1 than in number 0"):
        Seeds([nn.Linear(2, 1), nn.Linear(3, 1)])
    with pytest.raises(InvalidInput, match="at least one"):
        Seeds([])
