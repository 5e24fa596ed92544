"""Candidates, metrics and numbers as the report calls and writes them."""

from __future__ import annotations

from collections.abc import Sequence

from ._metrics import CANDIDATES, Metrics

MAIN = {"log loss": "log_loss", "squared error": "squared_error"}
"""``metrics["loss"]`` → the key of ``test`` by which candidates are compared."""

METRICS = {
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "accuracy": "accuracy",
    "auc": "AUC",
    "log_loss": "log loss of bins",
}
"""Titles of the other metrics, in the order of the table."""

_TITLES = {
    "no_teacher": "no teacher",
    "auxiliary": "auxiliary",
    "fixed_teacher": "fixed teacher",
    "generalised_distillation": "generalised distillation",
    "tram": "tram",
    "ldt": "ldt",
    "trees": "boosted trees",
    "plain": "plain",
    "and_mask": "AND-mask",
    "v_rex": "V-REx",
    "irm": "IRM",
    "linear": "linear",
    "oracle": "oracle (ceiling)",
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def present(metrics: Metrics) -> list[str]:
    """The candidates that were run, in the order of the report."""
    return [name for name in CANDIDATES if name in metrics["candidates"]]


def title(candidate: str) -> str:
    """The name of a candidate for people."""
    return _TITLES[candidate]


def number(value: float | int | str | bool | None) -> str:
    """Three digits for people; a dash for null.

    Example:
        >>> number(0.000123), number(649), number(12345), number(2.5e9), number(None)
        ('0.000123', '649', '12 345', '2.50·10⁹', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value and not 1e-4 <= abs(value) < 1e6:
        digits, power = f"{value:.2e}".split("e")
        return f"{digits}·{raised(int(power))}".replace("-", "−")
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ").replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def score(value: float | None) -> str:
    """Three digits with their zeros, so that 2.10 and 2.13 stand at one width."""
    if value is None or (value and not 1e-4 <= abs(value) < 1000):
        return number(value)
    return f"{value:#.3g}".rstrip(".").replace("-", "−")


def percent(fraction: float) -> str:
    """``12 %``, ``4.5 %``, ``0 %``: the size without its sign."""
    size = abs(100 * fraction)
    return f"{size:.0f} %" if size >= 10 else f"{size:.1f}".removesuffix(".0") + " %"


def raised(power: int) -> str:
    """``10⁶`` for 6."""
    return f"10{str(power).translate(_RAISED)}"


def counted(count: int, noun: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def joined(values: Sequence[object]) -> str:
    """Values with commas between; ``none`` if there are none."""
    return ", ".join(map(str, values)) or "none"
