"""A runner in a building: its rooms, its doors, and where it ends."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from didact import InvalidInput
from didact.tasks import Trajectories, _room_runner, room_label, room_runner
from didact.tasks._building import Edge, Room, draw_rooms, walls
from didact.tasks._room_runner import walk


@pytest.fixture(scope="module")
def standard() -> Trajectories:
    return room_runner(40, seed=11)


@pytest.fixture(scope="module")
def perturbed() -> Trajectories:
    return room_runner(40, seed=11, perturbed=True)


def same(first: Trajectories, second: Trajectories) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def owners(rooms: list[Room]) -> dict[tuple[int, int], Room]:
    return {cell: room for room in rooms for cell in room.cells()}


def chain(room: Room) -> list[Room]:
    return [room] if room.following is None else [room, *chain(room.following)]


def test_the_result_does_not_depend_on_jobs_or_on_how_many_are_asked_for() -> None:
    one = room_runner(12, seed=3, pixels=2)
    assert same(one, room_runner(12, seed=3, pixels=2, jobs=2))
    few = room_runner(4, seed=3, pixels=2)
    total = int(one.lengths[:4].sum())
    assert torch.equal(few.frames, one.frames[:total])
    assert few.draws.tolist() == one.draws[:4].tolist()
    assert not torch.equal(room_runner(4, seed=4, pixels=2).first, few.first)


@pytest.mark.parametrize("seed", range(8))
def test_a_building_is_two_branches_of_adjoining_rooms(seed: int) -> None:
    rooms = draw_rooms(np.random.default_rng(seed))
    cells = [cell for room in rooms for cell in room.cells()]
    assert len(set(cells)) == len(cells) == 6 * len(rooms)
    assert all(0 <= x < 16 and 0 <= y < 16 for x, y in cells)
    assert {(room.width, room.height) for room in rooms} == {(2, 3), (3, 2)}
    assert (rooms[0].width, rooms[0].height, len(rooms[0].behind)) == (2, 3, 2)
    for number, room in enumerate(rooms):
        assert len(room.behind) <= (2 if number % 8 == 0 else 1)
        assert (room.following is None) == (room.door is None) == (not room.behind)
        for other in room.behind:
            touching = [
                abs(x - u) + abs(y - v) == 1 for x, y in room.cells() for u, v in other.cells()
            ]
            assert any(touching)
        if room.door is not None:
            x, y, dx, dy = room.door
            assert owners(rooms)[x, y] is room
            assert owners(rooms)[x + dx, y + dy] is room.following
    assert sorted(id(room) for room in rooms[1:]) == sorted(id(r) for o in rooms for r in o.behind)


@pytest.mark.parametrize("seed", range(4))
def test_walls_are_where_a_room_ends_and_no_door_is(seed: int) -> None:
    rooms = draw_rooms(np.random.default_rng(seed))
    owner, expected = owners(rooms), set()
    for x in range(17):
        for y in range(17):
            for upright, one, other in (
                (True, (x - 1, y), (x, y)),
                (False, (x, y - 1), (x, y)),
            ):
                a, b = owner.get(one), owner.get(other)
                doors = [
                    {(r.door.x, r.door.y), (r.door.x + r.door.dx, r.door.y + r.door.dy)}
                    for r in rooms
                    if r.door is not None
                ]
                if a is not b and {one, other} not in doors:
                    expected.add(Edge(x, y, upright))
    assert walls(rooms) == expected


@pytest.mark.parametrize("perturbed_", [False, True])
def test_the_runner_goes_from_door_to_door_to_the_dead_end(perturbed_: bool) -> None:
    for seed in range(15):
        generator = np.random.default_rng(seed)
        rooms = draw_rooms(generator)
        path = walk(rooms, generator, perturbed_)
        if path is None:
            continue
        visited = [owners(rooms)[int(x), int(y)] for x, y in path]
        assert path[0] == (rooms[0].x + 0.5, rooms[0].y + 0.5)
        way = chain(rooms[0])
        assert visited[-1] is way[-1]
        assert list(dict.fromkeys(map(id, visited))) == [id(room) for room in way]
        # Six steps after its arrival: it is in the last room for two or three frames.
        assert way[-1] in visited[-3:-1]
        assert way[-1] not in visited[:-4]
        # No faster than the force against the drag allows, and never inside a wall.
        assert max(np.abs(np.diff(np.array(path), axis=0)).max(1)) < 3 * 0.2 + 0.05
        solid = [wall for wall in walls(rooms) if seed < 5]
        for x, y in path:
            for wall in solid:
                along = min(max((y - wall.y) if wall.upright else (x - wall.x), 0), 1)
                beside = wall.x + along * (not wall.upright), wall.y + along * wall.upright
                assert math.dist((x, y), beside) > 0.24 + 0.1 - 0.05


@pytest.mark.parametrize("kind", ["standard", "perturbed"])
def test_the_label_is_the_colour_where_the_runner_ends(
    kind: str, request: pytest.FixtureRequest
) -> None:
    data: Trajectories = request.getfixturevalue(kind)
    assert data.frames.shape == (int(data.lengths.sum()), 3, 64, 64)
    assert set(data.labels.tolist()) == {0, 1}
    assert int(data.lengths.max()) <= (300 + 6) // 3 + 1
    places = data.positions[data.lengths.cumsum(0) - 1]
    assert len(places) == 40
    for (x, y), first, label in zip(places.tolist(), data.first, data.labels.tolist(), strict=True):
        # The cell's four middle pixels, before anyone was there.
        row, column = 64 - 4 * int(y) - 3, 4 * int(x) + 1
        cell = first[:, row : row + 2, column : column + 2]
        red, green, blue = cell.mean((1, 2)).tolist()
        assert green < 0.8
        assert label == (blue > red)
        # One red room and one blue room of six cells.
        for k in (0, 2):
            pixels = (first[k] > 0.99) & (first[1] < 0.52) & (first[2 - k] < 0.52)
            assert 25 <= int(pixels.sum()) <= 6 * 16


@pytest.mark.parametrize("kind", ["standard", "perturbed"])
def test_the_label_can_be_read_off_the_last_frame(
    kind: str, request: pytest.FixtureRequest
) -> None:
    data: Trajectories = request.getfixturevalue(kind)
    found = room_label(data.last, data.first)
    assert found.sum(1).tolist() == pytest.approx([1] * 40)
    assert found.argmax(1).tolist() == data.labels.tolist()
    assert float(found[range(40), data.labels].min()) > 0.95
    for i in range(5):
        film = data.film(i)[None] / 255
        assert int(room_label(film, film[:, 0]).argmax()) == int(data.labels[i])


@pytest.mark.parametrize("place", [(-0.3, 5.0), (5.0, -0.3), (17.0, 5.0)])
def test_a_runner_that_is_outside_is_drawn_again(
    place: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = draw_rooms(np.random.default_rng(0), 16)
    assert walk(rooms, np.random.default_rng(0), False) is not None
    space, runner = _room_runner._space(rooms)
    runner.position = place
    monkeypatch.setattr(_room_runner, "_space", lambda rooms: (space, runner))
    assert walk(rooms, np.random.default_rng(0), False) is None


@pytest.mark.parametrize("perturbed", [False, True])
def test_labels_of_500_buildings_can_be_read_off(perturbed: bool) -> None:
    data = room_runner(500, seed=0, pixels=2, perturbed=perturbed)
    assert torch.equal(room_label(data.last, data.first).argmax(1), data.labels)


def test_the_label_can_be_read_off_smaller_frames(standard: Trajectories) -> None:
    data = room_runner(40, seed=11, pixels=2)
    assert data.frames.shape[1:] == (3, 32, 32)
    assert torch.equal(data.positions, standard.positions)
    assert room_label(data.last, data.first).argmax(1).tolist() == data.labels.tolist()


def test_the_runner_is_drawn_where_it_is(standard: Trajectories) -> None:
    start = 0
    for i in range(8):
        film = standard.film(i).double() / 255
        places = standard.positions[start : start + len(film)]
        start += len(film)
        red, green, blue = film.unbind(1)
        runner = ((1 - red) * green * (1 - blue) > 0.2).double() * green
        rows, columns = 16 - (torch.arange(64) + 0.5) / 4, (torch.arange(64) + 0.5) / 4
        total = runner.sum((1, 2))
        x = (runner * columns).sum((1, 2)) / total
        y = (runner * rows[:, None]).sum((1, 2)) / total
        assert float((torch.stack([x, y], 1) - places).abs().max()) < 0.15
        # All else stands still.
        grid = torch.stack([columns.expand(64, 64), rows[:, None].expand(64, 64)], -1)
        for before, after in pairwise(range(len(film))):
            changed = grid[(film[before] != film[after]).any(0)]
            near = torch.cdist(changed, places[before : after + 1].float()).amin(1)
            assert bool((near < 0.4 + 0.25).all())


def test_perturbed_runners_are_in_the_same_building_and_faster(
    standard: Trajectories, perturbed: Trajectories
) -> None:
    kept = (standard.draws == 1) & (perturbed.draws == 1)
    assert 15 < kept.sum() < 40  # too long ones were drawn again
    assert torch.equal(standard.first[kept], perturbed.first[kept])
    assert standard.labels[kept].tolist() == perturbed.labels[kept].tolist()
    assert (perturbed.lengths < standard.lengths)[kept].double().mean() > 0.9


def rooms_of(size: int = 64) -> torch.Tensor:
    """A red room, a blue room, and a corridor of two rooms between them with a door to each."""
    first = torch.full((1, 3, size, size), 0.15)
    first[..., 20:28, 8:56] = 1.0
    first[..., 20:28, 31:33] = 0.0
    first[:, 1:, 20:28, 8:16] = 0.5
    first[:, :2, 20:28, 48:56] = 0.5
    return first


@pytest.mark.parametrize(
    ("column", "expected"),
    [(10, 1.0), (18, 1.0), (22, 1.0), (28, 0.5), (36, 0.5), (42, 0.0), (50, 0.0)],
)
def test_before_the_door_counts_for_the_room_behind_it(column: int, expected: float) -> None:
    first = rooms_of()
    frames = first.clone()
    frames[..., 23:26, column : column + 3] = torch.tensor([0.0, 0.8, 0.0])[:, None, None]
    red, blue = room_label(frames, first)[0].tolist()
    assert red == pytest.approx(expected, abs=1e-3)
    assert blue == pytest.approx(1 - expected, abs=1e-3)
    # Over time, masses add up.
    film = torch.stack([frames, first], 1)
    assert torch.equal(room_label(film, first), room_label(frames, first))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"frames": torch.zeros(2, 3, 8, 8).byte()}, "`frames` should be a tensor of a floating"),
        ({"frames": torch.zeros(3, 8, 8)}, "`frames` should be of shape"),
        ({"first": torch.zeros(1, 3, 8, 8)}, r"`first` should be of shape \[2, 3, 8, 8\]"),
        ({"first": torch.zeros(2, 1, 3, 8, 8)}, r"`first` should be of shape \[2, 3, 8, 8\]"),
        ({"first": torch.zeros(2, 3, 8, 8).byte()}, "`first` should be a tensor of a floating"),
    ],
)
def test_what_is_no_frame_is_refused(change: dict[str, torch.Tensor], rule: str) -> None:
    given = {"frames": torch.zeros(2, 3, 8, 8), "first": torch.zeros(2, 3, 8, 8), **change}
    with pytest.raises(InvalidInput, match=rule):
        room_label(**given)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"count": 0}, "`count` should be a positive integer"),
        ({"seed": 1.5}, "`seed` should be an integer of at least 0"),
        ({"perturbed": None}, "`perturbed` should be one of False, True"),
        ({"pixels": 0}, "`pixels` should be an integer of at least 2"),
        ({"every": 0}, "`every` should be a positive integer"),
        ({"jobs": 0}, "`jobs` should be a positive integer"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        room_runner(**{"count": 1, **arguments})


def test_a_smaller_building_is_the_same_game() -> None:
    data = room_runner(40, seed=11, side=8)
    assert data.frames.shape[1:] == (3, 32, 32)
    assert data.lengths.double().mean() < 0.6 * room_runner(40, seed=11).lengths.double().mean()
    assert room_label(data.last, data.first, side=8).argmax(1).tolist() == data.labels.tolist()
    rooms = draw_rooms(np.random.default_rng(0), 8)
    assert all(0 <= x < 8 and 0 <= y < 8 for room in rooms for x, y in room.cells())
    with pytest.raises(InvalidInput, match="`side` should be an integer of at least 8"):
        room_runner(1, side=7)


def test_frames_may_follow_closer(standard: Trajectories) -> None:
    data = room_runner(20, seed=11, every=1)
    assert room_label(data.last, data.first).argmax(1).tolist() == data.labels.tolist()
    start = end = 0
    for few, many in zip(standard.lengths[:20].tolist(), data.lengths.tolist(), strict=True):
        closer = data.positions[start : start + many]
        assert torch.equal(closer[::3][:few], standard.positions[end : end + few][: -(-many // 3)])
        assert 0 <= 3 * (few - 1) - (many - 1) <= 2
        start, end = start + many, end + few
