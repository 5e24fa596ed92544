"""Find what a loss uses without saying so: its gradient would be lost in silence."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from .._checks import InvalidInput, listed
from ._graph import nodes


def refuse_captured(loss: Callable[..., Any], value: Tensor, known: Collection[Tensor]) -> None:
    """Raise if ``value`` depends on a tensor that requires gradients and is not in ``known``.

    The autograd graph of ``value`` is walked to its leaves; the names come from what the
    function ``loss`` can reach (closure, globals, partial arguments, attributes, modules).

    Raises:
        InvalidInput: naming the captured tensors.
    """
    expected = {id(t) for t in known}
    below = set(nodes(value))
    leaves = [node.variable for node in below if hasattr(node, "variable")]
    captured = [leaf for leaf in leaves if id(leaf) not in expected]
    if not captured:
        return
    names = []
    for name, tensor in _reachable(loss, "", 3, set()):
        used = any(tensor is leaf for leaf in captured) or tensor.grad_fn in below
        if tensor.requires_grad and used and name not in names:
            names.append(name)
    what = listed(names or [f"a tensor of shape {tuple(leaf.shape)}" for leaf in captured])
    raise InvalidInput(
        "Parameter `loss` should not capture tensors that require gradients: they would receive "
        "none. Pass them in `theta_0`, `batches` or `targets`, or detach them. "
        f"Found {what}."
    )


def _reachable(thing: Any, name: str, depth: int, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) of all tensors within ``depth`` looks of a function or object."""
    if id(thing) in seen or depth < 0:
        return
    seen.add(id(thing))
    inside: dict[str, Any] = {}
    if isinstance(thing, Tensor):
        yield name, thing
        return
    if isinstance(thing, nn.Module):
        inside = dict(thing.named_parameters(remove_duplicate=False))
    elif isinstance(thing, functools.partial):
        inside = {"": thing.func, **_numbered(thing.args), **thing.keywords}
    elif inspect.ismethod(thing):
        inside = {"": thing.__func__, "self": thing.__self__}
    elif inspect.isfunction(thing):
        variables = inspect.getclosurevars(thing)
        inside = {**variables.globals, **variables.nonlocals}
    elif isinstance(thing, Mapping):
        inside = dict(thing)
    elif isinstance(thing, list | tuple):
        inside = _numbered(thing)
    elif hasattr(thing, "__dict__") and not inspect.ismodule(thing) and not inspect.isclass(thing):
        inside = vars(thing)
    for key, value in inside.items():
        path = ".".join(part for part in (name, str(key)) if part)
        yield from _reachable(value, path, depth - 1, seen)


def _numbered(things: Any) -> dict[str, Any]:
    return {str(i): thing for i, thing in enumerate(things)}
