"""One search by several processes, in SQLite and in a real PostgreSQL."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from didact import DidactError
from didact.runs import Real, Trial, _database, searching, together

SPACE = {"x": Real(-3.0, 3.0), "y": Real(1e-3, 1.0, log=True)}
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if os.name == "posix" else []


def _searched(url: str | None, trials: int, *, shared: bool = False) -> list[Trial]:
    asking = searching(SPACE, trials=trials, storage=url, shared=shared)
    try:
        batch = next(asking)
        while True:
            batch = asking.send([(point["x"] - 1) ** 2 + point["y"] for point in batch])
    except StopIteration as ended:
        found: list[Trial] = ended.value
        return found


SEARCHER = """
import sys
from didact.runs import searching
sys.path.insert(0, {folder!r})
from test_database import SPACE
asking = searching(SPACE, trials=int(sys.argv[2]), batch=2, storage=sys.argv[1], shared=True)
mine = 0
try:
    batch = next(asking)
    while True:
        print("asked", len(batch), flush=True)
        sys.stdin.readline()
        mine += len(batch)
        batch = asking.send([(p["x"] - 1) ** 2 + p["y"] for p in batch])
except StopIteration as ended:
    print("mine", mine, "of", len(ended.value), flush=True)
"""


def _searcher(url: str, trials: int) -> subprocess.Popen[str]:
    """A process that says what it asked for, and evaluates it when it is sent a line."""
    code = SEARCHER.format(folder=os.fspath(Path(__file__).parent))
    return subprocess.Popen(
        [sys.executable, "-c", code, url, str(trials)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A server of our own, on a free port, as an ordinary user."""
    if not POSTGRES:
        pytest.skip("PostgreSQL is not installed")
    folder = tempfile.mkdtemp()
    as_user: list[str] = []
    if os.getuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = f"{folder}/data"
    command = [*as_user, os.fspath(POSTGRES[-1] / "initdb"), "-D", data, "-U", "didact"]
    subprocess.run([*command, "-A", "trust"], check=True, capture_output=True, cwd=folder)
    server = subprocess.Popen(
        [*as_user, os.fspath(POSTGRES[-1] / "postgres"), "-D", data, "-p", str(port),
         "-k", folder, "-c", "listen_addresses=127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
    )  # fmt: skip
    try:
        ready = [os.fspath(POSTGRES[-1] / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + 60
        while subprocess.run(ready, capture_output=True).returncode:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)
        yield f"postgresql://didact@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_database_changes_no_number_and_is_written_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    alone = _searched(None, 14)
    assert _searched(url, 14) == alone
    assert _searched(url, 14) == alone


def test_a_shared_search_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    first = _searched(url, 6, shared=True)
    both = _searched(url, 10, shared=True)
    assert len(both) == 10
    assert both[:6] == first
    assert _searched(url, 10, shared=True) == both


def test_two_processes_share_a_search_in_postgresql(postgres: str) -> None:
    searchers = [_searcher(postgres, 12) for _ in range(2)]
    for searcher in searchers:  # both have begun before either goes on
        assert searcher.stdout is not None
        assert searcher.stdout.readline() == "asked 2\n"
    for searcher in searchers:
        assert searcher.stdin is not None
        searcher.stdin.write("\n" * 6)
        searcher.stdin.flush()
    said = [searcher.communicate(timeout=120)[0].split() for searcher in searchers]
    assert all(searcher.returncode == 0 for searcher in searchers)
    shares = [int(words[words.index("mine") + 1]) for words in said]
    assert sum(shares) == 12
    assert min(shares) > 0
    found = _searched(postgres, 12, shared=True)
    assert len({tuple(trial.settings.values()) for trial in found}) == len(found) == 12


def test_trials_of_a_killed_process_are_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    searcher = _searcher(url, 4)
    assert searcher.stdout is not None
    assert searcher.stdout.readline() == "asked 2\n"
    time.sleep(1.5)  # the first sign of life
    searcher.kill()
    searcher.communicate()
    monkeypatch.setattr(_database, "GRACE", 3)
    found = _searched(url, 4, shared=True)  # waits: the others may still be alive
    assert len(found) == 4


def test_searches_that_others_have_done_end_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'search.db'}"
    done = _searched(url, 4, shared=True)
    asking = together(
        {
            "done": searching(SPACE, trials=4, storage=url, shared=True),
            "new": searching(SPACE, trials=2, seed=1),
        }
    )
    assert list(next(asking)) == ["new"]
    with pytest.raises(StopIteration) as ended:
        asking.send({"new": [1.0, 2.0]})
    assert ended.value.value["done"] == done
    with pytest.raises(StopIteration) as ended:
        next(together({"done": searching(SPACE, trials=4, storage=url, shared=True)}))
    assert ended.value.value == {"done": done}


def test_a_database_that_is_not_there_is_an_error() -> None:
    for url in ("nonsense", "postgresql://nobody@127.0.0.1:1/none", "sqlite:////no/such/folder/x"):
        with pytest.raises(DidactError, match="cannot be used"):
            _searched(url, 2)
