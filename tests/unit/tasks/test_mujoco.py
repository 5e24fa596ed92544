"""Rollouts: the same trajectory as a plain loop, whatever the number of processes."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from didact import Diverged, InvalidInput
from didact.tasks import Environment, MissingExtra, Rollouts, as_table, mujoco_rollouts

SIZES: list[tuple[Environment, int, int]] = [
    ("Hopper", 11, 3),
    ("Walker2d", 17, 6),
    ("Swimmer", 8, 2),
    ("HalfCheetah", 17, 6),
]


def bare(environment: str) -> Any:
    """The environment's class, without Gymnasium's registry, wrappers and warnings."""
    from gymnasium.envs.mujoco.half_cheetah_v4 import HalfCheetahEnv
    from gymnasium.envs.mujoco.hopper_v4 import HopperEnv
    from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv
    from gymnasium.envs.mujoco.walker2d_v4 import Walker2dEnv

    return {
        "Hopper": HopperEnv,
        "Walker2d": Walker2dEnv,
        "Swimmer": SwimmerEnv,
        "HalfCheetah": HalfCheetahEnv,
    }[environment]()


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The plain loops below let MuJoCo write its log where it likes.
    monkeypatch.chdir(tmp_path)


def same(first: Rollouts, second: Rollouts) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("environment", "observed", "acted"), SIZES)
def test_one_example_again_by_a_plain_loop(
    environment: Environment, observed: int, acted: int
) -> None:
    data = mujoco_rollouts(environment, 4, seed=7)
    assert data.state.shape == (4, observed)
    assert data.actions.shape == (4, 16, acted)
    simulator = bare(environment)
    for i, child in enumerate(np.random.SeedSequence(7).spawn(4)):
        generator = np.random.default_rng(child)
        simulator.reset(seed=int(generator.integers(2**31)))
        warm = generator.integers(10, 31)
        drawn = generator.integers(-1, 2, size=(warm + 16, acted))
        for action in drawn[:warm]:
            observation = simulator.step(action.astype(float))[0]
        assert data.state[i].tolist() == observation.tolist()
        total = 0.0
        for t in range(16):
            assert data.actions[i, t].tolist() == drawn[warm + t].tolist()
            observation, reward, *_ = simulator.step(data.actions[i, t])
            assert data.states[i, t].tolist() == observation.tolist()
            assert data.rewards[i, t] == reward
            total += reward
        assert data.label[i] == pytest.approx(total, abs=1e-12)
    simulator.close()


def test_the_states_follow_from_the_observed_state_alone() -> None:
    # Swimmer's observation lacks only the position, on which nothing depends: set the simulator
    # to what is observed and the same actions give the same future.
    data = mujoco_rollouts("Swimmer", 3, seed=1, steps=5)
    simulator = bare("Swimmer")
    for i in range(3):
        simulator.reset(seed=0)
        position = np.concatenate([[0.0, 0.0], data.state[i, :3]])
        simulator.set_state(position, data.state[i, 3:])
        for t in range(5):
            observation = simulator.step(data.actions[i, t])[0]
            np.testing.assert_allclose(observation, data.states[i, t], rtol=0, atol=1e-6)
    simulator.close()


def test_the_result_does_not_depend_on_jobs_or_on_how_many_are_asked_for() -> None:
    one = mujoco_rollouts("Swimmer", 120, seed=3)
    assert same(one, mujoco_rollouts("Swimmer", 120, seed=3, jobs=2))
    few = mujoco_rollouts("Swimmer", 70, seed=3)
    assert same(few, Rollouts(*(array[:70] for array in one)))
    assert not np.isin(mujoco_rollouts("Swimmer", 5, seed=4).state, one.state).any()
    assert len(np.unique(one.state[:, 0])) == 120


def test_labels_and_actions() -> None:
    data = mujoco_rollouts("Hopper", 150, seed=0)
    for rewards, label in zip(data.rewards.tolist(), data.label.tolist(), strict=True):
        assert label == pytest.approx(sum(rewards), abs=1e-12)
    values, counts = np.unique(data.actions, return_counts=True)
    assert values.tolist() == [-1.0, 0.0, 1.0]
    n = counts.sum()
    assert np.abs(counts / n - 1 / 3).max() < 4 * np.sqrt(2 / 9 / n)
    assert {array.dtype for array in data} == {np.dtype(np.float64)}
    # Termination is ignored: past an angle of 0.2 a hopper counts as fallen, and moves on.
    fallen = np.abs(data.states[:, 0, 1]) > 0.2
    assert fallen.any()
    assert (data.states[fallen, 1:] != data.states[fallen, :-1]).any(-1).all()


def test_the_warm_up_is_ten_to_thirty_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.envs.mujoco.swimmer_v4 import SwimmerEnv

    lengths: list[int] = []
    reset, step = SwimmerEnv.reset, SwimmerEnv.step

    def counted_reset(self: Any, **options: Any) -> Any:
        lengths.append(0)
        return reset(self, **options)

    def counted_step(self: Any, action: Any) -> Any:
        lengths[-1] += 1
        return step(self, action)

    monkeypatch.setattr(SwimmerEnv, "reset", counted_reset)
    monkeypatch.setattr(SwimmerEnv, "step", counted_step)
    mujoco_rollouts("Swimmer", 300, seed=0, steps=1)
    warm = [length - 1 for length in lengths]
    assert len(warm) == 300
    assert set(warm) == set(range(10, 31))


@given(rollouts=st.integers(1, 4), steps=st.integers(1, 5))
@settings(max_examples=6, deadline=None)
def test_shapes(rollouts: int, steps: int) -> None:
    data = mujoco_rollouts("Swimmer", rollouts, seed=0, steps=steps)
    assert [array.shape for array in data] == [
        (rollouts, 8),
        (rollouts, steps, 2),
        (rollouts, steps, 8),
        (rollouts, steps),
        (rollouts,),
    ]
    assert as_table(data).shape == (rollouts, 8 + steps * (2 + 8 + 1) + 1)


def test_the_table_has_every_number_in_its_place() -> None:
    data = mujoco_rollouts("Hopper", 3, seed=0)
    table = as_table(data)
    expected: dict[str, Any] = {f"state_{k}": data.state[:, k] for k in range(11)}
    expected |= {
        f"action_{t}_{a}": data.actions[:, t - 1, a] for t in range(1, 17) for a in range(3)
    }
    for t in range(1, 17):
        expected |= {f"future_{t}_state_{k}": data.states[:, t - 1, k] for k in range(11)}
        expected[f"future_{t}_reward"] = data.rewards[:, t - 1]
    expected["return"] = data.label
    assert list(table.columns) == list(expected)
    for name, column in expected.items():
        assert table[name].tolist() == column.tolist()


def test_progress_counts_examples() -> None:
    seen: list[tuple[int, int]] = []
    mujoco_rollouts("Swimmer", 101, seed=0, steps=1, progress=lambda *news: seen.append(news))
    assert seen == [(50, 101), (100, 101), (101, 101)]


def test_leaving_early_is_quiet() -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mujoco_rollouts("Swimmer", 200, seed=0, jobs=2, progress=stop)


def test_no_log_no_warning_no_noise_and_everything_as_it_was(tmp_path: Path) -> None:
    # In a process of its own: only the first import of Gymnasium and a first model can complain.
    script = (
        "import os, warnings, mujoco\n"
        "from didact.tasks import mujoco_rollouts\n"
        "filters, folder = list(warnings.filters), os.getcwd()\n"
        "mujoco.set_mju_user_warning(print)\n"
        "mujoco_rollouts('HalfCheetah', 60, seed=0, steps=1, jobs=2)\n"
        "mujoco_rollouts('HalfCheetah', 1, seed=0)\n"
        "assert list(warnings.filters) == filters and os.getcwd() == folder\n"
        "assert mujoco.get_mju_user_warning() is print\n"
        "mujoco.set_mju_user_warning(None)\n"
    )
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=tmp_path / "empty",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list((tmp_path / "empty").iterdir()) == []


def test_only_the_one_warning_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium

    make = gymnasium.make

    def warn_too(name: str) -> Any:
        warnings.warn("another thing is deprecated", DeprecationWarning, stacklevel=2)
        return make(name)

    monkeypatch.setattr(gymnasium, "make", warn_too)
    with pytest.raises(DeprecationWarning, match="another thing"):
        mujoco_rollouts("Swimmer", 1, seed=0)
    assert mujoco.get_mju_user_warning() is None


def test_an_unstable_simulation_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.envs.mujoco.hopper_v4 import HopperEnv

    step = HopperEnv.step

    def explode(self: Any, action: Any) -> Any:
        self.data.qvel[:] = 1e12
        return step(self, action)

    monkeypatch.setattr(HopperEnv, "step", explode)
    with pytest.raises(Diverged, match=r"Hopper is unstable\. MuJoCo says: Nan, Inf or huge"):
        mujoco_rollouts("Hopper", 2, seed=0)


@pytest.mark.parametrize("package", ["gymnasium", "mujoco"])
def test_a_missing_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf'`{package}`: pip install "didact\[mujoco\]"'):
        mujoco_rollouts("Hopper", 1, seed=0)


def test_importing_the_room_imports_no_optional_package() -> None:
    script = (
        "import sys, didact.tasks\n"
        "print([n for n in ('joblib', 'gymnasium', 'mujoco', 'pandas') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"environment": "Ant"}, "`environment` should be one of 'Hopper', 'Walker2d'"),
        ({"rollouts": 0}, "`rollouts` should be a positive integer"),
        ({"seed": -1}, "`seed` should be an integer of at least 0"),
        ({"steps": 0}, "`steps` should be a positive integer"),
        ({"jobs": 0}, "`jobs` should be a positive integer"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        mujoco_rollouts(**{"environment": "Hopper", "rollouts": 1, "seed": 0, **arguments})
