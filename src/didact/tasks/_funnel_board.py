"""Funnel board: a ball falls through a grid of sliders and funnels onto one of five platforms."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .._checks import check_integer
from ._canvas import Canvas, Colour, Point
from ._trajectories import Trajectories
from ._worlds import EVERY, Run, runs_of

if TYPE_CHECKING:
    import pymunk

COLUMNS, ROWS = 4, 6
"""Rows above the last, which has a funnel over every platform."""
ACROSS, UP = 2.5, 3.0
"""Spacing of the grid."""
HALF_WIDTH, FLOOR = 6.25, -10.5
"""The arena: |x| ≤ 6.25; below y = −10.5 the ball has landed."""
WINDOW, MIDDLE = (21.0, 12.5), (0.0, -0.5)
"""What a frame shows: height, width, and the point in its middle."""
RADIUS = 0.25
START = -FLOOR - 4 * RADIUS
GRAVITY, STEP, MOST_STEPS = -10.0, 1 / 30, 750
FINER = 8
"""Steps of the solver in a step of the simulation: it would pass through a thin wall in one."""
PLATFORM = (2.1, 0.2)
BALL: Colour = (0, 0, 255)
TRACE: Colour = (85, 255, 255)
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
BASKETS: tuple[Colour, ...] = (
    (0, 255, 0),
    (255, 255, 0),
    (255, 0, 0),
    (255, 0, 255),
    (0, 0, 255),
)


class Obstacle(NamedTuple):
    """Convex pieces of four corners that do not move; friction and restitution are their own."""

    pieces: list[list[Point]]
    colour: Colour
    friction: float
    restitution: float


class Board(NamedTuple):
    """What a ball falls through: obstacles, the middles of the platforms, where it starts."""

    obstacles: list[Obstacle]
    platforms: list[float]
    start: Point


def funnel_board(
    count: int,
    *,
    seed: int = 0,
    perturbed: bool = False,
    rows: int = 6,
    pixels: int = 6,
    every: int = EVERY,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Trajectories:
    """Drop a ball through funnels and sliders: on which of five platforms will it land?

    Rows of sliders, tilted at random, and rows of funnels, each there with probability 0.7, take
    turns; the last row is five funnels over five platforms, without a gap. Half of the funnels are
    bouncy (restitution 0.6 rather than 0.02), which cannot be seen and hardly matters: the ball
    leaves a funnel where it ends, whatever it did inside. A frame is every third step of 1/30, with
    the ball's place in the frame before as a pale trace. Colours from left to right: green, yellow,
    red, magenta, blue. Balls that leave the arena or do not arrive in 750 steps are drawn again.

    The perturbed version has the same boards, and nothing in it bounces: restitution 0.02 for all
    funnels, 0.05 for the ball (0.2 in the standard one). The thesis says zero; the authors' public
    generator has these. Of theirs, this differs in the solver (theirs is Box2D; of two bodies that
    touch, the greater restitution and the geometric mean of frictions count here too) and in the
    start: the middle of one of the four columns, not half a column to the right of it.

    Reference: Neitz, Parascandolo, Bauer & Schölkopf, "Adaptive skip intervals", NeurIPS 2018,
    section 4.1; Neitz's thesis, section 2.3.1.

    Args:
        count: how many trajectories; the paper trains on 500 and validates on 500.
        seed: trajectory i is seeded by (seed, i): it does not depend on ``jobs``, nor on how many
            are asked for. Validation data need another seed.
        perturbed: see above.
        rows: 1 to 6. Of fewer, those at the top are missing, and frames are less high.
        pixels: per unit of length. 6 are the paper's frames, 126 high and 75 wide; 3 make
            63 × 38.
        every: steps of the simulation from frame to frame; the paper has 3.
        jobs: processes; more than one go through joblib.
        progress: ``progress(done, count)``, called here after every few trajectories.

    Returns:
        The trajectories; labels are platforms, 0 … 4 from the left.

    Raises:
        MissingExtra: if pymunk or joblib is not installed.
        InvalidInput: if an argument breaks its rule.

    Example:
        >>> data = funnel_board(2, seed=0, pixels=3)
        >>> data.first.shape, len(data.frames) == int(data.lengths.sum())
        (torch.Size([2, 3, 63, 38]), True)
    """
    check_integer("rows", rows, at_most=ROWS)
    return runs_of(
        partial(_run, rows=rows),
        count,
        seed=seed,
        perturbed=perturbed,
        pixels=pixels,
        every=every,
        jobs=jobs,
        progress=progress,
    )


def _run(
    generator: Generator, *, perturbed: bool, pixels: int, every: int, rows: int
) -> Run | None:
    board = draw_board(generator, perturbed, rows)
    fallen = fall(board, 0.05 if perturbed else 0.2, every)
    if fallen is None:
        return None
    path, landed = fallen
    label = int(np.argmin(np.abs(np.array(board.platforms) - landed)))
    return Run(draw(board, path, pixels, rows), np.array(path), label)


def draw_board(generator: Generator, perturbed: bool, rows: int = ROWS) -> Board:
    """A board at random; perturbed or not, the obstacles are the same."""
    columns = [(j + 0.5 - COLUMNS / 2) * ACROSS for j in range(COLUMNS)]
    between = [(j - COLUMNS / 2) * ACROSS for j in range(COLUMNS + 1)]
    start = (columns[generator.integers(COLUMNS)], START - (ROWS - rows) * UP)
    obstacles: list[Obstacle] = []
    platforms: list[float] = []
    for i in range(rows + 1):
        middles = columns if i % 2 else between
        for j, x in enumerate(middles):
            if i > 0:
                inwards = {0: -1, COLUMNS: 1}.get(j) if middles is between else None
                obstacles.append(_slider(generator, (x, (i - 3.5) * UP), inwards))
            if i < rows and (generator.uniform() < 0.7 or i == 0):
                middle = (
                    x + generator.uniform(-ACROSS / 32, ACROSS / 32),
                    (i - 3) * UP + generator.uniform(-UP / 16, 3 * UP / 16),
                )
                bouncy = generator.uniform() < 0.5
                restitution = 0.6 if bouncy and not perturbed else 0.02
                obstacles.append(_funnel(generator, middle, restitution))
                if i == 0:
                    platforms.append(middle[0])
    width, thickness = PLATFORM
    top = FLOOR - RADIUS - 0.01
    for x, colour in zip(platforms, BASKETS, strict=True):
        left, right, bottom = x - width / 2, x + width / 2, top - thickness
        corners = [(left, top), (left, bottom), (right, bottom), (right, top)]
        obstacles.append(Obstacle([corners], colour, friction=1.0, restitution=0.0))
    return Board(obstacles, platforms, start)


def _slider(generator: Generator, middle: Point, sign: int | None) -> Obstacle:
    half = generator.uniform(0.6, 0.8) * (ACROSS - 2 * RADIUS) / 2
    angle = generator.uniform(math.pi / 24, math.pi / 5)
    angle *= generator.choice([-1, 1]) if sign is None else sign
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    corners = [
        (middle[0] + a * along[0] + b * across[0], middle[1] + a * along[1] + b * across[1])
        for a, b in ((-half, 0.1), (-half, -0.1), (half, -0.1), (half, 0.1))
    ]
    return Obstacle([corners], BLACK, friction=0.5, restitution=0.1)


def _funnel(generator: Generator, middle: Point, restitution: float) -> Obstacle:
    """Two mirrored walls, steep at the mouth and at the spout: y ∝ arcsin(2/π arcsin x)."""
    gap = generator.uniform(2.09, 2.2) * RADIUS
    height = generator.uniform(1.4, 1.52)
    thickness = generator.uniform(0.15, 0.3)
    slope = (1.1 * ACROSS - 2 * thickness - gap) / 2
    unit = np.linspace(-1, 1, 16)
    inner = gap / 2 + slope * (unit + 1) / 2
    up = middle[1] + height / math.pi * np.arcsin(2 / math.pi * np.arcsin(unit))
    pieces = []
    for side in (-1, 1):
        near, far = middle[0] + side * inner, middle[0] + side * (inner + thickness)
        for k in range(len(unit) - 1):
            corners = [(near[k], up[k]), (near[k + 1], up[k + 1])]
            pieces.append([*corners, (far[k + 1], up[k + 1]), (far[k], up[k])])
    return Obstacle(pieces, BLACK, friction=0.5, restitution=restitution)


def fall(board: Board, restitution: float, every: int = EVERY) -> tuple[list[Point], float] | None:
    """Where the ball is in each frame, and where along the floor it lands; None if it does not."""
    space, ball = _space(board, restitution)
    path: list[Point] = [board.start]
    landed: float | None = None
    steps = 0
    while landed is None or steps % every:
        if steps == MOST_STEPS and landed is None:
            return None
        before = ball.position
        for _ in range(FINER):
            space.step(STEP / FINER)
        steps += 1
        x, y = ball.position
        if abs(x) > HALF_WIDTH:
            return None
        if landed is None and y <= FLOOR:
            share = (before.y - FLOOR) / (before.y - y)
            landed = before.x + share * (x - before.x)
        if steps % every == 0:
            path.append((x, y))
    return path, landed


def draw(board: Board, path: list[Point], pixels: int, rows: int = ROWS) -> NDArray[np.uint8]:
    """The frames ``[T, 3, H, W]`` of a ball along a path."""
    less = (ROWS - rows) * UP
    height, width = (math.ceil(length * pixels) for length in (WINDOW[0] - less, WINDOW[1]))
    middle = MIDDLE[0], MIDDLE[1] - less / 2
    canvas = Canvas(height, width, pixels=pixels, middle=middle, colour=WHITE)
    for obstacle in board.obstacles:
        canvas.polygons(obstacle.pieces, obstacle.colour)
    traces = [[], *([(place, RADIUS, TRACE)] for place in path)]
    return canvas.frames(
        [*trace, (place, RADIUS, BALL)] for trace, place in zip(traces, path, strict=False)
    )


def _space(board: Board, restitution: float) -> tuple[pymunk.Space, pymunk.Body]:
    import pymunk

    space = pymunk.Space()
    space.gravity = (0.0, GRAVITY)
    space.collision_slop = 0.005  # Of a radius of 0.25; the default is of screens.
    mass = math.pi * RADIUS**2
    ball = pymunk.Body(mass, pymunk.moment_for_circle(mass, 0, RADIUS))
    ball.position = board.start
    # The solver multiplies: with ones here, the obstacle's numbers are those of the pair.
    disc = pymunk.Circle(ball, RADIUS)
    disc.friction = disc.elasticity = 1.0
    space.add(ball, disc)
    for obstacle in board.obstacles:
        for corners in obstacle.pieces:
            shape = pymunk.Poly(space.static_body, corners)
            shape.friction = math.sqrt(0.5 * obstacle.friction)
            shape.elasticity = max(restitution, obstacle.restitution)
            space.add(shape)
    return space, ball
