"""What the studies of adaptive skip intervals are made of."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from didact import Diverged, InvalidInput
from didact.runs import key
from didact.skips import binary_cross_entropy, latent_skip_loss, linear
from didact.studies import STUDIES, _asi_training, find
from didact.studies._asi_curves import Config, plan, plot, table
from didact.studies._asi_driven import Driven, DrivenModel, ways
from didact.studies._asi_extensions import compared
from didact.studies._asi_latent import Dynamics, Latent
from didact.studies._asi_learners import Found, Learner, Matching
from didact.studies._asi_nets import FrameModel
from didact.studies._asi_perturbation import Config as Perturbed
from didact.studies._asi_perturbation import plan as plan_perturbed
from didact.studies._asi_perturbation import plot as plot_perturbed
from didact.studies._asi_perturbation import table as fall_table
from didact.studies._asi_runs import GREEDY, TINY, label_of, run_of, size_of
from didact.studies._asi_search import all_along, finals, tries
from didact.studies._asi_timelines import matched, true_film
from didact.studies._asi_timelines import plot as plot_timelines
from didact.studies._asi_training import (
    VALIDATION_SEED,
    Run,
    _batches,
    data_of,
    films,
    look,
    train,
    unpacked,
)
from didact.studies._study import Cell
from didact.tasks import Trajectories, room_runner

SETTINGS: dict[str, Any] = {
    "architecture": "f-simple", "filters": 2, "learning_rate": 1e-3, "decay": 10, "horizon": 3,
    "residual": False,
    "exploration": 0, "teacher_forcing": 10,
}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def rooms() -> Trajectories:
    return room_runner(4, seed=5, pixels=2)


def literal(model: FrameModel, architecture: str, x: Tensor) -> Tensor:
    """Appendix A, layer by layer."""
    a, b, c, d, e = model.around
    h = F.conv2d(x, a.weight, a.bias, padding=2).relu()
    h = F.conv2d(h, b.weight, b.bias, stride=2 if "strided" in architecture else 1, padding=2)
    h = F.conv2d(h.relu(), c.weight, c.bias, padding=2).relu()
    if architecture == "f-strided":
        # The transpose of a convolution is its gradient.
        wide = torch.zeros(len(x), d.out_channels, *x.shape[2:], requires_grad=True)
        (up,) = torch.autograd.grad(F.conv2d(wide, d.weight, stride=2, padding=3), wide, h)
        h = up + d.bias[:, None, None]
    elif architecture == "f-dilated":
        h = F.conv2d(h, d.weight, d.bias, padding=6, dilation=2)
    else:
        h = F.conv2d(h, d.weight, d.bias, padding=3)
    h = F.conv2d(h.relu(), e.weight, e.bias, padding=2).relu()
    h = torch.cat([h, x], 1)
    h = (
        torch.einsum("oi,nihw->nohw", model.mix.weight[..., 0, 0], h)
        + model.mix.bias[:, None, None]
    ).relu()
    h = torch.einsum("oi,nihw->nohw", model.output.weight[..., 0, 0], h)
    return torch.sigmoid(h + model.output.bias[:, None, None])


@pytest.mark.parametrize("architecture", ["f-simple", "f-strided", "f-dilated"])
@pytest.mark.parametrize("size", [(32, 32), (63, 38), (9, 7)])
def test_a_model_is_that_of_the_appendix(architecture: Any, size: tuple[int, int]) -> None:
    model = FrameModel(architecture, 5, seeded())
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(value, generator=seeded(1))
    x = torch.rand(2, 3, *size, generator=seeded(2))
    with torch.enable_grad():
        expected = literal(model, architecture, x)
    torch.testing.assert_close(model(x), expected)
    shapes = [3 * 5 * 25, 5 * 5 * 25, 5 * 5 * 25, 5 * 5 * 49, 5 * 5 * 25, 8 * 5, 5 * 3]
    assert sum(p.numel() for p in model.parameters()) == sum(shapes) + 6 * 5 + 3


@pytest.mark.parametrize("architecture", ["f-simple", "f-strided", "f-dilated"])
def test_a_number_keeps_its_magnitude_through_the_layers(architecture: Any) -> None:
    model = FrameModel(architecture, 96, seeded())
    x = torch.randn(1, 3, 48, 48, generator=seeded(1))
    with torch.no_grad():
        for layer in model.around:
            more = {"output_size": (48, 48)} if isinstance(layer, nn.ConvTranspose2d) else {}
            before = x.square().mean()
            x = layer(x, **more)
            inner = x[..., 8:-8, 8:-8] if x.shape[-1] > 24 else x[..., 4:-4, 4:-4]
            # Var(Wx) = 2 E[x²]: what the ReLU halves.
            assert 1.3 < float(inner.square().mean() / before) < 2.7
            x = x.relu()
    assert all(not bool(p.any()) for n, p in model.named_parameters() if n.endswith("bias"))


@pytest.mark.parametrize("architecture", ["f-simple", "f-strided", "f-dilated"])
def test_a_residual_model_adds_to_the_logits(architecture: Any) -> None:
    plain = FrameModel(architecture, 4, seeded())
    model = FrameModel(architecture, 4, seeded(), residual=True)
    x = torch.rand(2, 3, 9, 8, generator=seeded(1))
    x[0] = x[0].round()
    cut = x.clamp(0.002, 0.998)
    change = plain(x).logit() * 0.1  # its last layer starts at a tenth
    torch.testing.assert_close(model(x), torch.sigmoid(torch.log(cut / (1 - cut)) + change))
    (grad,) = torch.autograd.grad(model(x.requires_grad_()).sum(), x)
    assert bool(grad.isfinite().all())


def test_models_refuse_what_does_not_fit() -> None:
    with pytest.raises(InvalidInput, match="architecture"):
        FrameModel("f-wide", 4, seeded())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="filters"):
        FrameModel("f-simple", 0, seeded())
    with pytest.raises(InvalidInput, match=r"\[n, 3, height, width\]"):
        FrameModel("f-simple", 2, seeded())(torch.rand(3, 8, 8))


class Told:
    """Predicts what it is told."""

    def __init__(self, frames: Tensor) -> None:
        self.frames = frames

    def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
        return self.frames[rows, None].expand(-1, steps, -1, -1, -1)


def test_the_end_is_right_the_beginning_is_nothing_and_nothing_is_wrong(
    rooms: Trajectories,
) -> None:
    run = Run("room-runner", "asi", SETTINGS, seed=0, pixels=2, extent=16)
    assert look(run, Told(rooms.last), rooms, 2) == (1.0, pytest.approx(1, abs=1e-3))  # type: ignore[arg-type]
    assert look(run, Told(rooms.first), rooms, 2) == (0.0, 0.5)  # type: ignore[arg-type]


def test_a_film_comes_back_from_its_record(rooms: Trajectories) -> None:
    kept = films(Told(rooms.last), rooms, 3)  # type: ignore[arg-type]
    for i, film in enumerate(kept):
        ends = int(rooms.lengths[: i + 1].sum()) - 1
        assert torch.equal(unpacked(film), rooms.frames[ends].expand(3, -1, -1, -1))


def test_true_frames_are_matched_with_themselves(rooms: Trajectories) -> None:
    film = rooms.film(0)
    at = [4, 9, 11, 18, len(film) - 1]
    assert matched(film, film[at], len(film), 1) == at
    assert matched(film, film[[3, 3, 3]], 2, 2) == [2, 4, 6]


def test_ways_lead_from_frame_to_frame(rooms: Trajectories) -> None:
    rows = torch.tensor([2, 0])
    found = ways(rooms, rows)
    for row, i in enumerate(rows.tolist()):
        start, n = int(rooms.lengths[:i].sum()), int(rooms.lengths[i])
        steps = rooms.positions[start : start + n].diff(dim=0)
        torch.testing.assert_close(found[row, : n - 1].double(), steps, atol=1e-6, rtol=0)
        assert not bool(found[row, n - 1 :].any())


@pytest.mark.parametrize("duration", [2.0, 30.0])
def test_a_driven_model_keeps_the_time_and_stops_at_the_end(
    rooms: Trajectories, duration: float
) -> None:
    driven = Driven("actions", SETTINGS, seeded(), "cpu")
    seen: list[tuple[Tensor, Tensor]] = []

    def model(x: Tensor, ahead: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((ahead, mask))
        return x * 0.5, torch.full((len(x),), duration)

    driven.model = model  # type: ignore[assignment]
    rows = torch.tensor([1, 3])
    actions, last = ways(rooms, rows), rooms.lengths[rows] - 1
    frames = driven.predict(rooms, rows, 60)
    skip = min(int(duration), 3)
    for b in range(2):
        for k, (ahead, mask) in enumerate(seen):
            at = min(k * skip, int(last[b]))
            left = actions[b, at : min(at + 3, int(last[b]))]
            torch.testing.assert_close(ahead[b, : len(left)], left)
            assert mask[b].tolist() == [j < len(left) for j in range(3)]
            halves = min(k + 1, -(-int(last[b]) // skip))
            torch.testing.assert_close(frames[b, k], rooms.first[rows[b]] * 0.5**halves)


def test_perturbed_dynamics_come_first_and_every_trajectory_once_an_epoch() -> None:
    run = Run(
        "room-runner", "asi", SETTINGS, seed=0, pixels=2, extent=8, trajectories=5, epochs=3,
        switch=2,
    )  # fmt: skip
    batches = list(_batches(run, seeded()))
    assert [perturbed for _, perturbed in batches] == [True] * 6 + [False] * 3
    for k in range(3):
        rows = torch.cat([rows for rows, _ in batches[3 * k : 3 * k + 3]])
        assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]


def test_data_are_kept_and_differ_by_seed_purpose_and_trial(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(
        "room-runner", "asi", SETTINGS, seed=1, pixels=2, extent=16, trajectories=2, validation=2
    )

    def drawn(run: Run, validation: bool) -> Trajectories:
        return data_of(run, tmp_path, validation=validation, perturbed=False)

    first = drawn(run, False)
    again = drawn(run, False)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = dataclasses.replace(run, seed=2)
    trial = dataclasses.replace(run, seed=1001)
    assert not torch.equal(first.first, drawn(other, False).first)
    assert torch.equal(drawn(run, True).first, drawn(other, True).first)
    assert not torch.equal(drawn(run, True).first, drawn(trial, True).first)
    # What another version has left may be of another world.
    before = len(list(tmp_path.iterdir()))
    drawn(run, True)
    assert len(list(tmp_path.iterdir())) == before
    monkeypatch.setattr(_asi_training, "__version__", "another")
    drawn(run, True)
    assert len(list(tmp_path.iterdir())) == before + 1


@pytest.mark.parametrize("method", ["asi", "fixed", "aligned", "latent", "actions"])
def test_a_run_is_reproducible_and_counts(method: Any, tmp_path: Any) -> None:
    settings = {**SETTINGS, "horizon": 20, "exploration": 2, "steps": 12}
    run = Run(
        "room-runner", method, settings, seed=1, pixels=2, extent=16, trajectories=2, validation=2,
        epochs=2, looks=2,
    )  # fmt: skip
    logged: list[int] = []
    counted = [0]
    f = {"latent": Dynamics, "actions": DrivenModel}.get(method, FrameModel)

    def count(module: nn.Module, given: Any) -> None:
        if isinstance(module, f) and torch.is_grad_enabled():  # no look
            counted[0] += len(given[0])

    def log(step: int, values: dict[str, float]) -> None:
        logged.append(step)
        counted.append(counted[0])

    hook = nn.modules.module.register_module_forward_pre_hook(count)
    first = train(run, tmp_path, log)
    hook.remove()
    again = train(run, tmp_path, lambda step, values: None)
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert first["diverged"] is None
    assert first["updates"] == logged == [1, 2]
    lengths = data_of(run, tmp_path, validation=False, perturbed=False).lengths
    steps = [-(-(length - 1) // 20) for length in lengths.tolist()]
    assert first["evaluations"] == counted[1:]
    if method == "fixed":
        assert first["evaluations"] == [sum(steps), 2 * sum(steps)]


def test_labels_come_back_and_settings_are_shares_of_the_updates() -> None:
    config = Config(
        room_trajectories=11, room_epochs=10, board_trajectories=11, board_epochs=10
    )  # 60 updates
    labels = [
        "ASI",
        GREEDY,
        "Δ = 1",
        "Δ = 3",
        "latent ASI",
        "global alignment",
        "ASI with actions",
        "Δ = 2 with actions",
    ]
    for label in labels:
        run = run_of(config, "funnel-board", label, 0, steps=4)
        assert label_of(run) == label
        assert run.settings["decay"] == 36
        assert (run.pixels, run.extent) == (4, 2)
    assert run_of(config, "room-runner", "ASI", 0).settings["exploration"] == 18
    assert linear(18, 18) == 0
    assert run_of(config, "room-runner", GREEDY, 0).settings["exploration"] == 0
    assert run_of(config, "room-runner", "Δ = 3", 0).settings["horizon"] == 3
    drawn = tries(Config(trials=9), "room-runner", "ASI")
    assert len({key(settings) for settings in drawn}) == 9
    # The paper's numbers of updates, at its 25,000.
    full = find("asi-curves", STUDIES).full
    for settings in drawn:
        run = run_of(full, "room-runner", "ASI", 1000, **settings)
        assert run.settings["decay"] in (7500, 10_000, 15_000)
        assert run.settings["exploration"] in (7500, 10_000, 15_000)
        assert run.settings["teacher_forcing"] in (15_000, 20_000)


def _searched(rounds: Any, values: list[float | None]) -> Any:
    """The runs after a search in which trials have these accuracies; None diverged, after a 1."""
    records = [
        {"probability": [0.0, 1.0 if value is None else value], "diverged": value is None or None}
        for value in values
    ]
    return rounds.send(records)


def test_a_search_hands_the_best_settings_to_all_seeds_and_to_larger_steps(tmp_path: Any) -> None:
    config = Config(worlds=("room-runner",), trials=3, seeds=2, steps=(1, 2, 5))
    rounds = plan(config, tmp_path)
    asked = next(rounds)
    assert len(asked) == 4 * 3
    assert {run.seed for run in asked} == {1000}
    # The second trial of each method is the best.
    final = _searched(rounds, [0.1, 0.9, 0.2] * 4)
    best = {label_of(asked[k]): asked[k].settings for k in range(1, 12, 3)}
    assert [run.seed for run in final] == [0] * 5 + [1] * 5
    for run in final:
        label = label_of(run)
        wanted = {**best["Δ = 2"], "horizon": 5} if label == "Δ = 5" else best[label]
        assert run.settings == wanted


def test_without_trials_a_search_is_of_learning_rates_and_horizons(tmp_path: Any) -> None:
    rounds = plan(Config(worlds=("funnel-board",), seeds=1, board_rates=(0.1, 0.2, 0.3)), tmp_path)
    asked = next(rounds)
    tried = [(label_of(run), run.settings["learning_rate"]) for run in asked]
    labels = ["ASI", GREEDY, "Δ = 2", "Δ = 1"]
    assert tried == [(label, rate) for label in labels for rate in (0.1, 0.2, 0.3)]
    assert {run.seed for run in asked} == {1000}
    # What comes first wins where two are alike; what diverged is never chosen.
    values = [0.9, 0.1, None, 0.1, 0.9, 0.1, 0.5, 0.5, 0.5, None, None, None]
    final = _searched(rounds, values)
    assert [run.settings["learning_rate"] for run in final] == [0.1, 0.2, 0.1, 0.1]
    config = Config(worlds=("room-runner",), seeds=1, room_rates=(0.7,), room_horizons=(4,))
    (alone,) = plan(config, tmp_path)
    assert [run.settings["learning_rate"] for run in alone] == [0.7] * 4
    assert [run.settings["horizon"] for run in alone] == [4, 4, 2, 1]
    rounds = plan(dataclasses.replace(config, room_horizons=(4, 6, 5)), tmp_path)
    asked = next(rounds)
    tried = [(label_of(run), run.settings["horizon"]) for run in asked]
    assert tried == [(label, h) for label in ("ASI", GREEDY) for h in (4, 6, 5)]
    final = _searched(rounds, [0.1, 0.9, 0.2, 0.1, 0.2, 0.9])
    assert [run.settings["horizon"] for run in final] == [6, 5, 2, 1]
    with pytest.raises(InvalidInput, match="`board_horizons` should be one value or more"):
        next(plan(Config(worlds=("funnel-board",), board_horizons=()), tmp_path))
    with pytest.raises(InvalidInput, match="`room_rates` should be one value or more"):
        next(plan(Config(worlds=("room-runner",), room_rates=()), tmp_path))


def test_the_studies_share_their_search_and_their_runs(tmp_path: Any) -> None:
    world: dict[str, Any] = {"worlds": ("funnel-board",), "seeds": 2, "board_rates": (0.1, 0.2)}
    values = {"ASI": [0.1, 0.9], GREEDY: [0.1, 0.9], "Δ = 1": [0.9, 0.1], "Δ = 2": [0.1, 0.9]}

    def runs(name: str, **more: Any) -> tuple[list[str], list[Run]]:
        study = find(name, STUDIES)
        rounds = study.plan(study.config(**world, **more), tmp_path)
        asked = list(next(rounds))
        final = _searched(rounds, [values[label_of(run)][k % 2] for k, run in enumerate(asked)])
        return [key(study.cell(run)) for run in asked], final

    tried, curves = runs("asi-curves")
    for name, own in (("asi-timelines", 0), ("asi-extensions", 4), ("asi-perturbation", 8)):
        more = {"switch": 3} if name == "asi-perturbation" else {}
        asked, final = runs(name, **more)
        assert set(asked) <= set(tried)
        fresh = [run for run in final if run not in curves]
        assert len(fresh) == own * 2
        assert len(final) - len(fresh) == (0 if more else 4)
        for run in fresh:
            rate = run.settings["learning_rate"]
            assert rate == (0.1 if "Δ = 1" in label_of(run) else 0.2)
            assert run.switch in ((3, 8) if more else (0,))


@pytest.mark.parametrize("switch", [0, 8, 20])
def test_dynamics_change_within_the_epochs(switch: int, tmp_path: Any) -> None:
    with pytest.raises(InvalidInput, match="`switch` should be at least 1 and below the 8 epochs"):
        plan_perturbed(Perturbed(switch=switch), tmp_path)


def test_shown_are_the_settings_that_the_trials_chose() -> None:
    config = Config(worlds=("funnel-board",))

    def cell(label: str, seed: int, rate: float, best: float = 0.5, **more: Any) -> Cell:
        run = run_of(config, "funnel-board", label, seed, learning_rate=rate, **more)
        return Cell(run, {"probability": [best, 0.1], "diverged": None}, {})

    trials = [cell("ASI", 1000, 0.1, 0.7), cell("ASI", 1000, 0.2, 0.8), cell("ASI", 1000, 0.3, 0.6)]
    lost = cell("ASI", 1000, 0.4, 0.9)
    lost.record["diverged"] = "nan"
    smaller = dataclasses.replace(config, board_epochs=3)
    other = Cell(
        run_of(smaller, "funnel-board", "ASI", 1000, learning_rate=0.3),
        {"probability": [1.0], "diverged": None}, {},
    )  # fmt: skip
    seeds = [cell("ASI", seed, rate) for rate in (0.4, 0.1, 0.3, 0.2) for seed in (1, 0)]
    more = [
        cell("ASI", 2, 0.1),
        cell("Δ = 2", 0, 0.3),
        cell("Δ = 2", 1, 0.3),
        cell("Δ = 2", 0, 0.1),
    ]
    heirs = [cell("latent ASI", 0, rate) for rate in (0.1, 0.2, 0.3)]
    heirs += [cell("global alignment", 0, rate, steps=4) for rate in (0.1, 0.2, 0.3)]

    def shown(cells: list[Cell]) -> dict[str, list[tuple[float, int]]]:
        return {
            label: [(c.run.settings["learning_rate"], c.run.seed) for c in same]
            for label, same in finals(cells)["funnel-board"].items()
        }

    cells = [*trials, lost, other, *seeds, *more, *heirs]
    expected = {
        "ASI": [(0.2, 0), (0.2, 1)], "latent ASI": [(0.2, 0)], "global alignment": [(0.2, 0)],
        "Δ = 2": [(0.3, 0), (0.3, 1)],
    }  # fmt: skip
    assert shown(cells) == shown(cells[::-1]) == expected
    # Larger steps are of the trials of 2; after a switch the trials are those without.
    fixed = [cell("Δ = 2", 1000, 0.1, 0.8), cell("Δ = 2", 1000, 0.3, 0.7)]
    larger = [cell("Δ = 3", 0, 0.1), cell("Δ = 3", 0, 0.3), cell("Δ = 3", 1, 0.3)]
    assert shown([*fixed, *larger])["Δ = 3"] == [(0.1, 0)]
    switched = [cell("ASI", seed, rate, switch=3) for rate in (0.1, 0.2) for seed in (0,)]
    (same,) = finals([*trials, *switched], dynamics="changing")["funnel-board"].values()
    assert [c.run.settings["learning_rate"] for c in same] == [0.2]
    # Without trials, and where what they chose has not been run, the most seeds count.
    assert shown([*seeds, *more])["ASI"] == [(0.1, 0), (0.1, 1), (0.1, 2)]
    assert shown([cell("ASI", 1000, 0.9), *seeds, *more])["ASI"] == [(0.1, 0), (0.1, 1), (0.1, 2)]


def test_settings_that_no_trial_chose_are_not_said_to_be_of_trials() -> None:
    config = Config(worlds=("room-runner",), room_horizons=(4, 6))

    def cell(seed: int, horizon: int, best: float) -> Cell:
        record = {name: [best] for name in ("probability", "accuracy", "evaluations", "skip")}
        run = run_of(config, "room-runner", "ASI", seed, horizon=horizon)
        return Cell(run, {**record, "diverged": None}, {})

    trials = [cell(1000, 4, 0.5), cell(1000, 6, 0.7)]
    assert "H = 6, of 2 trials" in table([*trials, cell(0, 6, 0.5), cell(0, 4, 0.5)])
    assert "H = 4 |" in table([*trials, cell(0, 4, 0.5)])


def test_heirs_have_their_own_exploration(tmp_path: Any) -> None:
    study = find("asi-extensions", STUDIES)
    rounds = study.plan(study.config(worlds=("room-runner",), trials=6, seeds=1), tmp_path)
    usual = run_of(study.config(), "room-runner", "ASI", 0).settings["exploration"]
    asked = next(rounds)
    values = [float(run.settings["exploration"] != usual) for run in asked]
    final = {label_of(run): run.settings for run in _searched(rounds, values)}
    assert final["ASI"]["exploration"] not in (0, usual)
    assert final["latent ASI"]["exploration"] == usual
    assert final["global alignment"]["exploration"] == 0
    assert final["latent ASI"]["filters"] == final["ASI"]["filters"]


def test_shares_that_are_nothing(tmp_path: Any) -> None:
    config = dataclasses.replace(Config(**TINY), validation=1, teacher_forcing=0.0)
    run = run_of(config, "room-runner", "Δ = 2", 0)
    record = train(run, tmp_path, lambda done, now: None)
    assert (record["diverged"], len(record["films"])) == (None, 1)
    with pytest.raises(InvalidInput, match="`decay` should be a share of the updates above 0"):
        run_of(dataclasses.replace(config, decay=0.0), "room-runner", "ASI", 0)


def test_cells_of_one_size_and_setting_stand_together() -> None:
    config = Config(seeds=2)
    small = dataclasses.replace(config, room_epochs=3)
    runs = [run_of(c, "room-runner", "ASI", s) for c, s in ((config, 1), (config, 0), (small, 0))]
    runs += [run_of(config, "room-runner", "ASI", s) for s in (1000,)]
    cells = [Cell(run, {"probability": [0.5], "diverged": None}, {}) for run in runs]
    found = finals(cells)["room-runner"]["ASI"]
    assert [(cell.run.seed, cell.run.epochs) for cell in found] == [(0, 8), (1, 8)]
    assert finals(cells, ["Δ = 1"]) == {}
    assert finals(cells, dynamics="changing") == {}


def _cells(diverged: int) -> list[Cell]:
    """Four seeds of ASI with two looks; the first ones diverged after one."""
    config = Config(room_epochs=4, room_trajectories=4, looks=2)
    cells = []
    for seed in range(4):
        lost = seed < diverged
        record = {
            "accuracy": [0.9] if lost else [0.2, 0.5 + 0.1 * seed],
            "probability": [0.9] if lost else [0.2, 0.5],
            "evaluations": [50, 100], "updates": [4, 8], "skip": [2.0, 2.0],
            "diverged": "The loss of update 5 is nan." if lost else None,
        }  # fmt: skip
        cells.append(Cell(run_of(config, "room-runner", "ASI", seed), record, {}))
    return cells


def test_seeds_that_diverged_are_told_and_left_out() -> None:
    row = table(_cells(1)).splitlines()[2]
    assert "| 3 of 4 | 50.0 (" in row
    assert " | 70.0 (" in row
    shown = plot(_cells(1))["figure-2.9"].axes
    for axes, end in zip(shown, (50, 70), strict=True):
        (line,) = axes.lines
        assert line.get_label() == "ASI (3 of 4 seeds)"
        assert line.get_xdata().tolist() == [2, 4]
        assert line.get_ydata() == pytest.approx([20, end])
    assert [axes.get_ylabel() for axes in shown] == [
        "ψ of the true label, %", "ψ's first choice is true, %",
    ]  # fmt: skip
    axes, _ = plot(_cells(4))["figure-2.9"].axes
    assert [line.get_label() for line in axes.lines] == ["ASI (0 of 4 seeds)"]
    assert "| 0 of 4 |" in table(_cells(4))


def test_a_method_has_one_colour_and_a_switch_its_line() -> None:
    cells = _cells(0)
    config = Config(board_epochs=4, board_trajectories=4, looks=2)
    for label in ("Δ = 1", "ASI"):
        cells.append(Cell(run_of(config, "funnel-board", label, 0), cells[0].record, {}))
    colours = {
        (axes.get_title(), line.get_label()): line.get_color()
        for axes in plot(cells)["figure-2.10"].axes
        for line in axes.lines
    }
    assert colours["room-runner", "ASI"] == colours["funnel-board", "ASI"]
    assert colours["funnel-board", "ASI"] != colours["funnel-board", "Δ = 1"]
    switched = Cell(run_of(config, "funnel-board", "ASI", 0, switch=3), cells[0].record, {})
    top, bottom = plot_perturbed([switched])["figure-2.11"].axes
    assert top.get_title() == "funnel-board\nperturbed until the line"
    for axes in (top, bottom):
        assert axes.lines[-1].get_xdata() == [3, 3]
    kept = dataclasses.replace(switched, run=all_along(switched.run))
    top, bottom = plot_perturbed([switched, kept])["figure-2.11"].axes
    assert top.get_title() == "funnel-board\nperturbed until the line, dashed to the end"
    for axes in (top, bottom):
        assert [line.get_linestyle() for line in axes.lines] == ["-", "--", "-"]
        assert len(axes.get_legend_handles_labels()[1]) == 1


def test_cost_is_told_to_a_level_that_every_run_has_reached() -> None:
    config = Config(room_trajectories=4, room_epochs=4, looks=3)
    found = {
        "ASI": ([0.3, 0.7, 0.9], [10_000, 20_000, 30_000]),
        "Δ = 1": ([0.1, 0.2, 0.6], [40_000, 80_000, 120_000]),
        "Δ = 2": ([0.2, 0.7, 0.5], [25_000, 50_000, 75_000]),
    }
    cells = []
    for label, (accuracy, evaluations) in found.items():
        record = {
            "accuracy": [0.0, 1.0, 0.0], "probability": accuracy, "evaluations": evaluations,
            "updates": [2, 4, 8], "skip": [2.0] * 3, "diverged": None,
        }  # fmt: skip
        cells.append(Cell(run_of(config, "room-runner", label, 0), record, {}))
    rows = [line.split(" | ") for line in table(cells).splitlines()[2:]]
    assert [row[7] for row in rows] == ["20, to 60.0 %", "120, to 60.0 %", "50, to 60.0 %"]


def test_the_fall_is_of_means() -> None:
    run = run_of(Config(board_epochs=4, board_trajectories=4), "funnel-board", "Δ = 1", 0, switch=2)
    record = {
        "probability": [0.5, 0.8, 0.5, 0.7], "updates": [2, 4, 6, 8], "before": (0.1, 0.8),
        "frozen": (0.2, 0.7), "diverged": None,
    }  # fmt: skip
    row = fall_table([Cell(run, record, {})]).splitlines()[2]
    assert "| 1 | 80.0 | 70.0 | 60.0 | 70.0 | 20.0 | *not run* | *not run* |" in row
    # What the change took is told by the same seed without it.
    without = {**record, "probability": [0.5, 0.8, 0.9, 0.8], "before": (0.8, 0.8)}
    others = [dataclasses.replace(run, seed=seed) for seed in (0, 1)]
    cells = [Cell(other, record, {}) for other in others]
    cells.append(Cell(all_along(run), without, {}))
    cells.append(Cell(all_along(others[1]), {**record, "diverged": "lost"}, {}))
    assert "| 60.0 (60.0 … 60.0) |" in fall_table(cells)
    assert "| 85.0 | 25.0 | 2 rows" in fall_table(cells)


def test_a_model_that_explodes_diverged(rooms: Trajectories) -> None:
    class Bang(Learner):
        def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
            frames = data.first[rows][:, None].repeat(1, steps, 1, 1, 1)
            frames[0, -1, 0, 0, 0] = torch.nan
            return frames

    run = Run("room-runner", "asi", SETTINGS, seed=0, pixels=2, extent=16)
    with pytest.raises(Diverged, match="predicted frame"):
        look(run, Bang(), rooms, 3)


class Spy:
    """Writes down what it is asked; its weight falls by Adam's learning rate at each update."""

    def __init__(self, known: dict[str, Trajectories]) -> None:
        self.known = known
        self.weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.asked: list[tuple[str, Matching]] = []
        self.weights: list[float] = []
        self.looked: list[tuple[str, int, int]] = []
        self.paths = iter(range(100, 0, -1))

    def parameters(self) -> Any:
        yield self.weight

    def _name(self, data: Trajectories) -> str:
        (name,) = (n for n, known in self.known.items() if torch.equal(known.frames, data.frames))
        return name

    def loss(self, data: Trajectories, rows: Tensor, matching: Matching) -> Found:
        self.asked.append((self._name(data), matching))
        self.weights.append(float(self.weight.detach()))
        return Found(self.weight * 1.0, 7, [next(self.paths) for _ in rows])

    def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
        name = self._name(data)
        self.looked.append((name, steps, len(self.asked)))
        # Right where the dynamics are perturbed.
        end = data.last if "perturbed" in name else data.first
        return end[rows, None].expand(-1, steps, -1, -1, -1)


def test_training_asks_for_the_schedules_and_looks_at_the_right_dynamics(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        **SETTINGS, "learning_rate": 0.25, "decay": 4, "exploration": 5, "teacher_forcing": 8,
    }  # fmt: skip
    run = Run(
        "room-runner", "asi", settings, seed=3, pixels=2, extent=8, trajectories=5, validation=3,
        epochs=4, looks=4, switch=2,
    )  # fmt: skip

    def known(count: int, seed: int, perturbed: bool) -> Trajectories:
        return room_runner(count, seed=seed, perturbed=perturbed, side=8, pixels=2)

    spy = Spy(
        {
            "training, perturbed": known(5, 3, True),
            "training": known(5, 3, False),
            "validation, perturbed": known(3, VALIDATION_SEED, True),
            "validation": known(3, VALIDATION_SEED, False),
        }
    )
    monkeypatch.setattr(_asi_training, "learner_of", lambda run, generator: spy)
    record = train(run, tmp_path, lambda step, values: None)
    assert record["diverged"] is None
    assert [name for name, _ in spy.asked] == ["training, perturbed"] * 6 + ["training"] * 6
    for i, (_, matching) in enumerate(spy.asked):
        assert matching["exploration"] == pytest.approx(max(0.0, 1 - i / 5))
        assert matching["teacher_forcing"] == pytest.approx(1 / (1 + 5 * i / 8))
    fell = -torch.tensor([*spy.weights, float(spy.weight.detach())], dtype=torch.float64).diff()
    expected = [0.25 * 0.2 ** (i // 4) for i in range(12)]
    torch.testing.assert_close(fell, torch.tensor(expected, dtype=torch.float64))
    # Paths are 100, 99, 98, …, of which the last epoch's five count.
    steps = [math.ceil(longest - 4 * 0.01) + 1 for longest in (100, 95, 90, 85)]
    assert record["steps"] == steps
    assert record["updates"] == [3, 6, 9, 12]
    assert record["evaluations"] == [21, 42, 63, 84]
    assert record["accuracy"] == [1, 1, 0, 0]
    assert record["before"] == (1.0, pytest.approx(1, abs=1e-3))
    assert record["frozen"] == (0.0, 0.5)
    kinds = ["validation, perturbed", "validation"]
    looks = [
        (kind, step, update)
        for step, update in zip(steps, (3, 6, 9, 12), strict=True)
        for kind in kinds
    ]
    assert spy.looked == [*looks, ("validation", steps[-1], 12)]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_gradients_of_all_weights_together_are_clipped(
    clip: float | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = [torch.tensor(g, dtype=torch.float64) for g in ((0.1, 0.2), (30, 40), (0.3, -0.4))]

    class Told(Spy):
        def __init__(self) -> None:
            super().__init__({})
            self.both = [nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2)]
            self.went: list[list[float]] = []

        def parameters(self) -> Any:
            yield from self.both

        def loss(self, data: Trajectories, rows: Tensor, matching: Matching) -> Found:
            self.went.append([float(weight.detach()) for weight in self.both])
            gradient = gradients[len(self.went) - 1]
            total = gradient[0] * self.both[0] + gradient[1] * self.both[1]
            return Found(total, 1, [1 for _ in rows])

        def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
            return data.first[rows, None].expand(-1, steps, -1, -1, -1)

    told = Told()
    monkeypatch.setattr(_asi_training, "learner_of", lambda run, generator: told)
    settings = {**SETTINGS, **({} if clip is None else {"clip": clip})}
    run = Run(
        "room-runner", "asi", settings, seed=3, pixels=2, extent=8, trajectories=6, validation=2,
        epochs=1, looks=1,
    )  # fmt: skip
    train(run, tmp_path, lambda step, values: None)
    # Adam, by hand.
    m = v = torch.zeros(2, dtype=torch.float64)
    at = torch.zeros(2, dtype=torch.float64)
    for i, gradient in enumerate(gradients):
        assert told.went[i] == pytest.approx(at.tolist(), abs=1e-9)
        g = gradient * (min(1.0, clip / float(gradient.norm())) if clip else 1.0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        hats = m / (1 - 0.9 ** (i + 1)), v / (1 - 0.999 ** (i + 1))
        at = at - 1e-3 * hats[0] / (hats[1].sqrt() + 1e-8)
    assert [float(weight.detach()) for weight in told.both] == pytest.approx(at.tolist(), abs=1e-9)


def test_each_world_has_its_own_clipping_which_tables_tell() -> None:
    config = Config(room_clip=0.0, board_clip=0.25)
    for label in ("ASI", GREEDY, "Δ = 2", "latent ASI"):
        assert "clip" not in run_of(config, "room-runner", label, 0).settings
        run = run_of(config, "funnel-board", label, 0)
        assert run.settings["clip"] == 0.25
        assert "gradients clipped to 0.25" in size_of(Cell(run, {}, {}))
    with pytest.raises(InvalidInput, match="`board_clip` should be a norm, or 0 for no clipping"):
        run_of(Config(board_clip=-1.0), "funnel-board", "ASI", 0)


def test_a_latent_model_learns_to_match_and_to_decode(rooms: Trajectories) -> None:
    latent = Latent(SETTINGS, seeded(), "cpu")
    rows = torch.tensor([0, 2, 3])
    matching: Matching = {"exploration": 0.5, "teacher_forcing": 0.5, "generator": seeded(4)}
    found = latent.loss(rooms, rows, matching)
    g = seeded(4)
    frames, lengths = rooms.batch(rows)
    matched = latent_skip_loss(
        latent.encoder, latent.f, frames, lengths, horizon=3, exploration=0.5,
        teacher_forcing=0.5, generator=g,
    )  # fmt: skip
    draws = torch.rand(2, 8, generator=g)
    places = [(int(3 * a), b) for a, b in draws.T.tolist()]
    seen = torch.stack([frames[row, int(b * int(lengths[row]))] for row, b in places])
    decoded = latent.decoder(latent.encoder(seen), seen.shape[2:])
    again = binary_cross_entropy(decoded, seen).mean()
    torch.testing.assert_close(found.loss, matched.loss + again)
    assert float(again.detach()) > 0.1
    found.loss.backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and bool(p.grad.any()) for p in latent.decoder.parameters())


def test_a_film_shows_each_prediction_from_its_moment_on() -> None:
    config = Config(room_trajectories=4, room_epochs=4, looks=1, validation=2)
    at = {"ASI": [3, 9, 12], "Δ = 2": [2, 4, 6]}
    cells = []
    for label, times in at.items():
        run = run_of(config, "room-runner", label, 0, horizon=10)
        true = true_film(run)
        data = room_runner(2, seed=VALIDATION_SEED, side=8, pixels=4)

        class Chosen:
            def predict(self, data: Trajectories, rows: Tensor, steps: int) -> Tensor:
                return (true[times].float() / 255).expand(len(rows), -1, -1, -1, -1)  # noqa: B023

        cells.append(Cell(run, {"films": films(Chosen(), data, 3)}, {}))  # type: ignore[arg-type]
    film = plot_timelines(cells)["room-runner-true-asi-fixed"]
    wide = true.shape[3]
    assert film.shape == (len(true), 3, wide, 3 * wide + 4)
    for t in range(len(true)):
        assert torch.equal(film[t, :, :, :wide], true[t])
        for k, times in enumerate(at.values(), start=1):
            now = max([0, *(time for time in times if time <= t)])
            assert torch.equal(film[t, :, :, k * (wide + 2) :][..., :wide], true[now])


def test_extensions_stand_beside_asi_of_their_size_alone() -> None:
    config = Config(room_trajectories=4, room_epochs=4)
    large = dataclasses.replace(config, room_epochs=9)

    def cells(config: Config, world: Any, *labels: str) -> list[Cell]:
        return [Cell(run_of(config, world, label, 0, steps=9), {}, {}) for label in labels]

    ours = cells(config, "room-runner", "ASI", "Δ = 2", "global alignment", "latent ASI")
    others = cells(large, "room-runner", "ASI", GREEDY, "Δ = 1", "Δ = 2", "Δ = 3")
    board = cells(config, "funnel-board", "ASI", "Δ = 1")
    found = compared([*others, *board, *ours])
    assert list(found) == ["room-runner"]
    labels = {label: [c.run.epochs for c in same] for label, same in found["room-runner"].items()}
    assert labels == {label_of(c.run): [4] for c in ours}
    assert compared([*others, *board]) == {}
