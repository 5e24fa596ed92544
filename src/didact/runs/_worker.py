"""What every worker process owes the run that started it."""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def as_worker(function: Callable[P, T], parent: int) -> Callable[P, T]:
    """``function`` as a worker of process ``parent`` runs it: one torch thread, no afterlife.

    Args:
        function: a top-level function.
        parent: the process id of the run.

    Returns:
        A picklable callable with the signature of ``function``.
    """
    return functools.partial(_work, function, parent)


def _work(function: Callable[P, T], parent: int, *args: P.args, **kwargs: P.kwargs) -> T:
    # Not imported for this alone, which takes seconds: torch reads the variables when it is.
    os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if os.getppid() == parent:
        _end_with(parent)
    return function(*args, **kwargs)


@functools.cache
def _end_with(parent: int) -> None:
    # A run killed by SIGKILL cannot end its workers: they would go on and write into a folder
    # whose lock is free again.
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
