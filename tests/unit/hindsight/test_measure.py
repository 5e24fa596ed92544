"""Which run is deployed."""

from typing import Any

from didact.hindsight._measure import best_run


def _candidate(*validation: float) -> dict[str, Any]:
    mean = sum(validation) / len(validation)
    return {
        "validation": mean,
        "seeds": [{"seed": k, "validation": v} for k, v in enumerate(validation)],
    }


def test_the_candidate_by_its_mean_and_the_run_against_all_on_the_same_rows() -> None:
    """Seed 0 has rows that are easy for all; the best run of `ldt` is that of seed 2."""
    candidates: Any = {
        "no_teacher": _candidate(1.0, 4.0, 4.0),
        "ldt": _candidate(0.9, 3.8, 3.2),
        "trees": _candidate(0.1, 0.1, 0.1),
        "oracle": _candidate(0.1, 0.1, 0.1),
    }
    assert best_run(candidates) == {"candidate": "ldt", "seed": 2, "validation": 3.2}
