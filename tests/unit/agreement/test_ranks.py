"""Two processes are one."""

import socket
from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from didact import InvalidInput
from didact.agreement import agreement, environment_backward

OF = torch.tensor([0, 0, 1, 1, 1, 2, 5, 5, 6, 6, 6, 6])
PARTS = (slice(0, 6), slice(6, 12))  # three environments here, two there


def _made() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    return model, torch.randn(12, 4).double(), torch.randn(12, 3).double()


def _train(rank: int, port: int, out: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    model, x, y = _made()
    model = DistributedDataParallel(model)
    part = PARTS[rank]
    with agreement(model, environments=OF[part], threshold=0.6) as found:
        F.mse_loss(model(x[part]), y[part]).backward()
    grads = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    torch.save((grads, found.environments), f"{out}/{rank}.pt")
    split = torch.tensor([0, 0, 1, 1, 2, 2])  # in both processes
    model.zero_grad()
    try:
        with agreement(model, environments=split):
            model(x[part])
    except InvalidInput as error:
        Path(out, f"{rank}.txt").write_text(str(error))
    each = [F.mse_loss(model(x[part][OF[part] == e]), y[part][OF[part] == e])
            for e in OF[part].unique()]  # fmt: skip
    again = environment_backward(each, model, threshold=0.6)
    torch.save(
        ({n.removeprefix("module."): p.grad for n, p in model.named_parameters()},
         again.environments),
        f"{out}/each-{rank}.pt",
    )  # fmt: skip
    model.zero_grad()
    refused = []
    for of, wrapped in ((torch.full((6,), rank) if rank else OF[part], model), (OF[part], None)):
        try:
            with agreement(wrapped or model.module, environments=of):
                model(x[part])
        except InvalidInput as error:
            refused.append(str(error))
    Path(out, f"refused-{rank}.txt").write_text("\n".join(refused))
    torch.distributed.destroy_process_group()


def test_two_processes_are_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_train, (port, str(tmp_path)), nprocs=2)
    model, x, y = _made()
    with agreement(model, environments=OF, threshold=0.6):
        F.mse_loss(model(x), y).backward()
    for rank in (0, 1):
        grads, environments = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert environments == 5
        for name, p in model.named_parameters():
            torch.testing.assert_close(grads[name], p.grad)
        each, environments = torch.load(tmp_path / f"each-{rank}.pt", weights_only=True)
        assert environments == 5
        for name, p in model.named_parameters():
            torch.testing.assert_close(each[name], p.grad)
        alone, within = (tmp_path / f"refused-{rank}.txt").read_text().splitlines()
        assert alone.startswith(
            "Parameter `environments` should be at least two different" if rank else "Another"
        )
        assert "the DistributedDataParallel that is called" in within
        said = (tmp_path / f"{rank}.txt").read_text()
        assert said.startswith("Environments should be whole in one process. Found number 0")
