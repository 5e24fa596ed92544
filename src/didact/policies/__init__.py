"""Policy distillation: one family of update rules, which are gradients, and when to use which.

A rule is a record, :class:`Rule`; all of them are in :data:`RULES`, each also under its name;
:func:`rules_table` prints them, :func:`recommend` picks one. What reads a rule:

- :func:`surrogate`: the loss whose gradient is the update, for any policy network and
  :class:`Episodes` of any lengths; :func:`rule_returns` and :func:`returns` for its
  critics; :func:`divergence`, :func:`rollout`.
- :func:`expected_update`: the exact update of a tabular policy in a small MDP (:func:`dense`), its
  :func:`jacobian` and :func:`asymmetry`, its :func:`objective`, :func:`expected_return`,
  :func:`values`, :func:`visitation`.
- :func:`simulate`: students on many tabular :class:`Worlds` at once, in a compiled loop; their
  teachers by :func:`q_learning`, :func:`policy_of` and :func:`estimate_values`.

Reference: W. Czarnecki et al., "Distilling policy distillation", AISTATS 2019.
"""

from ._divergences import divergence
from ._episodes import Episodes, returns
from ._exact import asymmetry, expected_return, expected_update, jacobian, objective
from ._losses import LEAST_TEACHER_PROBABILITY, log_teacher, state_loss
from ._mdp import MDP, Dense, dense
from ._recommend import Recommendation, recommend
from ._rollout import rollout
from ._rule import Channel, Control, Loss, Rule, Span, Value
from ._rules import (
    RULES,
    actor_critic,
    entropy_bonus,
    entropy_regularised,
    exp_entropy_regularised,
    forward_kl,
    jensen_shannon,
    n_distill,
    on_policy_distill,
    reinforce,
    reverse_kl,
    td_teacher_value,
    td_zero,
    teacher_distill,
    teacher_v_reward,
    teacher_v_reward_printed,
    value_gated,
)
from ._simulate import Simulated, simulate
from ._surrogate import rule_returns, surrogate
from ._table import rules_table
from ._teachers import estimate_values, policy_of, q_learning
from ._values import values, visitation
from ._worlds import Worlds, worlds

__all__ = [
    "LEAST_TEACHER_PROBABILITY",
    "MDP",
    "RULES",
    "Channel",
    "Control",
    "Dense",
    "Episodes",
    "Loss",
    "Recommendation",
    "Rule",
    "Simulated",
    "Span",
    "Value",
    "Worlds",
    "actor_critic",
    "asymmetry",
    "dense",
    "divergence",
    "entropy_bonus",
    "entropy_regularised",
    "estimate_values",
    "exp_entropy_regularised",
    "expected_return",
    "expected_update",
    "forward_kl",
    "jacobian",
    "jensen_shannon",
    "log_teacher",
    "n_distill",
    "objective",
    "on_policy_distill",
    "policy_of",
    "q_learning",
    "recommend",
    "reinforce",
    "returns",
    "reverse_kl",
    "rollout",
    "rule_returns",
    "rules_table",
    "simulate",
    "state_loss",
    "surrogate",
    "td_teacher_value",
    "td_zero",
    "teacher_distill",
    "teacher_v_reward",
    "teacher_v_reward_printed",
    "value_gated",
    "values",
    "visitation",
    "worlds",
]
