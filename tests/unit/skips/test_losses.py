"""The cross-entropy against torch's, its search against a loop."""

import torch
from torch.nn import functional as F

from didact.skips import binary_cross_entropy
from didact.skips._losses import of_windows, ranked

ENDS = [0.0, 1e-50, 1e-20, 1e-8, 0.3, 0.5, 1 - 1e-8, 1 - 1e-16, 1.0]


def test_value_and_gradient_are_torchs() -> None:
    for dtype in (torch.float32, torch.float64):
        x = torch.tensor(ENDS, dtype=dtype)
        p, t = (each.flatten() for each in torch.meshgrid(x, x, indexing="ij"))
        found = []
        for loss in (
            binary_cross_entropy,
            lambda p, t: F.binary_cross_entropy(p, t, reduction="none"),
        ):
            p = p.detach().requires_grad_()
            value = loss(p, t)
            found.append((value.detach(), torch.autograd.grad(value.sum(), p)[0]))
        # torch's least denominator is the float nearest to 1e-12, in float64 too.
        torch.testing.assert_close(*found, rtol=1e-6 if dtype == torch.float32 else 1e-8, atol=0)


def test_second_derivatives() -> None:
    p = torch.tensor([0.2, 0.7, 0.5], dtype=torch.float64, requires_grad=True)
    t = torch.tensor([0.0, 1.0, 0.4], dtype=torch.float64)
    assert torch.autograd.gradgradcheck(binary_cross_entropy, (p, t))


def test_a_search_is_the_loss_of_every_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(3, 2, 5, generator=generator).double()
    p[0, 0] = torch.tensor([0.0, 1.0, 1e-300, 0.5, 1 - 1e-16])
    windows = torch.rand(3, 4, 2, 5, generator=generator).double()
    expected = torch.stack(
        [
            torch.stack([F.binary_cross_entropy(p[n], windows[n, s]) for s in range(4)])
            for n in range(3)
        ]
    )
    torch.testing.assert_close(of_windows(binary_cross_entropy, p, windows), expected)
    found = ranked(binary_cross_entropy, p, windows)
    torch.testing.assert_close(found - found[:, :1], expected - expected[:, :1])
