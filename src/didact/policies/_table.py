"""The rules as a table, made from the records."""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining

from .._checks import invalid
from ._rule import Control, Rule
from ._rules import RULES

HEADER = ("rule", "q", "ℓ_t", "r̂_i", "R̂_t", "gradient of", "+R")


def rules_table(rules: Sequence[Rule] = RULES, *, plain: bool = False) -> str:
    """Table 1, larger: a row for each rule.

    Args:
        rules: which.
        plain: aligned columns for a terminal in place of Markdown, what a rule is about below it.

    Example:
        >>> from didact.policies import n_distill
        >>> print(rules_table([n_distill], plain=True))
        rule       q   ℓ_t       r̂_i                  R̂_t            gradient of      +R
        n_distill  πθ  H×(π‖πθ)  − γ H×(π‖πθ)(s_i+1)  Σ γ^(i−t) r̂_i  E_πθ Σ H×(π‖πθ)  yes
            on_policy_distill with the term that makes it a gradient (Theorem 2).
    """
    if isinstance(rules, Rule):
        raise invalid("rules", "several, [rule]", rules.name)
    rows = [HEADER, *(_cells(rule) for rule in rules)]
    if plain:
        widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        below = [f"\n    {rule.about}" for rule in rules]
        return "\n".join(line + more for line, more in zip(lines, ["", *below], strict=True))
    marked = [(*HEADER, "about"), ("---",) * (len(HEADER) + 1)]
    marked += [
        (f"`{rule.name}`", *row[1:], rule.about) for rule, row in zip(rules, rows[1:], strict=True)
    ]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in marked
    )


def _cells(rule: Rule) -> tuple[str, ...]:
    extended = rule.control is Control.STUDENT and not rule.reward
    return (
        rule.name,
        rule.control_equation,
        rule.loss_equation,
        rule.reward_equation,
        rule.return_equation,
        rule.objective or "nothing",
        "yes" if extended else "",
    )


def _width(text: str) -> int:
    """Columns on a terminal: accents that stand on other letters take none."""
    return sum(not combining(letter) for letter in text)
