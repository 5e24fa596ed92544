import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from didact import InvalidInput
from didact.privileged import flat, gated_mse, kl, mse

SHAPES = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=3), min_size=1, max_size=3)


def _draw(shapes: list[list[int]], batch: int, seed: int) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, *s, generator=g, dtype=torch.float64) for s in shapes]


@given(SHAPES, st.integers(1, 4), st.sampled_from(["mean", "sum"]))
def test_squared_errors_equal_a_loop_over_neurons(
    shapes: list[list[int]], batch: int, reduction: str
) -> None:
    h, wanted, m = (_draw(shapes, batch, seed) for seed in (0, 1, 2))
    plain = gated = 0.0
    neurons = sum(math.prod(s) for s in shapes)
    for b in range(batch):
        for layer in range(len(shapes)):
            columns = zip(*(t[layer][b].flatten().tolist() for t in (h, wanted, m)), strict=True)
            for a, target, gate in columns:
                plain += (a - target) ** 2
                gated += (a - target) ** 2 / (1 + math.exp(1 - gate / 2))
    scale = batch * (neurons if reduction == "mean" else 1)
    assert float(mse(h, wanted, reduction=reduction)) == pytest.approx(plain / scale, rel=1e-10)
    found = gated_mse(h, (m, wanted), reduction=reduction)
    assert float(found) == pytest.approx(gated / scale, rel=1e-10)


def test_one_tensor_holds_gates_and_targets_in_its_halves() -> None:
    h, m, wanted = (t[0] for t in (_draw([[4]], 3, s) for s in range(3)))
    assert torch.equal(gated_mse(h, torch.cat([m, wanted], 1)), gated_mse(h, (m, wanted)))


def test_kl_equals_torch_and_sums_over_layers() -> None:
    h, wanted = _draw([[5], [2, 3]], 4, 0), _draw([[5], [2, 3]], 4, 1)
    expected = 0.0
    for a, t in zip(h, wanted, strict=True):
        rows_a, rows_t = a.reshape(-1, a.shape[-1]), t.reshape(-1, t.shape[-1])
        p, q = rows_t.softmax(1), rows_a.softmax(1)
        expected += float((p * (p / q).log()).sum(1).mean())
    assert float(kl(h, wanted)) == pytest.approx(expected, rel=1e-10)
    assert float(kl(h, h)) == pytest.approx(0, abs=1e-15)


def test_kl_keeps_the_type_of_the_logits() -> None:
    h, wanted = (torch.randn(4, 3).bfloat16() for _ in range(2))
    assert kl(h, wanted).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("activations", "targets"),
    [
        (torch.zeros(4, 3), torch.zeros(4, 1)),  # would broadcast
        (torch.zeros(4, 3), torch.zeros(12)),
        ([torch.zeros(4, 3), torch.zeros(4, 2)], torch.zeros(4, 5)),
        ([], []),
    ],
)
def test_kl_wants_one_target_per_logit(activations: object, targets: object) -> None:
    with pytest.raises(InvalidInput, match=r"one target per logit.*Found activations of shapes"):
        kl(activations, targets)


def test_a_target_too_few_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"one target per neuron.*\(2, 3\).*\(2, 4\)"):
        mse(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(InvalidInput, match="pair"):
        gated_mse(torch.zeros(2, 3), [torch.zeros(2, 3)])
    with pytest.raises(InvalidInput, match="reduction"):
        mse(torch.zeros(2, 3), torch.zeros(2, 3), reduction="max")


def test_flat_keeps_every_number_in_order() -> None:
    tree = {"a": torch.arange(6).reshape(2, 3), "b": [torch.arange(8).reshape(2, 2, 2)]}
    assert flat(tree).tolist() == [[0, 1, 2, 0, 1, 2, 3], [3, 4, 5, 4, 5, 6, 7]]
