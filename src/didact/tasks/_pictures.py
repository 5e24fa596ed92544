"""Pictures with a class each, from files whose checksums are known."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._checks import InvalidInput, check_file, invalid

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class Pictures(NamedTuple):
    """Some pictures.

    Args:
        x: ``[n, channels, height, width]``, bytes 0 … 255.
        y: ``[n]``, the class, an integer from 0.
    """

    x: Tensor
    y: Tensor


def pictures(path: str | os.PathLike[str]) -> tuple[Pictures, Pictures]:
    """Pictures of your own: an ``.npz`` of ``x_train``, ``y_train``, ``x_test``, ``y_test``.

    Args:
        path: of the file. Pictures are bytes ``[n, height, width]``, ``[n, height, width, 3]`` or
            ``[n, channels, height, width]``, classes are integers from 0.

    Returns:
        Training and test pictures, channels first.

    Raises:
        InvalidInput: if there is no such file, an array is missing or of another kind, or test
            pictures are unlike those to train on.

    Example:
        >>> pictures("nowhere.npz")
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: Parameter `path` should be an existing file. \
Found 'nowhere.npz'.
    """
    check_file("path", path)
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = [held[name] for name in ARRAYS]
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise invalid("path", f"an .npz of {', '.join(ARRAYS)} ({error})", str(path)) from error
    train, test = (_pictures(path, *arrays[k : k + 2]) for k in (0, 2))
    if train.x.shape[1:] != test.x.shape[1:]:
        found = f"{list(train.x.shape[1:])} and {list(test.x.shape[1:])}"
        raise invalid("path", "a file whose training and test pictures are of one size", found)
    return train, test


def _pictures(path: object, x: NDArray[Any], y: NDArray[Any]) -> Pictures:
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or not x.size:
        raise invalid("path", "a file of pictures of bytes", f"{x.dtype} {list(x.shape)}")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1] or y.min() < 0:
        rule = f"a file with a class, an integer from 0, for each of {len(x)} pictures"
        raise invalid("path", rule, f"{y.dtype} {list(y.shape)}")
    if x.ndim == 3:
        x = x[:, None]
    elif x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    return Pictures(torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(y.astype(np.int64)))


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
