"""The command line: parsing only."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence

from . import __version__
from ._checks import DidactError, InvalidInput

INTERRUPTED = 130
FILMS = {"funnel-board": 500, "room-runner": 500}
"""Worlds of `didact simulate`, and how many films of each by default."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``didact``; the exit status is 0, 2 for an error of didact, 130 for Ctrl-C."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = _parser()
    options, numbers = parser.parse_known_args(given)
    if numbers and options.run is not _study_run:
        parser.error(f"unrecognized arguments: {' '.join(numbers)}")
    options.numbers = numbers
    # One thread per process: small nets are slower with two, and runs use every core anyway.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        options.run(options, shlex.join(["didact", *given]))
        sys.stdout.flush()
    except BrokenPipeError:  # `didact rules | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except DidactError as error:
        print(f"didact: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"didact: interrupted; {options.again}", file=sys.stderr)
        return INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="didact",
        description="Train on what you will not have at test time.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"didact {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_fit(commands)
    _add_predict(commands)
    _add_fit_dynamics(commands)
    _add_simulate(commands)
    _add_study(commands)
    _add_rules(commands)
    return parser


def _add_rules(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rules = commands.add_parser(
        "rules",
        allow_abbrev=False,
        help="the rules of policy distillation, and which are gradients",
        description="The family of Czarnecki et al. (2019), a row for each rule: who acts, the "
        "loss of a state, the reward of a step, and the loss of which the update is the gradient.",
    )
    rules.set_defaults(run=_rules)


def _rules(options: argparse.Namespace, command: str) -> None:
    from .policies import rules_table

    print(rules_table(plain=True))


def _add_fit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = commands.add_parser(
        "fit",
        allow_abbrev=False,
        help="does hindsight help, or does it hold elsewhere? a verdict, a report, and a model",
        description="Train on a table in which some columns are known only in hindsight, say "
        "whether they help, and leave a model that needs only the others. With --environment: "
        "leave out each environment in turn, and say what holds there. A command that was "
        "interrupted goes on where it was when it is given again.",
    )
    fit.add_argument("data", metavar="DATA", help="a table: .csv, .tsv, .txt or .parquet")
    fit.add_argument("--label", required=True, metavar="COL", help="the column to predict")
    fit.add_argument(
        "--privileged",
        action="append",
        default=[],
        metavar="PATTERN",
        help="columns known only in hindsight, a name or a glob such as 'future_*'; repeatable",
    )
    fit.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PATTERN",
        help="columns to leave out; repeatable",
    )
    fit.add_argument(
        "--group",
        metavar="COL",
        help="rows of one value stay on one side of every split; with --series, one series each",
    )
    fit.add_argument(
        "--environment",
        metavar="COL",
        help="where a row is from: a site, a hospital; each is left out in turn, and the AND-mask, "
        "V-REx and IRM compared with plain training there",
    )
    series = fit.add_argument_group(
        "series", "rows follow one another; what comes between now and the label is privileged"
    )
    series.add_argument("--series", action="store_true", help="the rows are ordered in time")
    series.add_argument("--history", type=int, metavar="H", help="inputs: the last H rows")
    series.add_argument("--horizon", type=int, metavar="K", help="label: the column K rows ahead")
    series.add_argument(
        "--time", metavar="COL", help="time stamps; default: the only column of dates, if any"
    )
    series.add_argument(
        "--split",
        default="auto",
        choices=["auto", "time", "group"],
        help="test on what came last (time, the default for series), or on whole series (group)",
    )
    fit.add_argument("--task", default="auto", choices=["auto", "classification", "regression"])
    fit.add_argument(
        "--na", action="append", default=[], metavar="TOKEN", help="also means missing; repeatable"
    )
    fit.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="final runs per setting; default: 3"
    )
    fit.add_argument(
        "--trials", type=int, default=20, metavar="N", help="settings tried per search; default: 20"
    )
    fit.add_argument(
        "--epochs", type=int, metavar="N", help="most epochs of a run; default: 1000, quick: 60"
    )
    fit.add_argument("--out", default="didact-fit", metavar="DIR", help="default: didact-fit")
    fit.add_argument("--device", default="auto", help="auto (the default), cpu, cuda, …")
    fit.add_argument("--jobs", type=int, metavar="N", help="default: one per core; on a GPU, one")
    fit.add_argument(
        "--quick", action="store_true", help="fixed settings, no search: a demonstration"
    )
    fit.set_defaults(run=_fit, again="the same command goes on from here.")


_NOT_BY_ENVIRONMENT = ("privileged", "group", "series", "history", "horizon", "time")


def _fit(options: argparse.Namespace, command: str) -> None:
    from .hindsight import fit, fit_environments
    from .hindsight._fit import EPOCHS, too_short

    if options.environment is not None:
        _check_by_environment(options)
    parts = {"--series": options.series or None} | {
        f"--{name}": getattr(options, name) for name in ("history", "horizon")
    }
    missing = [name for name, value in parts.items() if value is None]
    if 0 < len(missing) < len(parts):
        raise InvalidInput(
            f"A series needs --series, --history and --horizon. Missing: {', '.join(missing)}."
        )
    for warning in too_short(options.epochs or EPOCHS, options.quick):
        print(f"didact: {warning}", file=sys.stderr)  # now, and not after an hour
    shared = {
        name: getattr(options, name)
        for name in (
            "label", "drop", "task", "na", "seeds", "trials", "epochs", "out", "device", "quick",
            "jobs",
        )
    }  # fmt: skip
    if options.environment is None:
        found = fit(
            options.data,
            privileged=options.privileged,
            history=options.history,
            horizon=options.horizon,
            time=options.time,
            split=options.split,
            group=options.group,
            command=command,
            **shared,
        )
        warnings, sentence = found["data"]["warnings"], found["verdict"]["sentence"]
        deployed = found["deployed"]
    else:
        metrics = fit_environments(
            options.data, environment=options.environment, command=command, **shared
        )
        warnings, sentence = metrics["data"]["warnings"], metrics["verdict"]["sentence"]
        deployed = metrics["deployed"]
    for warning in warnings:
        print(f"didact: {warning}", file=sys.stderr)
    print(sentence)
    print(
        f"{options.out}/report.html, metrics.json, student.onnx and student.pt2 "
        f"({deployed['candidate']}, seed {deployed['seed']})"
    )


def _check_by_environment(options: argparse.Namespace) -> None:
    given = [f"--{name}" for name in _NOT_BY_ENVIRONMENT if getattr(options, name)]
    given += ["--split"] if options.split != "auto" else []
    if given:
        raise InvalidInput(
            f"With --environment there is no {', '.join(given)}: it takes a table of examples, and "
            "asks of the inputs alone what holds at an environment that was left out. --drop "
            "leaves columns out; without --environment, fit asks whether hindsight helps."
        )


def _add_fit_dynamics(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = commands.add_parser(
        "fit-dynamics",
        allow_abbrev=False,
        help="where do recorded trajectories go? fixed against adaptive steps, a report, a model",
        description="Train models on recorded trajectories that predict the frame so many frames "
        "later, or any of the next that they predict best (adaptive skip intervals); compare them "
        "at as many calls, and leave the better one. A command that was interrupted goes on where "
        "it was when it is given again.",
    )
    fit.add_argument(
        "data", metavar="DATA", help="trajectories: .npz, or a table of states (.csv, .parquet)"
    )
    fit.add_argument(
        "--horizon", type=int, required=True, metavar="H", help="the longest skip, in frames"
    )
    fit.add_argument(
        "--state", action="append", default=[], metavar="PATTERN",
        help="columns of a table that are the state, a name or a glob; repeatable; default: all "
        "numbers",
    )  # fmt: skip
    fit.add_argument("--group", metavar="COL", help="the column of a table that names trajectories")
    fit.add_argument(
        "--length", type=int, metavar="N", help="without --group: cut a table into pieces of N rows"
    )
    fit.add_argument(
        "--calls", type=int, metavar="N", help="calls to compare at; default: as many as adaptive "
        "steps need",
    )  # fmt: skip
    fit.add_argument(
        "--context", type=int, default=1, metavar="K", help="frames to look at; default: 1"
    )
    fit.add_argument("--seeds", type=int, default=3, metavar="N", help="final runs; default: 3")
    fit.add_argument(
        "--trials", type=int, default=4, metavar="N", help="settings tried each; default: 4"
    )
    fit.add_argument(
        "--epochs", type=int, metavar="N", help="epochs of a run; default: 100, quick: 20"
    )
    fit.add_argument(
        "--out", default="didact-dynamics", metavar="DIR", help="default: didact-dynamics"
    )
    fit.add_argument("--device", default="auto", help="auto (the default), cpu, cuda, …")
    fit.add_argument("--jobs", type=int, metavar="N", help="default: one per core; on a GPU, one")
    fit.add_argument(
        "--quick", action="store_true", help="fixed settings, no search: a demonstration"
    )
    fit.set_defaults(run=_fit_dynamics, again="the same command goes on from here.")


def _fit_dynamics(options: argparse.Namespace, command: str) -> None:
    from .dynamics import fit_dynamics

    names = (
        "horizon", "state", "group", "length", "calls", "context", "seeds", "trials", "epochs",
        "out", "device", "quick", "jobs",
    )  # fmt: skip
    found = fit_dynamics(
        options.data, command=command, **{name: getattr(options, name) for name in names}
    )
    for warning in found["data"]["warnings"]:
        print(f"didact: {warning}", file=sys.stderr)
    print(found["verdict"]["sentence"])
    deployed = found["deployed"]
    print(
        f"{options.out}/report.html, metrics.json, step.onnx, step.pt2, rollout.pt2"
        f"{', rollout.onnx' if deployed['rollout_onnx'] else ''} "
        f"({deployed['candidate']}, seed {deployed['seed']})"
    )


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    predict = commands.add_parser(
        "predict",
        allow_abbrev=False, help="predict new rows with the model that fit left", description="One "
        "prediction per row of NEW_DATA, which needs the input columns only.",
    )  # fmt: skip
    predict.add_argument("dir", metavar="DIR", help="the folder that `didact fit` wrote")
    predict.add_argument("data", metavar="NEW_DATA", help="a table: .csv, .tsv, .txt or .parquet")
    predict.add_argument("--out", required=True, metavar="FILE", help="predictions, as .csv")
    predict.add_argument(
        "--na", action="append", default=[], metavar="TOKEN", help="also means missing; repeatable"
    )
    predict.set_defaults(run=_predict, again="nothing was written.")


def _predict(options: argparse.Namespace, command: str) -> None:
    from .hindsight import predict

    rows = predict(options.dir, options.data, options.out, options.na)
    print(f"{rows} predictions in {options.out}")


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    simulate = commands.add_parser(
        "simulate",
        allow_abbrev=False,
        help="make data to try the other commands on: MuJoCo rollouts with their future as "
        "privileged columns, or films of two worlds",
    )
    robots = ["hopper", "walker2d", "swimmer", "halfcheetah"]
    simulate.add_argument("task", choices=[*robots, *FILMS])
    simulate.add_argument(
        "--rollouts", type=int, metavar="N", help="rows, by default 4000, or films, 500"
    )
    simulate.add_argument("--perturbed", action="store_true", help="films of other dynamics")
    simulate.add_argument("--seed", type=int, default=0)
    simulate.add_argument("--jobs", type=int, metavar="N", help="processes; default: one per core")
    simulate.add_argument(
        "--out", required=True, metavar="FILE", help=".csv or .parquet; films: .npz"
    )
    simulate.set_defaults(run=_simulate, again="nothing was written.")


def _simulate(options: argparse.Namespace, command: str) -> None:
    from .runs import Progress, cores
    from .tasks import simulate

    jobs = cores() if options.jobs is None else options.jobs
    usual = FILMS.get(options.task, 4000)
    rollouts = usual if options.rollouts is None else options.rollouts
    with Progress(rollouts, "rollouts") as bar:
        simulate(
            options.task,
            options.out,
            rollouts=rollouts,
            seed=options.seed,
            perturbed=options.perturbed,
            jobs=jobs,
            progress=lambda done, _total: bar.update(done),
        )


def _add_study(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    study = commands.add_parser(
        "study", allow_abbrev=False, help="the papers' figures and tables again, ours beside theirs"
    )
    parts = study.add_subparsers(title="parts", required=True, metavar="PART")
    listed = parts.add_parser("list", allow_abbrev=False, help="all studies and what they claim")
    listed.set_defaults(run=_study_list, again="nothing was written.")
    run = parts.add_parser(
        "run",
        allow_abbrev=False,
        add_help=False,  # of the study named, see below
        usage="didact study run [--help] NAME [--smoke | --full] [--jobs N] [--backend "
        "{processes,ray}] [--out DIR] [--NUMBER VALUE ...]",
        help="do what of a study is not yet done; NAME --help lists its numbers",
    )
    run.add_argument("name", metavar="NAME", nargs="?")
    size = run.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_true", help="a size that takes seconds")
    size.add_argument("--full", action="store_true", help="the paper's size")
    run.add_argument("--jobs", type=int, metavar="N", help="default: one per core; on a GPU, one")
    run.add_argument("--backend", default="processes", choices=["processes", "ray"])
    plot = parts.add_parser("plot", allow_abbrev=False, help="draw a study's figures")
    plot.add_argument("name", metavar="NAME")
    plot.set_defaults(run=_study_plot, again="the same command draws what is missing.")
    table = parts.add_parser(
        "table", allow_abbrev=False, help="write all tables to one page, or show one study's"
    )
    table.add_argument("name", metavar="NAME", nargs="?")
    table.set_defaults(run=_study_table, again="nothing was written.")
    for part in (run, plot, table):
        part.add_argument("--out", default="results", metavar="DIR", help="default: results")
    again = "the same command goes on from here."
    run.set_defaults(run=_study_run, again=again, usage=run.format_help())


def _study_list(options: argparse.Namespace, command: str) -> None:
    from .studies import STUDIES

    for study in STUDIES:
        print(f"{study.name}\n    {study.claim}")


def _study_run(options: argparse.Namespace, command: str) -> None:
    from .studies import STUDIES, Size, config_of, find, run_study

    if options.name is None and "--help" in options.numbers:
        print(options.usage)
        return
    study = find(options.name, STUDIES)
    size: Size = "smoke" if options.smoke else "full" if options.full else "default"
    run_study(
        study,
        config_of(study, size, options.numbers),
        options.out,
        jobs=options.jobs,
        backend=options.backend,
    )
    print(study.table(study.cells(options.out)))
    print(f"\nRecords: {os.path.join(options.out, study.folder)}")


def _study_plot(options: argparse.Namespace, command: str) -> None:
    from .studies import STUDIES, find, plot_study

    drawn = plot_study(find(options.name, STUDIES), options.out)
    for path in drawn:
        print(path)
    if not drawn:
        print(f"Nothing to draw: no run of {options.name} is finished in {options.out}.")


def _study_table(options: argparse.Namespace, command: str) -> None:
    from .studies import STUDIES, find, write_tables

    if options.name is None:
        print(write_tables(STUDIES, options.out))
    else:
        study = find(options.name, STUDIES)
        print(study.table(study.cells(options.out)))


if __name__ == "__main__":
    sys.exit(main())
