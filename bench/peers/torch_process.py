"""The diffusion process of a benchmark in PyTorch: the loss of a step, and samplers, for bench/peers/torch_unet.py.

Everything that changes from one evaluation to the next lies on the device and is advanced there, so that one CUDA graph serves all.
"""

import math

import torch
from torch.nn import functional as F

STEPS = 1000


def schedule():
    betas = torch.linspace(1e-4, 0.02, STEPS, dtype=torch.float64)
    return betas, torch.cumprod(1 - betas, 0)


def at(table, t):
    return table[t][:, None, None, None]


class Loss:
    """The mean squared error of the noise, and where the variance is learned its term of the bound (Nichol & Dhariwal 2021, 3.1)."""

    def __init__(self, device, learned):
        betas, alphas = schedule()
        before = torch.cat([torch.ones(1, dtype=torch.float64), alphas[:-1]])
        posterior = betas * (1 - before) / (1 - alphas)
        self.learned = learned
        numbers = {
            "signal": alphas.sqrt(),
            "noise": (1 - alphas).sqrt(),
            "start": (1 / alphas).sqrt(),
            "start_noise": (1 / alphas - 1).sqrt(),
            "mean_start": betas * before.sqrt() / (1 - alphas),
            "mean_state": (1 - before) * (1 - betas).sqrt() / (1 - alphas),
            "least": torch.cat([posterior[1:2], posterior[1:]]).log(),
            "most": betas.log(),
        }
        self.tables = {name: table.float().to(device) for name, table in numbers.items()}

    def noised(self, x0, t, epsilon):
        return at(self.tables["signal"], t) * x0 + at(self.tables["noise"], t) * epsilon

    def __call__(self, output, x0, xt, t, epsilon):
        if not self.learned:
            return F.mse_loss(output, epsilon)
        prediction, v = output.chunk(2, 1)
        return F.mse_loss(prediction, epsilon) + self.bound(prediction.detach(), v, x0, xt, t).mean() * (STEPS / 1000)

    def bound(self, prediction, v, x0, xt, t):
        """In bits per dimension, [N]."""
        table = {name: at(one, t) for name, one in self.tables.items()}
        share = (v + 1) / 2
        log_variance = share * table["most"] + (1 - share) * table["least"]
        start = (table["start"] * xt - table["start_noise"] * prediction).clamp(-1, 1)
        mean = table["mean_start"] * start + table["mean_state"] * xt
        true_mean, true_log_variance = table["mean_start"] * x0 + table["mean_state"] * xt, table["least"]
        ratio = true_log_variance - log_variance
        kl = 0.5 * (-1 - ratio + ratio.exp() + (true_mean - mean).square() * (-log_variance).exp())
        centred, scale = x0 - mean, (-0.5 * log_variance).exp()
        above, below = (normal_cdf(scale * (centred + one)) for one in (1 / 255, -1 / 255))
        between = torch.where(x0 < -0.999, above, torch.where(x0 > 0.999, 1 - below, above - below))
        likelihood = -between.clamp(min=1e-12).log()
        return torch.where(t == 0, likelihood.mean((1, 2, 3)), kl.mean((1, 2, 3))) / math.log(2)


def normal_cdf(x):
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Sampling:
    """DDIM without noise or DDPM over so many evaluations, on one batch x [N, C, H, W]."""

    def __init__(self, x, method, evaluations, learned):
        betas, alphas = schedule()
        steps = torch.tensor([round(STEPS - i * STEPS / evaluations) - 1 for i in range(evaluations)])
        now = alphas[steps]
        following = torch.cat([now[1:], torch.ones(1, dtype=torch.float64)])
        beta = 1 - now / following
        least = beta * (1 - following) / (1 - now)
        rows = {
            "start": (1 / now).sqrt(),
            "start_noise": (1 / now - 1).sqrt(),
            "ahead": following.sqrt(),
            "direction": (1 - following).sqrt(),
            "mean_start": beta * following.sqrt() / (1 - now),
            "mean_state": (1 - following) * (1 - beta).sqrt() / (1 - now),
            # Of the last step 0: it adds no noise.
            "deviation": torch.cat([least[:-1].sqrt(), torch.zeros(1, dtype=torch.float64)]),
            "least": torch.cat([least[:-1], least[-2:-1]]).log() if evaluations > 1 else beta.log(),
            "most": beta.log(),
        }
        self.rows = {name: row.float().to(x.device) for name, row in rows.items()}
        self.steps, self.index = steps.to(x.device), torch.zeros(1, dtype=torch.int64, device=x.device)
        self.x, self.method, self.evaluations, self.learned = x, method, evaluations, learned

    def begin(self, x=None):
        self.index.zero_()
        if x is None:
            self.x.normal_()
        else:
            self.x.copy_(x)

    def timesteps(self):
        return self.steps[self.index].expand(self.x.shape[0])

    def reverse(self, x, output, index):
        row = {name: one[index] for name, one in self.rows.items()}
        epsilon, v = output.chunk(2, 1) if self.learned else (output, None)
        start = (row["start"] * x - row["start_noise"] * epsilon).clamp(-1, 1)
        if self.method == "ddim":
            return row["ahead"] * start + row["direction"] * epsilon
        mean = row["mean_start"] * start + row["mean_state"] * x
        deviation = row["deviation"]
        if v is not None:
            share = (v + 1) / 2
            deviation = (0.5 * (share * row["most"] + (1 - share) * row["least"])).exp() * (deviation > 0)
        return mean + deviation * torch.randn_like(x)

    def advance(self, reverse, output):
        self.x.copy_(reverse(self.x, output.float(), self.index))
        self.index.add_(1)
