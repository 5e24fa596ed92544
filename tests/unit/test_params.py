"""Nested tensors: structure is kept, leaves come in one order."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from didact._params import leaves, nbytes, tree_map, with_leaves


class Pair(NamedTuple):
    first: Any
    second: Any


TREES = st.recursive(
    st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=12,
)


def numbers(tree: Any) -> list[int]:
    """The oracle: integers in the order in which ``repr`` shows them."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [x for branch in tree for x in numbers(branch)]
    return [] if tree is None else [tree]


@given(TREES)
def test_leaves_come_in_order_and_none_holds_no_leaf(tree: Any) -> None:
    assert leaves(tree) == numbers(tree)


@given(TREES)
def test_with_leaves_inverts_leaves(tree: Any) -> None:
    assert with_leaves(tree, leaves(tree)) == tree
    new = [("new", i) for i in range(len(leaves(tree)))]
    swapped = with_leaves(tree, [f"{a}{i}" for a, i in new])
    assert leaves(swapped) == [f"{a}{i}" for a, i in new]


@given(TREES)
def test_tree_map_keeps_structure_and_types(tree: Any) -> None:
    def same(a: Any, b: Any) -> bool:
        if type(a) is not type(b):
            return False
        if isinstance(a, dict):
            return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
        if isinstance(a, list | tuple):
            return len(a) == len(b) and all(map(same, a, b))
        return a is None or b == a + 1

    assert same(tree, tree_map(lambda x: x + 1, tree))
    assert leaves(tree_map(lambda a, b, c: a + b + c, tree, tree, tree)) == [
        3 * x for x in leaves(tree)
    ]


def test_mappings_of_any_kind_are_matched_by_key() -> None:
    first, second = OrderedDict(a=1, b=2), {"b": 20, "a": 10}
    assert tree_map(lambda x, y: x + y, first, second) == {"a": 11, "b": 22}


def test_structures_that_differ_are_refused() -> None:
    with pytest.raises(ValueError):
        tree_map(lambda a, b: a, [1, 2], [1])
    with pytest.raises(KeyError):
        tree_map(lambda a, b: a, {"a": 1}, {"b": 1})


def test_nbytes_counts_tensors_only() -> None:
    tree = {"a": torch.zeros(3, 2), "b": [torch.zeros(5, dtype=torch.int64), None, 3, "x"]}
    assert nbytes(tree) == 3 * 2 * 4 + 5 * 8
    assert nbytes(None) == 0
