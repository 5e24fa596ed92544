"""The verdict from made-up errors: what decides, and by which trajectories."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from didact import Diverged
from didact.dynamics import _figures
from didact.dynamics._judge import Candidate, judge
from didact.dynamics._measure import own_pace, value
from didact.dynamics._models import OfStates
from didact.dynamics._train import Steps

N, CALLS = 40, 6


def _candidate(
    test: list[float], validation: list[float], seeds: list[int] | None = None, horizon: int = 2
) -> Candidate:
    """Runs of these end errors with three calls, one less being 0.1 worse; some noise."""
    rng = np.random.default_rng(0)
    noise = 0.02 * rng.normal(size=(N, 1))
    later = 0.1 * np.maximum(0, 3 - np.arange(1, CALLS + 1))
    measured = [
        {
            "test_still": np.ones(N), "test_end": end + noise + later,
            "test_path": np.ones((N, 3)), "test_own": np.full(N, 3), "test_skips": np.array([1, 2]),
            "validation_still": np.ones(N), "validation_end": known + noise + later,
            "example_recorded": np.arange(8.0)[:, None], "example_made": np.ones((3, 1)),
            "example_at": np.array([2, 5, 7]),
        }
        for end, known in zip(test, validation, strict=True)
    ]  # fmt: skip
    seeds = list(range(len(test))) if seeds is None else seeds
    records: dict[int, dict[str, Any]] = {s: {"value": 9.0, "curve": [9.0]} for s in seeds}
    folders = {s: Path(str(s)) for s in seeds}
    return Candidate(Steps(1, horizon), {}, records, folders, measured, [])


def _judged(calls: int = 3, **candidates: Candidate) -> dict[str, Any]:
    named = {name.replace("_", " "): of for name, of in candidates.items()}
    return judge(named, "adaptive", calls, ordered=False, demonstration=False)


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        ([0.2, 0.21], [0.5, 0.51], "adaptive"),
        ([0.5, 0.51], [0.2, 0.21], "fixed"),
        ([0.3, 0.5], [0.5, 0.3], "undecided"),
        ([1.5, 1.6], [1.2, 1.3], "neither"),
        ([0.2], [0.5], "few"),
    ],
)
def test_the_kinds_of_verdict(ours: list[float], theirs: list[float], kind: str) -> None:
    found = _judged(adaptive=_candidate(ours, ours), every_2=_candidate(theirs, theirs))
    assert found["verdict"]["kind"] == kind
    assert found["verdict"]["gain"] == pytest.approx(np.mean(theirs) - np.mean(ours))


def test_validation_alone_chooses() -> None:
    found = _judged(
        adaptive=_candidate([0.1, 0.9], [0.8, 0.4]),
        every_1=_candidate([0.1, 0.1], [0.9, 0.9]),
        every_2=_candidate([0.7, 0.8], [0.3, 0.2]),
    )
    assert found["rival"] == "every 2"
    assert found["deployed"] == {"candidate": "every 2", "seed": 1}


def test_verdict_and_numbers_are_of_the_same_runs() -> None:
    """One adaptive run more, a bad one, that the rival has not."""
    found = _judged(
        adaptive=_candidate([0.1, 0.7, 0.1], [0.1, 0.7, 0.1]),
        every_4=_candidate([0.2, 0.2], [0.2, 0.2], seeds=[0, 2]),
    )
    verdict = found["verdict"]
    assert verdict["kind"] == "adaptive"
    assert verdict["gain"] == pytest.approx(0.1)
    said = re.search(r"is (\S+) of standing still's by adaptive", verdict["sentence"])
    assert said
    assert float(said[1]) == pytest.approx(0.1, abs=0.01)
    assert found["candidates"]["adaptive"]["at_calls"] > 0.29  # of all runs
    assert verdict["needed"] == {"adaptive": 2, "every 4": 3}


def test_without_a_common_seed_there_is_no_verdict() -> None:
    with pytest.raises(Diverged, match=r"adaptive steps seeds \[0, 2\], of every 4 \[1\]"):
        _judged(
            adaptive=_candidate([0.1, 0.7], [0.1, 0.7], seeds=[0, 2]),
            every_4=_candidate([0.2], [0.2], seeds=[1]),
        )


@pytest.mark.parametrize("counts", [[1, 1, 1], [5, 0, 3]])
def test_the_picture_of_skips_has_their_shares(
    counts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(_figures, "figure", lambda drawing, *said: drawn.append(drawing))
    alt = _figures.skips({"candidates": {"adaptive": {"skips": counts}}})[0]
    (axes,) = drawn[0].axes
    bars = {round(bar.get_center()[0]): bar.get_height() for bar in axes.patches}
    total = sum(counts)
    assert bars == pytest.approx({k + 1: count / total for k, count in enumerate(counts)})
    mean = sum((k + 1) * count for k, count in enumerate(counts)) / total
    assert f"{mean:.1f} frames in the mean" in alt


def test_what_explodes_has_a_pace_and_an_error() -> None:
    class Wild(OfStates):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x.abs() > 5, torch.inf, 3 * x)

    model: nn.Module = Wild(torch.zeros(1), torch.ones(1), 1, 4)
    frames = torch.tensor([[1.0], [0.1]])[:, :, None] * torch.arange(1.0, 7.0)[None, :, None]
    lengths = torch.tensor([6, 3])
    calls, skips = own_pace(model, Steps(1, 1), frames, lengths, 1)
    assert calls.tolist() == [5, 2]
    assert skips.tolist() == [1] * 7
    for given in (None, 5):
        assert np.isfinite(value(model, Steps(1, 1), frames, lengths, 1, given))
