"""A module as one ONNX file that takes the raw columns of a table, each by its name."""

from __future__ import annotations

import copy
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._checks import DidactError, invalid, listed
from ..runs import write_atomic
from ._torch_export import trace

OTHER, MISSING, FIRST = 0, 1, 2  # codes: unknown, missing, the first of the categories


def save_onnx(
    core: nn.Module,
    example_inputs: tuple[Tensor, Tensor],
    path: str | os.PathLike[str],
    *,
    numeric: Sequence[str],
    categorical: Mapping[str, Sequence[str]],
    origins: Mapping[str, float] | None = None,
    output: str = "output",
    tolerance: float = 1e-5,
) -> str:
    """Write a model that needs nothing but columns: numbers as float, categories as text.

    The graph has one input ``[batch, 1]`` per column, named like the column: float for a
    numeric one, NaN where missing; string for a categorical one, empty where missing. It
    looks up each category's code (0 if unknown, 1 if missing, 2, 3, … in the order given) and
    hands ``numeric`` ``[batch, N]`` and ``codes`` ``[batch, C]`` to the core. A core of windows,
    ``[batch, H, N]`` and ``[batch, H, C]``, has inputs ``[batch, H]``. A numeric column that has an
    origin is taken as double, and the core gets it less the origin. Before the file
    appears, ONNX checks it and onnxruntime must agree with PyTorch on the example rows and on
    a row with everything missing: max |Δ| ≤ ``tolerance`` · max(1, max |output|).

    Args:
        core: ``(numeric, codes) → tensor``; left as it is.
        example_inputs: Rows to compare on, float32 ``[n, N]`` and int64 ``[n, C]``, or windows,
            ``[n, H, N]`` and ``[n, H, C]``.
        path: Where to; the file appears whole or not at all.
        numeric: Names of the numeric columns, in the core's order.
        categorical: Categories of each categorical column, in the core's order.
        origins: Of numeric columns whose numbers are too large for float32, what to take off.
        output: The output's name; underscores are added while a column has the same one.
        tolerance: The largest difference allowed.

    Returns:
        The output's name in the graph.

    Raises:
        InvalidInput: Names and shapes do not fit; a name or a category is empty or given twice.
        DidactError: onnxruntime and PyTorch disagree, or the file cannot be written.

    Example:
        >>> import pathlib, tempfile
        >>> import onnxruntime
        >>> class Core(nn.Module):
        ...     def forward(self, numeric, codes):
        ...         return numeric.nan_to_num() + codes
        >>> rows = torch.tensor([[1.5], [2.0]]), torch.tensor([[FIRST], [OTHER]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "core.onnx")
        ...     name = save_onnx(
        ...         Core(), rows, path, numeric=["dose"], categorical={"kind": ["a", "b"]}
        ...     )
        ...     session = onnxruntime.InferenceSession(path)
        >>> row = {"dose": np.array([[0.5]], dtype=np.float32), "kind": np.array([["b"]])}
        >>> name, session.run([name], row)[0].tolist()  # the code of b is 3
        ('output', [[3.5]])
    """
    import onnx

    names = [*numeric, *categorical]
    shapes = tuple(tensor.shape[-1] for tensor in example_inputs)
    if shapes != (len(numeric), len(categorical)):
        raise invalid("example_inputs", f"{len(numeric)} and {len(categorical)} columns", shapes)
    if not all(names) or len(set(names)) < len(names):
        raise invalid("numeric, categorical", "names, each not empty and given once", names)
    for name, known in categorical.items():
        if not all(known) or len(set(known)) < len(known):
            raise invalid("categorical", "categories, each not empty and given once", (name, known))
    while output in names:
        output += "_"
    categories = {name: list(known) for name, known in categorical.items()}
    core = copy.deepcopy(core).cpu().eval()
    model = translated(core, example_inputs, ["numeric", "codes"])
    window = example_inputs[0].shape[1] if example_inputs[0].dim() == 3 else None
    offsets = dict(origins or {})
    _take_columns(model, list(numeric), categories, offsets, output, window)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    _compare(core, data, example_inputs, list(numeric), categories, offsets, output, tolerance)
    write_atomic(path, data)
    return output


def translated(
    core: nn.Module,
    example_inputs: Sequence[Tensor],
    inputs: list[str],
    outputs: list[str] | None = None,
) -> Any:
    """The core as ONNX, with inputs and outputs of these names, without traces of this machine."""
    program = trace(core, example_inputs)
    # On every export PyTorch logs that torchvision's operators are skipped where it is absent.
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # PyTorch's exporter copies trees with a class that PyTorch itself has deprecated.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            exported = torch.onnx.export(
                program, dynamo=True, input_names=inputs, output_names=outputs, verbose=False
            )
    finally:
        log.setLevel(level)
    assert exported is not None
    model = exported.model_proto
    used = set()
    for graph in _graphs(model.graph):
        used |= {output.name for output in graph.output}
        for node in graph.node:
            used |= set(node.input)
            del node.metadata_props[:]  # stack traces, with paths
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]  # onnxruntime warns of those that nothing reads
    model.graph.initializer.extend(kept)
    return model


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph, and those inside its nodes: bodies of loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _take_columns(
    model: Any,
    numeric: list[str],
    categorical: dict[str, list[str]],
    origins: dict[str, float],
    output: str,
    window: int | None,
) -> None:
    """Put the columns before the core, and keep every inner name apart from theirs."""
    from onnx import TensorProto, compose, helper, numpy_helper

    inner = "core"
    while any(name.startswith(inner) for name in [*numeric, *categorical, output]):
        inner += "_"
    prefixed = compose.add_prefix(model, inner + "/")
    model.CopyFrom(prefixed)
    graph = model.graph
    before = []
    for name, categories in categorical.items():
        before.append(
            helper.make_node(
                "LabelEncoder",
                [name],
                [f"{inner}/code of {name}"],
                domain="ai.onnx.ml",
                keys_strings=["", *categories],
                values_int64s=[MISSING, *range(FIRST, FIRST + len(categories))],
                default_int64=OTHER,
            )
        )
    codes = [f"{inner}/code of {name}" for name in categorical]
    values = {name: name for name in numeric}
    for name, origin in origins.items():
        values[name] = f"{inner}/value of {name}"
        constant = numpy_helper.from_array(np.array(origin), f"{inner}/origin of {name}")
        graph.initializer.append(constant)
        less = f"{inner}/less of {name}"
        before.append(helper.make_node("Sub", [name, constant.name], [less]))
        before.append(helper.make_node("Cast", [less], [values[name]], to=TensorProto.FLOAT))
    if window is not None:
        axis = numpy_helper.from_array(np.array([2], dtype=np.int64), f"{inner}/last axis")
        graph.initializer.append(axis)
    for columns, target in ((list(values.values()), "numeric"), (codes, "codes")):
        if columns:
            joined = columns
            if window is not None:  # [batch, H] → [batch, H, 1], one beside the other
                joined = [f"{inner}/{target} {j}" for j in range(len(columns))]
                before += [
                    helper.make_node("Unsqueeze", [column, axis.name], [wide])
                    for column, wide in zip(columns, joined, strict=True)
                ]
            before.append(
                helper.make_node(
                    "Concat", joined, [f"{inner}/{target}"], axis=1 if window is None else 2
                )
            )
        elif any(f"{inner}/{target}" in node.input for node in graph.node):
            raise DidactError(f"The core reads `{target}`, and there is no such column.")
    (result,) = graph.output
    after = helper.make_node("Identity", [result.name], [output])
    nodes = [*before, *graph.node, after]
    sizes = [dim.dim_value for dim in result.type.tensor_type.shape.dim][1:]
    kinds = [
        (name, TensorProto.DOUBLE if name in origins else TensorProto.FLOAT) for name in numeric
    ]
    kinds += [(name, TensorProto.STRING) for name in categorical]
    inputs = [
        helper.make_tensor_value_info(name, kind, ["batch", window or 1]) for name, kind in kinds
    ]
    kind = result.type.tensor_type.elem_type
    outputs = [helper.make_tensor_value_info(output, kind, ["batch", *sizes])]
    for field, new in ((graph.node, nodes), (graph.input, inputs), (graph.output, outputs)):
        kept = [copy.deepcopy(item) for item in new]
        del field[:]
        field.extend(kept)
    del graph.value_info[:]
    if categorical:
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))


def _compare(
    core: nn.Module,
    data: bytes,
    example_inputs: tuple[Tensor, Tensor],
    numeric: list[str],
    categorical: dict[str, list[str]],
    origins: dict[str, float],
    output: str,
    tolerance: float,
) -> None:
    session = session_of(data)
    rows, codes = (tensor.detach().cpu() for tensor in example_inputs)
    missing = (torch.full_like(rows[:1], torch.nan), torch.full_like(codes[:1], MISSING))
    for x, c in ((rows, codes), missing):
        feed: dict[str, Any] = {name: _column(x, j) for j, name in enumerate(numeric)}
        for name, origin in origins.items():
            feed[name] = feed[name].astype(np.float64) + origin
        for j, (name, categories) in enumerate(categorical.items()):
            unknown = max(categories, key=len, default="") + "?"  # longer than any category
            words = np.array([unknown, "", *categories], dtype=object)
            feed[name] = words[_column(c, j)]
        (found,) = session.run([output], feed)
        with torch.no_grad():
            expected = core(x, c).numpy()
        if found.shape != expected.shape or not (
            np.abs(found - expected).max(initial=0)
            <= tolerance * max(1, np.abs(expected).max(initial=0))
        ):
            raise DidactError(
                f"onnxruntime and PyTorch disagree on {listed(feed)}: no file written."
            )


def session_of(data: bytes) -> Any:
    """One that runs on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _column(rows: Tensor, j: int) -> Any:
    """One column as the graph takes it: ``[n, 1]``, or ``[n, H]`` of windows."""
    return rows[:, j : j + 1].numpy() if rows.dim() == 2 else rows[:, :, j].numpy()
