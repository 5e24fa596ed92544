"""The distillation rules, one record each: every reader of a rule reads these fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from .._checks import invalid


class Control(IntEnum):
    """Who acts: the policy q whose states and actions the update is averaged over."""

    TEACHER = 0
    STUDENT = 1
    UNIFORM = 2
    MIXTURE = 3
    """The teacher with probability β, else the student; β is annealed (DAgger)."""


class Loss(IntEnum):
    """ℓ_t: how far the student is from the teacher in the state of step t."""

    NONE = 0
    CROSS_ENTROPY = 1
    REVERSE_CROSS_ENTROPY = 2
    KL = 3
    REVERSE_KL = 4
    JENSEN_SHANNON = 5
    NEGATIVE_ENTROPY = 6


class Channel(IntEnum):
    """What imitation adds to the reward r̂_i of step i."""

    NONE = 0
    LOG_TEACHER = 1
    NEXT_LOSS = 2
    NEXT_LOG_TEACHER = 3


class Value(IntEnum):
    """Whose critic: nobody's, the teacher's V_π, or the student's V_πθ."""

    NONE = 0
    TEACHER = 1
    STUDENT = 2


LOSSES = {
    Loss.NONE: "0",
    Loss.CROSS_ENTROPY: "H×(π‖πθ)",
    Loss.REVERSE_CROSS_ENTROPY: "H×(πθ‖π)",
    Loss.KL: "KL(π‖πθ)",
    Loss.REVERSE_KL: "KL(πθ‖π)",
    Loss.JENSEN_SHANNON: "JS(π, πθ)",
    Loss.NEGATIVE_ENTROPY: "−H(πθ)",
}
_CONTROLS = {
    Control.TEACHER: "π",
    Control.STUDENT: "πθ",
    Control.UNIFORM: "uniform",
    Control.MIXTURE: "β π + (1 − β) πθ",
}
_CRITICS = {Value.TEACHER: "Vπ", Value.STUDENT: "Vπθ"}


@dataclass(frozen=True)
class Rule:
    r"""One row of the family of Czarnecki et al. (2019), equation 1.

    The update, to descend, is

        ``g(θ) = E_{τ ~ q} [ Σ_t −∇θ log πθ(a_t|s_t) · R̂_t + ∇θ ℓ_t ]``,

    in which nothing but what stands behind a ∇ is differentiated. R̂_t is ``Σ_{i ≥ t} γ^{i−t} r̂_i``
    or, ``per_step``, ``r̂_t`` alone, and

        ``r̂_i = [r_i] + γ V(s_{i+1}) − V'(s_i) + imitation``

    with the terms that the fields name. What belongs to the next state is 0 where the episode ends.

    Args:
        name: as in Table 1, where it stands there.
        control: q.
        loss: ℓ.
        channel: imitation: 0; log π(a_i|s_i); −γ ℓ_{i+1}; or γ log π(a_{i+1}|s_{i+1}).
        bootstrap: V, whose critic looks at the state that is entered.
        baseline: V', whose critic looks at the state that is left.
        per_step: R̂_t is r̂_t, not a sum.
        gate: ℓ_t counts only where V_π(s_t) > V_πθ(s_t) (Proposition 2).
        reward: whether the task's reward r_i is in r̂_i (the variants +R).
        objective: the loss of which g is the gradient; empty where there is none.
        about: one line for the table.
    """

    name: str
    control: Control
    loss: Loss = Loss.NONE
    channel: Channel = Channel.NONE
    bootstrap: Value = Value.NONE
    baseline: Value = Value.NONE
    per_step: bool = False
    gate: bool = False
    reward: bool = False
    objective: str = ""
    about: str = ""

    @property
    def is_gradient(self) -> bool:
        """Whether g is the gradient of something, for every MDP."""
        return bool(self.objective)

    @property
    def returns(self) -> bool:
        """Whether the update holds a term ∇ log πθ · R̂ at all."""
        return bool(self.reward or self.channel or self.bootstrap or self.baseline)

    @property
    def uses(self) -> frozenset[Value]:
        """Whose critics it needs."""
        gate = {Value.TEACHER, Value.STUDENT} if self.gate else set()
        return frozenset({self.bootstrap, self.baseline, *gate} - {Value.NONE})

    @property
    def loss_equation(self) -> str:
        """ℓ_t."""
        gate = " · 1[Vπ(s_t) > Vπθ(s_t)]" if self.gate else ""
        return LOSSES[self.loss] + gate

    @property
    def reward_equation(self) -> str:
        """r̂_i."""
        terms = ["r_i"] if self.reward else []
        if self.bootstrap:
            terms.append(f"+ γ {_CRITICS[self.bootstrap]}(s_i+1)")
        if self.baseline:
            terms.append(f"− {_CRITICS[self.baseline]}(s_i)")
        match self.channel:
            case Channel.LOG_TEACHER:
                terms.append("+ log π(a_i|s_i)")
            case Channel.NEXT_LOSS:
                terms.append(f"− γ {LOSSES[self.loss]}(s_i+1)")
            case Channel.NEXT_LOG_TEACHER:
                terms.append("+ γ log π(a_i+1|s_i+1)")
        return " ".join(terms).removeprefix("+ ") or "0"

    @property
    def control_equation(self) -> str:
        """q."""
        return _CONTROLS[self.control]

    def with_reward(self) -> Rule:
        """The variant +R: the task's reward joins r̂; a rule that has it stays as it is.

        Raises:
            InvalidInput: if the student is not in control.

        Example:
            >>> n_distill.with_reward().name, n_distill.with_reward().reward_equation
            ('n_distill+R', 'r_i − γ H×(π‖πθ)(s_i+1)')
        """
        if self.control is not Control.STUDENT:
            raise invalid(
                "rule", "one that the student controls: returns are not its own", self.name
            )
        if self.reward:
            return self
        objective = f"{self.objective} − r_t" if self.objective else ""
        return replace(self, name=f"{self.name}+R", reward=True, objective=objective)

    def controlled_by(self, control: Control) -> Rule:
        """The same with another policy in control.

        Off the student's own trajectories an update with returns is no gradient; a loss alone is,
        wherever q does not depend on θ.
        """
        if control is self.control:
            return self
        fixed = control in (Control.TEACHER, Control.UNIFORM)
        objective = f"E_q Σ {LOSSES[self.loss]}" if fixed and not self.returns else ""
        if self.gate:
            objective = ""
        return replace(
            self,
            name=f"{self.name} under {control.name.lower()}",
            control=control,
            objective=objective,
        )


teacher_distill = Rule(
    "teacher_distill",
    Control.TEACHER,
    Loss.CROSS_ENTROPY,
    objective="E_π Σ H×(π‖πθ)",
    about="Supervised learning on the teacher's own states.",
)
"""Supervised learning on the teacher's own states (Rusu et al. 2015)."""

on_policy_distill = Rule(
    "on_policy_distill",
    Control.STUDENT,
    Loss.CROSS_ENTROPY,
    about="Fast; no gradient (Theorem 1): with rewards it may circle for ever.",
)
"""The teacher's actions in the student's states: no gradient of anything (Theorem 1)."""

entropy_regularised = Rule(
    "entropy_regularised",
    Control.STUDENT,
    channel=Channel.LOG_TEACHER,
    objective="E_πθ Σ −log π(a_t|s_t)",
    about="The teacher's log-probability as a reward; fails with many actions.",
)
"""The teacher's log-probability of what was done, as a reward."""

n_distill = Rule(
    "n_distill",
    Control.STUDENT,
    Loss.CROSS_ENTROPY,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ H×(π‖πθ)",
    about="on_policy_distill with the term that makes it a gradient (Theorem 2).",
)
"""On-policy distillation that also avoids states where it is far from the teacher (Theorem 2)."""

exp_entropy_regularised = Rule(
    "exp_entropy_regularised",
    Control.STUDENT,
    Loss.REVERSE_CROSS_ENTROPY,
    Channel.NEXT_LOG_TEACHER,
    objective="E_πθ Σ −log π(a_t|s_t)",
    about="entropy_regularised with the present action's term taken in expectation.",
)
"""The same objective as :data:`entropy_regularised`, its present step in expectation."""

teacher_v_reward = Rule(
    "teacher_v_reward",
    Control.STUDENT,
    bootstrap=Value.TEACHER,
    baseline=Value.TEACHER,
    reward=True,
    objective="E_πθ Σ −r_t (up to a constant)",
    about="Shaping by the teacher's critic (section 4.2): the optimum stays where it is.",
)
"""Potential-based shaping by the teacher's critic, as section 4.2 has it."""

teacher_v_reward_printed = Rule(
    "teacher_v_reward_printed",
    Control.STUDENT,
    bootstrap=Value.TEACHER,
    baseline=Value.STUDENT,
    reward=True,
    about="As Table 1 prints it, with the student's critic summed into the return: no gradient.",
)
"""Table 1's printed form, with V_πθ(s_i): no gradient of anything, whatever the table says."""

value_gated = Rule(
    "value_gated",
    Control.STUDENT,
    Loss.CROSS_ENTROPY,
    gate=True,
    about="Imitate only where the teacher's critic promises more (Proposition 2).",
)
"""On-policy distillation where the teacher is worth it (Proposition 2)."""

td_teacher_value = Rule(
    "td_teacher_value",
    Control.STUDENT,
    bootstrap=Value.TEACHER,
    per_step=True,
    reward=True,
    about="TD(1) that bootstraps from the teacher's critic (Proposition 3): one step better.",
)
"""TD + V_π: better than the teacher by one step of policy improvement (Proposition 3)."""

td_zero = Rule(
    "td_zero",
    Control.STUDENT,
    per_step=True,
    reward=True,
    about="The same with a critic that says 0: greedy for the next reward.",
)
"""TD + V_0: greedy for the next reward."""

actor_critic = Rule(
    "actor_critic",
    Control.STUDENT,
    bootstrap=Value.STUDENT,
    baseline=Value.STUDENT,
    per_step=True,
    reward=True,
    objective="E_πθ Σ −r_t",
    about="No teacher: the student's own critic.",
)
"""No teacher; with the exact critic it is the policy gradient."""

reinforce = Rule(
    "reinforce",
    Control.STUDENT,
    reward=True,
    objective="E_πθ Σ −r_t",
    about="No teacher: returns as they come.",
)
"""No teacher, Monte-Carlo returns."""

entropy_bonus = Rule(
    "entropy_bonus",
    Control.STUDENT,
    Loss.NEGATIVE_ENTROPY,
    reward=True,
    about="No teacher: the common entropy penalty of actor-critic methods; no gradient.",
)
"""The usual entropy bonus, which is no gradient either (section 3.1)."""

forward_kl = Rule(
    "forward_kl",
    Control.STUDENT,
    Loss.KL,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ KL(π‖πθ)",
    about="n_distill without the teacher's entropy: states are not avoided for its doubts.",
)
"""n_distill with the teacher's own entropy taken off, which changes where it goes."""

reverse_kl = Rule(
    "reverse_kl",
    Control.STUDENT,
    Loss.REVERSE_KL,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ KL(πθ‖π)",
    about="Mode-seeking, with the student's entropy: the KL of whole trajectories.",
)
"""The KL between whole trajectories of student and teacher, each step in expectation."""

jensen_shannon = Rule(
    "jensen_shannon",
    Control.STUDENT,
    Loss.JENSEN_SHANNON,
    Channel.NEXT_LOSS,
    objective="E_πθ Σ JS(π, πθ)",
    about="Bounded: one state never costs more than log 2.",
)
"""A bounded divergence: no state costs more than log 2."""

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
"""All rows, as ``didact rules`` prints them; +R variants by :meth:`Rule.with_reward`."""
