"""Single operations in PyTorch, as a peer that bench/suites/kernels.ts drives over standard input.

    torch_kernels.py <device> <f32 | bf16> <repeats> <threads>

Each line is one operation as JSON (bench/kernelSpecs.ts) with `milliseconds` and `batches`; the answer is its seconds, one number
a batch. The same line again times the same operands.
As strong as PyTorch is: channels_last, cuDNN's search for the fastest algorithm, torch.compile for what it can fuse, and on a
GPU `repeats` runs in one CUDA graph, timed by events.
"""

import json
import math
import sys
import time

import torch
from torch.nn import functional as F

DEVICE, REPEATS = sys.argv[1], int(sys.argv[3])
DTYPE = {"f32": torch.float32, "bf16": torch.bfloat16}[sys.argv[2]]
CUDA = DEVICE.startswith("cuda")
torch.set_num_threads(int(sys.argv[4]))
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False


def random(*shape, dtype=DTYPE):
    return torch.randn(shape, device=DEVICE, dtype=torch.float32).to(dtype)


def images(n, channels, size):
    return random(n, channels, size, size).contiguous(memory_format=torch.channels_last)


def fused(function):
    """One kernel where the compiler can; on the CPU the operations one by one."""
    return torch.compile(function, fullgraph=True, mode="max-autotune-no-cudagraphs") if CUDA else function


def conv(spec):
    n, size, cin, cout, stride = (spec[name] for name in ("n", "size", "cin", "cout", "stride"))
    pad, upsample = spec["filter"] // 2, spec["upsample"]
    x = images(n, cin, size)
    weight = random(cout, cin, spec["filter"], spec["filter"]).contiguous(memory_format=torch.channels_last)
    bias = random(cout)

    def enlarge(x):
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if upsample else x

    if spec["pass"] == "forward":
        run = lambda: F.conv2d(enlarge(x), weight, bias, stride, pad)
        return fused(run) if upsample else run
    enlarged = enlarge(x)
    dy = torch.randn_like(F.conv2d(enlarged, weight, bias, stride, pad))
    mask = [True, False, False] if spec["pass"] == "data" else [False, True, True]

    def backward():
        given = enlarged if spec["pass"] == "data" else enlarge(x)
        sizes = ([cout], [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], 1)
        dx, dweight, dbias = torch.ops.aten.convolution_backward(dy, given, weight, *sizes, mask)
        if upsample and dx is not None:
            dx = 4 * F.avg_pool2d(dx, 2)
        return dx, dweight, dbias

    return backward


def attention(spec):
    n, tokens, heads = spec["n"], spec["tokens"], spec["heads"]
    backward = spec["pass"] == "backward"
    q, k, v = (random(n, heads, tokens, spec["channels"] // heads).requires_grad_(backward) for _ in range(3))
    if not backward:
        return lambda: F.scaled_dot_product_attention(q, k, v)
    y = F.scaled_dot_product_attention(q, k, v)
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)


def group_norm(spec):
    x = images(spec["n"], spec["channels"], math.isqrt(spec["pixels"]))
    gamma, beta = random(spec["channels"]), random(spec["channels"])

    def forward(x, gamma, beta):
        y = F.group_norm(x, spec["groups"], gamma, beta)
        return F.silu(y) if spec["silu"] else y

    if spec["pass"] == "forward":
        compiled = fused(forward)
        return lambda: compiled(x, gamma, beta)
    leaves = [x.requires_grad_(), gamma.requires_grad_(), beta.requires_grad_()]
    y = fused(forward)(*leaves)
    dy = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, leaves, dy, retain_graph=True)


def schedule():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    alphas = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), alphas[:-1]])
    return [one.float().to(DEVICE) for one in (betas, alphas, before)]


def noising(spec):
    n, size = spec["n"], spec["size"]
    x0 = torch.randint(0, 256, (n, size, size, 3), device=DEVICE, dtype=torch.uint8)
    t = torch.randint(0, 1000, (n,), device=DEVICE)
    _, alphas, _ = schedule()

    @fused
    def run():
        x = x0.float() / 127.5 - 1
        x = torch.where(torch.rand(n, device=DEVICE)[:, None, None, None] < 0.5, x.flip(2), x)
        noise = torch.randn_like(x)
        at = alphas[t][:, None, None, None]
        return at.sqrt() * x + (1 - at).sqrt() * noise, noise

    return run


def reverse_step(spec):
    n, size = spec["n"], spec["size"]
    x, epsilon = (random(n, size, size, 3, dtype=torch.float32) for _ in range(2))
    t = torch.randint(0, 1000, (n,), device=DEVICE)
    betas, alphas, before = schedule()

    @fused
    def run():
        beta, at, previous = (one[t][:, None, None, None] for one in (betas, alphas, before))
        x0 = ((x - (1 - at).sqrt() * epsilon) / at.sqrt()).clamp(-1, 1)
        mean = (previous.sqrt() * beta * x0 + (1 - beta).sqrt() * (1 - previous) * x) / (1 - at)
        sigma = ((1 - previous) / (1 - at) * beta).sqrt()
        return mean + sigma * torch.randn_like(x), x0

    return run


def optimizer(spec):
    parameters = [torch.nn.Parameter(random(*shape, dtype=torch.float32)) for shape in spec["shapes"]]
    average = [one.detach().clone() for one in parameters]
    for one in parameters:
        one.grad = torch.randn_like(one) * 1e-4
    copies = [one.detach().to(DTYPE) for one in parameters] if DTYPE != torch.float32 else []
    adam = torch.optim.AdamW(parameters, lr=1e-4, fused=True, capturable=CUDA)

    def run():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        adam.step()
        torch._foreach_lerp_(average, parameters, 1e-4)
        if copies:
            torch._foreach_copy_(copies, parameters)

    return run


def gemm(spec):
    a, b = random(spec["n"], spec["n"]), random(spec["n"], spec["n"])
    return lambda: a @ b


def copy(spec):
    x, y = random(spec["n"]), torch.empty(spec["n"], device=DEVICE, dtype=DTYPE)
    return lambda: y.copy_(x)


KINDS = {
    "conv": conv,
    "attention": attention,
    "groupNorm": group_norm,
    "noising": noising,
    "reverseStep": reverse_step,
    "optimizer": optimizer,
    "gemm": gemm,
    "copy": copy,
}


def captured(run):
    """`REPEATS` runs as one CUDA graph, on the stream that the operands were made on."""
    for _ in range(3):
        run()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        for _ in range(REPEATS):
            run()
    return graph.replay


def batch_milliseconds(run, count):
    if not CUDA:
        start = time.perf_counter()
        for _ in range(count):
            run()
        return (time.perf_counter() - start) * 1e3
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(count):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


class Prepared:
    """An operation with its operands, and how many runs of it a batch has."""

    def __init__(self, spec):
        self.gradients = spec["kind"] in ("attention", "groupNorm") and spec["pass"] == "backward"
        with torch.set_grad_enabled(self.gradients):
            self.run = KINDS[spec["kind"]](spec)
            self.run()
            if CUDA:
                self.run = captured(self.run)
            self.count, taken = 1, batch_milliseconds(self.run, 1)
            while taken < spec["milliseconds"] and self.count < 4096:
                self.count = min(4096, int(self.count * min(8, max(1.5, spec["milliseconds"] / taken))) + 1)
                taken = batch_milliseconds(self.run, self.count)

    def measure(self, batches):
        runs = 1e3 * self.count * (REPEATS if CUDA else 1)
        with torch.set_grad_enabled(self.gradients):
            return [batch_milliseconds(self.run, self.count) / runs for _ in range(batches)]


def main():
    torch.manual_seed(0)
    name = torch.cuda.get_device_name() if CUDA else "cpu"
    cudnn = torch.backends.cudnn.version() if CUDA else None
    print(f"PyTorch {torch.__version__}, {name}, cuDNN {cudnn}", flush=True)
    if CUDA:  # no graph can be captured on the default stream
        torch.cuda.set_stream(torch.cuda.Stream())
    last, prepared = None, None
    for line in sys.stdin:
        try:
            spec = json.loads(line)
            if line != last:
                last, prepared = line, None
                prepared = Prepared(spec)
            print(*prepared.measure(spec["batches"]), flush=True)
        except Exception as error:  # one operation that PyTorch cannot run here must not end the comparison
            print(f"{line.strip()}: {error}", file=sys.stderr)
            print("nan", flush=True)


main()
