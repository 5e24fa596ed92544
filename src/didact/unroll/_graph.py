"""Walks of the autograd graph."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.autograd.graph import get_gradient_edge


def nodes(value: Tensor) -> Iterator[Any]:
    """The nodes below ``value``, each once, the nearest first."""
    queue: deque[Any] = deque([get_gradient_edge(value).node] if value.requires_grad else [])
    seen: set[Any] = set()
    while queue:
        node = queue.popleft()
        if node is not None and node not in seen:
            seen.add(node)
            yield node
            queue.extend(parent for parent, _ in node.next_functions)
