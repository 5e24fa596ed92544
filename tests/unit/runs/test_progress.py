"""A bar on a terminal, readable lines in a log, an honest rate."""

from __future__ import annotations

import io
import math
import re
import time

import pytest

from didact import InvalidInput
from didact.runs import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_plain_lines_every_few_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(10, "cells", stream, every=5) as progress:
        for done in range(1, 11):
            clock.now += 2
            progress.update(done, best=1 / done)
    assert stream.getvalue().splitlines() == [
        "cells: 1/10, best 1, 2 s each, 0:00:18 left",
        "cells: 4/10, best 0.25, 2 s each, 0:00:12 left",
        "cells: 7/10, best 0.1429, 2 s each, 0:00:06 left",
        "cells: 10/10, best 0.1, 2 s each, 0:00:00 left",
    ]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", stream.getvalue())


def test_stored_steps_do_not_count_as_speed(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(1000, "cells", stream, every=0) as progress:
        progress.update(900, cached=True)
        clock.now += 10
        progress.update(901)
    assert stream.getvalue().splitlines() == [
        "cells: 900/1000",
        "cells: 901/1000, 10 s each, 0:16:30 left",
    ]


def test_the_best_is_the_lowest_finite_of_all(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(4, "t", stream, every=0)
    for done, value in enumerate([math.nan, 2.0, 3.0, -math.inf], start=1):
        progress.update(done, best=value)
    assert [line.partition(", ")[2] for line in stream.getvalue().splitlines()] == [
        "",
        "best 2",
        "best 2",
        "best 2",
    ]


def test_the_best_is_the_highest_where_that_is_asked_for(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(3, "t", stream, every=0, highest=True)
    for done, value in enumerate([0.5, math.inf, 0.25], start=1):
        progress.update(done, best=value)
    assert [line.partition(", ")[2] for line in stream.getvalue().splitlines()] == ["best 0.5"] * 3


def test_close_says_what_was_not_said_yet_and_once(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(9, "t", stream, every=60)
    progress.update(1)
    progress.update(5)
    progress.close()
    progress.close()
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == ["t: 1/9", "t: 5/9"]


def test_a_fast_rate_is_per_second(clock: Clock) -> None:
    stream = io.StringIO()
    progress = Progress(40000, "rollouts", stream)
    clock.now += 2
    progress.update(400)
    assert stream.getvalue() == "rollouts: 400/40000, 200/s, 0:03:18 left\n"


def test_nothing_is_said_of_a_run_that_does_nothing() -> None:
    stream = io.StringIO()
    with Progress(0, "t", stream):
        pass
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_with_the_best_and_the_rate_of_what_was_run() -> None:
    stream = Terminal()
    with Progress(10, "cells", stream) as progress:
        progress.update(6, cached=True)
        progress.update(10, best=0.125)
    last = stream.getvalue().rsplit("\r", 1)[1]
    assert last.startswith("cells: 100%|")
    assert "10/10" in last
    assert "best 0.125" in last
    assert last.endswith("\n")


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(1, "t") as progress:
        progress.update(1, cached=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "t: 1/1\n"


def test_a_wrong_total_is_named() -> None:
    with pytest.raises(InvalidInput, match="`total` should be an integer of at least 0"):
        Progress(-1, "t")
