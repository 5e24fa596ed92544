"""Every study for real, tiny: run, resumed, drawn, tabled."""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from didact import DidactError, InvalidInput
from didact.runs import FolderBusy, cores, locked
from didact.studies import (
    STUDIES,
    Study,
    _study,
    config_of,
    find,
    plot_study,
    run_study,
    write_tables,
)
from didact.studies._life_training import Run
from didact.studies._study import Cell, alike

NAMES = [study.name for study in STUDIES]


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_a_study_runs_resumes_and_shows(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    records = run_study(study, study.smoke, tmp_path, jobs=1)
    assert records
    files = sorted((tmp_path / study.folder).glob("*.json"))
    before = {path: os.stat(path).st_mtime_ns for path in files}
    assert run_study(study, study.smoke, tmp_path, jobs=1) == records  # all of it loaded
    assert {path: os.stat(path).st_mtime_ns for path in files} == before
    assert sorted((tmp_path / study.folder).glob("*.json")) == files

    stored = json.loads(files[0].read_text())
    assert stored["config"]["version"] == study.version
    assert {"processor", "cores", "torch", "python", "date"} <= set(stored["record"]["made"])
    cells = study.cells(tmp_path)
    assert len(cells) == len(files)
    assert all(isinstance(cell.run, study.run) for cell in cells)

    lines = study.table(cells).splitlines()
    assert len(lines) > 2
    assert len({line.count("|") for line in lines}) == 1
    figures = plot_study(study, tmp_path)
    assert figures
    starts = {".svg": b"<?xml", ".gif": b"GIF89a"}
    assert all(path.read_bytes().lstrip().startswith(starts[path.suffix]) for path in figures)
    assert [path.read_bytes() for path in plot_study(study, tmp_path)] == [
        path.read_bytes() for path in figures
    ]
    page = write_tables(STUDIES, tmp_path).read_text()
    assert study.table(cells) in page
    own = [sum(other.own(cell.run) for cell in other.cells(tmp_path)) for other in STUDIES]
    assert page.count("*Not run.*") == own.count(0)
    assert f"`didact study run {study.name}`: {own[STUDIES.index(study)]} cells" in page
    assert f"{study.name}, round" in capsys.readouterr().err


@pytest.mark.parametrize("study", STUDIES, ids=NAMES)
def test_every_number_has_a_line_of_help(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        config_of(study, "default", ["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(study.config):
        assert f"--{field.name.replace('_', '-')}" in text
    assert study.claim.split()[0] in text


def test_numbers_of_the_command_line_stand_in_for_those_of_the_size() -> None:
    study = find("ldt-task-a", STUDIES)
    assert config_of(study, "smoke", []) == study.smoke
    assert config_of(study, "full", []) == study.full
    changed = config_of(study, "smoke", ["--seeds", "7", "--dimensions", "8", "9"])
    assert changed == dataclasses.replace(study.smoke, seeds=7, dimensions=(8, 9))
    with pytest.raises(SystemExit):
        config_of(study, "smoke", ["--seeds", "many"])


def test_an_unknown_study_meets_the_names_there_are() -> None:
    with pytest.raises(InvalidInput, match="Found `nope`; there are `ldt-task-a`"):
        find("nope", STUDIES)


def test_names_are_unique_and_folders_shared_only_on_purpose() -> None:
    assert len(set(NAMES)) == len(NAMES)
    by_folder: dict[str, set[type]] = {}
    for study in STUDIES:
        by_folder.setdefault(study.folder, set()).add(study.run)
    assert all(len(runs) == 1 for runs in by_folder.values())


def test_no_cells_no_figures(tmp_path: Path) -> None:
    for study in STUDIES:
        assert study.cells(tmp_path) == []
        assert plot_study(study, tmp_path) == []
        assert study.table([]).startswith("|")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda text: text[: len(text) // 2], "is not JSON"),
        (lambda text: "", "is not JSON"),
        (lambda text: "[]", "is not the record of a run"),
        (lambda text: text.replace('"made"', '"mode"'), "is not the record of a run"),
        (lambda text: text.replace('"meta_steps"', '"steps"'), "is not the record of a run"),
        (lambda text: text.replace('"version": 2', '"version": "2"'), None),
        (
            lambda text: text.replace('"dimension": 16', '"dimension": 17'),
            "not the record of a run",
        ),
    ],
)
def test_a_file_that_is_no_record_is_named(change: Any, rule: str | None, tmp_path: Path) -> None:
    study = find("ldt-task-a", STUDIES)
    run_study(study, study.smoke, tmp_path, jobs=1)
    whole = len(study.cells(tmp_path))
    path = sorted((tmp_path / study.folder).glob("*.json"))[0]
    path.write_text(change(path.read_text()))
    if rule is None:
        assert (len(study.cells(tmp_path)), [*study.stored(tmp_path)].count(None)) == (whole - 1, 1)
        assert "1 records of another version" in write_tables([study], tmp_path).read_text()
        return
    with pytest.raises(InvalidInput, match=rule) as raised:
        study.cells(tmp_path)
    assert path.name in str(raised.value)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    study = find("ldt-task-a", STUDIES)
    (tmp_path / "file").write_text("")
    with pytest.raises(DidactError, match=r"Cannot use the folder .*file"):
        run_study(study, study.smoke, tmp_path / "file", jobs=1)
    with pytest.raises(DidactError, match="Cannot write"):
        write_tables([study], tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "numbers", "rule"),
    [
        ("ldt-task-a", ["--seeds", "0"], "`--seeds` should be at least 1. Found 0"),
        ("ldt-task-a", ["--sizes", "-3"], "`--sizes` should be at least 1. Found -3"),
        ("ldt-task-a", ["--meta-steps", "0"], "`--meta-steps` should be at least 1"),
        ("ldt-task-a", ["--dimensions", "8", "0"], "`--dimensions` should be at least 1"),
        ("ldt-task-a", ["--methods"], "`--methods` should have a value. Found none"),
        ("asi-curves", ["--trials", "-1"], "`--trials` should be at least 0"),
        ("ldt-task-b", ["--entropies", "0", "-1"], "`--entropies` should be finite and at least 0"),
        ("ldt-task-b", ["--entropies", "nan"], "`--entropies` .* Found nan"),
    ],
)
def test_numbers_that_are_none_are_refused(name: str, numbers: list[str], rule: str) -> None:
    with pytest.raises(InvalidInput, match=rule):
        config_of(find(name, STUDIES), "default", numbers)


def test_a_command_beside_another_does_not_begin(tmp_path: Path) -> None:
    """A plan may begin with an empty database of a search."""
    study = find("ldt-life", STUDIES)
    busy = dataclasses.replace(study, plan=lambda config, shared: pytest.fail("planned"))
    with locked(tmp_path / study.folder / "shared"), pytest.raises(FolderBusy):
        run_study(busy, study.smoke, tmp_path, jobs=1)


def test_a_device_that_is_not_there_is_named(tmp_path: Path) -> None:
    study = find("ldt-life", STUDIES)
    with pytest.raises(InvalidInput, match=r"`device` should be .* Found 'cudo'"):
        run_study(study, dataclasses.replace(study.smoke, device="cudo"), tmp_path, jobs=1)


def test_a_gpu_has_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_cells(*_: Any, jobs: int, **__: Any) -> Any:
        raise RuntimeError(f"{jobs} at a time")

    monkeypatch.setattr(_study, "usable_device", lambda device: device)
    monkeypatch.setattr(_study, "run_cells", run_cells)
    study = find("ldt-life", STUDIES)
    for device, jobs, told in (("cuda", None, 1), ("cuda", 3, 3), ("cpu", None, cores())):
        config = dataclasses.replace(study.smoke, device=device)
        with pytest.raises(RuntimeError, match=f"^{told} at a time"):
            run_study(study, config, tmp_path / device / str(jobs), jobs=jobs)


def test_a_run_on_two_devices_counts_once() -> None:
    study = find("ldt-task-a", STUDIES)
    run = next(study.plan(study.smoke, Path()))[0]
    again = [dataclasses.replace(run, device="cuda"), dataclasses.replace(run, compile=True)]
    other = dataclasses.replace(run, method="no_teacher")
    cells = [Cell(each, {}, {}) for each in (run, *again, other)]
    assert [cell.run for cell in alike(cells, "method")] == [run, other]


@pytest.mark.parametrize("forward", [True, False])
def test_of_two_settings_the_one_that_searched_best_is_shown(forward: bool) -> None:
    study = find("ldt-life", STUDIES)
    run = Run("no_teacher", 32, {"filters": 1}, 0, board=5)
    cells = []
    for filters, searched, test in ((1, 0.7, 0.9), (2, 0.8, 0.6)):
        for seed, held_out in ((1000, searched), (0, 0.5)):
            other = dataclasses.replace(run, settings={"filters": filters}, seed=seed)
            record = {"held_out": [0.4, held_out], "test": [0.1, test], "diverged": None}
            cells.append(Cell(other, record, {}))
    row = study.table(cells if forward else cells[::-1]).splitlines()[2]
    assert row.startswith("| 32 | 0.600 |")


@pytest.mark.parametrize(
    ("name", "method", "much"),
    [("ldt-task-a", "ldt", {"alpha": 1e38}), ("ldt-task-b", "no_teacher", {"entropy": 1e38})],
)
def test_a_cell_that_diverges_is_stored_told_and_in_no_mean(
    name: str, method: str, much: dict[str, float], tmp_path: Path
) -> None:
    study = find(name, STUDIES)
    runs = [run for run in next(study.plan(study.smoke, tmp_path)) if run.method == method]
    cells = []
    for run in (runs[0], dataclasses.replace(runs[0], **much)):
        record = study.train(run, tmp_path, lambda step, values: None)
        json.dumps(record, allow_nan=False)
        cells.append(Cell(run, record, {}))
    assert cells[0].record["diverged"] is None
    assert cells[1].record["diverged"].startswith("The loss after meta-step 1 is ")
    study.value(cells[1].record)
    for cell, text in zip(cells, [study.table([cells[0]]), study.table([cells[1]])], strict=True):
        assert ("Diverged, and in no mean: " in text) == (cell is cells[1])
        assert (f"| {len(cell.run.seeds)} |" in text) == (cell is cells[0])


def test_a_part_with_fewer_rows_than_a_batch_is_refused(tmp_path: Path) -> None:
    study = find("ldt-task-a", STUDIES)
    few = dataclasses.replace(study.smoke, least=8, most=8)
    with pytest.raises(InvalidInput, match=r"enough for a batch of 16.*Found '6 of 8 rows'"):
        run_study(study, few, tmp_path, jobs=1)
    with pytest.raises(InvalidInput, match=r"`least` should be at most `most` = 8\. Found 9"):
        run_study(study, dataclasses.replace(few, least=9), tmp_path, jobs=1)


def test_a_table_is_of_one_size_and_no_seed_counts_twice(tmp_path: Path) -> None:
    study = find("ldt-task-a", STUDIES)
    for changes in ({}, {"seeds": 3}, {"meta_steps": 3, "least": 96}):
        run_study(study, dataclasses.replace(study.smoke, **changes), tmp_path, jobs=1)
    cells = study.cells(tmp_path)
    assert len(cells) == 6
    assert {(len(cell.run.seeds), cell.run.meta_steps) for cell in alike(cells, "method")} == {
        (3, 2)
    }
    assert [line.split("|")[1:4] for line in study.table(cells).splitlines()[2:]] == [
        [" 16 ", " 64 ", " 3 "]
    ]


def test_the_page_of_results_is_what_the_records_give(tmp_path: Path) -> None:
    results = Path(__file__).parents[2] / "results"
    copy = tmp_path / "results"
    shutil.copytree(results, copy, ignore=shutil.ignore_patterns("shared"))
    assert write_tables(STUDIES, copy).read_text() == (results / "README.md").read_text()


def test_the_loss_of_life_is_the_distance_from_the_mixtures() -> None:
    from didact.studies._life_nets import Mixtures, mixed_mse, third_layers_mse

    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(4, 9, 5, 7, 7, generator=generator).double()
    boards = torch.randint(2, (4, 3, 7, 7), generator=generator).double()
    logits = torch.randn(3, 9, 5, generator=generator).double()
    mixtures = torch.einsum("tkl,bthw->bklhw", logits.softmax(0), boards)
    targets = Mixtures(logits)(boards)
    layers = tuple(maps.flatten(3).mT.unbind(1))
    torch.testing.assert_close(mixed_mse(layers, targets), (maps - mixtures).square().mean())
    third = (maps - mixtures)[:, 2::3].square().mean()
    torch.testing.assert_close(third_layers_mse(layers, targets), third)
