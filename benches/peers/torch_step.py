"""PyTorch's side of step.py: the same models, the same requests, the same arithmetic, one thread.

Reads lines `MODEL BATCH STEPS` and answers each with `ok` when so many steps are done. A step is what ours is: select a
batch, forward, cross entropy, backward, w <- w - lr g. Written against the layers' descriptions, for PyTorch 2.
"""

import sys

import torch
from torch import nn
from torch.nn import functional as F

from torch_models import FAMILY, extractor, images

torch.set_num_threads(1)
torch.manual_seed(1)

def cnn(channels, side, blocks, widths):
    return nn.Sequential(extractor(channels, side, blocks, widths), nn.Linear(widths[-1], 10))


class Block(nn.Module):
    def __init__(self, inputs, out, stride):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, out, 3, stride, 1), nn.GroupNorm(8, out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1), nn.GroupNorm(8, out)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, out, 1, stride)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def resnet(channels):
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 1, 1), nn.GroupNorm(8, 16), nn.ReLU(),
        Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


class Member:
    def __init__(self, name, batch, steps):
        large = name.startswith("cnn-") or name == "resnet"
        channels, side = (3, 32) if large else (1, 28)
        self.model = resnet(channels) if name == "resnet" else cnn(channels, side, *FAMILY[name])
        if "--channels-last" in sys.argv:
            self.model = self.model.to(memory_format=torch.channels_last)
        n = steps * batch
        self.images = images(0, n, channels, side)
        self.labels = torch.arange(n) % 10
        self.batch = batch
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def train(self):
        for rows in torch.randperm(len(self.labels)).split(self.batch):
            self.optimiser.zero_grad(set_to_none=True)
            F.cross_entropy(self.model(self.images[rows]), self.labels[rows]).backward()
            self.optimiser.step()


members = {}
for line in sys.stdin:
    if line not in members:
        name, batch, steps = line.split()
        members[line] = Member(name, int(batch), int(steps))
    members[line].train()
    print("ok", flush=True)
