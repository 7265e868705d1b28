"""A UNet in PyTorch, as a peer that the benchmarks of whole networks drive over standard input.

    torch_unet.py '{"batch", "threads", "device", "dtype", "network", "variant", "reference"}'

Each line is a job ("forward", "step", "ddim-50", "ddpm-1000") and a count; the answer is the seconds of one run. "memory" answers with
the peak bytes: resident on the CPU, allocated on a GPU; "check step" with the relative errors (bench/peers/reference.ts). Variants:

    contiguous, channels_last   eager, in that layout
    graph                       channels_last, torch.compile without its own graphs, a run (of a sampling: an evaluation) as one CUDA graph
    compile                     channels_last, torch.compile's max-autotune, which captures graphs by itself

In bf16 weights and arithmetic are bf16 with float32 masters in variants that end in "weights", else float32 under autocast.
Data stays on the device; AdamW is fused, clipping and averaging run over lists.
"""

import contextlib
import json
import pathlib
import resource
import struct
import sys
import time

import torch
from torch_model import UNet
from torch_process import Loss, STEPS, Sampling

GIVEN = json.loads(sys.argv[1])
BATCH, DEVICE, VARIANT, NETWORK = GIVEN["batch"], GIVEN["device"], GIVEN["variant"], GIVEN["network"]["unet"]
LEARNED = GIVEN["network"]["variance"] == "learnedRange"
REFERENCE, CHANNELS, SIZE = pathlib.Path(GIVEN["reference"]), NETWORK.get("inChannels", 3), NETWORK["imageSize"]
CUDA, BF16 = DEVICE.startswith("cuda"), GIVEN["dtype"] == "bf16"
WHOLE_GRAPH = CUDA and VARIANT.startswith("graph")
COMPILED = VARIANT.startswith(("graph", "compile"))
WEIGHTS = BF16 and VARIANT.endswith("weights")

torch.set_num_threads(GIVEN["threads"])
torch.manual_seed(0)
torch.backends.cudnn.benchmark = True
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
if CUDA:
    import torch._inductor.config as inductor

    inductor.conv_1x1_as_mm = inductor.coordinate_descent_tuning = True
    torch.backends.cuda.enable_cudnn_sdp(True)
    torch.cuda.set_stream(torch.cuda.Stream())  # no graph can be captured on the default stream


def load_reference(model):
    content = (REFERENCE / "diffusion_pytorch_model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    with torch.no_grad():
        for name, parameter in model.named_as_diffusers():
            begin, end = header[name]["data_offsets"]
            values = torch.frombuffer(bytearray(content[8 + length + begin : 8 + length + end]), dtype=torch.float32)
            parameter.copy_(values.view(parameter.shape))


layout = torch.contiguous_format if VARIANT.startswith("contiguous") else torch.channels_last
model = UNet(NETWORK)
load_reference(model)
model = model.to(DEVICE, torch.bfloat16 if WEIGHTS else torch.float32).to(memory_format=layout)
mode = "max-autotune" if VARIANT.startswith("compile") else "max-autotune-no-cudagraphs"
network = torch.compile(model, mode=mode, fullgraph=True) if COMPILED else model


def images(batch, dtype):
    return torch.zeros((batch, CHANNELS, SIZE, SIZE), dtype=dtype, device=DEVICE).to(memory_format=layout)


def autocast():
    return torch.autocast(DEVICE.split(":")[0], torch.bfloat16) if BF16 and not WEIGHTS else contextlib.nullcontext()


def predict(x, t, run=network):
    with autocast():
        return run(x.to(torch.bfloat16) if WEIGHTS else x, t)


def make_forward():
    model.eval()
    x = images(BATCH, torch.float32).normal_()
    t = torch.randint(0, STEPS, (BATCH,), device=DEVICE)

    def forward():
        with torch.no_grad():
            predict(x, t)

    return forward


def make_step():
    model.train()
    pixels = images(BATCH, torch.uint8).random_(0, 256)
    criterion = Loss(DEVICE, LEARNED)
    parameters = list(model.parameters())
    masters = [torch.nn.Parameter(one.detach().float()) for one in parameters] if WEIGHTS else parameters
    average = [one.detach().clone() for one in masters]
    optimizer = torch.optim.AdamW(masters, lr=2e-4, fused=True, capturable=CUDA)

    def step():
        t = torch.randint(0, STEPS, (BATCH,), device=DEVICE)
        x0 = pixels.float() / 127.5 - 1
        epsilon = torch.randn_like(x0)
        xt = criterion.noised(x0, t, epsilon)
        loss = criterion(predict(xt, t).float(), x0, xt, t, epsilon)
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

    return step if WHOLE_GRAPH else lambda: step().item()


def make_sampling(method, evaluations):
    """A whole sampling: its evaluations are one CUDA graph each, or run one by one; the images end in host memory."""
    model.eval()
    sampling = Sampling(images(BATCH, torch.float32), method, evaluations, LEARNED)
    reverse = torch.compile(sampling.reverse, mode="max-autotune-no-cudagraphs") if COMPILED else sampling.reverse

    def evaluation():
        with torch.no_grad():
            sampling.advance(reverse, predict(sampling.x, sampling.timesteps()))

    run = captured(evaluation, sampling.begin) if WHOLE_GRAPH else evaluation

    def sample():
        sampling.begin()
        for _ in range(evaluations):
            if CUDA and VARIANT.startswith("compile"):
                torch.compiler.cudagraph_mark_step_begin()
            run()
        return sampling.x.cpu()

    return sample


def read(name, dtype):
    return torch.frombuffer(bytearray((REFERENCE / name).read_bytes()), dtype=dtype)


def error(value, expected):
    return ((value - expected).norm() / expected.norm()).item()


def check(job):
    """
    Relative errors of the prediction and, of a step, the norms of the gradients, of a sampling, its samples. What is compiled is compiled
    for one batch and mode: the two images of the reference fill a batch, and gradients are taken of the network as it is written.
    """
    floats = lambda name: read(name, torch.float32).view(2, SIZE, SIZE, -1)
    nhwc = lambda value: value.detach().float().permute(0, 2, 3, 1).cpu()
    load_reference(model)  # steps have changed the weights
    model.eval().zero_grad(set_to_none=True)
    rows = torch.arange(2 if job == "step" else BATCH) % 2
    x = floats("input.f32")[rows].permute(0, 3, 1, 2).to(DEVICE).to(memory_format=layout)
    steps = read("steps.i32", torch.int32)[rows].to(DEVICE, torch.int64)
    expected = floats("prediction.f32")[rows]
    if job == "step":
        prediction = predict(x, steps, model).float()
        prediction.square().mean().backward()
        norms = json.loads((REFERENCE / "gradients.json").read_text())
        own = {name: parameter.grad.float().norm().item() for name, parameter in model.named_as_diffusers()}
        assert sorted(norms) == sorted(own)
        gradients = error(torch.tensor([own[name] for name in norms]), torch.tensor(list(norms.values())))
        return error(nhwc(prediction), expected), gradients
    with torch.no_grad():
        errors = [error(nhwc(predict(x, steps)), expected)]
        if job != "forward":
            sampling = Sampling(torch.empty_like(x), "ddim", 5, LEARNED)
            sampling.begin(x)
            for _ in range(5):
                sampling.advance(sampling.reverse, predict(sampling.x, sampling.timesteps()))
            errors.append(error(nhwc(sampling.x), floats("samples.f32")[rows]))
        return errors


def captured(run, begin=lambda: None):
    for _ in range(3):
        begin()
        run()
    torch.cuda.synchronize()
    begin()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        run()
    return graph.replay


def make(job):
    if "-" in job:
        method, evaluations = job.split("-")
        return make_sampling(method, int(evaluations))
    run = {"forward": make_forward, "step": make_step}[job]()
    return captured(run) if WHOLE_GRAPH else run


def peak_resident_bytes():
    """Of this process alone: on Linux ru_maxrss begins with what the process that started it had."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    made = {}
    name = f"PyTorch {torch.__version__}, {GIVEN['dtype']}, {VARIANT}"
    print(f"{name}, {torch.cuda.get_device_name()}, cuDNN {torch.backends.cudnn.version()}" if CUDA else name, flush=True)
    for line in sys.stdin:
        job, *argument = line.split()
        if job == "memory":
            print(torch.cuda.max_memory_allocated() if CUDA else peak_resident_bytes(), flush=True)
        elif job == "check":
            print(*check(argument[0]), flush=True)
        else:
            count = int(argument[0])
            if job not in made:  # with its first run, so that a job alone is charged for what it needs
                made[job] = make(job)
            start = time.perf_counter()
            for _ in range(count):
                if CUDA and VARIANT.startswith("compile"):
                    torch.compiler.cudagraph_mark_step_begin()
                made[job]()
            if CUDA:
                torch.cuda.synchronize()
            print((time.perf_counter() - start) / count, flush=True)


main()
