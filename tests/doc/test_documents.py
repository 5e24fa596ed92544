"""The README and every page of docs: their Python runs, their commands are understood."""

import re
import shlex
from pathlib import Path

import pytest

import didact.cli

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)


def _blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(page.read_text()) if kind == language]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _blocks(p, "python")], ids=lambda page: page.name
)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, body in enumerate(_blocks(page, "python")):
        exec(compile(body, f"{page.name}, block {number}", "exec"), names)


def test_commands_are_understood() -> None:
    lines = [
        line.removeprefix("$ ").split("#")[0]
        for page in PAGES
        for body in _blocks(page, "console")
        for line in body.splitlines()
    ]
    ours = [shlex.split(line)[1:] for line in lines if line.startswith("didact ")]
    assert len(ours) >= 4
    for command in ours:
        options, numbers = didact.cli._parser().parse_known_args(command)
        assert callable(options.run)
        assert not numbers or options.run is didact.cli._study_run  # of which the study knows


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"make (\w+)", (ROOT / "README.md").read_text())
    assert {"demo", "test"} <= set(targets)
    for target in targets:
        if target != "and":
            assert re.search(rf"^{target}:", makefile, re.M), target


def anchors(page: Path) -> set[str]:
    """Of the headings, as they are made for Markdown on the web."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    more = [
        ROOT / "results" / "README.md",
        ROOT / "results" / "fit.md",
        ROOT / "benchmarks" / "README.md",
    ]
    found = 0
    for page in [*PAGES, *more]:
        for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name}: {target}"
            assert not heading or heading in anchors(there), f"{page.name}: {target}#{heading}"
            found += bool(heading)
    assert found > 5
