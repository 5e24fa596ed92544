"""Which rule to use: figure 1 as a function, with what was proved and measured as reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .._checks import check_choice, invalid
from ._rule import Rule
from ._rules import (
    exp_entropy_regularised,
    n_distill,
    on_policy_distill,
    reinforce,
    teacher_distill,
    teacher_v_reward,
    value_gated,
)

Trust = Literal["good", "flawed", "adversarial"]


@dataclass(frozen=True)
class Recommendation:
    """A rule, and why.

    Attributes:
        rule: what to use.
        reasons: one sentence for each answer that mattered.
    """

    rule: Rule
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([self.rule.name, *(f"- {reason}" for reason in self.reasons)])


def recommend(
    *,
    student_acts: bool = True,
    teacher: Trust = "good",
    teacher_critic: bool = False,
    reward: bool = False,
    gradient: bool = True,
    deterministic_copy: bool = True,
    many_actions: bool = False,
) -> Recommendation:
    """The rule for a situation, as figure 1 has it, and the reasons.

    With many actions it departs from the figure, for what was measured.

    Reference: Czarnecki et al. 2019, figure 1 and section 5.

    Args:
        student_acts: whether the student may act in the environment while it learns.
        teacher: ``"good"``: to be copied; ``"flawed"``: right in most states; ``"adversarial"``:
            perhaps worse than nothing.
        teacher_critic: whether there is V_π.
        reward: whether the environment's reward can be seen.
        gradient: whether the update must be a gradient: training then has a loss that falls, and
            cannot circle.
        deterministic_copy: whether a student that always does what the teacher does most often
            will do.
        many_actions: whether there are tens of actions or more, of which few are any good.

    Raises:
        InvalidInput: if an answer is none of those, or the teacher is adversarial where there is no
            reward or the student cannot act.

    Example:
        >>> print(recommend(teacher="flawed", teacher_critic=True, reward=True))
        value_gated+R
        - The student acts: it learns in the states that it will be in.
        - The teacher errs: it is copied only where its critic promises more (Proposition 2).
        - It is no gradient, and nothing that gates is: watch returns, not a loss.
        - The reward corrects the rest.
    """
    check_choice("teacher", teacher, ("good", "flawed", "adversarial"))
    for name, answer in (
        ("student_acts", student_acts), ("teacher_critic", teacher_critic), ("reward", reward),
        ("gradient", gradient), ("deterministic_copy", deterministic_copy),
        ("many_actions", many_actions),
    ):  # fmt: skip
        check_choice(name, answer, (True, False))
    if not student_acts:
        if teacher == "adversarial":
            raise invalid(
                "student_acts", "True where the teacher may be harmful: there is nothing to copy",
                student_acts,
            )  # fmt: skip
        reasons = ["The student cannot act: its lessons are the teacher's own states."]
        if teacher != "good":
            reasons.append("It copies the teacher with its mistakes; nothing here can tell them.")
        return Recommendation(teacher_distill, tuple(reasons))
    reasons = ["The student acts: it learns in the states that it will be in."]
    if teacher == "adversarial":
        if not reward:
            raise invalid(
                "reward", "True where the teacher may be harmful: nothing else corrects it", reward
            )
        if teacher_critic:
            reasons += [
                "The teacher may be harmful: no action of it is copied.",
                "Shaping by its critic changes how fast, never what is learnt.",
            ]
            return Recommendation(teacher_v_reward, tuple(reasons))
        reasons.append("The teacher may be harmful and has no critic: do without it.")
        return Recommendation(reinforce, tuple(reasons))
    if teacher == "flawed" and teacher_critic:
        reasons.append(
            "The teacher errs: it is copied only where its critic promises more (Proposition 2)."
        )
        if gradient:
            reasons.append(
                "It is no gradient, and nothing that gates is: watch returns, not a loss."
            )
        if reward:
            reasons.append("The reward corrects the rest.")
            return Recommendation(value_gated.with_reward(), tuple(reasons))
        reasons.append("Without reward the student's own critic must come from elsewhere.")
        return Recommendation(value_gated, tuple(reasons))
    if teacher == "flawed":
        reasons.append(
            "The teacher errs and has no critic: the reward corrects it."
            if reward
            else "The teacher errs, and nothing here can tell where."
        )
    if gradient and deterministic_copy and many_actions:
        rule = n_distill
        reasons.append(
            "A gradient (Theorem 2) whose loss tells the teacher's actions among many: with 40, "
            "exp_entropy_regularised, which the paper recommends, came to 2.7 of 6.4, n_distill "
            "to 6.4 (study pd-actions)."
        )
    elif gradient and deterministic_copy:
        rule = exp_entropy_regularised
        reasons.append(
            "A gradient (Theorem 2) that makes the teacher's trajectories likely; it ends in the "
            "teacher's most probable actions. In our grid worlds n_distill did as well or better "
            "(studies pd-actions, pd-flawed-teacher): it is the one to try beside it."
        )
    elif gradient:
        rule = n_distill
        reasons.append("A gradient (Theorem 2) that keeps the teacher's probabilities.")
    else:
        rule = on_policy_distill
        reasons.append(
            "No gradient (Theorem 1), but fast, and a tabular student converges (Proposition 1)"
            + (": with rewards it may circle." if reward else ".")
        )
    if reward:
        reasons.append("The reward is there to be used.")
        rule = rule.with_reward()
    if rule.returns:
        reasons.append("Its returns need a critic and TD targets: Monte-Carlo may collapse.")
    return Recommendation(rule, tuple(reasons))
