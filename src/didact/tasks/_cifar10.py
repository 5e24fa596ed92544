"""CIFAR-10, from its binary version."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import numpy as np
import torch

from .._checks import InvalidInput
from ._pictures import Pictures, contents

ARCHIVE, MD5 = "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"
SOURCE = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
BATCHES = [f"data_batch_{k}" for k in range(1, 6)]
RECORD = 1 + 3 * 32 * 32
"""A byte for the class, then the picture."""


def cifar10(folder: str | os.PathLike[str], *, check: bool = True) -> tuple[Pictures, Pictures]:
    """CIFAR-10: 50,000 pictures to train on and 10,000 to test, of ten classes.

    Nothing is downloaded, unpacked to disk or unpickled.

    Reference: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    Args:
        folder: where ``cifar-10-binary.tar.gz`` is, from https://www.cs.toronto.edu/~kriz.
        check: refuse an archive whose MD5 is another than the published one.

    Returns:
        Training and test pictures, ``[n, 3, 32, 32]``.

    Raises:
        InvalidInput: if the archive is not there, or is another one.

    Example:
        >>> cifar10("nowhere")
        Traceback (most recent call last):
        ...
        didact._checks.InvalidInput: `cifar-10-binary.tar.gz` should be in the folder nowhere. \
Found none; it is at https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz.
    """
    path = Path(folder) / ARCHIVE
    archive = contents(path, MD5, SOURCE, check)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
            for member in members:
                held = members.extractfile(member)
                if held is not None and member.name.endswith(".bin"):
                    files[Path(member.name).stem] = held.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InvalidInput(f"{path} should be a .tar.gz archive. Found: {error}.") from error
    missing = [name for name in [*BATCHES, "test_batch"] if name not in files]
    if missing:
        raise InvalidInput(f"{path} should hold {missing[0]}.bin. Found none.")
    return _pictures([files[name] for name in BATCHES], path), _pictures(
        [files["test_batch"]], path
    )


def _pictures(batches: list[bytes], path: Path) -> Pictures:
    found = np.frombuffer(b"".join(batches), np.uint8)
    if not len(found) or any(len(batch) % RECORD for batch in batches):
        raise InvalidInput(f"{path} should hold records of {RECORD} bytes. Found others.")
    rows = torch.from_numpy(found.reshape(-1, RECORD).copy())
    if int(rows[:, 0].max()) > 9:
        raise InvalidInput(f"{path} should hold classes 0 … 9. Found {int(rows[:, 0].max())}.")
    return Pictures(x=rows[:, 1:].reshape(-1, 3, 32, 32), y=rows[:, 0].long())
