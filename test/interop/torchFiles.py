"""Writes the files of test/golden/files with PyTorch: python3 test/interop/torchFiles.py test/golden/files"""

import collections
import io
import sys
import zipfile
from pathlib import Path

import torch
import torch._utils
from safetensors.torch import save_file

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def values(*shape, start=0):
    count = torch.Size(shape).numel()
    return (torch.arange(count, dtype=torch.float32) * 0.375 - 2 + start).reshape(shape)


base = values(4, 6, start=10)
tensors = collections.OrderedDict(
    contiguous=values(2, 3),
    transposed=values(3, 5).t(),
    offset=base.reshape(-1)[7:13],
    permuted=values(2, 3, 4, 5).permute(3, 0, 2, 1),
    steps=base[1:4:2, ::3],
    shared=base,
    repeated=values(1, 3).expand(4, 3),
    half=values(3, 4).half(),
    bfloat16=values(7).bfloat16(),
    double=values(5).double() / 3,
    parameter=torch.nn.Parameter(values(2, 2)),
    scalar=torch.tensor(1.5),
    empty=torch.zeros(0, 4),
    channels_last=values(1, 3, 2, 2).contiguous(memory_format=torch.channels_last),
)
tensors["non-ascii å.weight"] = values(3)
extremes = torch.tensor([0.0, -0.0, 6e-8, -6.1e-5, 65504.0, float("inf"), -float("inf")])


def save(name, value, **options):
    torch.save(value, folder / name, **options)


def save_expected(name, tensors):
    save_file({key: value.detach().float().contiguous().clone() for key, value in tensors.items()}, folder / name)


save_expected("forms.safetensors", tensors)
save_expected("extremes.safetensors", {"f32": extremes, "f16": extremes.half(), "bf16": extremes.bfloat16()})
save("forms.pt", tensors)
save("forms-legacy.pt", tensors, _use_new_zipfile_serialization=False)
save("forms-protocol4.pt", dict(tensors), pickle_protocol=4)
save("extremes.pt", {"f32": extremes, "f16": extremes.half(), "bf16": extremes.bfloat16()})
save("wrapped.pt", {"state_dict": dict(a=values(2)), "epoch": 3, "lr": 1e-4, "sizes": torch.Size([1, 2]), "where": torch.device("cpu")})
save("wrapped-twice.pt", {"model": dict(a=values(2)), "ema": dict(a=values(2, start=1))})
save("data-parallel.pt", {f"module.{name}": value for name, value in tensors.items()})
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GroupNorm(1, 2))
with torch.no_grad():
    for index, parameter in enumerate(module.parameters()):
        parameter.copy_(values(*parameter.shape, start=index))
save("module.pt", module.state_dict())
save("integers.pt", {"long": torch.arange(3), "int": torch.arange(3, dtype=torch.int32), "bool": torch.tensor([True])})
save("whole-module.pt", module)
save("untyped.pt", {"a": torch.arange(3).to(torch.uint16)})


# The form before PyTorch 0.4.
class Old:
    def __init__(self, tensor):
        self.tensor = tensor

    def __reduce__(self):
        tensor = self.tensor
        arguments = (tensor.storage(), tensor.storage_offset(), tuple(tensor.size()), tensor.stride())
        return torch._utils._rebuild_tensor, arguments


save("old-form.pt", {"a": Old(values(3, 2).t())})

# The same archive, deflated.
with zipfile.ZipFile(folder / "forms.pt") as stored, zipfile.ZipFile(folder / "deflated.pt", "w", zipfile.ZIP_DEFLATED) as packed:
    for entry in stored.infolist():
        packed.writestr(entry.filename, stored.read(entry))

# With the fields of zip64.
buffer = io.BytesIO()
torch.save({"a": values(4)}, buffer)
with zipfile.ZipFile(buffer) as stored, zipfile.ZipFile(folder / "zip64.pt", "w") as packed:
    for entry in stored.infolist():
        with packed.open(entry.filename, "w", force_zip64=True) as file:
            file.write(stored.read(entry))
