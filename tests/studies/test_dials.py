"""The study of when hindsight helps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from didact import Diverged
from didact.studies import _dials_training
from didact.studies._dials_training import PER_EPOCH, Run, train


def test_what_diverges_keeps_what_was_best_before(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run("ldt", 1.0, 0.5, 0.5, [0, 1], rows=64, validation_rows=8, test_rows=8, epochs=5)
    plain = _dials_training._course

    def course(*given: Any) -> Any:
        deployed, walk = plain(*given)

        def broken() -> Iterator[Tensor]:
            for _ in range(2 * PER_EPOCH):
                yield next(walk)
            raise Diverged("The loss of inner step 7 of 16 is not finite.")

        return deployed, broken()

    logged: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(_dials_training, "_course", course)
        record = train(run, Path(), lambda epoch, values: logged.append(epoch))
    assert logged == [1, 2]
    assert record["diverged"].startswith("Epoch 3: The loss of inner step 7")
    whole = train(run, Path(), lambda epoch, values: None)
    assert whole["diverged"] is None
    best = torch.tensor(record["validation"])
    assert torch.isfinite(best).all()
    assert (torch.tensor(whole["validation"]) <= best).all()
