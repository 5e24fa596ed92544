"""Pictures with a class each, from files whose checksums are known."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from .._checks import InvalidInput


class Pictures(NamedTuple):
    """Some pictures.

    Args:
        x: ``[n, channels, height, width]``, bytes 0 … 255.
        y: ``[n]``, the class, an integer from 0.
    """

    x: Tensor
    y: Tensor


def contents(path: Path, md5: str, source: str, check: bool) -> bytes:
    """What a file holds.

    Args:
        path: of the file.
        md5: its checksum, as published.
        source: where it can be had.
        check: refuse a file with another checksum.

    Raises:
        InvalidInput: if it is not there, or another one.
    """
    try:
        found = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"`{path.name}` should be in the folder {path.parent}. Found none; it is at {source}."
        ) from error
    # Against damage and mix-ups, for which MD5 will do: it is what was published.
    digest = hashlib.md5(found, usedforsecurity=False).hexdigest() if check else md5
    if digest != md5:
        raise InvalidInput(
            f"{path} should be the file at {source}, with MD5 {md5}. Found {digest}."
        )
    return found
