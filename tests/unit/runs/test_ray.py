"""Cells on the nodes of a Ray cluster."""

import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from didact import DidactError, InvalidInput
from didact.runs import CellFailed, run_cells


def cell(config: dict[str, Any], own: Path) -> dict[str, Any]:
    import ray

    if config["x"] < 0:
        raise ValueError("x is below 0")
    if config["x"] == 99:
        raise DidactError("one of ours")
    return {"y": config["x"] ** 2, "node": ray.get_runtime_context().get_node_id()}


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[None]:
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # else Ray warns of a future change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own imports
        import ray
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            cluster.add_node(num_cpus=1)
            ray.init(address=cluster.address, logging_level=logging.ERROR, log_to_driver=False)
            yield
        finally:
            ray.shutdown()
            cluster.shutdown()


pytestmark = pytest.mark.usefixtures("two_nodes")


def test_cells_run_on_both_nodes_and_are_stored(tmp_path: Path) -> None:
    configs = [{"x": x} for x in range(8)]
    told: list[tuple[int, int, bool]] = []
    records = run_cells(
        cell,
        configs,
        tmp_path,
        jobs=None,
        backend="ray",
        progress=lambda done, total, record, cached: told.append((done, total, cached)),
    )
    assert [record["y"] for record in records] == [x**2 for x in range(8)]
    assert len({record["node"] for record in records}) == 2
    assert told == [(k, 8, False) for k in range(1, 9)]
    stored = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert sorted(s["record"]["y"] for s in stored) == [x**2 for x in range(8)]
    again = run_cells(cell, configs, tmp_path, backend="ray")
    assert again == records


def test_what_a_cell_raises_comes_back(tmp_path: Path) -> None:
    with pytest.raises(CellFailed, match="x is below 0"):
        run_cells(cell, [{"x": 1}, {"x": -1}], tmp_path, jobs=2, backend="ray")
    with pytest.raises(DidactError, match="one of ours"):
        run_cells(cell, [{"x": 99}], tmp_path, jobs=1, backend="ray")


def test_more_jobs_than_cores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="only 2"):
        run_cells(cell, [{"x": 1}], tmp_path, jobs=3, backend="ray")
