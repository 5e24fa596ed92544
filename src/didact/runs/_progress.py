"""How far, how fast, how good so far, how long still: on standard error."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

from .._checks import check_integer, extra


class Progress:
    """A bar on a terminal, a plain line every few seconds elsewhere.

    The terminal gets tqdm's bar. A file or a pipe gets lines without control characters, so that
    logs stay readable: the first, at most one per ``every`` seconds, and the last. Steps that
    were already stored are left out of the rate, so that a resumed run does not promise its end too
    soon.

    Args:
        total: the number of steps.
        what: a few words in front.
        stream: where to write; standard error by default.
        every: seconds between plain lines.
        highest: the highest value is the best, not the lowest.

    Raises:
        InvalidInput: if ``total`` is not an integer of at least 0.

    Example:
        >>> import sys
        >>> with Progress(2, "cells", sys.stdout, every=60) as progress:
        ...     progress.update(1, best=0.5, cached=True)
        ...     progress.update(2, best=0.25, cached=True)
        cells: 1/2, best 0.5
        cells: 2/2, best 0.25
    """

    def __init__(
        self,
        total: int,
        what: str,
        stream: TextIO | None = None,
        *,
        every: float = 5.0,
        highest: bool = False,
    ) -> None:
        self.total = check_integer("total", total, at_least=0)
        self.what = what
        self.stream = sys.stderr if stream is None else stream
        self.every = every
        self.done = 0
        self._better = max if highest else min
        self.best = -math.inf if highest else math.inf
        self._cached = 0
        self._started = time.monotonic()
        self._written = -math.inf
        self._line = ""
        self._bar: Any = None
        if self.stream.isatty():
            with extra("fit"):
                from tqdm import tqdm

            self._bar = tqdm(total=total, desc=what, file=self.stream)

    def update(self, done: int, *, best: float | None = None, cached: bool = False) -> None:
        """Say that ``done`` steps are finished.

        Args:
            done: how many of ``total`` in all, not how many more.
            best: the value of the latest step, or the best so far: the best finite one of all calls
                is shown.
            cached: the new steps were not run but loaded.
        """
        new, self.done = done - self.done, done
        self._cached += new if cached else 0
        if best is not None and math.isfinite(best):
            self.best = self._better(self.best, best)
        if self._bar is None:
            if self._due(
                0.2 if cached else self.every
            ):  # loaded ones are not followed by others soon
                self._write()
            return
        if cached:
            self._bar.initial += new
        if math.isfinite(self.best):
            self._bar.set_postfix_str(f"best {self.best:.4g}", refresh=False)
        self._bar.update(new)

    def expect(self, total: int) -> None:
        """Say that there are another number of steps in all than was thought."""
        self.total = check_integer("total", total, at_least=0)
        if self._bar is not None:
            self._bar.total = total

    def close(self) -> None:
        """Finish the bar, or write the last line if it is still to be said."""
        if self._bar is not None:
            self._bar.close()
        elif self.done and self._state() != self._line:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _due(self, pause: float) -> bool:
        waited = time.monotonic() - self._written >= pause
        return waited or (self.done >= self.total and self._state() != self._line)

    def _state(self) -> str:
        best = f", best {self.best:.4g}" if math.isfinite(self.best) else ""
        return f"{self.what}: {self.done}/{self.total}{best}"

    def _write(self) -> None:
        self._written = time.monotonic()
        self._line = self._state()
        elapsed = self._written - self._started
        rate = (self.done - self._cached) / elapsed if elapsed > 0 else 0.0
        speed = ""
        if rate > 0:
            left = round((self.total - self.done) / rate)
            pace = f"{rate:.3g}/s" if rate >= 1 else f"{1 / rate:.3g} s each"
            speed = f", {pace}, {left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"
        print(f"{self._line}{speed}", file=self.stream, flush=True)
