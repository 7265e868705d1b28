"""The DDPM UNet in PyTorch, as a peer that bench/unet.ts drives over standard input.

    torch_unet.py '{"batch", "threads", "device", "dtype", "network", "variant", "evaluations"}'

Each line is a job ("forward", "step", "sampling") and a count; the answer is the seconds of one run (of one evaluation when
sampling). "memory" answers with the peak bytes: resident on the CPU, allocated on a GPU; "check" with the relative errors of
prediction and gradients (bench/peers/reference.ts). Variants:

    contiguous, channels_last   eager, in that layout
    graph                       channels_last, torch.compile without its own graphs, the whole job captured as one CUDA graph
    compile                     channels_last, torch.compile's max-autotune, which captures graphs by itself

In bf16 weights and arithmetic are bf16 with float32 masters in variants that end in "weights", else float32 under autocast.
Data stays on the GPU; AdamW is fused, clipping and averaging run over lists.
"""

import contextlib
import copy
import json
import pathlib
import resource
import struct
import sys
import time

import torch
from torch.nn import functional as F
from torch_model import UNet

GIVEN = json.loads(sys.argv[1])
BATCH, DEVICE, VARIANT, NETWORK = (GIVEN[name] for name in ("batch", "device", "variant", "network"))
CUDA, BF16 = DEVICE.startswith("cuda"), GIVEN["dtype"] == "bf16"
WHOLE_GRAPH = CUDA and VARIANT.startswith("graph")
COMPILED = VARIANT.startswith(("graph", "compile"))
WEIGHTS = BF16 and VARIANT.endswith("weights")

torch.set_num_threads(GIVEN["threads"])
torch.manual_seed(0)
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
if CUDA:
    torch.cuda.set_stream(torch.cuda.Stream())  # no graph can be captured on the default stream

model = UNet(NETWORK).to(DEVICE, torch.bfloat16 if WEIGHTS else torch.float32)
images = torch.randint(0, 256, (BATCH, 3, NETWORK["size"], NETWORK["size"]), dtype=torch.uint8, device=DEVICE)
if VARIANT != "contiguous":
    model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
mode = "max-autotune" if VARIANT.startswith("compile") else "max-autotune-no-cudagraphs"
network = torch.compile(model, mode=mode, fullgraph=True) if COMPILED else model
betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
alphas = torch.cumprod(1 - betas, 0)
signal, noise_level = alphas.sqrt().float().to(DEVICE), (1 - alphas).sqrt().float().to(DEVICE)


def autocast():
    return torch.autocast(DEVICE.split(":")[0], torch.bfloat16) if BF16 and not WEIGHTS else contextlib.nullcontext()


def predict(x, t):
    with autocast():
        return network(x.to(torch.bfloat16) if WEIGHTS else x, t)


def make_forward():
    model.eval()
    x = images.float() / 127.5 - 1
    t = torch.randint(0, 1000, (BATCH,), device=DEVICE)

    def forward():
        with torch.no_grad():
            predict(x, t)

    return forward


def make_step():
    model.train()
    parameters = list(model.parameters())
    masters = [torch.nn.Parameter(one.detach().float()) for one in parameters] if WEIGHTS else parameters
    average = [one.detach().clone() for one in masters]
    optimizer = torch.optim.AdamW(masters, lr=2e-4, fused=True, capturable=CUDA)

    def step():
        t = torch.randint(0, 1000, (BATCH,), device=DEVICE)
        x0 = images.float() / 127.5 - 1
        epsilon = torch.randn_like(x0)
        xt = signal[t][:, None, None, None] * x0 + noise_level[t][:, None, None, None] * epsilon
        loss = F.mse_loss(predict(xt, t).float(), epsilon)
        model.zero_grad(set_to_none=True)
        loss.backward()
        if WEIGHTS:
            for master, one in zip(masters, parameters):
                master.grad = one.grad.float()
        torch.nn.utils.clip_grad_norm_(masters, 1.0, foreach=True)
        optimizer.step()
        torch._foreach_lerp_(average, masters, 1e-4)
        if WEIGHTS:
            with torch.no_grad():
                torch._foreach_copy_(parameters, masters)
        return loss

    return step


def make_sampling():
    """One evaluation and one reverse step; t stands still, which costs the same."""
    model.eval()
    x = torch.randn_like(images, dtype=torch.float32)
    t = torch.full((BATCH,), 500, device=DEVICE)
    beta, at, before = (float(one[index]) for one, index in ((betas, 500), (alphas, 500), (alphas, 499)))

    def reverse(x, epsilon):
        x0 = ((x - (1 - at) ** 0.5 * epsilon) / at**0.5).clamp(-1, 1)
        mean = (before**0.5 * beta * x0 + (1 - beta) ** 0.5 * (1 - before) * x) / (1 - at)
        return mean + ((1 - before) / (1 - at) * beta) ** 0.5 * torch.randn_like(x)

    fused = torch.compile(reverse, mode="max-autotune-no-cudagraphs") if COMPILED else reverse

    def evaluation():
        with torch.no_grad():
            x.copy_(fused(x, predict(x, t).float()))

    return evaluation


def load_reference(folder):
    content = (folder / "diffusion_pytorch_model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    with torch.no_grad():
        for name, parameter in model.named_as_diffusers():
            begin, end = header[name]["data_offsets"]
            values = torch.frombuffer(bytearray(content[8 + length + begin : 8 + length + end]), dtype=torch.float32)
            parameter.copy_(values.view(parameter.shape))


def check():
    """Relative errors of the prediction and of the norms of the gradients."""
    folder, size = pathlib.Path(GIVEN["reference"]), NETWORK["size"]
    load_reference(folder)
    floats = lambda name: torch.frombuffer(bytearray((folder / name).read_bytes()), dtype=torch.float32)
    error = lambda value, expected: ((value - expected).norm() / expected.norm()).item()
    steps = torch.frombuffer(bytearray((folder / "steps.i32").read_bytes()), dtype=torch.int32)
    x = floats("input.f32").view(-1, size, size, 3).permute(0, 3, 1, 2)
    model.eval().zero_grad(set_to_none=True)
    with autocast():
        prediction = model(x.to(DEVICE, next(model.parameters()).dtype), steps.to(DEVICE)).float()
    prediction.square().mean().backward()
    expected = json.loads((folder / "gradients.json").read_text())
    norms = torch.tensor([parameter.grad.float().norm().item() for _, parameter in model.named_as_diffusers()])
    names = [name for name, _ in model.named_as_diffusers()]
    assert sorted(names) == sorted(expected)
    return (
        error(prediction.detach().permute(0, 2, 3, 1).flatten().cpu(), floats("prediction.f32")),
        error(norms, torch.tensor([expected[name] for name in names])),
    )


def captured(run):
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        run()
    return graph.replay


def main():
    made = {}
    makers = {"forward": make_forward, "step": make_step, "sampling": make_sampling}
    parameters = sum(p.numel() for p in model.parameters())
    print(f"ready {torch.__version__} {parameters}", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(torch.cuda.max_memory_allocated() if CUDA else host, flush=True)
            continue
        if line.strip() == "check":
            print(*check(), flush=True)
            continue
        job, count = line.split()
        if job not in made:  # with its first run, so that a job alone is charged for what it needs
            made[job] = captured(makers[job]()) if WHOLE_GRAPH else makers[job]()
        runs = int(count) * (GIVEN["evaluations"] if job == "sampling" else 1)
        start = time.perf_counter()
        for _ in range(runs):
            if CUDA and VARIANT.startswith("compile"):
                torch.compiler.cudagraph_mark_step_begin()
            result = made[job]()
            if job == "step" and not WHOLE_GRAPH:
                result.item()
        if CUDA:
            torch.cuda.synchronize()
        print((time.perf_counter() - start) / runs, flush=True)


main()
