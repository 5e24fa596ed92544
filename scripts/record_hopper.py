"""Hoppers that are pushed and then left alone: trajectories for ``didact fit-dynamics``."""

from __future__ import annotations

import argparse
import warnings

import gymnasium
import numpy as np


def main() -> None:
    """Write ``[trajectories, 60, 11]`` states of Gymnasium's Hopper-v4 without motors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help=".npz")
    parser.add_argument("--trajectories", type=int, default=200)
    parser.add_argument("--frames", type=int, default=60)
    given = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is a v5
        env = gymnasium.make("Hopper-v4", terminate_when_unhealthy=False).unwrapped
    rng = np.random.default_rng(0)
    films = []
    for seed in range(given.trajectories):
        env.reset(seed=seed)
        for _ in range(rng.integers(5, 20)):
            env.step(rng.uniform(-1, 1, 3))
        films.append([env.step(np.zeros(3))[0] for _ in range(given.frames)])
    np.savez_compressed(given.out, frames=np.array(films, np.float32))


if __name__ == "__main__":
    main()
