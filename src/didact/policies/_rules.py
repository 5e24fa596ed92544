"""The rows of the family: every rule by its name."""

from __future__ import annotations

from ._rule import Channel, Control, Loss, Rule, Span, Value

teacher_distill = Rule(
    "teacher_distill",
    Control.TEACHER,
    Loss.CROSS_ENTROPY,
    objective="E_π Σ H×(π‖πθ)",
    about="Supervised learning on the teacher's own states (Rusu et al. 2015).",
)

on_policy_distill = Rule(
    "on_policy_distill",
    Control.STUDENT,
    Loss.CROSS_ENTROPY,
    about="Fast; no gradient (Theorem 1): with rewards it may circle for ever.",
)

entropy_regularised = Rule(
    "entropy_regularised",
    Control.STUDENT,
    channel=Channel.LOG_TEACHER,
    objective="E_πθ Σ −log π(a_t|s_t)",
    about="The teacher's log-probability as a reward; fails with many actions.",
)

n_distill = Rule(
    "n_distill",
    Control.STUDENT,
    Loss.CROSS_ENTROPY,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ H×(π‖πθ)",
    about="on_policy_distill with the term that makes it a gradient (Theorem 2).",
)

exp_entropy_regularised = Rule(
    "exp_entropy_regularised",
    Control.STUDENT,
    Loss.REVERSE_CROSS_ENTROPY,
    Channel.NEXT_LOG_TEACHER,
    objective="E_πθ Σ −log π(a_t|s_t)",
    about="entropy_regularised with the present action's term taken in expectation.",
)

teacher_v_reward = Rule(
    "teacher_v_reward",
    Control.STUDENT,
    bootstrap=Value.TEACHER,
    baseline=Value.TEACHER,
    reward=True,
    objective="E_πθ Σ −r_t (up to a constant)",
    about="Shaping by the teacher's critic (section 4.2): the optimum stays where it is.",
)

teacher_v_reward_printed = Rule(
    "teacher_v_reward_printed",
    Control.STUDENT,
    bootstrap=Value.TEACHER,
    baseline=Value.STUDENT,
    reward=True,
    about="As Table 1 prints it, with the student's critic summed into the return: no gradient.",
)

value_gated = Rule(
    "value_gated",
    Control.STUDENT,
    Loss.CROSS_ENTROPY,
    gate=True,
    about="Imitate only where the teacher's critic promises more (Proposition 2).",
)

td_teacher_value = Rule(
    "td_teacher_value",
    Control.STUDENT,
    bootstrap=Value.TEACHER,
    span=Span.STEP,
    reward=True,
    about="TD(1) that bootstraps from the teacher's critic (Proposition 3): one step better.",
)

td_zero = Rule(
    "td_zero",
    Control.STUDENT,
    span=Span.STEP,
    reward=True,
    about="The same with a critic that says 0: greedy for the next reward.",
)

actor_critic = Rule(
    "actor_critic",
    Control.STUDENT,
    bootstrap=Value.STUDENT,
    baseline=Value.STUDENT,
    span=Span.STEP,
    reward=True,
    objective="E_πθ Σ −r_t",
    about="No teacher: the student's own critic; if it is exact, the policy gradient.",
)

reinforce = Rule(
    "reinforce",
    Control.STUDENT,
    reward=True,
    objective="E_πθ Σ −r_t",
    about="No teacher: returns as they come.",
)

entropy_bonus = Rule(
    "entropy_bonus",
    Control.STUDENT,
    Loss.NEGATIVE_ENTROPY,
    reward=True,
    about="No teacher: the common entropy penalty of actor-critic methods; no gradient.",
)

forward_kl = Rule(
    "forward_kl",
    Control.STUDENT,
    Loss.KL,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ KL(π‖πθ)",
    about="n_distill without the teacher's entropy: states are not avoided for its doubts.",
)

reverse_kl = Rule(
    "reverse_kl",
    Control.STUDENT,
    Loss.REVERSE_KL,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ KL(πθ‖π)",
    about="Mode-seeking, with the student's entropy: the KL of whole trajectories.",
)

jensen_shannon = Rule(
    "jensen_shannon",
    Control.STUDENT,
    Loss.JENSEN_SHANNON,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ JS(π, πθ)",
    about="Bounded: one state never costs more than log 2.",
)

RULES: tuple[Rule, ...] = (
    teacher_distill,
    on_policy_distill,
    entropy_regularised,
    n_distill,
    exp_entropy_regularised,
    teacher_v_reward,
    teacher_v_reward_printed,
    value_gated,
    td_teacher_value,
    td_zero,
    actor_critic,
    reinforce,
    entropy_bonus,
    forward_kl,
    reverse_kl,
    jensen_shannon,
)
