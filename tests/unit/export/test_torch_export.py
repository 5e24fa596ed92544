"""``.pt2``: any batch, the same numbers, no data and no paths of whoever made it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from didact._checks import DidactError, InvalidInput
from didact.export import load_pt2, save_pt2

torch.set_num_threads(1)


class _Core(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, codes: Tensor) -> Tensor:
        return self.drop(self.linear(x)) + codes.sum(1, keepdim=True)


def test_any_batch_and_the_mapping(tmp_path: Path) -> None:
    torch.manual_seed(0)
    core = _Core()
    example = (torch.full((5, 3), 123456.789), torch.zeros(5, 2, dtype=torch.int64))
    mapping = {"columns": ["größe", "a b"], "n": 2}
    path = tmp_path / "core.pt2"
    save_pt2(core, example, path, mapping=mapping)
    assert core.training, "the module is left as it is"
    assert [file.name for file in tmp_path.iterdir()] == ["core.pt2"]
    module, found = load_pt2(path)
    assert found == mapping
    core.eval()
    for n in (1, 2, 7, 33):
        x, codes = torch.randn(n, 3), torch.randint(0, 4, (n, 2))
        torch.testing.assert_close(module(x, codes), core(x, codes).detach())
        assert not module(x, codes).requires_grad


def test_neither_rows_nor_paths_in_the_file(tmp_path: Path) -> None:
    marked = torch.full((5, 3), 123456.789)
    example = (marked, torch.zeros(5, 2, dtype=torch.int64))
    save_pt2(_Core(), example, tmp_path / "core.pt2", mapping={})
    with zipfile.ZipFile(tmp_path / "core.pt2") as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert marked.numpy().tobytes()[:4] not in content
    assert Path(__file__).name.encode() not in content


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"an existing \.pt2 file"):
        load_pt2(tmp_path / "none.pt2")
    (tmp_path / "bad.pt2").write_bytes(b"not a model")
    with pytest.raises(InvalidInput, match="a file that `save_pt2` wrote"):
        load_pt2(tmp_path / "bad.pt2")
    program = torch.export.export(nn.Identity(), (torch.zeros(2),))
    torch.export.save(program, tmp_path / "other.pt2")
    with pytest.raises(InvalidInput, match="a file that `save_pt2` wrote"):
        load_pt2(tmp_path / "other.pt2")
    with pytest.raises(DidactError, match="Cannot write"):
        save_pt2(nn.Identity(), [torch.zeros(2, 1)], tmp_path / "no" / "m.pt2", mapping={})
