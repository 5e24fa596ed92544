"""The papers' data, drawn from a seed; nothing here knows a method.

- :func:`task_a`: the label is a parity of two hidden signs.
- :func:`task_b`: the label is a draw from hidden logits.
- :func:`game_of_life`: the label is what became of the centre cell.
- :func:`dials`: a label of which hindsight knows as much as one likes.
- :func:`spirals`: every environment has a shortcut of its own; the spirals are everywhere.
- :func:`cifar10`, :func:`mnist`: pictures from the files as they were published, checked;
  :func:`pictures`: from a file of your own.
- :func:`coinrun`: an expert's games, from the file that `scripts/collect_coinrun.py` writes.
- :func:`grid_world`, :func:`corridor`, :func:`oscillation_mdp`, :func:`random_mdp`: decision
  processes as plain arrays, :class:`MDP`; :func:`environment` makes one Gymnasium's,
  :func:`register_environments` all of them.
- :func:`mujoco_rollouts`: predict the return of random actions; :func:`as_table` lays it out in
  columns, :class:`RewardScale` in tensors for the paper's networks, :func:`simulate` writes it to
  a file (the extra ``didact[mujoco]``).
- :func:`pits`: states of a ball of which it is known where it goes, and not when.
- :func:`funnel_board`, :func:`room_runner`: films of a ball and of a runner, :class:`Trajectories`
  of pictures; :func:`funnel_label` and :func:`room_label` tell from frames how they ended,
  :func:`save_trajectories`, :func:`load_trajectories` and :func:`animation` are for files (the
  extra ``didact[skips]``).
"""

from .._checks import MissingExtra
from ._animation import animation
from ._cifar10 import cifar10
from ._coinrun import CoinRun, coinrun
from ._corridor import corridor, oscillation_mdp
from ._dials import Dials, dials
from ._funnel_board import funnel_board
from ._grid_world import GridWorld, grid_world
from ._life import Life, game_of_life
from ._mdp import MDP, random_mdp
from ._mnist import mnist
from ._mujoco import Rollouts, mujoco_rollouts
from ._outcomes import funnel_label, room_label
from ._pictures import Pictures, pictures
from ._pits import Pits, pits
from ._register import environment, register_environments
from ._reward_model import RewardModel, RewardScale
from ._room_runner import room_runner
from ._simulate import simulate
from ._simulator import Environment
from ._spirals import Spirals, spirals
from ._table import as_table
from ._task_a import TaskA, task_a
from ._task_b import TaskB, task_b
from ._trajectories import Trajectories, load_trajectories, save_trajectories

__all__ = [
    "MDP",
    "CoinRun",
    "Dials",
    "Environment",
    "GridWorld",
    "Life",
    "MissingExtra",
    "Pictures",
    "Pits",
    "RewardModel",
    "RewardScale",
    "Rollouts",
    "Spirals",
    "TaskA",
    "TaskB",
    "Trajectories",
    "animation",
    "as_table",
    "cifar10",
    "coinrun",
    "corridor",
    "dials",
    "environment",
    "funnel_board",
    "funnel_label",
    "game_of_life",
    "grid_world",
    "load_trajectories",
    "mnist",
    "mujoco_rollouts",
    "oscillation_mdp",
    "pictures",
    "pits",
    "random_mdp",
    "register_environments",
    "room_label",
    "room_runner",
    "save_trajectories",
    "simulate",
    "spirals",
    "task_a",
    "task_b",
]
