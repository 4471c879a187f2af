"""torch on the CPU: modules, their dictionaries of state, optimizers, hooks and data sets of cells."""

from .case import read

CASES = read(
    "torch modules",
    r"""
== a dictionary of state
import torch
m = torch.nn.Linear(2, 1, bias=False); sd = m.state_dict()
--
with torch.no_grad(): m.weight.fill_(9)
assert sd["weight"].tolist() == [[9.0, 9.0]], "the state dict is a copy now"
== tied weights and their optimizer
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__(); self.a = torch.nn.Linear(3, 3, bias=False); self.b = torch.nn.Linear(3, 3, bias=False); self.b.weight = self.a.weight
    def forward(self, x): return self.b(self.a(x)) * scale
scale = 1; net = Net(); opt = torch.optim.Adam(net.parameters(), lr=.1)
for _ in range(2): opt.zero_grad(); net(torch.ones(1, 3)).sum().backward(); opt.step()
--
assert net.a.weight is net.b.weight and opt.param_groups[0]["params"][0] is net.a.weight and len(list(net.parameters())) == 1
opt.zero_grad(); net(torch.ones(1, 3)).sum().backward(); opt.step(); assert int(opt.state[net.a.weight]["step"]) == 3
== hooks, buffers and the default type
import torch
m = torch.nn.Linear(2, 2); seen = []; handle = m.register_forward_hook(lambda mod, i, o: seen.append(1)); m.register_buffer("b", torch.arange(3)); default = torch.get_default_dtype(); torch.set_default_dtype(torch.float64)
--
m.double()(torch.ones(1, 2)); assert seen == [1] and m.b.tolist() == [0, 1, 2]
assert torch.tensor(1.0).dtype == torch.float64, "default dtype"
handle.remove(); m(torch.ones(1, 2)); assert seen == [1], "the handle is not the hook's"
== a sequence of modules, in training
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)); net.eval(); x = torch.ones(2, 4); y = net(x).detach()
--
assert not net.training and torch.equal(net(x), y) and isinstance(net[1], nn.BatchNorm1d) and net[1].num_batches_tracked == 0
== an optimizer with a schedule
import torch
w = torch.nn.Parameter(torch.ones(1)); opt = torch.optim.SGD([w], lr=1.0, momentum=0.9); schedule = torch.optim.lr_scheduler.StepLR(opt, step_size=1, gamma=0.5); w.grad = torch.ones(1); opt.step(); schedule.step()
--
assert schedule.optimizer is opt and schedule.get_last_lr() == [0.5] and torch.equal(opt.state[w]["momentum_buffer"], torch.ones(1))
w.grad = torch.ones(1); opt.step(); schedule.step(); assert abs(w.item() - (0 - 0.5 * 1.9)) < 1e-6 and schedule.get_last_lr() == [0.25]
== data sets and loaders of cells
import torch
from torch.utils.data import DataLoader, Dataset
class Squares(Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return torch.tensor(float(i * i))
data = Squares(); loader = DataLoader(data, batch_size=2, collate_fn=lambda items: torch.stack(items) + 1)
--
assert [b.tolist() for b in loader] == [[1, 2], [5, 10]] and loader.dataset is data
== lists and dictionaries of modules and parameters
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__(); self.layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(2)]); self.heads = nn.ModuleDict({"a": nn.Linear(1, 1)}); self.scales = nn.ParameterList([nn.Parameter(torch.ones(1))]); self.note = ["n"]
net = Net(); first = net.layers[0]; names = [n for n, _ in net.named_parameters()]
--
assert net.layers[0] is first and [n for n, _ in net.named_parameters()] == names and net.note == ["n"] and net.scales[0].requires_grad
== a module that is in two others
import torch
from torch import nn
shared = nn.Linear(2, 2); a, b = nn.Sequential(shared), nn.Sequential(shared, nn.ReLU()); ema = {k: v.clone() for k, v in a.state_dict().items()}
--
assert a[0] is shared is b[0] and ema["0.weight"] is not shared.weight and torch.equal(ema["0.weight"], shared.weight)
== frozen parts and gradients of modules
import torch
from torch import nn
net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)); net[0].requires_grad_(False); net(torch.ones(1, 2)).sum().backward(); grads = [p.grad for p in net.parameters()]
--
assert grads[0] is None and net[0].weight.grad is None and net[1].weight.grad is grads[2] and not net[0].weight.requires_grad
== parametrized modules [or loses: layer]
import torch
from torch import nn
from torch.nn.utils import parametrize
class Symmetric(nn.Module):
    def forward(self, x): return x.triu() + x.triu(1).transpose(-1, -2)
layer = nn.Linear(3, 3); parametrize.register_parametrization(layer, "weight", Symmetric()); kept = Symmetric()
--
assert torch.allclose(layer.weight, layer.weight.T) and parametrize.is_parametrized(layer) and type(layer.parametrizations.weight[0]) is Symmetric
-- told
assert kept(torch.ones(2, 2)).tolist() == [[1, 1], [1, 1]]
== a script [or loses: scripted]
import torch
class Add(torch.nn.Module):
    def __init__(self): super().__init__(); self.n = torch.nn.Parameter(torch.ones(1))
    def forward(self, x): return x + self.n
scripted = torch.jit.trace(Add(), torch.zeros(1)); kept = Add()
--
assert scripted(torch.ones(1)).item() == 2 and kept(torch.ones(1)).item() == 2
-- told
assert kept(torch.ones(1)).item() == 2
== transformed functions
import torch
def f(x): return (x ** 2).sum()
grad = torch.func.grad(f); many = torch.vmap(f)
--
assert grad(torch.tensor([1.0, 2.0])).tolist() == [2, 4] and many(torch.ones(2, 3)).tolist() == [3, 3]
== a checkpoint in a file of the workspace
import torch
net = torch.nn.Linear(1, 1); torch.save(net.state_dict(), "net.pt")
--
again = torch.nn.Linear(1, 1); again.load_state_dict(torch.load("net.pt")); assert torch.equal(again.weight, net.weight)
""",
    is_preloaded=True,
)
