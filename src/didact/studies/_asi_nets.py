"""Models of a next frame: the three networks of the ASI paper (appendix A of the thesis)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from .._checks import check_choice, check_integer, invalid

Architecture = Literal["f-simple", "f-strided", "f-dilated"]
SIZES = (5, 5, 5, 7, 5)
EDGE = 2e-3
"""Frames are cut off to [ε, 1 − ε] before their logits are taken."""


class FrameModel(nn.Module):
    """Frame to frame: five convolutions see around, two of 1 × 1 also see the frame as it was.

    ``5×5, 5×5, 5×5, 7×7, 5×5`` with ReLUs, then the three input channels beside the maps,
    ``1×1, 1×1 → 3`` and a sigmoid. In f-strided the second has stride 2 and the fourth is
    transposed and undoes it; in f-dilated the fourth has dilation 2.

    Args:
        architecture: which of the three.
        filters: n_f, maps of each layer but the last.
        generator: of the initial weights (He et al., 2015; biases are zero).
        inputs: channels; what is not the frame is known beside it.
        residual: the network says by how much the logits of the frame change, at first by little.
            Not in the paper: a model that need not learn to copy learns what moves in fewer
            updates.
    """

    def __init__(
        self,
        architecture: Architecture,
        filters: int,
        generator: torch.Generator,
        inputs: int = 3,
        residual: bool = False,
    ) -> None:
        super().__init__()
        check_choice("architecture", architecture, ("f-simple", "f-strided", "f-dilated"))
        check_integer("filters", filters)
        self.inputs = check_integer("inputs", inputs, at_least=3)
        self.residual = check_choice("residual", residual, (False, True))
        self.around = nn.ModuleList()
        for k, size in enumerate(SIZES):
            maps, half = (filters if k else inputs), size // 2
            if architecture == "f-strided" and k == 3:
                self.around.append(nn.ConvTranspose2d(maps, filters, size, 2, half))
                continue
            stride = 2 if architecture == "f-strided" and k == 1 else 1
            wide = 2 if architecture == "f-dilated" and k == 3 else 1
            self.around.append(nn.Conv2d(maps, filters, size, stride, wide * half, wide))
        self.mix = nn.Conv2d(filters + inputs, filters, 1)
        self.output = nn.Conv2d(filters, 3, 1)
        he_normal([*self.around, self.mix, self.output], generator)
        if residual:
            with torch.no_grad():
                self.output.weight.mul_(0.1)
        # A fifth less time on a CPU.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """``[n, inputs, height, width]``, the frame's three first, → ``[n, 3, height, width]``."""
        if x.ndim != 4 or x.shape[1] != self.inputs:
            raise invalid("x", f"of shape [n, {self.inputs}, height, width]", list(x.shape))
        h = x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.around:
            if isinstance(layer, nn.ConvTranspose2d):
                h = layer(h, output_size=x.shape[2:]).relu()
            else:
                h = layer(h).relu()
        h = self.mix(torch.cat([h, x], 1)).relu()
        logits: Tensor = self.output(h)
        if self.residual:
            logits = logits + x[:, :3].logit(EDGE)
        return logits.sigmoid()


def he_normal(layers: Iterable[nn.Module], generator: torch.Generator) -> None:
    """Weights N(0, 2 / inputs of a number) and no biases (He et al., 2015)."""
    with torch.no_grad():
        for layer in layers:
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                continue
            seen = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                # Its weight is [in, out, …], and with stride 2 a number sees a quarter of a kernel.
                seen = layer.weight[:, 0].numel() // (layer.stride[0] * layer.stride[1])
            layer.weight.normal_(0, (2 / seen) ** 0.5, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
