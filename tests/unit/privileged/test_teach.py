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


def test_batch_norm_over_another_first_axis_falls_back_to_one_call_per_batch() -> None:
    class Moved(nn.Module):
        """Time before examples: splitting the first axis in n would mix the batches."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.norm = nn.BatchNorm1d(5), nn.BatchNorm1d(2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            time_first = self.first(x).transpose(0, 1)
            return self.norm(time_first.reshape(-1, 2)).reshape(time_first.shape).transpose(0, 1)

    teacher = Moved().double()
    x = torch.randn(3, 4, 5, 2, generator=torch.Generator().manual_seed(0)).double()
    expected = torch.stack([copy.deepcopy(teacher)(batch) for batch in x])
    mapped = copy.deepcopy(teacher)
    teach(mapped, x, per_batch=True)
    torch.testing.assert_close(teach(teacher, x), expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(teacher.buffers(), mapped.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_all_three_ways_agree_where_examples_do_not_mix() -> None:
    teacher, x = _teacher(nn.LayerNorm(5)), _x(3, 4)
    for per_batch in (None, True, False):
        found = teach(teacher, x, per_batch=per_batch)
        torch.testing.assert_close(found, teacher(x), rtol=1e-12, atol=1e-12)


def test_running_statistics_are_the_same_either_way() -> None:
    found = []
    for per_batch in (None, True):
        teacher = _teacher(nn.BatchNorm1d(5, momentum=0.25))
        found.append((teach(teacher, _x(4, 6), per_batch=per_batch), *teacher[1].buffers()))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
