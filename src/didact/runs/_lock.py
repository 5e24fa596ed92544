"""One process per folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._checks import DidactError, extra


class FolderBusy(DidactError):
    """Another run holds the folder; the message says which folder."""


@contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Hold ``folder`` for the time of the block; nobody waits, the second one is told.

    The lock belongs to the operating system (``flock`` on the file ``.lock`` inside the folder): it
    ends with the process that holds it, however that dies, so no stale lock is ever to be removed
    by hand. It is not re-entrant: a second ``locked`` on the same folder is refused in the same
    process too.

    Args:
        folder: created, with its parents, if missing.

    Yields:
        The folder.

    Raises:
        FolderBusy: if the folder is held.
        DidactError: if the folder cannot be created or written.

    Example:
        >>> import tempfile
        >>> with locked(tempfile.mkdtemp()) as folder:
        ...     try:
        ...         with locked(folder):
        ...             print("never")
        ...     except FolderBusy:
        ...         print("busy")
        busy
    """
    with extra("fit"):
        from filelock import FileLock, Timeout

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(blocking=False)
    except Timeout as error:
        raise FolderBusy(
            f"The folder `{folder}` is in use by another run. Wait for it or choose another."
        ) from error
    except OSError as error:
        raise DidactError(
            f"Cannot use the folder `{folder}`: {error.strerror or error}."
        ) from error
    try:
        yield folder
    finally:
        lock.release()
