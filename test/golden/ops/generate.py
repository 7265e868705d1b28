"""Writes torch.safetensors and torch.json: values of PyTorch's operations in float64, with their gradients, rounded to float32.

    python generate.py        (torch, numpy and safetensors)

Images are NCHW and weights in PyTorch's layout. Case `id` has the tensors id/<input>, id/out, id/grad_out and id/grad_<input>.
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(20)
tensors, cases = {}, []


def case(id, op, run, options=None, kinds=None, **shapes):
    """`kinds`: layout of the engine's parameter where it is not 'plain'; shapes are of the inputs."""
    inputs = {name: torch.randn(*shape).double().requires_grad_() for name, shape in shapes.items()}
    out = run(**inputs)
    grad_out = torch.randn(out.shape).double()
    grads = torch.autograd.grad(out, list(inputs.values()), grad_out)
    found = {**inputs, "out": out, "grad_out": grad_out, **{f"grad_{name}": grad for name, grad in zip(inputs, grads)}}
    for name, tensor in found.items():
        tensors[f"{id}/{name}"] = tensor.detach().float().contiguous()
    cases.append({"id": id, "op": op, "options": options or {}, "kinds": kinds or {}, "inputs": list(shapes)})


image = (1, 3, 7, 5)
conv = {"weight": "conv"}
for kernel, stride, padding in [(1, 1, 0), (2, 2, 0), (4, 2, 1), (5, 1, 2), (7, 1, 3), (3, 3, 1), (4, 4, 1)]:
    case(f"conv2d_{kernel}_{stride}_{padding}", "conv2d", lambda x, weight, bias: F.conv2d(x, weight, bias, stride, padding),
         {"stride": stride, "padding": padding}, conv, x=image, weight=(4, 3, kernel, kernel), bias=(4,))
for kernel, stride, padding, more in [(3, 1, 1, 0), (2, 2, 0, 0), (4, 2, 1, 0), (3, 2, 1, 1), (5, 3, 2, 2)]:
    case(f"conv_transpose2d_{kernel}_{stride}_{padding}_{more}", "convTranspose2d",
         lambda x, weight, bias: F.conv_transpose2d(x, weight, bias, stride, padding, more),
         {"stride": stride, "padding": padding, "outputPadding": more}, conv,
         x=(1, 3, 4, 3), weight=(3, 4, kernel, kernel), bias=(4,))
case("linear", "linear", F.linear, kinds={"weight": "linear"}, x=(2, 7, 5), weight=(6, 5), bias=(6,))
for groups in (1, 3, 6):
    case(f"group_norm_{groups}", "groupNorm", lambda x, weight, bias: F.group_norm(x, groups, weight, bias),
         {"groups": groups}, x=(2, 6, 5, 3), weight=(6,), bias=(6,))
for axes, shape in ((1, (2, 4, 7)), (2, (2, 3, 5)), (3, (1, 3, 4, 2))):
    last = shape[len(shape) - axes:]
    case(f"layer_norm_{axes}", "layerNorm", lambda x, weight, bias: F.layer_norm(x, last, weight, bias), {"axes": axes},
         x=shape, weight=last, bias=last)
case("layer_norm_plain", "layerNorm", lambda x: F.layer_norm(x, (7,), eps=0.1), {"eps": 0.1}, x=(2, 4, 7))
for name, function in {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}.items():
    case(name, name, lambda x: function(4 * x), {"factor": 4}, x=(6, 21))
case("gelu_tanh", "gelu", lambda x: F.gelu(4 * x, approximate="tanh"), {"factor": 4, "approximate": "tanh"}, x=(6, 21))
for name, b in (("channels", (2, 1, 1, 4)), ("last", (4,)), ("scalar", (1,)), ("both", (3, 1, 4))):
    for op in ("add", "sub", "mul"):
        case(f"{op}_{name}", op, lambda a, b: getattr(torch, op)(a, b), a=(2, 3, 5, 1 if name == "both" else 4), b=b)
for kernel, stride, padding, include in [(2, 2, 0, True), (3, 2, 1, True), (3, 2, 1, False), (3, 1, 1, False)]:
    case(f"avg_pool2d_{kernel}_{stride}_{padding}_{include}", "avgPool2d",
         lambda x: F.avg_pool2d(x, kernel, stride, padding, count_include_pad=include),
         {"kernel": kernel, "stride": stride, "padding": padding, "countIncludePad": include}, x=image)
for kernel, stride, padding in [(2, 2, 0), (3, 2, 1), (3, 1, 1)]:
    case(f"max_pool2d_{kernel}_{stride}_{padding}", "maxPool2d", lambda x: F.max_pool2d(x, kernel, stride, padding),
         {"kernel": kernel, "stride": stride, "padding": padding}, x=image)
case("upsample_3", "upsample", lambda x: F.interpolate(x, scale_factor=3, mode="nearest"), {"factor": 3}, x=(1, 3, 4, 2))
case("pad", "pad", lambda x: F.pad(x, (2, 1, 0, 3), value=0.5), {"padding": [0, 2, 3, 1], "value": 0.5}, x=image)
case("softmax", "softmax", lambda x: F.softmax(x, -1), x=(3, 4, 11))
for heads in (1, 2):
    def attend(q, k, v):
        parts = [t.reshape(2, 5, heads, -1).transpose(1, 2) for t in (q, k, v)]
        return F.scaled_dot_product_attention(*parts).transpose(1, 2).reshape(2, 5, 6)
    case(f"attention_{heads}", "attention", attend, {"heads": heads}, q=(2, 5, 6), k=(2, 5, 6), v=(2, 5, 6))
case("concat", "concat", lambda a, b: torch.cat((a, b), 1), {"axis": 1}, a=(2, 3, 4), b=(2, 2, 4))
case("permute", "permute", lambda x: x.permute(2, 0, 1), {"order": [2, 0, 1]}, x=(2, 3, 4))
case("slice", "slice", lambda x: x[:, 1:3], {"axis": 1, "start": 1, "end": 3}, x=(2, 4, 3))
case("mean", "mean", lambda x: x.mean((1, 2)), {"axes": [1, 2]}, x=(2, 5, 3, 4))
case("sum", "sum", lambda x: x.sum(-1, keepdim=True), {"axes": -1, "keepDims": True}, x=(2, 5, 3))

here = Path(__file__).parent
save_file(tensors, here / "torch.safetensors")
lines = ",\n  ".join(json.dumps(entry) for entry in cases)
(here / "torch.json").write_text(f'{{"torch": "{torch.__version__}", "cases": [\n  {lines}\n]}}\n')
