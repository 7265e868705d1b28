"""The UNet of a benchmark in PyTorch (Ho et al. 2020; Nichol & Dhariwal 2021), for bench/peers/torch_unet.py."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def norm(channels, options):
    return nn.GroupNorm(options["groups"], channels, eps=1e-5)


class Residual(nn.Module):
    def __init__(self, cin, cout, options):
        super().__init__()
        self.scale_shift = options.get("timeEmbedding") == "scaleShift"
        self.norm1, self.conv1 = norm(cin, options), nn.Conv2d(cin, cout, 3, padding=1)
        self.time = nn.Linear(4 * options["baseChannels"], 2 * cout if self.scale_shift else cout)
        self.norm2, self.conv2 = norm(cout, options), nn.Conv2d(cout, cout, 3, padding=1)
        self.dropout = nn.Dropout(options.get("dropout", 0))
        self.shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x)))
        time = self.time(F.silu(temb))[:, :, None, None]
        if self.scale_shift:
            scale, shift = time.chunk(2, 1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + time)
        return self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    def __init__(self, channels, options):
        super().__init__()
        self.heads = options.get("heads", 1)
        self.norm = norm(channels, options)
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        tokens = self.norm(x).view(n, c, h * w).transpose(1, 2)
        heads = lambda linear: linear(tokens).view(n, h * w, self.heads, c // self.heads).transpose(1, 2)
        y = F.scaled_dot_product_attention(heads(self.q), heads(self.k), heads(self.v))
        y = y.transpose(1, 2).reshape(n, h * w, c)
        return x + self.out(y).transpose(1, 2).reshape(n, c, h, w)


class UNet(nn.Module):
    """`options` as bench/networks.ts has them: those of this package's UNet."""

    def __init__(self, options):
        super().__init__()
        size, mults, blocks, attention = (options[name] for name in ("imageSize", "channelMults", "resBlocks", "attentionResolutions"))
        images = options.get("inChannels", 3)
        base = self.base = options["baseChannels"]
        self.time1, self.time2 = nn.Linear(base, 4 * base), nn.Linear(4 * base, 4 * base)
        self.conv_in = nn.Conv2d(images, base, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, skips = base, [base]
        for level, mult in enumerate(mults):
            for _ in range(blocks):
                block = nn.ModuleList([Residual(channels, base * mult, options)])
                channels = base * mult
                if size in attention:
                    block.append(Attention(channels, options))
                self.down.append(block)
                skips.append(channels)
            if level + 1 < len(mults):
                self.down.append(nn.ModuleList([nn.Conv2d(channels, channels, 3, stride=2, padding=1)]))
                skips.append(channels)
                size //= 2
        self.mid = nn.ModuleList([Residual(channels, channels, options), Attention(channels, options), Residual(channels, channels, options)])
        for level, mult in reversed(list(enumerate(mults))):
            for _ in range(blocks + 1):
                block = nn.ModuleList([Residual(channels + skips.pop(), base * mult, options)])
                channels = base * mult
                if size in attention:
                    block.append(Attention(channels, options))
                self.up.append(block)
            if level > 0:
                self.up.append(nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1)]))
                size *= 2
        self.norm_out, self.conv_out = norm(channels, options), nn.Conv2d(channels, options.get("outChannels", images), 3, padding=1)

    def forward(self, x, t):
        half = self.base // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, device=x.device) / half)
        angles = t.float()[:, None] * frequencies
        temb = self.time2(F.silu(self.time1(torch.cat([angles.cos(), angles.sin()], 1).to(self.time1.weight.dtype))))
        h = self.conv_in(x)
        skips = [h]
        for block in self.down:
            if isinstance(block[0], Residual):
                h = block[0](h, temb)
                for attention in block[1:]:
                    h = attention(h)
            else:
                h = block[0](h)
            skips.append(h)
        h = self.mid[2](self.mid[1](self.mid[0](h, temb)), temb)
        for block in self.up:
            if isinstance(block[0], Residual):
                h = block[0](torch.cat([h, skips.pop()], 1), temb)
                for attention in block[1:]:
                    h = attention(h)
            else:
                h = block[0](F.interpolate(h, scale_factor=2.0, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))

    def named_as_diffusers(self):
        """(name, parameter) as diffusers' UNet2DModel calls them."""
        for name, module in self._modules_as_diffusers():
            for part, parameter in module.named_parameters(recurse=False):
                yield f"{name}.{part}", parameter

    def _modules_as_diffusers(self):
        def block(prefix, index, modules):
            residual, *attention = modules
            names = {"time": "time_emb_proj", "shortcut": "conv_shortcut"}
            for name, module in residual.named_children():
                yield f"{prefix}.resnets.{index}.{names.get(name, name)}", module
            names = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "out": "to_out.0"}
            for one in attention:
                for name, module in one.named_children():
                    yield f"{prefix}.attentions.{index}.{names[name]}", module

        def side(way, resampler):
            level = index = 0
            for modules in getattr(self, way):
                if isinstance(modules[0], Residual):
                    yield from block(f"{way}_blocks.{level}", index, modules)
                    index += 1
                else:
                    yield f"{way}_blocks.{level}.{resampler}.0.conv", modules[0]
                    level, index = level + 1, 0

        yield "time_embedding.linear_1", self.time1
        yield "time_embedding.linear_2", self.time2
        yield "conv_in", self.conv_in
        yield from side("down", "downsamplers")
        yield from block("mid_block", 0, self.mid[:2])
        yield from block("mid_block", 1, self.mid[2:])
        yield from side("up", "upsamplers")
        yield "conv_norm_out", self.norm_out
        yield "conv_out", self.conv_out
