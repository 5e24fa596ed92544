"""From a new file to predictions, by the folder alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from didact._checks import DidactError, InvalidInput
from didact._table import read_table
from didact.hindsight import _predict
from didact.hindsight._columns import describe
from didact.hindsight._deploy import Deployed, save_deployed
from didact.hindsight._encode import Codes, Encoder
from didact.hindsight._label import Bins, Classes
from didact.hindsight._predict import predict

torch.set_num_threads(1)

TRAIN = """\
größe;ward;seen;code;later;y
1.0;a;2024-01-01;1;9;no
2.0;b;2024-01-02;2;8;yes
-1;a;2024-01-05;A;7;no
3.0;;2024-01-04;1;6;yes
"""


class _Student(nn.Module):
    """Logits that any change of any feature moves."""

    def __init__(self, n_features: int, n_outputs: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("weight", torch.randn(n_features, n_outputs, generator=generator))

    def forward(self, features: Tensor) -> tuple[Tensor, None]:
        return features @ self.weight, None


def _fit(folder: Path, label: Classes | Bins) -> Deployed:
    (folder / "train.csv").write_text(TRAIN, "utf-8")
    frame = read_table(folder / "train.csv", na=["-1"])
    columns, warnings = describe(frame, ["größe", "ward", "seen", "code"])
    assert not warnings
    codes = Codes.of(frame, columns)
    encoder = Encoder.fit(columns, codes.numeric, codes.codes)
    deployed = Deployed(encoder, _Student(encoder.n_features, label.n_outputs), label.values)
    save_deployed(folder, deployed, columns, label, codes, label_name="y", na=["-1"])
    return deployed


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Deployed]:
    folder = tmp_path_factory.mktemp("classifier")
    return folder, _fit(folder, Classes(("no", "yes, really")))


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Deployed]:
    folder = tmp_path_factory.mktemp("regressor")
    return folder, _fit(folder, Bins((1.0,), (0.0, 10.0)))


# By hand: größe, seen (seconds); then the codes of ward (a, b) and code (1, 2, A).
DAY = 86400.0
NUMERIC = torch.tensor([[1.5, 1704067200.0 + 2 * DAY], [torch.nan, 1704067200.0], [3.0, torch.nan]])
CODES = torch.tensor([[3, 3], [0, 2], [1, 1]])
NEW = """\
code,unused,seen,ward,größe
2,x,2024-01-03,b,1.5
1,y,2024-01-01,c,-1
?,z,,,3
"""


def test_classes_by_hand(classifier: tuple[Path, Deployed], tmp_path: Path) -> None:
    folder, deployed = classifier
    (tmp_path / "new.csv").write_text(NEW, "utf-8-sig")
    assert predict(folder, tmp_path / "new.csv", tmp_path / "out.csv", na=["?"]) == 3
    found = pd.read_csv(tmp_path / "out.csv")
    expected = deployed(NUMERIC, CODES).numpy()
    names = ["no", "yes, really"]
    assert found.columns.tolist() == ["prediction", *(f"probability_{name}" for name in names)]
    np.testing.assert_allclose(found.iloc[:, 1:].to_numpy(), expected, atol=1e-6)
    assert found["prediction"].tolist() == [names[row.argmax()] for row in expected]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new.csv", "out.csv"]


def test_numbers_by_hand_and_in_batches(
    regressor: tuple[Path, Deployed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, deployed = regressor
    (tmp_path / "new.csv").write_text(NEW, "utf-8")
    expected = deployed(NUMERIC, CODES).numpy()
    for batch in (8192, 2, 1):
        monkeypatch.setattr(_predict, "_BATCH", batch)
        predict(folder, tmp_path / "new.csv", tmp_path / "out.csv", na=["?"])
        found = pd.read_csv(tmp_path / "out.csv")
        assert found.columns.tolist() == ["prediction"]
        np.testing.assert_allclose(found["prediction"], expected, rtol=1e-6)


def test_parquet_and_csv_agree(classifier: tuple[Path, Deployed], tmp_path: Path) -> None:
    folder, _ = classifier
    frame = pd.DataFrame(
        {
            "größe": [1.5, 2.0, None],
            "ward": pd.Categorical(["b", None, "a"]),
            "seen": pd.to_datetime(["2024-01-03", None, "2024-02-01"]),
            "code": [1, 2, 2],  # numbers here, text in training
        }
    )
    frame.to_parquet(tmp_path / "new.parquet")
    frame.to_csv(tmp_path / "new.csv", index=False)
    outputs = []
    for name in ("new.parquet", "new.csv"):
        predict(folder, tmp_path / name, tmp_path / "out.csv")
        outputs.append((tmp_path / "out.csv").read_bytes())
    assert outputs[0] == outputs[1]
    frame["code"] = ["other"] * 3
    frame.to_csv(tmp_path / "new.csv", index=False)
    predict(folder, tmp_path / "new.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() != outputs[0]


def test_refused(classifier: tuple[Path, Deployed], tmp_path: Path) -> None:
    folder, _ = classifier
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"
    new.write_text("größe,y,seen\n1,no,2024-01-01\n", "utf-8")
    with pytest.raises(InvalidInput, match="Missing: `ward`, `code`; there are `größe`, `y`, `s"):
        predict(folder, new, out)
    new.write_text("größe,ward,seen,code\n1,a,2024-01-01,1\ntall,a,2024-01-01,1\n", "utf-8")
    with pytest.raises(InvalidInput, match=r"`größe` should be numbers.*--na.*row 2.*'tall'"):
        predict(folder, new, out)
    new.write_text("größe,ward,seen,code\n1,a,soon,1\n", "utf-8")
    with pytest.raises(InvalidInput, match=r"`seen` should be dates.*row 1.*'soon'"):
        predict(folder, new, out)
    assert not out.exists()
    new.write_text(NEW.replace("?", ""), "utf-8")
    with pytest.raises(DidactError, match="Cannot write"):
        predict(folder, new, tmp_path / "no" / "out.csv")


def test_refused_arguments(classifier: tuple[Path, Deployed], tmp_path: Path) -> None:
    folder, _ = classifier
    new = tmp_path / "new.csv"
    new.write_text(NEW.replace("?", ""), "utf-8")
    before = new.read_bytes()
    with pytest.raises(InvalidInput, match=r"`out` should be a \.csv file.*out\.parquet"):
        predict(folder, new, tmp_path / "out.parquet")
    (tmp_path / "same.csv").symlink_to(new)
    for out in (new, tmp_path / "." / "new.csv", tmp_path / "same.csv"):
        with pytest.raises(InvalidInput, match="`out` should be another file than the data"):
            predict(folder, new, out)
    with pytest.raises(InvalidInput, match="`na` should be a list of strings"):
        predict(folder, new, tmp_path / "out.csv", na="none")
    with pytest.raises(InvalidInput, match=r"holds no finished fit: `schema\.json` is missing"):
        predict(tmp_path, new, tmp_path / "out.csv")
    (tmp_path / "schema.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"holds no finished fit: `student\.pt2` is missing"):
        predict(tmp_path, new, tmp_path / "out.csv")
    assert new.read_bytes() == before
    assert not (tmp_path / "out.csv").exists()
