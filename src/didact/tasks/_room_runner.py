"""Room runner: a runner goes from room to room until a dead end, which is red or blue."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .._checks import check_integer
from ._building import Room, draw_rooms, walls
from ._canvas import Canvas, Colour, Point
from ._trajectories import Trajectories
from ._worlds import EVERY, Run, runs_of

if TYPE_CHECKING:
    import pymunk

STEP, MOST_STEPS, AFTER = 0.1, 300, 6
"""AFTER: steps that are seen after the arrival."""
FINER = 4
"""Steps of the solver in a step of the simulation: in one, the runner would sink into walls."""
RADIUS, SEEN_RADIUS, WALL = 0.24, 0.4, 0.2
DIRECT, EXPLORE, DRAG = 10.0, 3.5, 5.0
OUTSIDE: Colour = (38, 38, 38)
ROOM: Colour = (255, 255, 255)
BLACK: Colour = (0, 0, 0)
DOOR: Colour = (230, 242, 255)
RUNNER: Colour = (0, 204, 0)
RED: Colour = (255, 128, 128)
BLUE: Colour = (128, 128, 255)


def room_runner(
    count: int,
    *,
    seed: int = 0,
    perturbed: bool = False,
    side: int = 16,
    pixels: int = 4,
    every: int = EVERY,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Trajectories:
    """Let a runner go through a building: will it end in the red room or in the blue one?

    A building has 16 × 16 cells; from its first room, of 3 × 2 near the middle, two branches of
    rooms lead to two dead ends. Each room has one door to the next, but only one branch has a door
    from the first room. One dead end is red, one blue, by a fair coin. The runner is drawn to the
    door of the room it is in, then to the next, by a force along each axis against a drag; by a
    coin, it goes "direct" (force 10) or "explores" (force 3.5) in each room it enters. A frame is
    every third step of 0.1, until six steps after the arrival. Runs of more than 300 steps are
    drawn again.

    The thesis adds noise to the acceleration at each step; the authors' public generator has the
    coin instead, and so it is here. In the perturbed version the runner always goes direct. Of
    theirs, this differs in the solver (theirs is Box2D), in that the runner is a disc, as in the
    thesis, and that doors are drawn as wide as they are.

    Reference: Neitz, Parascandolo, Bauer & Schölkopf, "Adaptive skip intervals", NeurIPS 2018,
    section 4.1; Neitz's thesis, section 2.3.1.

    Args:
        count: how many trajectories; the paper trains on 500 and validates on 500.
        seed: trajectory i is seeded by (seed, i): it does not depend on ``jobs``, nor on how many
            are asked for. Validation data need another seed.
        perturbed: see above.
        side: cells along each side of the building, 8 or more; the smaller, the shorter the ways.
        pixels: along a cell. 4 are the paper's frames of 64 × 64; 2 make 32 × 32.
        every: steps of the simulation from frame to frame; the paper has 3.
        jobs: processes; more than one go through joblib.
        progress: ``progress(done, count)``, called here after every few trajectories.

    Returns:
        The trajectories; labels are 0 for red, 1 for blue.

    Raises:
        MissingExtra: if pymunk or joblib is not installed.
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> data = room_runner(2, seed=1)
        >>> data.first.shape, data.labels.unique().tolist()
        (torch.Size([2, 3, 64, 64]), [0, 1])
    """
    check_integer("side", side, at_least=8)
    return runs_of(
        partial(_run, side=side),
        count,
        seed=seed,
        perturbed=perturbed,
        pixels=pixels,
        every=every,
        jobs=jobs,
        progress=progress,
    )


def _run(
    generator: Generator, *, perturbed: bool, pixels: int, every: int, side: int
) -> Run | None:
    rooms = draw_rooms(generator, side)
    if len(rooms[0].behind) < 2:  # There was no place for a decoy.
        return None
    label = int(generator.integers(2))
    path = walk(rooms, generator, perturbed, every)
    if path is None:
        return None
    return Run(draw(rooms, label, path, pixels, side), np.array(path), label)


def draw(
    rooms: list[Room], label: int, path: list[Point], pixels: int, side: int = 16
) -> NDArray[np.uint8]:
    """The frames ``[T, 3, H, W]`` of a runner along a path."""
    size, middle = side * pixels, (side / 2, side / 2)
    canvas = Canvas(size, size, pixels=pixels, middle=middle, colour=OUTSIDE)
    first = rooms[0]
    (decoy,) = (room for room in first.behind if room is not first.following)
    canvas.polygons([_corners(room.middle, room.width, room.height) for room in rooms], ROOM)
    for room, colour in ((first.last, (RED, BLUE)[label]), (decoy.last, (BLUE, RED)[label])):
        canvas.polygons([_corners(room.middle, room.width, room.height)], colour)
    doors = [room.door for room in rooms if room.door is not None]
    sizes = [(0.5, 1.0) if door.dx else (1.0, 0.5) for door in doors]
    canvas.polygons(
        [_corners(door.middle, *size) for door, size in zip(doors, sizes, strict=True)], DOOR
    )
    canvas.polygons(
        [_corners(wall.middle, *(WALL + length for length in wall.size)) for wall in walls(rooms)],
        BLACK,
    )
    return canvas.frames([(place, SEEN_RADIUS, RUNNER)] for place in path)


def _corners(middle: Point, width: float, height: float) -> list[Point]:
    x, y = middle
    return [
        (x + side * width / 2, y + end * height / 2)
        for side, end in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def walk(
    rooms: list[Room], generator: Generator, perturbed: bool, every: int = EVERY
) -> list[Point] | None:
    """Where the runner is in each frame, or None if it takes too long or leaves the rooms."""
    space, runner = _space(rooms)
    owner = {cell: room for room in rooms for cell in room.cells()}
    here: Room | None = None
    force = DIRECT
    path: list[Point] = [(runner.position.x, runner.position.y)]
    steps, end = 0, None
    while end is None or steps < end or steps % every:
        x, y = runner.position
        if (room := owner.get((math.floor(x), math.floor(y)))) is None:
            return None
        if room is not here:
            here = room
            force = DIRECT if generator.uniform() < 0.5 or perturbed else EXPLORE
        goal = _goal(room, (x, y))
        pull = (
            force * float(np.sign(goal[0] - x)) - DRAG * runner.velocity.x,
            force * float(np.sign(goal[1] - y)) - DRAG * runner.velocity.y,
        )
        for _ in range(FINER):
            runner.force = pull  # The solver forgets it after each of its steps.
            space.step(STEP / FINER)
        steps += 1
        x, y = runner.position
        if end is None:
            if owner.get((math.floor(x), math.floor(y))) is rooms[0].last:
                end = steps + AFTER
            elif steps == MOST_STEPS:
                return None
        if steps % every == 0:
            path.append((x, y))
    return path


def _goal(room: Room, place: Point) -> Point:
    """What the runner heads for: the room's middle, close to the door ever more the door.

    Beside the doorway it is a point before it, in line with it a point behind it.
    """
    middle = room.middle
    if room.door is None:
        return middle
    x, y = room.door.middle
    to_x, to_y = x - place[0], y - place[1]
    aside = abs(to_y) if room.door.dx else abs(to_x)
    push = 0.25 - min(0.9, aside)
    far = min(1.0, float(np.hypot(to_x, to_y)) / 2)
    return (
        (1 - far) * (x + push * room.door.dx) + far * middle[0],
        (1 - far) * (y + push * room.door.dy) + far * middle[1],
    )


def _space(rooms: list[Room]) -> tuple[pymunk.Space, pymunk.Body]:
    import pymunk

    space = pymunk.Space()
    space.collision_slop = 0.005
    # It does not turn.
    runner = pymunk.Body(1.0, float("inf"))
    runner.position = rooms[0].x + 0.5, rooms[0].y + 0.5
    disc = pymunk.Circle(runner, RADIUS)
    # The solver multiplies: with ones here, the wall's numbers are those of the pair.
    disc.friction = disc.elasticity = 1.0
    space.add(runner, disc)
    # In an order of their own: a set's would not be the same in every process.
    for wall in sorted(walls(rooms)):
        end = wall.x + wall.size[0], wall.y + wall.size[1]
        shape = pymunk.Segment(space.static_body, (wall.x, wall.y), end, WALL / 2)
        shape.friction, shape.elasticity = 0.4, 0.3
        space.add(shape)
    return space, runner
