"""Reads and writes models with diffusers, for test/interop/diffusers.test.ts.

python3 diffusersRoundTrip.py read FOLDER   a pipeline folder with x, t and output in io.safetensors: prints what it finds as JSON
python3 diffusersRoundTrip.py write FOLDER  writes one model in every form
"""

import json
import sys
from pathlib import Path

import diffusers
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

torch.manual_seed(11)
torch.set_num_threads(1)


def read(folder):
    io = load_file(folder / "io.safetensors")
    pipeline = DDPMPipeline.from_pretrained(folder)
    unet = UNet2DModel.from_pretrained(folder / "unet").eval()
    with torch.no_grad():
        alone = unet(io["x"], io["t"]).sample
        piped = pipeline.unet.eval()(io["x"], io["t"]).sample
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(batch_size=1, num_inference_steps=2, output_type="np").images
    return {
        "version": diffusers.__version__,
        "error": max((alone - io["output"]).abs().max().item(), (piped - io["output"]).abs().max().item()),
        "scheduler": type(pipeline.scheduler).__name__,
        "beta_schedule": pipeline.scheduler.config.beta_schedule,
        "prediction_type": pipeline.scheduler.config.prediction_type,
        "images": list(images.shape),
    }


def write(folder):
    model = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    ).eval()
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([5.0, 700.0])
    with torch.no_grad():
        output = model(x, t).sample
    model.save_pretrained(folder / "plain")
    model.save_pretrained(folder / "sharded", max_shard_size="60KB")
    model.save_pretrained(folder / "bin", safe_serialization=False)
    model.save_pretrained(folder / "sharded-bin", safe_serialization=False, max_shard_size="60KB")
    model.save_pretrained(folder / "sharded-variant", variant="ema", max_shard_size="60KB")
    DDPMPipeline(unet=model, scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2")).save_pretrained(folder / "pipeline")
    average = EMAModel(model.parameters(), model_cls=UNet2DModel, model_config=model.config, use_ema_warmup=True)
    average.save_pretrained(folder / "unet_ema")
    torch.save(model.state_dict(), folder / "plain" / "model.pt")
    torch.save(model.state_dict(), folder / "plain" / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": model.state_dict(), "step": 7}, folder / "plain" / "wrapped.ckpt")
    torch.save({name: value.double() for name, value in model.state_dict().items()}, folder / "plain" / "double.pt")
    for dtype, variant in [(torch.float16, "fp16"), (torch.bfloat16, "bf16")]:
        low = UNet2DModel.from_config(model.config).eval()
        low.load_state_dict({name: value.to(dtype) for name, value in model.state_dict().items()})
        with torch.no_grad():
            save_file({"output": low(x, t).sample}, folder / f"{variant}.safetensors")
        low.to(dtype).save_pretrained(folder / variant, variant=variant)
        low.save_pretrained(folder / f"{variant}-bin", variant=variant, safe_serialization=False)
    save_file({"x": x, "t": t, "output": output}, folder / "io.safetensors")
    return {"version": diffusers.__version__}


command, folder = sys.argv[1:]
print(json.dumps({"read": read, "write": write}[command](Path(folder))))
