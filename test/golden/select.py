"""Makes the larger files of this folder from the full reference data, smaller: python3 test/golden/select.py shared/golden

Gradients and optimised parameters keep every 17th value or so of tensors of more than 64, weights that are exact in float16 are stored so,
and what no test reads is left out. The tests take the full files where they are beside the repository.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

STRIDE, WHOLE = 17, 64
TYPES = {"F32": np.float32, "F16": np.float16, "I32": np.int32}
NAMES = {np.dtype(kind): name for name, kind in TYPES.items()}


def read(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)

    def tensor(entry):
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        return np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])

    return {name: tensor(entry) for name, entry in header.items()}


def write(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": NAMES[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [offset, offset + values.nbytes],
        }
        offset += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values()))


def dump(path, description):
    path.write_text(json.dumps(description, separators=(",", ":")) + "\n")


def sampled(values):
    return values if values.size <= WHOLE else np.ascontiguousarray(values.reshape(-1)[::STRIDE])


def half(path, target):
    tensors = {name: values.astype(np.float16) for name, values in read(path).items()}
    assert all((tensors[name] == values).all() for name, values in read(path).items())
    write(target, tensors)


def network(source, target):
    case = json.loads((source / "case.json").read_text())
    already = case["gradient_storage"]["stride"]
    stride = 3 * already if already else STRIDE  # one for all of a case
    tensors = {}
    for name, values in read(source / "io.safetensors").items():
        kind, _, parameter = name.partition("/")
        if kind not in ("grad", "gradsub") or (kind == "grad" and values.size <= WHOLE):
            tensors[name] = values
        else:
            step = 3 if kind == "gradsub" else stride
            tensors["gradsub/" + parameter] = np.ascontiguousarray(values.reshape(-1)[::step])
    case.pop("trace", None)
    case["gradient_storage"] = {"full_if_numel_le": WHOLE, "stride": stride}
    for parameter in case["params"]:
        parameter["grad"] = {"l2": parameter["grad"]["l2"]}
        parameter.pop("l2", None)
    write(target / "io.safetensors", tensors)
    dump(target / "case.json", case)


def schedulers(source, target):
    newer = json.loads((source / "diffusers_0_35_2.json").read_text())["cases"]
    replaced = {case["id"] for case in newer if case["status"].startswith("DIFFERS")}
    for version in ("diffusers_0_20_2", "diffusers_0_35_2"):
        tensors = read(source / f"{version}.safetensors")
        for name in list(tensors):
            case, quantity = name.split("/")
            if quantity in ("model_output", "model_input") or (version == "diffusers_0_20_2" and case in replaced):
                del tensors[name]
        write(target / f"{version}.safetensors", tensors)
        description = json.loads((source / f"{version}.json").read_text())
        for case in description["cases"]:
            if isinstance(case["config"], dict):
                case["config"].pop("_use_default_values", None)
            case.pop("tensors", None)
        dump(target / f"{version}.json", description)
    dump(target / "timesteps.json", json.loads((source / "timesteps.json").read_text()))


def schedule(source, target):
    description = json.loads(source.read_text())
    steps = [t for t in range(description["T"]) if t < 8 or t % 10 == 9 or t >= description["T"] - 8]
    for name, values in description.items():
        if isinstance(values, list):
            description[name] = [values[t] for t in steps]
    dump(target, {**description, "indices": steps})


def main():
    source, target = Path(sys.argv[1]), Path(__file__).parent
    for name in ("d1_cifar_style", "d2_default_ss", "d3_resnet_updown_cls", "o3_guided_updown", "o4_guided_neworder_pool"):
        network(source / "unet" / name, target / "unet" / name)
    weights = "diffusion_pytorch_model.safetensors"
    half(source / "unet/d2_default_ss/unet" / weights, target / "unet/d2_default_ss/unet" / weights)
    for name in ("iddpm_cosine_T200", "iddpm_linear_T200", "custom_cosine_T300_s0.02_max0.99", "custom_linear_T250_5e-4_0.03"):
        schedule(source / "schedules" / f"{name}.json", target / "schedules" / f"{name}.json")
    for name in ("final", "ema"):
        values = read(source / "optim" / f"{name}.safetensors")
        write(target / "optim" / f"{name}.safetensors", {key: sampled(value) for key, value in values.items()})
    schedulers(source / "schedulers", target / "schedulers")


main()
