"""Figure 1 as a function, and the table."""

from itertools import product
from pathlib import Path

import pytest

from didact import InvalidInput
from didact.policies import RULES, Control, Loss, Value, n_distill, recommend, rules_table


def test_every_answer_gets_a_rule_that_can_be_used() -> None:
    for acts, trust, critic, reward, gradient, copy, many in product(
        (True, False), ("good", "flawed", "adversarial"), *[(True, False)] * 5
    ):
        if trust == "adversarial" and not (reward and acts):
            with pytest.raises(InvalidInput, match="`reward`" if acts else "`student_acts`"):
                recommend(teacher="adversarial", reward=reward, student_acts=acts)
            continue
        found = recommend(
            student_acts=acts, teacher=trust, teacher_critic=critic, reward=reward,
            gradient=gradient, deterministic_copy=copy, many_actions=many,
        )  # fmt: skip
        rule = found.rule
        assert found.reasons
        assert acts or rule.control is Control.TEACHER
        assert critic or Value.TEACHER not in rule.uses
        assert reward or not rule.reward
        if trust == "adversarial":
            assert rule.loss is Loss.NONE
        if trust == "good" and gradient:
            assert rule.is_gradient
        if trust == "good" and acts and (many or not copy):
            assert rule.loss is Loss.CROSS_ENTROPY
        assert str(found).startswith(rule.name)


def test_the_cases_of_the_text() -> None:
    assert recommend().rule.name == "exp_entropy_regularised"
    assert recommend(deterministic_copy=False).rule is n_distill
    assert recommend(many_actions=True).rule is n_distill
    assert recommend(gradient=False).rule.name == "on_policy_distill"
    flawed = recommend(teacher="flawed", teacher_critic=True, reward=True)
    assert flawed.rule.name == "value_gated+R"
    worst = recommend(teacher="adversarial", teacher_critic=True, reward=True)
    assert worst.rule.name == "teacher_v_reward"
    with pytest.raises(InvalidInput, match=r"`reward` should be one of True, False\. Found 'no'"):
        recommend(reward="no")
    with pytest.raises(InvalidInput, match="'good', 'flawed', 'adversarial'"):
        recommend(teacher="so-so")


def test_the_table_has_a_row_for_every_rule_and_says_what_records_say() -> None:
    lines = rules_table().splitlines()
    assert len(lines) == len(RULES) + 2
    for line, rule in zip(lines[2:], RULES, strict=True):
        assert line.startswith(f"| `{rule.name}` |")
        assert rule.loss_equation.replace("|", "\\|") in line
        assert ("nothing" in line) == (not rule.is_gradient)
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert len({rule.name for rule in RULES}) == len(RULES)
    plain = rules_table(plain=True).splitlines()
    assert len(plain) == 2 * len(RULES) + 1
    assert [line.strip() for line in plain[2::2]] == [rule.about for rule in RULES]


def test_the_table_of_the_documents_is_the_records() -> None:
    page = Path(__file__).parents[3] / "docs" / "policies.md"
    assert rules_table() in page.read_text()
