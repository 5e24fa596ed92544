"""Files that are there in full or not at all."""

from __future__ import annotations

import json
import math
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from .._checks import DidactError, InvalidInput, invalid


def write_atomic(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    The data goes to a temporary file in the same folder, is flushed to the disk and then renamed
    over ``path`` (one step on every file system that matters). A kill at any moment leaves the old
    file, or none, and at worst a hidden ``.*.tmp`` beside it; :func:`run_cells` sweeps these out of
    its folder.

    Args:
        path: the file to write; its folder must exist.
        data: text, written as UTF-8 with its line ends as they are, or bytes.

    Raises:
        DidactError: if the system refuses (disk full, read-only folder, no such folder); the
            temporary file is removed and the old file untouched.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> write_atomic(folder / "note.txt", "all of it")
        >>> [file.name for file in folder.iterdir()]
        ['note.txt']
    """
    path = Path(path)
    # Named after its writer: two that write at once do not share a file. A killed writer's stays:
    # its next try has another process id.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise DidactError(f"Cannot write `{path}`: {error.strerror or error}.") from error
        raise


def check_json(parameter: str, value: Any) -> None:
    """Refuse a value that JSON cannot give back, naming where in it the offence is.

    JSON values are None, booleans, integers, finite floats, strings, lists and dicts with string
    keys. A tuple passes and is written as a list. Nan and infinities are not JSON, and text in
    their place would be read back as text: they are refused.

    Args:
        parameter: what the message calls ``value``.
        value: anything.

    Raises:
        InvalidInput: naming the first offence, for example ``record.losses[3]``.

    Example:
        >>> check_json("record", {"losses": [0.5, float("nan")]})
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: Parameter `record.losses[1]` should be a finite number. \
Found nan.
    """
    if isinstance(value, float):
        if not math.isfinite(value):
            raise invalid(parameter, "a finite number", value)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise invalid(parameter, "a dict whose keys are strings", name)
            check_json(f"{parameter}.{name}", item)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            check_json(f"{parameter}[{index}]", item)
    elif not (value is None or isinstance(value, bool | int | str)):
        raise invalid(
            parameter, "a JSON value (None, bool, int, float, str, list or dict of them)", value
        )


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as JSON, atomically; floats come back bit for bit.

    One space of indent (diffs stay readable), keys in their given order, a final newline, floats
    by ``repr`` (the shortest text that reads back as the same number).

    Args:
        path: the file to write; its folder must exist.
        value: a JSON value, see :func:`check_json`.

    Raises:
        InvalidInput: if ``value`` is not JSON, naming the place.
        DidactError: if the file cannot be written.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "numbers.json"
        >>> write_json(path, {"third": 1 / 3})
        >>> read_json(path)["third"] == 1 / 3
        True
    """
    check_json("value", value)
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read one JSON file.

    Args:
        path: the file to read.

    Returns:
        The value in it.

    Raises:
        DidactError: if the file cannot be read.
        InvalidInput: if it is not JSON (``NaN`` and ``Infinity`` are not); the message names the
            file and the place.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"The file `{path}` is not JSON: {error}.") from error
    except OSError as error:
        raise DidactError(f"Cannot read `{path}`: {error.strerror or error}.") from error
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The file `{path}` is not JSON: {error}.") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
