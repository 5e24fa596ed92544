"""Imports run one way: a room uses the rooms above it, and of the methods only those named."""

import ast
from pathlib import Path

import didact

ROOT = Path(didact.__file__).parent
SHARED = {"_checks", "_params"}
OF_FILES = SHARED | {"_names", "_table", "_bootstrap", "runs", "export"}
MAY_USE = {
    "_checks": set(),
    "_params": {"_checks"},
    "_names": {"_checks"},
    "_table": {"_checks"},
    "_bootstrap": {"_checks"},
    "unroll": SHARED,
    "privileged": SHARED | {"unroll"},
    "policies": SHARED,
    "skips": SHARED,
    "agreement": SHARED,
    "tasks": SHARED,
    "runs": SHARED,
    "export": SHARED | {"runs"},
    "hindsight": OF_FILES | {"unroll", "privileged", "agreement"},
    "dynamics": OF_FILES | {"skips"},
    "studies": SHARED
    | {"unroll", "privileged", "policies", "skips", "agreement", "tasks", "runs", "export"},
    "cli": {"_checks", "dynamics", "hindsight", "policies", "tasks", "runs", "studies"},
    "__main__": {"cli"},
    "__init__": {"_checks"},
}


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imported(path: Path) -> set[str]:
    """The rooms of didact that a file imports, wherever in the file it does."""
    rooms = set()
    inside = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ["didact", *inside][: len(inside) + 2 - node.level] if node.level else []
            module = [*base, *(node.module.split(".") if node.module else [])]
            names = [module] if len(module) > 1 else [[*module, a.name] for a in node.names]
        else:
            continue
        rooms |= {name[1] for name in names if name[0] == "didact" and len(name) > 1}
    return rooms - {_room(path), "__version__"}


def test_imports_run_one_way() -> None:
    files = sorted(ROOT.rglob("*.py"))
    assert len(files) > 30
    wrong = {
        str(path.relative_to(ROOT)): sorted(_imported(path) - MAY_USE[_room(path)])
        for path in files
        if _imported(path) - MAY_USE[_room(path)]
    }
    assert not wrong


def test_the_reader_of_imports_sees_every_form(tmp_path: Path) -> None:
    found = _imported(ROOT / "privileged" / "_ldt.py")
    assert {"unroll", "_checks", "_params"} <= found


def test_importing_didact_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, didact, didact.cli; print(sorted({'torch', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
