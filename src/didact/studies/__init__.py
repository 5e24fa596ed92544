"""The papers' figures and tables again, ours beside theirs.

A :class:`Study` is one file here: a config with every number, the runs it asks for, what to show.
:func:`run_study` does what is not yet done, :func:`plot_study` draws it, :func:`write_tables` puts
all of them on one page. ``STUDIES`` are all.
"""

from . import (
    _asi_curves,
    _asi_extensions,
    _asi_perturbation,
    _asi_pits,
    _asi_timelines,
    _dials,
    _ilc_cloning,
    _ilc_correlations,
    _ilc_environments,
    _ilc_label_noise,
    _ilc_memorization,
    _ilc_random_gradients,
    _ilc_spirals,
    _ilc_surfaces,
    _ldt_ablations,
    _ldt_life,
    _ldt_model_based,
    _ldt_mujoco,
    _ldt_task_a,
    _ldt_task_b,
    _pd_actions,
    _pd_control,
    _pd_corridor,
    _pd_divergences,
    _pd_flawed_teacher,
    _pd_oscillation,
    _pd_variance,
)
from ._config import Size, config_of, find
from ._publish import plot_study, write_tables
from ._study import Cell, Study, run_study

STUDIES = (
    _ldt_task_a.study,
    _ldt_task_b.study,
    _ldt_life.study,
    _ldt_mujoco.study,
    _ldt_ablations.study,
    _ldt_model_based.study,
    _dials.study,
    _pd_oscillation.study,
    _pd_control.study,
    _pd_actions.study,
    _pd_flawed_teacher.study,
    _pd_corridor.study,
    _pd_divergences.study,
    _pd_variance.study,
    _ilc_spirals.study,
    _ilc_environments.study,
    _ilc_correlations.study,
    _ilc_random_gradients.study,
    _ilc_surfaces.study,
    _ilc_memorization.study,
    _ilc_label_noise.study,
    _ilc_cloning.study,
    _asi_curves.study,
    _asi_perturbation.study,
    _asi_timelines.study,
    _asi_extensions.study,
    _asi_pits.study,
)

__all__ = [
    "STUDIES",
    "Cell",
    "Size",
    "Study",
    "config_of",
    "find",
    "plot_study",
    "run_study",
    "write_tables",
]
