"""MNIST, from its IDX files."""

from __future__ import annotations

import gzip
import math
import os
import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .._checks import InvalidInput
from ._pictures import Pictures, contents

SOURCE = "https://ossci-datasets.s3.amazonaws.com/mnist"
FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
"""Names and MD5."""


def mnist(folder: str | os.PathLike[str], *, check: bool = True) -> tuple[Pictures, Pictures]:
    """MNIST: 60,000 handwritten digits to train on and 10,000 to test.

    Reference: LeCun et al., "Gradient-based learning applied to document recognition", 1998.

    Args:
        folder: where the four files ``*-ubyte.gz`` are; nothing is downloaded.
        check: refuse files whose MD5 is another than the published one.

    Returns:
        Training and test pictures, ``[n, 1, 28, 28]``.

    Raises:
        InvalidInput: if a file is not there, or is another one.

    Example:
        >>> mnist("nowhere")
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: `train-images-idx3-ubyte.gz` should be in the folder nowhere. \
Found none; it is at https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz.
    """
    read = [
        _array(Path(folder) / name, contents(Path(folder) / name, md5, f"{SOURCE}/{name}", check))
        for name, md5 in FILES.items()
    ]
    return _pictures(Path(folder), *read[:2]), _pictures(Path(folder), *read[2:])


def _array(path: Path, packed: bytes) -> Tensor:
    """IDX: two zeros, 8 for bytes, the number of dimensions; their sizes; the bytes."""
    try:
        raw = gzip.decompress(packed)
        zeros, kind, dimensions = struct.unpack_from(">HBB", raw)
        shape = struct.unpack_from(f">{dimensions}I", raw, 4)
    except (OSError, EOFError, struct.error) as error:
        raise InvalidInput(f"{path} should be a packed IDX file. Found: {error}.") from error
    start = 4 + 4 * dimensions
    if (zeros, kind) != (0, 8) or len(raw) - start != math.prod(shape):
        raise InvalidInput(f"{path} should be an IDX file of bytes. Found another.")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy())


def _pictures(folder: Path, images: Tensor, labels: Tensor) -> Pictures:
    if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
        found = f"{list(images.shape)} and {list(labels.shape)}"
        raise InvalidInput(f"{folder} should hold a label for each image. Found {found}.")
    return Pictures(x=images.unsqueeze(1), y=labels.long())
