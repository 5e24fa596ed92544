"""A module as one ``.pt2`` file that PyTorch runs without the code that made it."""

from __future__ import annotations

import copy
import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.export
import torch.fx
from torch import Tensor, nn

from .._checks import invalid
from ..runs import write_atomic

_MAPPING = "columns.json"


def trace(module: nn.Module, example_inputs: Sequence[Tensor]) -> torch.export.ExportedProgram:
    """The module as a graph: on the CPU, in evaluation mode, without gradients, any batch ≥ 1.

    The module itself is left as it is. Shapes are all that is taken from ``example_inputs``:
    the graph is traced on zeros, because an exported program keeps the inputs it was traced
    on, and a model file is no place for somebody's data.

    Args:
        module: Takes tensors ``[batch, …]``, returns a tensor.
        example_inputs: One tensor per argument, rows first.
    """
    zeros = tuple(torch.zeros((2, *x.shape[1:]), dtype=x.dtype) for x in example_inputs)
    batch = torch.export.Dim("batch", min=1)
    module = copy.deepcopy(module).cpu().eval().requires_grad_(False)
    program = torch.export.export(module, zeros, dynamic_shapes=tuple({0: batch} for _ in zeros))
    for graph in program.graph_module.modules():  # bodies of loops are modules inside
        if isinstance(graph, torch.fx.GraphModule):
            for node in graph.graph.nodes:
                node.meta.pop("stack_trace", None)  # paths of the machine that trained it
    return program


def save_pt2(
    module: nn.Module,
    example_inputs: Sequence[Tensor],
    path: str | os.PathLike[str],
    *,
    mapping: Mapping[str, Any],
) -> None:
    """Write the module's graph and weights, and what its inputs mean, in one file.

    Args:
        module: Takes tensors ``[batch, …]``, returns a tensor.
        example_inputs: One tensor per argument, rows first; only their shapes are used.
        path: Where to; the file appears whole or not at all.
        mapping: Plain data about the inputs, kept in the file as ``columns.json``.

    Raises:
        DidactError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "double.pt2")
        ...     save_pt2(nn.Identity(), [torch.zeros(3, 2)], path, mapping={"columns": ["a", "b"]})
        ...     module, mapping = load_pt2(path)
        >>> mapping, module(torch.ones(1, 2))
        ({'columns': ['a', 'b']}, tensor([[1., 1.]]))
    """
    file = io.BytesIO()
    text = json.dumps(dict(mapping), ensure_ascii=False)
    torch.export.save(trace(module, example_inputs), file, extra_files={_MAPPING: text})
    write_atomic(path, file.getvalue())


def load_pt2(path: str | os.PathLike[str]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The module and the mapping that :func:`save_pt2` wrote.

    Args:
        path: The file.

    Returns:
        The module, on the CPU, for tensors ``[batch, …]`` of any batch ≥ 1; and the mapping.

    Raises:
        InvalidInput: There is no such file, or it is not one of those.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "sum.pt2")
        ...     save_pt2(nn.Linear(2, 1), [torch.zeros(1, 2)], path, mapping={"unit": "m"})
        ...     module, mapping = load_pt2(path)
        >>> module(torch.zeros(5, 2)).shape, mapping
        (torch.Size([5, 1]), {'unit': 'm'})
    """
    if not Path(path).is_file():
        raise invalid("path", "an existing .pt2 file", str(path))
    if not zipfile.is_zipfile(path):  # PyTorch would log a page before it fails
        raise invalid("path", "a file that `save_pt2` wrote", str(path))
    extra = {_MAPPING: ""}
    try:
        program = torch.export.load(io.BytesIO(Path(path).read_bytes()), extra_files=extra)
        return program.module(), json.loads(extra[_MAPPING])
    except (RuntimeError, ValueError, KeyError, AssertionError) as error:
        raise invalid("path", f"a file that `save_pt2` wrote ({error})", str(path)) from error
