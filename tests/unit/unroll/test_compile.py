"""The compiled step has the eager one's gradients. One test: compiling takes most of a minute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from didact.unroll import SGD, _compiled, functional

from ._asserts import assert_close, gradients, run_unroll
from ._oracle import Case, fewest, memory_for, randn, tensor


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # raised within Inductor
def test_compiled_equals_eager() -> None:
    """Weight norm (whose fused second derivative is wrong), dropout (replayed), buffers, SGD."""
    torch.manual_seed(0)
    norm = nn.utils.parametrizations.weight_norm
    module = nn.Sequential(norm(nn.Linear(3, 4)), nn.Tanh(), nn.Dropout(0.3)).double()
    theta, _, call = functional(module)

    def loss(theta, batch, target):
        out, _ = call(theta, {}, batch)
        return (out - target).square().mean()

    x, t = randn(4, 5, 3), randn(4, 5, 4, seed=1)
    # Not leaves: a teacher's outputs and a learning rate that is a function of something.
    lr = tensor(0.2)
    case = Case(loss, theta, x, t, SGD(lr, momentum=tensor(0.8)))

    def not_leaves(case: Case, **options):
        return run_unroll(case.with_inputs({k: t * 1.0 for k, t in case.inputs().items()}),
                          **options)  # fmt: skip

    expected, plain, _ = gradients(not_leaves, case)
    memory = memory_for(case, fewest(4))
    found, compiled, _ = gradients(not_leaves, case, compile=True, memory=memory)
    assert_close(compiled, plain)
    assert_close(found, expected)


def test_functions_are_compiled_as_often_as_asked() -> None:
    """Dynamo stops at eight versions of one piece of code; ours is copied for each loss."""

    def twice(x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    def compiled(function, k: int) -> torch.Tensor:
        run = torch.compile(function, fullgraph=True, dynamic=False, backend="eager")
        return run(torch.ones(k))

    for k in range(1, 13):
        assert torch.equal(compiled(_compiled._copy(twice), k), torch.full((k,), 2.0))
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        [compiled(twice, k) for k in range(1, 13)]
