import copy

import torch
from torch import nn

from didact.privileged import teach


def _teacher(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), norm, nn.Tanh(), nn.Linear(5, 4)).double()


def _x(n: int, size: int) -> torch.Tensor:
    return torch.randn(n, size, 3, generator=torch.Generator().manual_seed(1)).double()


def _gradients(out: torch.Tensor, teacher: nn.Module) -> list[torch.Tensor]:
    weight = torch.arange(out.numel(), dtype=out.dtype).reshape(out.shape).cos()
    return list(torch.autograd.grad((out * weight).sum(), list(teacher.parameters())))


def test_batch_norm_sees_each_inner_batch_alone() -> None:
    teacher, x = _teacher(nn.BatchNorm1d(5)), _x(4, 6)
    looped = copy.deepcopy(teacher)
    expected = torch.stack([looped(batch) for batch in x])
    found = teach(teacher, x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(_gradients(found, teacher), _gradients(expected, looped), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    together = teacher(x.flatten(0, 1)).unflatten(0, (4, 6))
    assert (together - expected).abs().max() > 0.05  # what the grouping is there for


def test_running_statistics_move_towards_the_mean_over_batches() -> None:
    teacher, x = _teacher(nn.BatchNorm1d(5, momentum=0.25)), _x(4, 6)
    hidden = teacher[0](x)
    teach(teacher, x)
    expected = 0.25 * hidden.mean(1).mean(0)
    torch.testing.assert_close(teacher[1].running_mean, expected.detach())
    assert int(teacher[1].num_batches_tracked) == 1


def test_batch_norm_in_eval_mode_and_other_norms_run_flat() -> None:
    for teacher in (_teacher(nn.BatchNorm1d(5)).eval(), _teacher(nn.LayerNorm(5))):
        seen: list[torch.Size] = []
        teacher[0].register_forward_hook(lambda m, a, out, seen=seen: seen.append(out.shape))
        x = _x(4, 6)
        expected = torch.stack([teacher(batch) for batch in x])
        seen.clear()
        torch.testing.assert_close(teach(teacher, x), expected, rtol=1e-12, atol=1e-12)
        assert seen == [torch.Size([24, 5])]


def test_batch_norm_without_running_statistics_is_grouped_in_eval_mode_too() -> None:
    teacher, x = _teacher(nn.BatchNorm1d(5, track_running_stats=False)).eval(), _x(3, 4)
    expected = torch.stack([teacher(batch) for batch in x])
    torch.testing.assert_close(teach(teacher, x), expected, rtol=1e-12, atol=1e-12)


def test_nested_inputs_and_outputs() -> None:
    class Nested(nn.Module):
        def forward(self, x: dict[str, torch.Tensor]) -> tuple[torch.Tensor, list[torch.Tensor]]:
            return x["a"] + 1, [x["b"]]

    a, b = torch.randn(2, 3, 4), torch.randn(2, 3)
    first, (second,) = teach(Nested(), {"a": a, "b": b})
    assert torch.equal(first, a + 1)
    assert torch.equal(second, b)
