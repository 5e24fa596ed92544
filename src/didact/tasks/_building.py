"""Buildings of rooms: one way from the first room to the last, and one branch that is a decoy."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.random import Generator


class Door(NamedTuple):
    """An open edge: the cell of the room before it, and the step that leads through."""

    x: int
    y: int
    dx: int
    dy: int

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + 0.5 + self.dx / 2, self.y + 0.5 + self.dy / 2


@dataclass(eq=False)
class Room:
    """``width × height`` cells from (x, y); what is behind it, and through which door."""

    x: int
    y: int
    width: int
    height: int
    behind: list[Room] = field(default_factory=list)
    following: Room | None = None
    door: Door | None = None

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def last(self) -> Room:
        """Where the way from here through the doors ends."""
        return self if self.following is None else self.following.last

    def cells(self) -> Iterator[tuple[int, int]]:
        for x in range(self.x, self.x + self.width):
            for y in range(self.y, self.y + self.height):
                yield x, y


class Edge(NamedTuple):
    """The edge of length one from (x, y), upwards or to the right."""

    x: int
    y: int
    upright: bool

    @property
    def size(self) -> tuple[int, int]:
        return (0, 1) if self.upright else (1, 0)

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.size[0] / 2, self.y + self.size[1] / 2


def draw_rooms(generator: Generator, side: int = 16) -> list[Room]:
    """The rooms of a building of ``side × side`` cells, the first one first.

    Breadth first, each room gets one neighbour of 2 × 3 or 3 × 2 cells at a random free place,
    every eighth room (the first is one of them) two, where there is a place; then a door to one.
    """
    free = np.ones((side, side), dtype=np.bool_)

    def add(x: int, y: int, width: int, height: int) -> Room:
        free[x : x + width, y : y + height] = False
        rooms.append(Room(x, y, width, height))
        return rooms[-1]

    rooms: list[Room] = []
    half = side // 2
    y, x = int(generator.integers(half - 3, half)), int(generator.integers(half - 3, half + 1))
    waiting = deque([add(x, y, 2, 3)])
    number = 0
    while waiting:
        room = waiting.popleft()
        for _ in range(2 if number % 8 == 0 else 1):
            width, height = (2, 3) if generator.uniform() < 0.5 else (3, 2)
            places = [
                (x, y)
                for x, y in _beside(room, width, height)
                if x >= 0 and y >= 0 and free[x : x + width, y : y + height].sum() == width * height
            ]
            if places:
                room.behind.append(add(*places[generator.integers(len(places))], width, height))
        if room.behind:
            room.following = room.behind[generator.integers(len(room.behind))]
            doors = list(_doors(room, room.following))
            room.door = doors[generator.integers(len(doors))]
        waiting.extend(room.behind)
        number += 1
    return rooms


def walls(rooms: list[Room]) -> set[Edge]:
    """All edges between a room and what is not the same room, except the doors."""
    owner = {cell: room for room in rooms for cell in room.cells()}
    edges = set()
    for (x, y), room in owner.items():
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if owner.get((x + dx, y + dy)) is not room:
                edges.add(_edge(x, y, dx, dy))
    return edges - {_edge(*room.door) for room in rooms if room.door is not None}


def _edge(x: int, y: int, dx: int, dy: int) -> Edge:
    return Edge(x + max(dx, 0), y + max(dy, 0), upright=dx != 0)


def _beside(room: Room, width: int, height: int) -> Iterator[tuple[int, int]]:
    for y in (room.y + room.height, room.y - height):
        for x in range(room.x - width + 1, room.x + room.width):
            yield x, y
    for x in (room.x + room.width, room.x - width):
        for y in range(room.y - height + 1, room.y + room.height):
            yield x, y


def _doors(room: Room, following: Room) -> Iterator[Door]:
    beyond = set(following.cells())
    for x, y in room.cells():
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if (x + dx, y + dy) in beyond:
                yield Door(x, y, dx, dy)
