import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from didact import InvalidInput
from didact.tasks import dials

SHARES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@given(p=SHARES, r=SHARES, q=SHARES)
def test_the_dials_are_shares_of_variance(p: float, r: float, q: float) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 40_000
    data = dials(n, star_from_x=p, luck_in_star=r, learnable=q, generator=generator)

    def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
        return float(torch.corrcoef(torch.stack([a, b]))[0, 1])

    for t in (data.y, data.signal, data.x_star[:, 0]):
        assert abs(float(t.mean())) < 0.03
        assert abs(float(t.var()) - 1) < 0.06
    assert abs(correlation(data.y, data.signal) - q**0.5) < 0.03
    assert abs(correlation(data.x_star[:, 0], data.signal) - p**0.5) < 0.03
    expected = (p * q) ** 0.5 + ((1 - p) * r * (1 - q)) ** 0.5
    assert abs(correlation(data.x_star[:, 0], data.y) - expected) < 0.03
    between = p + (1 - p) * r
    assert abs(correlation(data.x_star[:, 0], data.x_star[:, 1]) - between) < 0.03


def test_x_determines_the_signal_and_one_weight_makes_one_task() -> None:
    generator = torch.Generator().manual_seed(1)
    first = dials(50, star_from_x=0.5, luck_in_star=0.5, generator=generator)
    second = dials(50, star_from_x=0.1, luck_in_star=0.9, generator=generator, weight=first.weight)
    torch.testing.assert_close(first.weight @ first.weight.T, torch.eye(2))
    for data in (first, second):
        torch.testing.assert_close(data.signal, (data.x @ first.weight.T).prod(1))


@pytest.mark.parametrize("name", ["star_from_x", "luck_in_star", "learnable"])
def test_shares_are_checked(name: str) -> None:
    given_ = {"star_from_x": 0.5, "luck_in_star": 0.5, name: 1.5}
    with pytest.raises(InvalidInput, match=f"`{name}`"):
        dials(4, generator=torch.Generator(), **given_)
