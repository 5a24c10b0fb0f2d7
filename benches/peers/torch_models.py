"""The convolutional models of torch_step.py and torch_round.py: ours, in PyTorch's layers. Written against their descriptions."""

import torch
from torch import nn

FAMILY = {
    "cnn1": ([32], [128]),
    "cnn2": ([32, 64], [128]),
    "cnn1-fc128": ([32], [128, 128]),
    "cnn2-fc128": ([32, 64], [128, 128]),
    "fedavg-cnn": ([32, 64], [512]),
    "cnn-1": ([16, 32], [2000, 500]),
    "cnn-2": ([16, 16], [2000, 500]),
    "cnn-3": ([16, 32], [1000, 500]),
    "cnn-4": ([16, 32], [800, 500]),
    "cnn-5": ([16, 32], [500, 500]),
}


def extractor(channels, side, blocks, widths):
    layers = []
    for out in blocks:
        layers += [nn.Conv2d(channels, out, 5), nn.MaxPool2d(2), nn.ReLU()]
        channels, side = out, (side - 4) // 2
    layers.append(nn.Flatten())
    inputs = channels * side * side
    for out in widths:
        layers += [nn.Linear(inputs, out), nn.ReLU()]
        inputs = out
    return nn.Sequential(*layers)


def images(first, n, channels, side):
    """Pixels without a meaning, in -1..1."""
    pixels = (torch.arange(n * channels * side * side) + first) * 7 % 251
    return (pixels.float() / 125.5 - 1).reshape(n, channels, side, side)
