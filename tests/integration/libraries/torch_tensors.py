"""torch on the CPU: tensors that share storages, gradients, generators, and what the library keeps for the process."""

from .case import read

CASES = read(
    "torch tensors",
    r"""
== a gradient
import torch
w = torch.nn.Parameter(torch.ones(3)); opt = torch.optim.SGD([w], lr=1.0); (w * 2).sum().backward()
--
opt.step()
assert w.tolist() == [-1.0, -1.0, -1.0], f"the step had no gradient: {w.tolist()}"
== a graph [tells: loss]
import torch
w = torch.nn.Parameter(torch.ones(2)); loss = (w ** 2).sum(); kept = [1]
--
assert loss.item() == 2.0 and kept == [1] and w.tolist() == [1.0, 1.0] and w.requires_grad
== a graph in containers and objects [tells: history, run]
import torch
w = torch.ones(2, requires_grad=True)
class Run:
    def __init__(self, loss): self.loss = loss
history = [1, (w * 3).sum()]; run = Run((w * 2).sum()); plain = [w.detach(), 5]
--
assert history[1].item() == 6.0 and run.loss.item() == 4.0 and plain[0].tolist() == [1.0, 1.0] and plain[1] == 5 and w.requires_grad and callable(Run)
== views
import torch
base = torch.zeros(6); row = base[2:4]; also = base.view(2, 3)
--
row[0] = 5
assert base[2] == 5 and also[0, 2] == 5, "views are copies now"
== from NumPy, and to it
import torch, numpy as np
a = np.zeros(3); t = torch.from_numpy(a)
--
a[0] = 4
assert t[0] == 4, "the tensor is a copy now"
== an array of a tensor
import torch
t = torch.zeros(3); a = t.numpy(); part = a[1:]
--
t[1] = 4
assert a[1] == 4 and part[0] == 4, "the array is a copy now"
== the global generator
import torch
torch.manual_seed(5); first = torch.rand(2); g = torch.Generator(); g.manual_seed(5); torch.rand(2, generator=g); want = torch.rand(2, generator=g).tolist()
--
assert torch.rand(2).tolist() == want, "the generator does not go on where it was"
== a generator of one's own
import torch
g = torch.Generator(); g.manual_seed(3); torch.rand(1, generator=g); h = torch.Generator(); h.set_state(g.get_state()); want = torch.rand(2, generator=h).tolist(); del h
--
assert torch.rand(2, generator=g).tolist() == want
== a subclass of tensors
import torch
class T(torch.Tensor):
    def hi(self): return "hi"
t = torch.ones(2).as_subclass(T); t.note = "n"
def helper(): return 42
--
assert helper() == 42 and t.hi() == "hi" and type(t) is T and t.note == "n"
== strides, transposes, expansions and offsets
import torch
base = torch.arange(12.0).reshape(3, 4); turned = base.t(); wide = torch.ones(3, 1).expand(3, 4); step = base[:, ::2]; last = base[-1]
--
base[0, 2] = 100; last[0] = 200
assert turned[2, 0] == 100 and step[0, 1] == 100 and base[2, 0] == 200 and wide.stride() == (1, 0) and not turned.is_contiguous()
== a storage that several tensors own
import torch
a = torch.zeros(4); s = a.untyped_storage(); b = torch.empty(0).set_(a.storage(), 1, (2,)) if hasattr(a, "storage") else a[1:3]; pair = {"a": a, "b": b}; del s
--
a[1] = 7
assert b[0] == 7 and pair["a"] is a and pair["b"] is b
== all kinds of numbers
import torch
kinds = [torch.tensor([1, 2], dtype=d) for d in (torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64)]; scalar = torch.tensor(3.5); empty = torch.empty(0, 3); size = torch.Size([2, 3]); dtype = torch.bfloat16; device = torch.device("cpu")
--
assert [k.dtype for k in kinds] == [torch.uint8, torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64] and scalar.item() == 3.5 and empty.shape == (0, 3) and size.numel() == 6 and type(size) is torch.Size and dtype is torch.bfloat16 and device.type == "cpu"
== sparse tensors
import torch
coo = torch.sparse_coo_tensor([[0, 1], [1, 0]], [3.0, 4.0], (2, 2)); csr = coo.to_dense().to_sparse_csr()
--
assert coo.to_dense().tolist() == [[0, 3], [4, 0]] and csr.to_dense().tolist() == [[0, 3], [4, 0]] and coo.is_sparse
== leaves with gradients, hooks and versions
import torch
w = torch.zeros(2, requires_grad=True); seen = []; handle = w.register_hook(lambda g: seen.append(g.sum().item())); (w.sum() * 3).backward(); grad = w.grad
--
assert grad is w.grad and w.grad.tolist() == [3, 3] and w.is_leaf and seen == [6.0]
(w.sum()).backward()
assert w.grad.tolist() == [4, 4] and seen == [6.0, 2.0], seen
== what torch keeps for the process
import torch
torch.set_default_dtype(torch.float64); torch.set_printoptions(precision=2); torch.use_deterministic_algorithms(True); torch.set_grad_enabled(False); torch.set_num_threads(3)
--
assert torch.tensor(1.0).dtype == torch.float64, "default dtype"
assert torch.are_deterministic_algorithms_enabled(), "deterministic algorithms"
assert repr(torch.tensor(1.23456)) == "tensor(1.23)", "print options"
assert torch.get_num_threads() == 3, "threads"
== distributions
import torch
from torch import distributions as D
normal = D.Normal(torch.tensor(0.0), torch.tensor(1.0)); mix = D.MixtureSameFamily(D.Categorical(torch.ones(2)), D.Normal(torch.zeros(2), torch.ones(2)))
--
assert abs(normal.log_prob(torch.tensor(0.0)).item() + 0.9189) < 1e-3 and mix.sample().shape == ()
== tensors as keys, in sets and in cycles
import torch
a, b = torch.ones(1), torch.zeros(1); table = {a: "a", b: "b"}; seen = {a}; ring = [a]; ring.append(ring)
--
assert table[a] == "a" and table[b] == "b" and a in seen and ring[1] is ring and ring[0] is a
== a function of autograd
import torch
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x * 2
    @staticmethod
    def backward(ctx, g): return g * factor
factor = 3
double = Double.apply
--
x = torch.ones(2, requires_grad=True); double(x).sum().backward()
assert x.grad.tolist() == [3, 3]
factor = 4; y = torch.ones(1, requires_grad=True); Double.apply(y).backward(); assert y.grad.item() == 4
== a class that computes with a large tensor when it is saved and restored
import torch
class Scaled:
    def __init__(self, values): self.values = values
    def __getstate__(self): return (self.values * 2,)
    def __setstate__(self, state): self.values = state[0] / 2
scaled = Scaled(torch.ones(2_000_000)); total = scaled.values.sum()
--
assert torch.equal(scaled.values, torch.ones(2_000_000)) and scaled.values.sum() == total
== a large tensor that changes a little
import torch
big = torch.zeros(2_000_000); part = big[-5:]
++
big[7] = 1; part[0] = 2
--
assert big.sum() == 3 and big[-5] == 2
part[1] = 5; assert big[-4] == 5
""",
    is_preloaded=True,
)
