"""One process per folder, and no lock outlives its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from didact import DidactError
from didact.runs import FolderBusy, MissingExtra, locked

HOLD = """
import sys, time
from didact.runs import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_stale_lock(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderBusy, match=f"`{folder}` is in use"), locked(folder):
            pass
        holder.kill()
        holder.wait()
    with locked(folder) as held:
        assert held == folder


def test_the_lock_ends_with_the_block_even_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path), pytest.raises(FolderBusy), locked(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DidactError, match=r"Cannot use the folder `.*file/run`"),
        locked(tmp_path / "file" / "run"),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Permissions do not stop the superuser, under whom containers run tests: the error is the
    # system's own, raised where it would be.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with (
        pytest.raises(DidactError, match=r"Cannot use the folder `.*`: Permission denied"),
        locked(tmp_path),
    ):
        pass


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "filelock", None)
    with (
        pytest.raises(MissingExtra, match=r'`filelock`: pip install "didact\[fit\]"'),
        locked(tmp_path),
    ):
        pass


def test_importing_the_room_imports_no_optional_package() -> None:
    script = (
        "import sys, didact.runs\n"
        "print([n for n in ('joblib', 'optuna', 'filelock', 'tqdm', 'torch', 'pandas')"
        " if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
