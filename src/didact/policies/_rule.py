"""The distillation rules, one record each: every reader of a rule reads these fields."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from .._checks import check_number, invalid


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


class Span(IntEnum):
    """R̂_t: which r̂_i an action answers for."""

    STEP = 0
    """r̂_t alone."""
    TO_GO = 1
    """Σ_{i ≥ t} γ^{i−t} r̂_i."""
    TRAJECTORY = 2
    """Σ_i γ^{i−t} r̂_i, without what r̂_{t−1} says of a_t: the same in expectation, as no action
    changes the past, and noisier."""


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

    in which nothing but what stands behind a ∇ is differentiated. R̂_t is ``Σ_{i ≥ t} γ^{i−t} r̂_i``,
    or what ``span`` says, and

        ``r̂_i = [r_i] + γ V(s_{i+1}) − V'(s_i) + imitation``

    with the terms that the fields name. What belongs to the next state is 0 where the episode ends.

    Args:
        name: as in Table 1, where it stands there.
        control: q.
        loss: ℓ.
        channel: imitation: 0; log π(a_i|s_i); −γ ℓ_{i+1}; or γ log π(a_{i+1}|s_{i+1}).
        bootstrap: V, whose critic looks at the state that is entered.
        baseline: V', whose critic looks at the state that is left.
        span: which r̂_i are in R̂_t.
        gate: ℓ_t counts only where V_π(s_t) > V_πθ(s_t) (Proposition 2).
        reward: whether the task's reward r_i is in r̂_i (the variants +R).
        objective: the loss of which g is the gradient; empty where there is none.
        about: one line for the table.

    Raises:
        InvalidInput: if another than the student acts and ``span`` is the trajectory: the past of
            another's actions is no noise, it would change the update.
    """

    name: str
    control: Control
    loss: Loss = Loss.NONE
    channel: Channel = Channel.NONE
    bootstrap: Value = Value.NONE
    baseline: Value = Value.NONE
    span: Span = Span.TO_GO
    gate: bool = False
    reward: bool = False
    objective: str = ""
    about: str = ""

    def __post_init__(self) -> None:
        kinds = {
            "control": Control, "loss": Loss, "channel": Channel, "bootstrap": Value,
            "baseline": Value, "span": Span,
        }  # fmt: skip
        for field, kind in kinds.items():  # as numbers, members of different kinds are equal
            if not isinstance(getattr(self, field), kind):
                raise invalid(field, f"a {kind.__name__}", getattr(self, field))
        if self.span is Span.TRAJECTORY and self.control is not Control.STUDENT:
            raise invalid("control", "Control.STUDENT over trajectories", self.control)

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
    def return_equation(self) -> str:
        """R̂_t."""
        sums = {Span.STEP: "r̂_t", Span.TO_GO: "Σ γ^(i−t) r̂_i", Span.TRAJECTORY: "Σ_all γ^(i−t) r̂_i"}
        return sums[self.span] if self.returns else "0"

    @property
    def control_equation(self) -> str:
        """q."""
        return _CONTROLS[self.control]

    def with_reward(self) -> Rule:
        """The variant +R: the task's reward joins r̂; a rule that has it stays as it is.

        Raises:
            InvalidInput: if the student is not in control.

        Example:
            >>> from didact.policies import n_distill
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

    def over_trajectories(self) -> Rule:
        """The variant whose actions answer for the whole trajectory, its past too.

        Raises:
            InvalidInput: if the rule has no sums, or if the student is not in control.
        """
        if self.span is Span.STEP or not self.returns:
            raise invalid("rule", "one with a sum of r̂_i", self.name)
        return replace(self, name=f"{self.name} over trajectories", span=Span.TRAJECTORY)

    def controlled_by(self, control: Control) -> Rule:
        """The same with another policy in control.

        Where neither q nor R̂ depends on θ every update is a gradient, of
        ``E_q Σ ℓ_t − R̂_t log πθ(a_t|s_t)``; other rules lose theirs with the student's control.

        Raises:
            InvalidInput: if ``control`` is no :class:`Control`, or the rule is one over
                trajectories.
        """
        if not isinstance(control, Control):
            raise invalid("control", "a Control: Control.UNIFORM, …", control)
        if control is self.control:
            return self
        constant = (
            control in (Control.TEACHER, Control.UNIFORM)
            and self.channel is not Channel.NEXT_LOSS
            and Value.STUDENT not in self.uses
        )
        terms = [LOSSES[self.loss]] if self.loss else []
        terms += ["− R̂_t log πθ(a_t|s_t)"] if self.returns else []
        return replace(
            self,
            name=f"{self.name} under {control.name.lower()}",
            control=control,
            objective=f"E_q Σ {' '.join(terms)}" if constant else "",
        )


def check_rule(rule: Rule, discount: float = 1.0) -> None:
    """A rule, and γ in [0, 1], above 0 where the past, in which γ^{i−t} grows, counts."""
    if not isinstance(rule, Rule):
        raise invalid("rule", "a Rule: didact.policies.n_distill, …", rule)
    check_number("discount", discount, at_least=0, at_most=1)
    if rule.span is Span.TRAJECTORY:
        check_number("discount", discount, above=0, at_most=1)
