"""One module of one tensor as ONNX."""

from pathlib import Path

import onnxruntime
import torch
from torch import nn

from didact.export import save_tensor_onnx


def test_the_module_is_left_as_it_is_and_written_as_it_is_deployed(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    x = torch.rand(5, 3, generator=generator)
    net(x)  # statistics other than the first
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net[3].eval()
    modes = [module.training for module in net.modules()]
    save_tensor_onnx(net, x, tmp_path / "net.onnx", input="state", output="next")
    assert [module.training for module in net.modules()] == modes
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    with torch.no_grad():
        expected = net.eval()(x[:2])
    (found,) = session.run(["next"], {"state": x[:2].numpy()})
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5)
