"""CIFAR-10 and MNIST from small files of the published formats."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from didact import InvalidInput
from didact.tasks import cifar10, mnist, pictures


def archive(folder: Path, batches: dict[str, bytes]) -> None:
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as out:
        out.addfile(tarfile.TarInfo("cifar-10-batches-bin/readme.html"), io.BytesIO(b""))
        for name, body in batches.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = len(body)
            out.addfile(info, io.BytesIO(body))


NAMES = [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]


def records(name: str, n: int = 3) -> tuple[bytes, list[int], list[list[int]]]:
    rng = np.random.default_rng(NAMES.index(name))
    labels = rng.integers(10, size=n).tolist()
    pixels = rng.integers(256, size=(n, 3072)).tolist()
    return b"".join(bytes([y, *row]) for y, row in zip(labels, pixels, strict=True)), labels, pixels


def test_cifar_byte_by_byte(tmp_path: Path) -> None:
    # In another order than they are to be read.
    archive(tmp_path, {name: records(name)[0] for name in reversed(NAMES)})
    train, test = cifar10(tmp_path, check=False)
    assert train.x.shape == (15, 3, 32, 32)
    assert test.x.shape == (3, 3, 32, 32)
    for i, (x, y) in enumerate(zip(train.x, train.y, strict=True)):
        _, labels, pixels = records(NAMES[i // 3])
        assert int(y) == labels[i % 3]
        for channel in range(3):
            for row in range(32):
                start = 1024 * channel + 32 * row
                assert x[channel, row].tolist() == pixels[i % 3][start : start + 32]
    assert test.y.tolist() == records("test_batch")[1]


def test_cifar_refuses_what_is_not_the_archive(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidInput, match=r"`cifar-10-binary.tar.gz` should be in .* it is at http"
    ):
        cifar10(tmp_path)
    archive(tmp_path, {name: records(name)[0] for name in NAMES})
    with pytest.raises(InvalidInput, match="MD5 c32a1d4ab5d03f1284b67883e8d87530"):
        cifar10(tmp_path)
    archive(tmp_path, {name: records(name)[0] for name in NAMES[1:]})
    with pytest.raises(InvalidInput, match=r"should hold data_batch_1\.bin"):
        cifar10(tmp_path, check=False)
    archive(tmp_path, {name: records(name)[0][:-1] for name in NAMES})
    with pytest.raises(InvalidInput, match="records of 3073 bytes"):
        cifar10(tmp_path, check=False)
    archive(tmp_path, {name: bytes([10, *([0] * 3072)]) for name in NAMES})
    with pytest.raises(InvalidInput, match=r"classes 0 … 9\. Found 10"):
        cifar10(tmp_path, check=False)
    (tmp_path / "cifar-10-binary.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InvalidInput, match=r"should be a \.tar\.gz archive"):
        cifar10(tmp_path, check=False)


FILES = {
    "train-images-idx3-ubyte.gz": (5, 28, 28), "train-labels-idx1-ubyte.gz": (5,),
    "t10k-images-idx3-ubyte.gz": (2, 28, 28), "t10k-labels-idx1-ubyte.gz": (2,),
}  # fmt: skip


def idx(shape: tuple[int, ...], values: list[int]) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + bytes(values)


def write_mnist(folder: Path) -> dict[str, np.ndarray]:
    arrays = {}
    for seed, (name, shape) in enumerate(FILES.items()):
        most = 256 if len(shape) == 3 else 10
        arrays[name] = np.random.default_rng(seed).integers(most, size=shape)
        body = idx(shape, arrays[name].ravel().tolist())
        (folder / name).write_bytes(gzip.compress(body))
    return arrays


def test_mnist_byte_by_byte(tmp_path: Path) -> None:
    images, labels, test_images, test_labels = write_mnist(tmp_path).values()
    train, test = mnist(tmp_path, check=False)
    assert train.x.shape == (5, 1, 28, 28)
    assert (train.x[:, 0].numpy() == images).all()
    assert train.y.tolist() == labels.tolist()
    assert (test.x[:, 0].numpy() == test_images).all()
    assert test.y.tolist() == test_labels.tolist()


def test_mnist_refuses_what_is_not_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"`train-images-idx3-ubyte.gz` should be in the folder"):
        mnist(tmp_path)
    write_mnist(tmp_path)
    with pytest.raises(InvalidInput, match="MD5 f68b3c2dcbeaaa9fbdd348bbdeb94873"):
        mnist(tmp_path)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx((4,), [1, 2, 3, 4])))
    with pytest.raises(
        InvalidInput, match=r"a label for each image. Found \[5, 28, 28\] and \[4\]"
    ):
        mnist(tmp_path, check=False)
    path.write_bytes(gzip.compress(idx((5,), [1, 2, 3, 4])))
    with pytest.raises(InvalidInput, match="should be an IDX file of bytes"):
        mnist(tmp_path, check=False)
    path.write_bytes(b"not packed")
    with pytest.raises(InvalidInput, match="should be a packed IDX file"):
        mnist(tmp_path, check=False)


@pytest.mark.parametrize("shape", [(6, 5, 4), (6, 5, 4, 3), (6, 3, 5, 4), (6, 5, 4, 1)])
def test_a_file_of_your_own(shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    y = np.arange(6, dtype=np.uint8) % 4
    np.savez(tmp_path / "own.npz", x_train=x[:4], y_train=y[:4], x_test=x[4:], y_test=y[4:])
    train, test = pictures(tmp_path / "own.npz")
    channels = 3 if 3 in shape else 1
    assert train.x.shape == (4, channels, 5, 4)
    assert test.y.tolist() == [0, 1]
    for row in range(5):
        for column in range(4):
            wanted = x[2, :, row, column] if shape[1] == 3 else x[2, row, column]
            assert train.x[2, :, row, column].tolist() == np.atleast_1d(wanted).tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x_test": None}, "x_test"),
        ({"x_train": np.zeros((4, 5, 4))}, "pictures of bytes"),
        ({"y_train": np.arange(3)}, "for each of 4 pictures"),
        ({"y_test": np.array([0, -1])}, "an integer from 0"),
        ({"x_test": np.zeros((2, 5, 5), np.uint8)}, "of one size"),
    ],
)
def test_a_file_that_is_none_is_said(
    change: dict[str, np.ndarray | None], says: str, tmp_path: Path
) -> None:
    arrays = {
        "x_train": np.zeros((4, 5, 4), np.uint8), "y_train": np.arange(4),
        "x_test": np.zeros((2, 5, 4), np.uint8), "y_test": np.arange(2), **change,
    }  # fmt: skip
    np.savez(tmp_path / "own.npz", **{n: a for n, a in arrays.items() if a is not None})
    with pytest.raises(InvalidInput, match=says):
        pictures(tmp_path / "own.npz")
    with pytest.raises(InvalidInput, match="an existing file"):
        pictures(tmp_path / "nowhere.npz")
