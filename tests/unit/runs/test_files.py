"""Files are there in full or not at all, and numbers come back bit for bit."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact import DidactError, InvalidInput
from didact.runs import check_json, read_json, write_atomic, write_json

LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False)
JSON = st.recursive(
    LEAVES.filter(lambda x: not (isinstance(x, float) and math.isinf(x))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("data", ["line\r\nµ\n", b"\x00\xff", ""])
def test_write_atomic_writes_exactly_the_data_and_nothing_else(
    tmp_path: Path, data: str | bytes
) -> None:
    path = tmp_path / "file"
    write_atomic(path, "before")
    write_atomic(path, data)
    assert path.read_bytes() == (data.encode() if isinstance(data, str) else data)
    assert names(tmp_path) == ["file"]


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    write_atomic(tmp_path / "ours", "")
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_write_that_the_system_stops_leaves_the_old_file(tmp_path: Path) -> None:
    # A real limit, not a mock: past it the kernel refuses to write, as on a full disk.
    script = (
        "import resource, sys\n"
        "from didact import DidactError\n"
        "from didact.runs import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_atomic(sys.argv[1], 'x' * 100_000)\n"
        "except DidactError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "record.json"
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"Cannot write `{path}`: {os.strerror(errno.EFBIG)}.\n"
    assert names(tmp_path) == ["record.json"]
    assert path.read_text() == "old"


def test_a_disk_that_fills_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DidactError, match=r"Cannot write `.*a\.txt`: No space left on device"):
        write_atomic(tmp_path / "a.txt", "data")
    assert names(tmp_path) == []


def test_no_such_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DidactError, match=r"nowhere/a\.json`: No such file"):
        write_json(tmp_path / "nowhere" / "a.json", 1)


def test_an_interrupted_write_passes_the_interrupt_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a", "data")
    assert names(tmp_path) == []


@given(value=JSON)
def test_json_comes_back_as_it_went(value: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert repr(read_json(path)) == repr(value)


def test_json_keeps_the_order_and_ends_with_a_newline(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 0.1 + 0.2, "a": (1, 2)})
    text = path.read_text()
    assert text == '{\n "b": 0.30000000000000004,\n "a": [\n  1,\n  2\n ]\n}\n'


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (math.nan, "value"),
        ({"a": [0, {"b": math.inf}]}, r"value\.a\[1\]\.b"),
        ({"a": {1: 2}}, r"value\.a"),
        ([{1, 2}], r"value\[0\]"),
        ((Path("x"),), r"value\[0\]"),
    ],
)
def test_what_is_not_json_is_refused_by_its_place(tmp_path: Path, value: Any, where: str) -> None:
    with pytest.raises(InvalidInput, match=rf"Parameter `{where}` should be .*\. Found "):
        write_json(tmp_path / "a.json", value)
    assert names(tmp_path) == []


@given(value=JSON)
def test_check_json_passes_what_json_can_hold(value: Any) -> None:
    check_json("value", value)
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize("text", ["", '{"a": 1', "[NaN]", "[-Infinity]", "\ufeff{}", "[" * 100_000])
def test_a_file_that_is_not_json_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "edited.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"edited\.json` is not JSON: "):
        read_json(path)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match=r"a\.json` is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DidactError, match=r"Cannot read `.*a\.json`: No such file"):
        read_json(tmp_path / "a.json")
