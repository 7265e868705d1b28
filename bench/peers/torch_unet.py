"""The DDPM CIFAR-10 UNet in PyTorch, as a peer that the benchmark drives over standard input.

Each line names a job ("forward" or "step"); the answer is the seconds that one run of it took. "memory" answers with the
peak resident bytes of this process. The network: base 128, multipliers 1, 2, 2, 2, two residual blocks a level, attention
at 16×16, dropout 0.1 (Ho et al. 2020, appendix B), 35.7 M parameters.
"""

import copy
import math
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

BASE, MULTS, BLOCKS, ATTENTION, GROUPS, DROPOUT = 128, (1, 2, 2, 2), 2, 16, 32, 0.1


def norm(channels):
    return nn.GroupNorm(GROUPS, channels, eps=1e-6)


class Residual(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.conv1 = norm(cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.time = nn.Linear(4 * BASE, cout)
        self.norm2, self.conv2 = norm(cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.dropout = nn.Dropout(DROPOUT)
        self.shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, temb):
        h = self.conv1(F.silu(self.norm1(x))) + self.time(F.silu(temb))[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.shortcut(x) + h


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = norm(channels)
        self.q, self.k, self.v, self.out = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        tokens = self.norm(x).view(n, c, h * w).transpose(1, 2)
        y = F.scaled_dot_product_attention(self.q(tokens)[:, None], self.k(tokens)[:, None], self.v(tokens)[:, None])[:, 0]
        return x + self.out(y).transpose(1, 2).reshape(n, c, h, w)


class UNet(nn.Module):
    def __init__(self, size=32):
        super().__init__()
        self.time1, self.time2 = nn.Linear(BASE, 4 * BASE), nn.Linear(4 * BASE, 4 * BASE)
        self.conv_in = nn.Conv2d(3, BASE, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, skips = BASE, [BASE]
        for level, mult in enumerate(MULTS):
            for _ in range(BLOCKS):
                block = nn.ModuleList([Residual(channels, BASE * mult)])
                channels = BASE * mult
                if size == ATTENTION:
                    block.append(Attention(channels))
                self.down.append(block)
                skips.append(channels)
            if level + 1 < len(MULTS):
                self.down.append(nn.ModuleList([nn.Conv2d(channels, channels, 3, stride=2)]))
                skips.append(channels)
                size //= 2
        self.mid = nn.ModuleList([Residual(channels, channels), Attention(channels), Residual(channels, channels)])
        for level, mult in reversed(list(enumerate(MULTS))):
            for _ in range(BLOCKS + 1):
                block = nn.ModuleList([Residual(channels + skips.pop(), BASE * mult)])
                channels = BASE * mult
                if size == ATTENTION:
                    block.append(Attention(channels))
                self.up.append(block)
            if level > 0:
                self.up.append(nn.ModuleList([nn.Conv2d(channels, channels, 3, padding=1)]))
                size *= 2
        self.norm_out, self.conv_out = norm(channels), nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x, t):
        half = BASE // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half) / (half - 1))
        angles = t.float()[:, None] * frequencies
        temb = self.time2(F.silu(self.time1(torch.cat([angles.sin(), angles.cos()], 1))))
        h = self.conv_in(x)
        skips = [h]
        for block in self.down:
            if isinstance(block[0], Residual):
                h = block[0](h, temb)
                for attention in block[1:]:
                    h = attention(h)
            else:
                h = block[0](F.pad(h, (0, 1, 0, 1)))
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


def main():
    batch, threads, layout = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = UNet()
    images = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8)
    if layout == "channels_last":
        model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    signal, noise_level = alphas.sqrt().float(), (1 - alphas).sqrt().float()
    average = optimizer = None  # made with the first step, so that forward alone is charged for the weights alone

    def forward():
        model.eval()
        with torch.no_grad():
            model(images.float() / 127.5 - 1, torch.randint(0, 1000, (batch,)))

    def step():
        nonlocal average, optimizer
        if optimizer is None:
            average = copy.deepcopy(model).requires_grad_(False)
            optimizer = torch.optim.AdamW(model.parameters(), lr=2e-4, fused=True)
        model.train()
        t = torch.randint(0, 1000, (batch,))
        x0 = images.float() / 127.5 - 1
        epsilon = torch.randn_like(x0)
        xt = signal[t][:, None, None, None] * x0 + noise_level[t][:, None, None, None] * epsilon
        loss = F.mse_loss(model(xt, t), epsilon)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1e-4)
        return loss.item()

    jobs = {"forward": forward, "step": step}
    parameters = sum(p.numel() for p in model.parameters())
    print(f"ready {torch.__version__} {parameters}", flush=True)
    for line in sys.stdin:
        job = line.strip()
        if job == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
        else:
            start = time.perf_counter()
            jobs[job]()
            print(time.perf_counter() - start, flush=True)


main()
