"""The layers of a model that are trained, if their votes can be seen from outside."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .._checks import InvalidInput, invalid
from ._calls import OTHER
from ._layers import LAYERS


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """A module's own parameters that get gradients."""
    own = module._parameters
    return {name: p for name, p in own.items() if p is not None and p.requires_grad}


def streamable(model: nn.Module) -> list[tuple[str, nn.Module, dict[str, nn.Parameter]]]:
    """The layers that are trained: name, module, its trained parameters.

    Raises:
        InvalidInput: naming the first module whose votes cannot be seen from outside.
    """
    if not isinstance(model, nn.Module):
        raise invalid("model", "a torch.nn.Module", model)
    if hasattr(model, "_orig_mod") or isinstance(model, nn.DataParallel):
        raise invalid(
            "model", f"neither compiled nor a DataParallel ({OTHER[:-1]})", type(model).__name__
        )
    found = []
    owner: dict[int, tuple[str, str]] = {}
    for name, module in _modules(model):
        own = trained(module)
        if own:
            if any(p.is_complex() for p in own.values()):
                raise invalid("model", "real: complex numbers have no sign", _place(name, module))
            _check_layer(name, module, own)
            found.append((name, module, own))
        if isinstance(module, _BatchNorm) and (module.training or module.running_mean is None):
            here = _place(name, module)
            raise InvalidInput(
                f"Modules should treat each example alone. Found {here} with statistics of the "
                f"batch: put it in eval mode, or `environment_backward`, which takes any module."
            )
        for own_name, parameter in own.items():
            first = owner.setdefault(id(parameter), (name, own_name))
            if first != (name, own_name):
                raise InvalidInput(
                    f"Layers should not share parameters. Found `{name}.{own_name}`, which is "
                    f"`{'.'.join(first)}`: {OTHER}"
                )
    if not found:
        raise invalid("model", "a module with parameters that are trained", type(model).__name__)
    return found


def _modules(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """What ``named_modules`` gives, which takes a tenth of a small net's backward pass."""
    found: dict[int, tuple[str, nn.Module]] = {}
    waiting = [("", model)]
    while waiting:
        name, module = waiting.pop()
        if id(module) in found:
            continue
        found[id(module)] = name, module
        prefix = name and f"{name}."
        waiting += [(prefix + n, m) for n, m in reversed(module._modules.items()) if m is not None]
    return list(found.values())


def _check_layer(name: str, module: nn.Module, own: dict[str, nn.Parameter]) -> None:
    """Refuse a layer whose votes cannot be seen from outside."""
    patched = "forward" in module.__dict__
    if type(module) not in LAYERS or patched or not own.keys() <= {"weight", "bias"}:
        known, here = ", ".join(sorted({e.__name__ for e in LAYERS})), _place(name, module)
        raise InvalidInput(
            f"Trained modules should be of {known}, as they are. Found {here} with the "
            f"parameters {', '.join(own)}: {OTHER}"
        )
    if isinstance(module, nn.Embedding) and (
        module.max_norm is not None or module.scale_grad_by_freq or module.sparse
    ):
        raise InvalidInput(
            f"An embedding should have no max_norm, no scale_grad_by_freq and dense gradients. "
            f"Found {_place(name, module)}: {OTHER}"
        )
    for own_name, parameter in own.items():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise InvalidInput(
                f"Parameters should have no hooks on their gradients. Found one of the {own_name} "
                f"of {_place(name, module)}: {OTHER}"
            )


def _place(name: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"`{name or kind}` ({kind})"
