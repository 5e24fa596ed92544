"""Every study for real, tiny: run, resumed, drawn, tabled."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch

from didact import InvalidInput
from didact.studies import (
    STUDIES,
    Study,
    config_of,
    find,
    plot_study,
    run_study,
    write_tables,
)

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
    assert page.count("*Not run.*") == sum(not other.cells(tmp_path) for other in STUDIES)
    assert f"{len(cells)} cells" in page
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
