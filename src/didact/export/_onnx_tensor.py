"""A module of one tensor as an ONNX file."""

from __future__ import annotations

import copy
import os

import numpy as np
import torch
from torch import Tensor, nn

from .._checks import DidactError, invalid
from ..runs import write_atomic
from ._onnx import session_of, translated


def save_tensor_onnx(
    module: nn.Module,
    example: Tensor,
    path: str | os.PathLike[str],
    *,
    input: str = "x",
    output: str = "y",
    tolerance: float = 1e-4,
) -> None:
    """Write a module ``[batch, …] → [batch, …]`` as ONNX, any batch.

    Before the file appears, ONNX checks it and onnxruntime must agree with PyTorch on the example:
    max |Δ| ≤ ``tolerance`` · max(1, max |output|).

    Args:
        module: left as it is.
        example: rows to compare on; nothing of them is in the file.
        path: where to; the file appears whole or not at all.
        input, output: names in the graph.
        tolerance: the largest difference allowed.

    Raises:
        InvalidInput: ``example`` is no tensor.
        DidactError: onnxruntime and PyTorch disagree, or the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> import onnxruntime
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "relu.onnx")
        ...     save_tensor_onnx(nn.ReLU(), torch.zeros(1, 2), path)
        ...     session = onnxruntime.InferenceSession(path)
        >>> session.run(["y"], {"x": np.array([[-1, 2]], dtype=np.float32)})[0].tolist()
        [[0.0, 2.0]]
    """
    import onnx

    if not isinstance(example, Tensor):
        raise invalid("example", "a tensor [batch, …]", example)
    module, example = copy.deepcopy(module).cpu().eval(), example.detach().cpu()
    model = translated(module, (example,), [input], [output])
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    (found,) = session_of(data).run([output], {input: example.numpy()})
    with torch.no_grad():
        expected = module(example).numpy()
    if not np.abs(found - expected).max() <= tolerance * max(1, np.abs(expected).max()):
        raise DidactError("onnxruntime and PyTorch disagree: no file written.")
    write_atomic(path, data)
