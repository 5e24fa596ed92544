"""A disk that is full meets one clear error, and the run goes on when there is room again."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = """
import os, sys
from pathlib import Path
from didact._checks import DidactError
from didact.hindsight import fit

data, disk = Path(sys.argv[1]), Path(sys.argv[2])
options = dict(label="y", privileged=["z"], quick=True, epochs=2, seeds=1, jobs=1, command="fit")

def filled(left):
    "All but so many bytes of the disk."
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(max(free - left, 0)))

said = []
for left in (0, 4_096, 16_384, 40_960, 98_304, 300_000):
    filled(left)
    try:
        fit(data, out=disk / "fit", **options)
        said.append("done")
    except DidactError as error:
        said.append(str(error))
    (disk / "filler").unlink()
print("\\n".join(said))
assert "No space left on device" in said[0], said
assert any("Cannot" in line for line in said), said
fit(data, out=disk / "fit", **options)
fit(data, out=data.parent / "fit", **options)
one, two = ((folder / "fit" / "metrics.json").read_text() for folder in (disk, data.parent))
assert one == two
"""


def _mounted(disk: Path, command: list[str]) -> subprocess.CompletedProcess[str]:
    """The command beside a disk of 2 MiB, in a mount namespace of its own."""
    mount = f'mount -t tmpfs -o size=2m tmpfs {disk} && exec "$@"'
    own = (
        ["unshare", "--mount"]
        if os.geteuid() == 0
        else ["unshare", "--user", "--map-root-user", "--mount"]
    )
    return subprocess.run(
        [*own, "sh", "-c", mount, "sh", *command], capture_output=True, text=True, check=False
    )


def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if _mounted(disk, ["true"]).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, 80))
    pd.DataFrame({"x": x, "z": z, "y": x + z}).to_csv(tmp_path / "table.csv", index=False)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    found = _mounted(disk, [sys.executable, str(script), str(tmp_path / "table.csv"), str(disk)])
    assert found.returncode == 0, found.stdout + found.stderr[-3000:]
