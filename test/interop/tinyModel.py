"""Writes test/golden/files/tiny with diffusers: python3 test/interop/tinyModel.py test/golden/files/tiny"""

import sys
from pathlib import Path

import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

folder = Path(sys.argv[1])
torch.manual_seed(4)
model = UNet2DModel(
    sample_size=[4, 6],
    in_channels=2,
    out_channels=2,
    block_out_channels=(4, 6),
    layers_per_block=1,
    norm_num_groups=2,
    attention_head_dim=3,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    flip_sin_to_cos=False,
    freq_shift=1,
).eval()
x = torch.randn(2, 2, 4, 6)
t = torch.tensor([7.0, 321.0])
with torch.no_grad():
    output = model(x, t).sample
    model.save_pretrained(folder, safe_serialization=False)
    half = UNet2DModel.from_config(model.config).half().eval()
    half.load_state_dict(model.state_dict())
    half.save_pretrained(folder, variant="fp16", safe_serialization=False)
    half_output = half.float()(x, t).sample
save_file({"x": x, "t": t, "output": output, "half_output": half_output}, folder / "io.safetensors")
