#!/usr/bin/env python3
"""Makes the digits model: a small CNN on scikit-learn's 8x8 digits, quantized up to before Finalize.

Writes two files in the form of `examples/digits`:

* `digits_int8.pt`: the quantized TorchScript module, as `quantize_jit` leaves it before Finalize;
* `digits_test.safetensors`: 500 held-out images as `input.0` with `labels`, and outputs as
  `expected.0` (PyTorch's finalized module, engine fbgemm), `qnnpack.0` (engine qnnpack),
  `simulated.0` (the module before Finalize) and `fp32.0` (the float network).

The shipped files were made by the same steps; training is not reproducible to the bit across machines,
so a new run gives another model of the same kind.

    tools/digits.py --out target/digits
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

import reference

TEST_IMAGES = 500


class Residual(nn.Module):
    """Two convolutions and a skip connection: fuses to conv2d_relu, conv2d, add_relu."""

    def __init__(self, channels):
        super().__init__()
        self.c1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.b1 = nn.BatchNorm2d(channels)
        self.c2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.b2 = nn.BatchNorm2d(channels)
        self.r1 = nn.ReLU()
        self.r2 = nn.ReLU()

    def forward(self, x):
        return self.r2(self.b2(self.c2(self.r1(self.b1(self.c1(x))))) + x)


class Digits(nn.Module):
    """One of everything that the first kernels cover: dense, depthwise and 1x1 convolutions, pools, a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1)
        self.stem_bn = nn.BatchNorm2d(16)
        self.stem_relu = nn.ReLU()
        self.block = Residual(16)
        self.pool = nn.MaxPool2d(2)
        self.dw = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.dw_bn = nn.BatchNorm2d(16)
        self.dw_relu = nn.ReLU6()
        self.pw = nn.Conv2d(16, 32, 1)
        self.pw_bn = nn.BatchNorm2d(32)
        self.pw_relu = nn.ReLU()
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = self.pool(self.block(self.stem_relu(self.stem_bn(self.stem(x)))))
        x = self.dw_relu(self.dw_bn(self.dw(x)))
        x = self.pw_relu(self.pw_bn(self.pw(x)))
        return self.fc(self.gap(x).flatten(1))


def main():
    """Trains, quantizes, saves, and writes the reference outputs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(args.seed)
    reference.use_engine()
    images, labels = digits()
    order = torch.randperm(len(images))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    net = train_net(images[train], labels[train], args.epochs)

    archive = args.out / "digits_int8.pt"
    reference.save(reference.quantize(net, images[train].split(100)), archive)

    inputs, answers = images[test].contiguous(), labels[test].contiguous()
    tensors = {
        "input.0": inputs,
        "labels": answers,
        "fp32.0": reference.run(net, inputs),
        "simulated.0": reference.run(torch.jit.load(archive), inputs),
        "expected.0": finalized_output(archive, inputs, "fbgemm"),
        "qnnpack.0": finalized_output(archive, inputs, "qnnpack"),
    }
    save_file(tensors, args.out / "digits_test.safetensors")
    for name in ("fp32.0", "simulated.0", "expected.0", "qnnpack.0"):
        print(f"{name}: accuracy {(tensors[name].argmax(1) == answers).float().mean():.3f}")


def digits():
    """scikit-learn's digits as images in 0..1 and labels."""
    data = load_digits()
    return torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16, torch.tensor(data.target)


def train_net(images, labels, epochs):
    """A trained network in eval mode."""
    net = Digits()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
        schedule.step()
    return net.eval()


def finalized_output(archive, inputs, engine):
    """The output of PyTorch's finalized module, re-loaded so that it is what the archive says."""
    reference.use_engine(engine)
    return reference.run(reference.finalize(torch.jit.load(archive)), inputs)


if __name__ == "__main__":
    main()
