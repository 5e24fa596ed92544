"""What is no argument at all meets one clear error, at the door."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from didact import Diverged, InvalidInput
from didact.dynamics import fit_dynamics, read_recordings
from didact.export import save_tensor_onnx
from didact.hindsight import first_visit, fit, fit_environments, predict
from didact.privileged import LDT, FixedTeacher, Taught, flat, stack, teach
from didact.skips import (
    aligned_loss,
    binary_cross_entropy,
    latent_skip_loss,
    rollout,
    skip_loss,
    squared_error,
)
from didact.tasks import room_runner
from didact.unroll import SGD

X = torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(0))
TABLE = pd.DataFrame({"a": [1.0, 2.0], "y": [0, 1]})


def _ldt(**change: Any) -> LDT:
    student = Taught(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1)), ["0"])
    given = {
        "student": student, "teacher": nn.Linear(2, 8), "label_loss": nn.functional.mse_loss,
        "inner": SGD(0.1),
    }  # fmt: skip
    return LDT(**{**given, **change})


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fit(TABLE, label="y"), "`data` should be the path of a file.*DataFrame"),
        (lambda: fit_environments(TABLE, label="y", environment="a"), "`data`.*path of a file"),
        (lambda: fit_dynamics(np.ones((3, 4)), horizon=2), "`data`.*path of a file.*ndarray"),
        (lambda: read_recordings([1]), "`data`.*path of a file.*list"),
        (lambda: first_visit([1], group="a", time="b"), "`visits` should be a DataFrame"),
        (lambda: skip_loss(None, X), "`f` should be a function or a module. Found None"),
        (lambda: skip_loss(nn.Identity(), X, loss="mse"), "`loss` should be a function of pred"),
        (lambda: skip_loss(nn.Identity(), X, loss=None), "`loss` should be a function of pred"),
        (lambda: aligned_loss(None, X), "`f` should be a function or a module"),
        (lambda: latent_skip_loss(None, nn.Identity(), X), "`encoder` should be a function"),
        (lambda: latent_skip_loss(nn.Identity(), 3, X), "`f` should be a function or a module"),
        (lambda: rollout(None, X[:, 0], 2), "`f` should be a function or a module"),
        (lambda: _ldt(label_loss="mse"), "`label_loss` should be a function of prediction"),
        (lambda: _ldt(teaching_loss=0.5), "`teaching_loss` should be a function of activations"),
        (lambda: _ldt(teacher=None), "`teacher` should be a module. Found None"),
        (lambda: _ldt(inner=torch.optim.SGD([X], 0.1)), "`inner` should be an instance of `SGD`"),
        (lambda: _ldt(inner=SGD), "`inner` should be an instance of `SGD`"),
        (
            lambda: FixedTeacher(None, nn.Linear(1, 1), label_loss=nn.functional.mse_loss),
            "`student` should be a module",
        ),
        (lambda: Taught(None, ["0"]), "`module` should be a module"),
        (lambda: _ldt().loss((X, X)), r"`batch` should be a triple \(x, x\*, y\)"),
        (lambda: _ldt().meta_step(None, (X, X, X), (X, X)), "`optimizer` should be an optimizer"),
        (lambda: stack([]), "`batches` should be at least one batch"),
        (lambda: stack([(X,), (X[:1],)]), "`batches` should be alike"),
        (lambda: stack([{"a": X}, {"b": X}]), "`batches` should be alike"),
        (lambda: stack([(1, X), (2, X)]), "`batches` should be alike|nested tensors"),
        (lambda: teach(nn.Linear(3, 1), X[0, 0]), "`x_star` should be nested tensors that share"),
        (lambda: teach(nn.Linear(3, 1), (X, X[:1])), "`x_star` should be nested tensors that sh"),
        (lambda: flat({}), r"`activations` should be nested tensors \[batch, ...\]"),
        (lambda: flat(torch.tensor(1.0)), "`activations` should be nested tensors"),
        (lambda: squared_error(np.ones(2), X), "`prediction` should be a tensor.*ndarray"),
        (lambda: binary_cross_entropy(X, X[:1]), r"`prediction` should be of target's shape"),
        (lambda: save_tensor_onnx(nn.Linear(3, 1), "x", "a.onnx"), "`example` should be a tensor"),
        (lambda: fit("none.csv", label="y"), "`data` should be an existing file. Found 'none.csv'"),
        (lambda: fit_environments("none.csv", label="y", environment="a"), "`data` .* existing fi"),
        (lambda: predict("run", "none.csv", "p.csv"), "`data` should be an existing file"),
        (lambda: predict("run", "none.csv", "p.txt"), "`out` should be a .csv file"),
        (lambda: room_runner(2, side=8).batch([0, 1]), "`rows` should be an int64 tensor"),
    ],
)  # fmt: skip
def test_one_error(call: Callable[[], Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()


def test_paths_may_be_text_or_paths(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=np.random.default_rng(0).normal(size=(10, 4, 2)))
    for path in (tmp_path / "a.npz", str(tmp_path / "a.npz")):
        assert len(read_recordings(path).lengths) == 10


def test_a_divergence_with_gradients_is_one_error_and_no_warning() -> None:
    f = nn.Linear(3, 3)
    nn.init.constant_(f.bias, torch.inf)
    with pytest.raises(Diverged, match="step 0 is inf"):
        skip_loss(f, X, loss=lambda p, t: (p - t) ** 2)
