"""A student made from any module by naming what is taught."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from .._checks import InvalidInput, invalid, listed


class Taught(nn.Module):
    """``module`` that also returns the outputs of the submodules named in ``names``.

    Name a linear or convolutional layer to teach its pre-activations. The module itself is not
    changed and stays what is deployed: ``taught.module``.

    Args:
        module: any module.
        names: names of submodules as in ``module.named_modules()``.

    Raises:
        InvalidInput: on a name that is not there, and, at the first call, on a submodule that
            runs never or more than once (what its one output is would be ambiguous).

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> prediction, activations = Taught(net, ["0"])(torch.zeros(5, 3))
        >>> prediction.shape, activations["0"].shape
        (torch.Size([5, 2]), torch.Size([5, 4]))
    """

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        if not isinstance(module, nn.Module):
            raise invalid("module", "a module", module)
        there = dict(module.named_modules())
        if isinstance(names, str) or not names:
            raise InvalidInput(
                "Parameter `names` should be a list of at least one submodule name. "
                f"Found {names!r}."
            )
        for name in names:
            if not name or name not in there:
                raise InvalidInput(
                    f"Parameter `names` should name submodules. Found `{name}`; there are "
                    f"{listed(n for n in there if n)}."
                )
        self.module = module
        self.names = tuple(names)

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """(prediction, {name: output of the submodule})."""
        seen: dict[str, list[Any]] = {name: [] for name in self.names}
        handles = [
            self.module.get_submodule(name).register_forward_hook(
                lambda _module, _args, output, name=name: seen[name].append(output)
            )
            for name in self.names
        ]
        try:
            prediction = self.module(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()
        for name, outputs in seen.items():
            if len(outputs) != 1:
                raise InvalidInput(
                    f"A taught submodule should run once per forward pass. Found `{name}` "
                    f"running {len(outputs)} times."
                )
        return prediction, {name: outputs[0] for name, outputs in seen.items()}
