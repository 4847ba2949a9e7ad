"""A Wasserstein GAN with a gradient penalty and an average of the generator's weights."""

# Written as users write: pyright is told less.
# pyright: reportPossiblyUnboundVariable=false, reportArgumentType=false, reportCallIssue=false

import copy

import numpy as np

import tgrad as torch
from tgrad import nn, optim

rng = np.random.default_rng(0)


def normal(*shape):
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))


def fill(model):
    for p in model.parameters():
        if p.dim() > 1:
            torch.nn.init.zeros_(p)
            p.data += normal(*p.shape) / p.size(1) ** 0.5


class Critic(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, width), nn.LeakyReLU(0.2, inplace=True))
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(width, 1))

    def forward(self, x):
        return self.head(self.body(x)).squeeze(-1)


def penalty(critic, real, fake):
    t = torch.from_numpy(rng.random((len(real), 1), dtype=np.float32)).expand_as(real)
    between = (t * real + (1 - t) * fake.detach()).requires_grad_(True)
    score = critic(between)
    (g,) = torch.autograd.grad(
        outputs=score, inputs=between, grad_outputs=torch.ones_like(score), create_graph=True,
        retain_graph=True, only_inputs=True,
    )  # fmt: skip
    return ((g.view(g.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()


def main():
    generator = nn.Sequential(
        nn.Linear(3, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(True), nn.Linear(16, 2)
    )
    critic = Critic(16)
    for model in (generator, critic):
        fill(model)
        for m in model.modules():
            if m.__class__.__name__.find("Linear") != -1 and m.bias is not None:
                m.bias.data.fill_(0)
    average = copy.deepcopy(generator).requires_grad_(False).eval()
    print(generator, critic, sep="\n")
    of_generator = optim.RMSprop(generator.parameters(), lr=1e-3)
    of_critic = optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.9))
    data = normal(64, 2) @ torch.tensor([[1.0, 0.8], [0.0, 0.3]]) + 2
    found = []
    for _ in range(4):
        for p in critic.parameters():
            p.requires_grad = True
        for _ in range(2):
            critic.zero_grad()
            fake = generator(normal(len(data), 3)).detach()
            loss = critic(fake).mean() - critic(data).mean() + 10 * penalty(critic, data, fake)
            loss.backward()
            of_critic.step()
        for p in critic.parameters():
            p.requires_grad = False
        generator.zero_grad(set_to_none=True)
        score = -critic(generator(normal(len(data), 3))).mean()
        score.backward()
        norm = nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
        of_generator.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 0.1)
            for mine, theirs in zip(average.buffers(), generator.buffers(), strict=True):
                mine.copy_(theirs)
        print(loss, score)
        found += [loss.item(), score.item(), norm.item()]
    samples = average(normal(5, 3))
    print(samples.max(1))
    return found + samples.flatten().tolist()


if __name__ == "__main__":
    main()
