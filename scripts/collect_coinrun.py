"""What an expert does in CoinRun, for the study `ilc-cloning`: states and probabilities of actions.

Procgen has no wheel for Python 3.11 and its mirror wants NumPy below 2: this runs in an environment
of its own, see docs/studies.md. The expert is trained by PPO on all levels. Then its own games give
states of a few levels to train on, and of as many levels as there are states to test on.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from procgen import ProcgenGym3Env
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

ACTIONS = 15
RETURN = 10.0
"""Of a coin; all else gives nothing."""


class CoinRun(VecEnv):
    """Games side by side; the next one starts where one ends. A coin counts 1."""

    def __init__(self, games: int, seed: int, mode: str, levels: int = 0, start: int = 0) -> None:
        self.games = ProcgenGym3Env(
            num=games, env_name="coinrun", num_levels=levels, start_level=start, num_threads=0,
            distribution_mode=mode, rand_seed=seed,
        )  # fmt: skip
        self.returns = np.zeros(games)
        self.lengths = np.zeros(games, int)
        pictures = spaces.Box(0, 255, (3, 64, 64), np.uint8)
        super().__init__(games, pictures, spaces.Discrete(ACTIONS))

    def reset(self) -> np.ndarray:
        return self.look()[1]

    def look(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards, pictures [n, 3, 64, 64], and whether they begin a game."""
        rewards, seen, first = self.games.observe()
        return rewards / RETURN, np.ascontiguousarray(seen["rgb"].transpose(0, 3, 1, 2)), first

    def level(self) -> np.ndarray:
        """The number of the level that each game is in."""
        return np.array([info["level_seed"] for info in self.games.get_info()])

    def step_async(self, actions: np.ndarray) -> None:
        self.games.act(actions.astype(np.int32))

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        rewards, seen, ended = self.look()
        self.returns += rewards
        self.lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in rewards]
        for k in np.flatnonzero(ended):
            infos[k]["episode"] = {"r": self.returns[k], "l": int(self.lengths[k]), "t": 0.0}
        self.returns[ended], self.lengths[ended] = 0, 0
        return seen, rewards, ended, infos

    def close(self) -> None:
        self.games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs


class Features(BaseFeaturesExtractor):
    """The network of Mnih et al. 2013: two convolutions, 256 features."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 256)
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 8, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 6 * 6, 256), nn.ReLU(),
        )  # fmt: skip

    def forward(self, observations: Tensor) -> Tensor:
        out: Tensor = self.body(observations)
        return out


class Keep(BaseCallback):
    """Keeps the expert after every round, so that a training that was ended goes on there."""

    def __init__(self, path: Path, before: int) -> None:
        super().__init__()
        self.path, self.before = path, before
        self.began = time.process_time()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        self.keep()

    def _on_training_end(self) -> None:
        self.keep()

    def keep(self) -> None:
        held = io.BytesIO()
        steps = self.before + self.model.num_timesteps
        state = {"policy": self.model.policy.state_dict(), "steps": steps}
        torch.save({**state, "optimizer": self.model.policy.optimizer.state_dict()}, held)
        write_atomic(self.path, held.getvalue())
        won = [game["r"] for game in self.model.ep_info_buffer or []]
        seconds = time.process_time() - self.began
        print(f"{steps} steps, {seconds:.0f} s, {np.mean(won or [0]):.2f} of the last games won")


def expert_of(args: argparse.Namespace) -> tuple[PPO, int]:
    """The expert, trained for as many steps as are missing, and how many it has had."""
    games = CoinRun(args.games, args.seed, args.mode)
    ppo = PPO(
        "CnnPolicy", games, learning_rate=args.learning_rate, n_steps=128, batch_size=1024,
        n_epochs=3, gamma=0.99, gae_lambda=0.95, ent_coef=0.01, seed=args.seed, device="cpu",
        policy_kwargs={"features_extractor_class": Features},
    )  # fmt: skip
    done = 0
    if args.expert.exists():
        found = torch.load(args.expert, weights_only=True)
        ppo.policy.load_state_dict(found["policy"])
        ppo.policy.optimizer.load_state_dict(found["optimizer"])
        done = found["steps"]
    if done < args.steps:
        ppo.set_random_seed(args.seed + done)
        ppo.learn(args.steps - done, callback=Keep(args.expert, done))
        done += ppo.num_timesteps
    games.close()
    return ppo, done


def probabilities(ppo: PPO | None, seen: np.ndarray) -> np.ndarray:
    """π*(a|s), [n, 15]; without an expert all actions are alike."""
    if ppo is None:
        return np.full((len(seen), ACTIONS), 1 / ACTIONS, np.float32)
    with torch.no_grad():
        found = ppo.policy.get_distribution(torch.from_numpy(seen)).distribution.probs
    return np.asarray(found.numpy(), np.float32)


def drawn(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An action for each row."""
    return np.minimum((p.cumsum(1) < rng.random((len(p), 1))).sum(1), ACTIONS - 1)


class Reservoir:
    """So many of the states that were shown to it, each as likely as any other."""

    def __init__(self, size: int) -> None:
        self.x = np.zeros((size, 3, 64, 64), np.uint8)
        self.p = np.zeros((size, ACTIONS), np.float32)
        self.shown = 0

    def show(self, x: np.ndarray, p: np.ndarray, rng: np.random.Generator) -> None:
        place = self.shown if self.shown < len(self.x) else rng.integers(self.shown + 1)
        self.shown += 1
        if place < len(self.x):
            self.x[place], self.p[place] = x, p


def of_levels(ppo: PPO, args: argparse.Namespace, rng: np.random.Generator) -> list[Reservoir]:
    """States of each of the first levels, from games until twice as many were seen as are kept."""
    games = CoinRun(args.games, args.seed + 1, args.mode, levels=args.levels)
    kept = [Reservoir(args.states) for _ in range(args.levels)]
    seen, levels = games.reset(), games.level()
    while min(one.shown for one in kept) < 2 * args.states:
        p = probabilities(ppo, seen)
        for k, level in enumerate(levels):
            kept[level].show(seen[k], p[k], rng)
        seen, _, _, _ = games.step(drawn(p, rng))
        levels = games.level()
    games.close()
    return kept


def one_each(
    ppo: PPO | None, count: int, args: argparse.Namespace, rng: np.random.Generator
) -> tuple[list[Reservoir], list[int], list[bool]]:
    """A state of one whole game each in other levels than those to train on; who got the coin.

    The first ``count`` games that begin are played to their end: short ones are not preferred.
    """
    games = CoinRun(args.games, args.seed + 2, args.mode)
    kept: list[Reservoir] = []
    levels: list[int] = []
    won: list[bool] = []
    seen, begun, playing = games.reset(), np.ones(args.games, bool), np.full(args.games, -1)
    while True:
        numbers = games.level()
        for k in np.flatnonzero(begun):
            playing[k] = -1
            if len(kept) < count and numbers[k] >= args.levels and numbers[k] not in levels:
                playing[k] = len(kept)
                kept.append(Reservoir(1))
                levels.append(int(numbers[k]))
                won.append(False)
        rows = np.flatnonzero(playing >= 0)
        if not len(rows):
            break
        p = np.full((args.games, ACTIONS), 1 / ACTIONS, np.float32)
        p[rows] = probabilities(ppo, seen[rows])
        for k in rows:
            kept[playing[k]].show(seen[k], p[k], rng)
        seen, rewards, begun, _ = games.step(drawn(p, rng))
        for k in rows[rewards[rows] > 0]:
            won[playing[k]] = True
    games.close()
    return kept, levels, won


def write_atomic(path: Path, contents: bytes) -> None:
    """In full or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_bytes(contents)
    os.replace(part, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=Path("coinrun.npz"), help="the file to write")
    add("--expert", type=Path, default=Path("coinrun-expert.pt"), help="kept there, and gone on")
    add("--steps", type=int, default=1_000_000, help="of PPO; the thesis has 400 million")
    add("--levels", type=int, default=64, help="to train on")
    add("--states", type=int, default=1000, help="of each of them")
    add("--test-states", type=int, default=2000, help="to test on, each of another level")
    add("--random-games", type=int, default=256, help="that tell how good random actions are")
    add("--mode", choices=("easy", "hard"), default="hard", help="easy levels look alike")
    add("--games", type=int, default=64, help="side by side")
    add("--learning-rate", type=float, default=1e-3, help="of PPO")
    add("--seed", type=int, default=0, help="of every draw")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(args.seed)
    ppo, steps = expert_of(args)
    kept = of_levels(ppo, args, rng)
    test, levels, won = one_each(ppo, args.test_states, args, rng)
    _, _, won_at_random = one_each(None, args.random_games, args, rng)
    about = {
        "expert": "PPO", "steps": steps, "mode": args.mode, "seed": args.seed,
        "solved": round(float(np.mean(won)), 4), "games": len(won),
        "solved_at_random": round(float(np.mean(won_at_random)), 4),
        "games_at_random": len(won_at_random),
    }  # fmt: skip
    held = io.BytesIO()
    np.savez_compressed(
        held,
        x=np.stack([one.x for one in kept]), p=np.stack([one.p for one in kept]),
        x_test=np.concatenate([one.x for one in test]),
        p_test=np.concatenate([one.p for one in test]),
        levels_test=np.array(levels), about=np.array(json.dumps(about)),
    )  # fmt: skip
    write_atomic(args.out, held.getvalue())
    print(json.dumps(about))
    print(hashlib.sha256(held.getvalue()).hexdigest(), args.out)


if __name__ == "__main__":
    main()
