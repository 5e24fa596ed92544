"""Arithmetic on nested tensors and on ``dict[str, Tensor]``, the currency of ``torch.func``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Params = dict[str, Tensor]


def leaves(tree: Any) -> list[Any]:
    """The leaves of nested dicts, lists and tuples, in order; ``None`` holds no leaf.

    >>> leaves({"a": [1, (2, None)], "b": 3})
    [1, 2, 3]
    """
    if tree is None:
        return []
    if isinstance(tree, Mapping):
        return [leaf for value in tree.values() for leaf in leaves(value)]
    if isinstance(tree, list | tuple):
        return [leaf for value in tree for leaf in leaves(value)]
    return [tree]


def tree_map(function: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """Apply ``function`` leaf by leaf to trees of one structure.

    >>> tree_map(lambda a, b: a + b, {"a": [1, 2]}, {"a": [10, 20]})
    {'a': [11, 22]}
    """
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {k: tree_map(function, v, *(r[k] for r in rest)) for k, v in tree.items()}
    if isinstance(tree, list | tuple):
        values = [tree_map(function, *vs) for vs in zip(tree, *rest, strict=True)]
        if hasattr(tree, "_fields"):
            return type(tree)(*values)
        return type(tree)(values)
    return function(tree, *rest)


def with_leaves(tree: Any, new: list[Any]) -> Any:
    """``tree`` with its leaves replaced, in order, by ``new``.

    >>> with_leaves({"a": [1, (2, None)]}, ["x", "y"])
    {'a': ['x', ('y', None)]}
    """
    remaining = iter(new)
    return tree_map(lambda _: next(remaining), tree)


def nbytes(tree: Any) -> int:
    """Bytes held by the tensors of ``tree``."""
    return sum(t.numel() * t.element_size() for t in leaves(tree) if isinstance(t, Tensor))
