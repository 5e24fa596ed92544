"""A ball among funnels: where it is drawn, what it does not pass through, where it ends."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch

from didact import InvalidInput
from didact.tasks import MissingExtra, Trajectories, funnel_board, funnel_label
from didact.tasks._funnel_board import Board, draw_board, fall


@pytest.fixture(scope="module")
def standard() -> Trajectories:
    return funnel_board(36, seed=11)


@pytest.fixture(scope="module")
def perturbed() -> Trajectories:
    return funnel_board(36, seed=11, perturbed=True)


def same(first: Trajectories, second: Trajectories) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_result_does_not_depend_on_jobs_or_on_how_many_are_asked_for() -> None:
    seen: list[tuple[int, int]] = []
    one = funnel_board(11, seed=3, pixels=2, progress=lambda *news: seen.append(news))
    assert seen == [(10, 11), (11, 11)]
    assert same(one, funnel_board(11, seed=3, pixels=2, jobs=2))
    few = funnel_board(4, seed=3, pixels=2)
    total = int(one.lengths[:4].sum())
    assert torch.equal(few.frames, one.frames[:total])
    assert few.labels.tolist() == one.labels[:4].tolist()
    assert not torch.equal(funnel_board(4, seed=4, pixels=2).first, few.first)


def test_shapes_and_colours(standard: Trajectories) -> None:
    assert standard.frames.shape == (int(standard.lengths.sum()), 3, 126, 75)
    assert standard.frames.dtype == torch.uint8
    assert standard.positions.shape == (len(standard.frames), 2)
    assert set(standard.labels.tolist()) == {0, 1, 2, 3, 4}
    first = standard.frames[0].permute(1, 2, 0)
    # In the last row of pixels: five platforms of 2.1 in 12.5, in their colours.
    row = first[125].tolist()
    colours = [[0, 255, 0], [255, 255, 0], [255, 0, 0], [255, 0, 255], [0, 0, 255]]
    for k, colour in enumerate(colours):
        pale = torch.tensor(colour) * 0.75 + 255 * 0.25  # the platform ends in the last row
        assert np.abs(np.array(row[15 * k + 7]) - pale.numpy()).max() <= 255 / 8 + 1
    assert row[0] == [255, 255, 255]
    # All else is black on white, but for the ball.
    gray = (first[:123].amax(-1) == first[:123].amin(-1)).float().mean()
    assert gray > 1 - 20 / (123 * 75)
    assert (first[:123].amax(-1) < 60).sum() > 200


@pytest.mark.parametrize("kind", ["standard", "perturbed"])
def test_the_ball_stays_in_the_arena_and_lands_on_its_platform(
    kind: str, request: pytest.FixtureRequest
) -> None:
    data: Trajectories = request.getfixturevalue(kind)
    ends = data.lengths.cumsum(0)
    x, y = data.positions.T
    assert bool((x.abs() <= 6.25).all())
    starts = ends - data.lengths
    assert set(x[starts].tolist()) <= {-3.75, -1.25, 1.25, 3.75}
    assert y[starts].unique().tolist() == [9.5]
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        # Landed when it passes −10.5, a hundredth above the platform: in the last frame for sure,
        # and two frames before the last it cannot have.
        assert y[end - 1] < -10.3
        assert bool((y[start : end - 2] > -10.5).all())
        # Five baskets of 2.5.
        assert data.labels[i] == int((x[end - 1] + 6.25) // 2.5)
        assert end - start <= 251 + 1


@pytest.mark.parametrize("kind", ["standard", "perturbed"])
def test_the_label_can_be_read_off_the_last_frame(
    kind: str, request: pytest.FixtureRequest
) -> None:
    data: Trajectories = request.getfixturevalue(kind)
    found = funnel_label(data.last)
    assert found.sum(1).tolist() == pytest.approx([1] * 36)
    assert found.argmax(1).tolist() == data.labels.tolist()
    assert float(found[range(36), data.labels].min()) > 0.95


@pytest.mark.parametrize("perturbed", [False, True])
def test_labels_of_500_boards_can_be_read_off(perturbed: bool) -> None:
    data = funnel_board(500, seed=0, pixels=3, perturbed=perturbed)
    assert torch.equal(funnel_label(data.last).argmax(1), data.labels)


def test_the_label_can_be_read_off_smaller_frames(standard: Trajectories) -> None:
    data = funnel_board(20, seed=11, pixels=3)
    assert data.frames.shape[1:] == (3, 63, 38)
    assert torch.equal(data.positions, standard.positions[: len(data.positions)])
    assert funnel_label(data.last).argmax(1).tolist() == data.labels.tolist()


def test_the_ball_is_drawn_where_it_is_with_a_trace_where_it_was(standard: Trajectories) -> None:
    for i in range(4):
        film = standard.film(i).double() / 255
        start = int(standard.lengths[:i].sum())
        places = standard.positions[start : start + len(film)]
        red, green, _ = (film[:, :, :114] - film[:, :, :114].median(0).values).abs().unbind(1)
        rows = 10 - (torch.arange(114) + 0.5) / 6
        columns = (torch.arange(75) + 0.5) / 6 - 6.25
        for t in range(len(film)):
            if places[t, 1] < -8.5:
                continue
            # Green is lacking where the ball is; red, too, where it was.
            free = green[t] > 0.05
            if 0.7 < green[t].sum() * (1 / 36) / 0.19635 < 1.1:
                middle = [
                    float((green[t] * columns).sum() / green[t].sum()),
                    float((green[t] * rows[:, None]).sum() / green[t].sum()),
                ]
                assert middle == pytest.approx(places[t].tolist(), abs=0.1)
            elsewhere = (red[t] > 0.05) & ~free
            for row, column in elsewhere.nonzero().tolist():
                assert t > 0
                distance = torch.tensor([columns[column], rows[row]]) - places[t - 1]
                assert distance.norm() < 0.25 + 1 / 6


def _distance(board: Board, place: Any) -> float:
    """From a point to the nearest edge of an obstacle, edge by edge."""
    nearest = np.inf
    for piece in (piece for obstacle in board.obstacles for piece in obstacle.pieces):
        corners = np.array(piece)
        if np.abs(corners.mean(0) - place).max() > 1.5:
            continue
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            along = np.clip((place - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            nearest = min(nearest, float(np.hypot(*(a + along * (b - a) - place))))
    return nearest


def test_the_ball_does_not_sink_into_obstacles() -> None:
    board = draw_board(np.random.default_rng(3), False)
    fallen = fall(board, 0.2)
    assert fallen is not None
    path = np.array(fallen[0])
    distances = [_distance(board, place) for place in path]
    assert min(distances) > 0.25 - 0.03
    # Every frame is three steps of 1/30: what falls freely falls by g t²/2.
    fall_of = [9.5 - 10 * (t / 10) ** 2 / 2 for t in range(4)]
    assert path[:4, 1] == pytest.approx(fall_of, abs=0.03)
    # It touches something, again and again.
    assert sum(distance < 0.27 for distance in distances) > 20


def test_perturbed_boards_are_the_same_and_bounce_less(
    standard: Trajectories, perturbed: Trajectories
) -> None:
    kept = (standard.draws == 1) & (perturbed.draws == 1)
    assert kept.sum() > 20
    assert torch.equal(standard.first[kept], perturbed.first[kept])
    assert (standard.labels == perturbed.labels)[kept].double().mean() > 0.5
    assert not torch.equal(standard.lengths, perturbed.lengths)
    assert perturbed.lengths.double().mean() < standard.lengths.double().mean()
    numbers = {
        kind: {o.restitution for o in draw_board(np.random.default_rng(0), kind).obstacles}
        for kind in (False, True)
    }
    assert numbers == {False: {0.0, 0.02, 0.1, 0.6}, True: {0.0, 0.02, 0.1}}


def test_boards_have_rows_of_sliders_and_funnels() -> None:
    share, tilts = [], []
    for seed in range(60):
        board = draw_board(np.random.default_rng(seed), False)
        sliders = [o for o in board.obstacles if o.restitution == 0.1]
        funnels = [o for o in board.obstacles if o.restitution in (0.02, 0.6)]
        assert len(sliders) == 4 + 5 + 4 + 5 + 4 + 5
        # Five in the last row, 4 + 5 + 4 + 5 + 4 places above.
        share.append((len(funnels) - 5) / 22)
        for slider in sliders:
            ((x0, y0), _, _, (x1, y1)) = corners = slider.pieces[0]
            length, tilt = np.hypot(x1 - x0, y1 - y0), np.arctan2(y1 - y0, x1 - x0)
            assert 1.2 <= length <= 1.6
            assert np.pi / 24 <= abs(tilt) <= np.pi / 5
            middle = np.mean([x for x, _ in corners])
            if abs(middle) > 4:
                assert np.sign(tilt) == np.sign(middle)  # down towards the middle
            else:
                tilts.append(tilt > 0)
        assert np.abs(np.diff(board.platforms) - 2.5).max() < 2.5 / 16
    assert np.mean(share) == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / (60 * 22)))
    assert np.mean(tilts) == pytest.approx(0.5, abs=2 / np.sqrt(len(tilts)))


def test_no_ball_no_opinion() -> None:
    frames = torch.ones(2, 3, 126, 75)
    frames[:, :2, 124:] = 0.0  # blue platforms all along
    assert funnel_label(frames).tolist() == [[pytest.approx(0.2)] * 5] * 2
    frames[0, :2, 118:121, 31:34] = 0.0
    frames[1, :2, 90:113, 31:34] = 0.0  # too high
    first, second = funnel_label(frames)
    assert first.argmax() == 2
    assert second.tolist() == [pytest.approx(0.2)] * 5
    film = torch.stack([frames, torch.ones_like(frames)], 1)
    assert torch.equal(funnel_label(film), funnel_label(frames))
    assert torch.equal(funnel_label(film.flip(1)), funnel_label(frames))


@pytest.mark.parametrize(
    ("frames", "rule"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "`frames` should be a tensor of a floating"),
        (torch.zeros(3, 8, 8), "`frames` should be of shape"),
        (torch.zeros(2, 8, 8, 3), "`frames` should be of shape"),
    ],
)
def test_what_is_no_frame_is_refused(frames: torch.Tensor, rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        funnel_label(frames)


@pytest.mark.parametrize("package", ["pymunk", "joblib"])
def test_a_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf'`{package}`: pip install "didact\[skips\]"'):
        funnel_board(10**9, jobs=2)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"count": 0}, "`count` should be a positive integer"),
        ({"seed": -1}, "`seed` should be an integer of at least 0"),
        ({"perturbed": "yes"}, "`perturbed` should be one of False, True"),
        ({"pixels": 1}, "`pixels` should be an integer of at least 2"),
        ({"every": 0}, "`every` should be a positive integer"),
        ({"jobs": 0}, "`jobs` should be a positive integer"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        funnel_board(**{"count": 1, **arguments})


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_board_of_fewer_rows_is_cut_at_the_top(rows: int) -> None:
    board, whole = (draw_board(np.random.default_rng(4), False, n) for n in (rows, 6))
    assert board.start[1] == whole.start[1] - 3 * (6 - rows)
    highest = max(
        corner[1] for each in board.obstacles for piece in each.pieces for corner in piece
    )
    assert 2.5 > board.start[1] - highest > 0.5
    data = funnel_board(10, seed=11, rows=rows)
    assert data.frames.shape[1:] == (3, 18 * (rows + 1), 75)
    assert funnel_label(data.last).argmax(1).tolist() == data.labels.tolist()
    # Platforms, and the window's lower edge, are where they were.
    edges = [(films.first[0, :, -6:] < 0.9).any(2).any(0) for films in (data, funnel_board(1))]
    assert torch.equal(*edges)
    with pytest.raises(InvalidInput, match="`rows` should be a positive integer, at most 6"):
        funnel_board(1, rows=7)


def test_frames_may_follow_closer(standard: Trajectories) -> None:
    data = funnel_board(20, seed=11, every=1)
    assert funnel_label(data.last).argmax(1).tolist() == data.labels.tolist()
    start = end = 0
    for few, many in zip(standard.lengths[:20].tolist(), data.lengths.tolist(), strict=True):
        closer = data.positions[start : start + many]
        assert torch.equal(closer[::3][:few], standard.positions[end : end + few][: -(-many // 3)])
        assert 0 <= 3 * (few - 1) - (many - 1) <= 2
        start, end = start + many, end + few
