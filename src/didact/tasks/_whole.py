"""Files that are there in full or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .._checks import DidactError


@contextmanager
def whole(out: Path) -> Iterator[BinaryIO]:
    """A file that takes its name when the block ends, and is gone if the block fails.

    Args:
        out: the file to write; its folder is created if missing, before the block begins.

    Raises:
        DidactError: if the system refuses.
    """
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, out)
    except OSError as error:
        raise DidactError(f"Cannot write `{out}`: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()
