"""Tensors of torch: memory that several see, gradients, and what can't be kept, which is reported."""

import pytest

pytest.importorskip("torch")
pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]  # importing torch takes seconds

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"


async def lost_of(session):
    """Return what the session's latest partial checkpoint could not save."""
    lost = [event.lost async for event in session.events() if event.kind == "checkpoint.partial"]
    return lost[-1] if lost else {}


async def restored(session, make, check):
    """Run a cell, kill the process, and return what the check gives."""
    outcome = await session.run(f"import torch\n{make}", timeout=60)
    assert outcome.ok, outcome.error
    await session.run(KILL)
    outcome = await session.run(check, timeout=60)
    assert outcome.ok, outcome.error
    return outcome.value


CASES = {
    "views": (
        "base = torch.zeros(6); row = base[2:4]; also = base.view(2, 3); turned = also.t(); storage = base.untyped_storage()",
        "row[0] = 5\nbase[2].item(), also[0, 2].item(), turned[2, 0].item(), storage.data_ptr() == base.data_ptr()",
        (5, 5, 5, True),
    ),
    "a state dict": (
        "module = torch.nn.Linear(2, 1, bias=False); state = module.state_dict()",
        "with torch.no_grad(): module.weight.fill_(9)\nstate['weight'].tolist(), type(module.weight) is torch.nn.Parameter, module.weight.requires_grad",
        ([[9, 9]], True, True),
    ),
    "arrays": (
        "import numpy as np\na = np.zeros(8); t = torch.from_numpy(a); part = torch.from_numpy(a[2:5]); b = torch.zeros(5); n = b.numpy(); m = b[1:3].numpy()",
        "a[0] = 4; a[3] = 7; b[1] = 3\nt[0].item(), part[1].item(), n[1].item(), m[0].item()",
        (4, 7, 3, 3),
    ),
    "gradients and optimizers": (
        "w = torch.nn.Parameter(torch.ones(3)); o = torch.optim.SGD([w], lr=1.0, momentum=0.5); s = torch.optim.lr_scheduler.StepLR(o, 1, 0.1); (w * 2).sum().backward(); grad = w.grad",
        "o.step(); s.step()\nw.tolist(), w.grad is grad, o.param_groups[0]['params'][0] is w, [round(each, 3) for each in s.get_last_lr()]",
        ([-1, -1, -1], True, True, [0.1]),
    ),
    "tied weights and Adam": (
        "class Net(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.a = torch.nn.Linear(3, 3, bias=False); self.b = torch.nn.Linear(3, 3, bias=False); self.b.weight = self.a.weight; self.register_buffer('seen', torch.zeros(1))\n"
        "    def forward(self, x): self.seen += 1; return self.b(self.a(x)) * scale\n"
        "scale = 1; net = Net(); o = torch.optim.Adam(net.parameters(), lr=0.1); calls = []; net.register_forward_hook(lambda *_: calls.append(1))\n"
        "for _ in range(2): o.zero_grad(); net(torch.ones(1, 3)).sum().backward(); o.step()",
        "scale = 2; o.zero_grad(); net(torch.ones(1, 3)).sum().backward(); o.step()\nnet.a.weight is net.b.weight, int(o.state[net.a.weight]['step']), net.seen.item(), len(calls)",
        (True, 3, 3, 3),
    ),
    "kinds": (
        "class T(torch.Tensor):\n    def hi(self): return 'hi'\n"
        "t = torch.ones(2).as_subclass(T); t.note = 'n'; part = t[:1]; half = torch.ones(3, dtype=torch.bfloat16); c = torch.tensor([1 + 2j]).conj(); sparse = torch.eye(3).to_sparse(); empty = torch.empty(0, 3); stepped = torch.arange(12.0).view(3, 4)[:, ::2]; wide = torch.ones(1).expand(4); buffer = torch.nn.Buffer(torch.ones(1)); g = torch.Generator().manual_seed(3)",
        "t[0] = 8; part[0].item(), t.hi(), t.note, type(t) is T, str(half.dtype), c[0].item() == 1 - 2j, sparse.to_dense().sum().item(), empty.shape == (0, 3), stepped.tolist()[1], wide.stride() == (0,), isinstance(buffer, torch.nn.Buffer), torch.rand(1, generator=g).item() == torch.rand(1, generator=torch.Generator().manual_seed(3)).item(), torch.ones(2).resize_(3).shape == (3,)",
        (8, "hi", "n", True, "torch.bfloat16", True, 3, True, [4, 6], True, True, True, True),
    ),
}


@pytest.mark.parametrize(("make", "check", "expected"), CASES.values(), ids=CASES.keys())
async def test_tensors_share_what_they_shared(session, make, check, expected):
    assert await restored(session, make, check) == expected
    assert await lost_of(session) == {}


async def test_an_autograd_graph_is_reported_and_the_values_are_kept(session):
    make = (
        "w = torch.nn.Parameter(torch.ones(2)); loss = (w ** 2).sum(); history = [loss.item()]; both = {'loss': loss}"
    )

    assert await restored(session, make, "loss.item(), loss.requires_grad, both['loss'] is loss, w.tolist()") == (
        2,
        False,
        True,
        [1, 1],
    )
    told, *_ = [event.lost async for event in session.events() if event.kind == "checkpoint.partial"]
    assert told.keys() == {"loss", "both"}
    [notes] = [event.notes async for event in session.events() if event.kind == "session.restored"]
    assert [note.partition(": a tensor's autograd graph")[0] for note in sorted(notes)] == ["both", "loss"]


async def test_of_large_weights_that_stand_still_nothing_is_stored_again(session, cluster):
    await session.run("import torch; module = torch.nn.Linear(1000, 1000)", timeout=60)
    redis, key = cluster._link.redis, cluster._link.keys.blobs(session.id)
    before = set(await redis.hkeys(key))
    await session.run("with torch.no_grad(): module.bias[0] = 1.0")

    assert len(set(await redis.hkeys(key)) - before) <= 2  # of nine
