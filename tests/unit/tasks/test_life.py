import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from didact import InvalidInput
from didact.tasks import game_of_life


def _by_the_rules(board: list[list[float]]) -> list[list[float]]:
    """Conway's four rules, a cell and a neighbour at a time."""
    size = len(board)
    after = []
    for i in range(size):
        row = []
        for j in range(size):
            neighbours = sum(
                int(board[a][b])
                for a in range(max(0, i - 1), min(size, i + 2))
                for b in range(max(0, j - 1), min(size, j + 2))
                if (a, b) != (i, j)
            )
            if board[i][j]:
                row.append(float(neighbours in (2, 3)))
            else:
                row.append(float(neighbours == 3))
        after.append(row)
    return after


@given(
    size=st.sampled_from([1, 3, 5, 9]),
    steps=st.integers(1, 4),
    alive=st.sampled_from([0.0, 0.2, 0.4, 0.8, 1.0]),
    seed=st.integers(0, 1000),
)
def test_boards_follow_the_rules(size: int, steps: int, alive: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    data = game_of_life(3, generator=generator, size=size, steps=steps, alive=alive)
    for x, x_star, y in zip(data.x, data.x_star, data.y, strict=True):
        board = x[0].tolist()
        for step in range(steps):
            board = _by_the_rules(board)
            place = data.order.tolist().index(step)
            assert x_star[place].tolist() == board
        assert y == board[size // 2][size // 2]


def test_one_order_for_all_and_one_task_for_two_draws() -> None:
    generator = torch.Generator().manual_seed(0)
    first = game_of_life(4, generator=generator)
    second = game_of_life(4, generator=generator, order=first.order)
    assert torch.equal(first.order, second.order)
    assert not torch.equal(first.x, second.x)
    again = game_of_life(4, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_cells_live_as_often_as_asked() -> None:
    data = game_of_life(400, generator=torch.Generator().manual_seed(1))
    assert abs(float(data.x.mean()) - 0.4) < 0.005
    assert 0.1 < float(data.y.mean()) < 0.5


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"n": 0}, "`n` should be a positive integer"),
        ({"size": 4}, "`size` should be an odd integer. Found 4"),
        ({"alive": 1.5}, "`alive`"),
        ({"order": torch.tensor([0, 0, 1])}, "a permutation of 0 … 2. Found"),
    ],
)
def test_arguments_are_checked(given_: dict[str, object], message: str) -> None:
    options = {"n": 2, "generator": torch.Generator(), **given_}
    with pytest.raises(InvalidInput, match=message):
        game_of_life(**options)  # type: ignore[arg-type]
