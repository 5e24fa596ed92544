"""Students and policies out of the house.

- ``save_onnx``: a model that takes the raw columns of a table, checked against PyTorch; a
  category's code is ``OTHER``, ``MISSING``, or ``FIRST`` and up.
- ``save_tensor_onnx``: a model of one tensor.
- ``save_pt2``, ``load_pt2``: a model that PyTorch runs without the code that made it.
- ``page`` and its blocks: the frame of a self-contained HTML report.
"""

from ._frame import (
    COLOURS,
    STYLE,
    Section,
    bullets,
    callout,
    code,
    figure,
    gallery,
    page,
    stacked,
    table,
)
from ._onnx import FIRST, MISSING, OTHER, save_onnx
from ._onnx_tensor import save_tensor_onnx
from ._torch_export import load_pt2, save_pt2

__all__ = [
    "COLOURS",
    "FIRST",
    "MISSING",
    "OTHER",
    "STYLE",
    "Section",
    "bullets",
    "callout",
    "code",
    "figure",
    "gallery",
    "load_pt2",
    "page",
    "save_onnx",
    "save_pt2",
    "save_tensor_onnx",
    "stacked",
    "table",
]
