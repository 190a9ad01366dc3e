#!/usr/bin/env python3
"""Makes quantized models to test with: networks for images, scripted or traced, and two for sequences.

The weights are random, from a fixed seed; the batch norms get statistics from a few random batches first, so that
activations have sane ranges. Each model gives two files:

* `NAME_MODE.pt`: the TorchScript module quantized by `quantize_jit`, saved before Finalize. `script` and `trace` have fbgemm's qconfig
  (weights per channel, activations on 7 bits); `dynamic` and `fp16`, for the networks for sequences, quantize linear layers on the fly;
* `NAME_MODE.safetensors`: `input.0`, `expected.0` = output of the module that PyTorch finalized in memory,
  and, where it differs, `reloaded.0` = output of the module that PyTorch finalized after saving and
  loading it.

The two graphs differ for relu6: re-loading merges equal constants, and PyTorch's clamp patterns then match no
longer, so the clamp stays a float operator behind dequantize. planish fuses in both cases, hence the
in-memory output is the expected one. (The values came out equal for all six models of the default
options.) Both are computed by engine fbgemm on one thread. Where PyTorch cannot script, quantize or run a model in a mode, a line says so.

    tools/models.py --out target/models
    tools/models.py --out target/models --model mobilenet_v2 --mode trace --size 96 --batch 1
"""

import argparse
import time
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import reference

# The networks for images, with what torchvision is to be told besides the name.
IMAGES = {
    "resnet18": {},
    "resnet50": {},
    "mobilenet_v2": {},
    "densenet121": {},
    "squeezenet1_1": {},
    "shufflenet_v2_x1_0": {},
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
    "mobilenet_v3_small": {},
}
SEQUENCES = ("lstm", "transformer")
MODES = {"images": ("script", "trace"), "sequences": ("dynamic", "fp16")}


def main():
    """Makes every asked-for model and prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--model", nargs="*", choices=(*IMAGES, *SEQUENCES), default=("resnet18", "resnet50", "mobilenet_v2")
    )
    parser.add_argument(
        "--mode", nargs="*", choices=MODES["images"] + MODES["sequences"], default=MODES["images"] + MODES["sequences"]
    )
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=2, help="images in input.0")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    reference.use_engine()
    for model in args.model:
        for mode in MODES["images" if model in IMAGES else "sequences"]:
            if mode in args.mode:
                try:
                    make(model, mode, args)
                except (RuntimeError, torch.jit.frontend.NotSupportedError) as error:
                    print(f"{model}_{mode}: {str(error).strip().splitlines()[0]}", flush=True)


def make(model, mode, args):
    """One model in one mode: archive, inputs and expected outputs."""
    start = time.perf_counter()
    torch.manual_seed(args.seed)
    stem = args.out / f"{model}_{mode}"
    archive = stem.with_suffix(".pt")
    if model in IMAGES:
        net = float_net(model, args.size)
        batches = [torch.randn(4, 3, args.size, args.size) for _ in range(3)]
        quantized, quant = reference.quantize(net, batches, mode), reference.STATIC
        inputs = torch.randn(args.batch, 3, args.size, args.size)
    else:
        net, inputs = {"lstm": Tagger, "transformer": Encoder}[model]().eval(), torch.randint(0, 100, (args.batch, 12))
        quantized, quant = reference.quantize_dynamic(net, mode), reference.DYNAMIC
    reference.save(quantized, archive)

    # In memory last: Finalize changes the module it is given.
    reloaded = reference.run(reference.finalize(torch.jit.load(archive), quant), inputs)
    expected = reference.run(reference.finalize(quantized, quant), inputs)
    tensors = {"input.0": inputs, "expected.0": expected}
    differ = int((reloaded != expected).sum())
    if differ:
        tensors["reloaded.0"] = reloaded
    save_file(tensors, stem.with_suffix(".safetensors"))
    print(
        f"{archive.name}: {archive.stat().st_size / 1e6:.1f} MB, {time.perf_counter() - start:.1f} s, "
        f"{len(expected.unique())} distinct values in {expected.numel()}, re-loaded differs in {differ}",
        flush=True,
    )


def float_net(model, size):
    """A torchvision network in eval mode with random weights and statistics that fit them."""
    net = torchvision.models.get_model(model, weights=None, **IMAGES[model])
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        # Uneven scales and shifts, so that channels and layers differ as they do after training.
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0.0, 0.3)
        norm.momentum = None  # a plain average over the batches below
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(4, 3, size, size))
    for norm in norms:
        norm.momentum = 0.1
    return net.eval()


class Tagger(nn.Module):
    """Words through an LSTM of two layers, then through linear ones."""

    def __init__(self):
        super().__init__()
        self.words, self.lstm = (
            nn.Embedding(100, 64),
            nn.LSTM(64, 64, num_layers=2, batch_first=True, bidirectional=True),
        )
        self.hidden, self.tags = nn.Linear(128, 64), nn.Linear(64, 10)

    def forward(self, x):
        y, _ = self.lstm(self.words(x))
        return torch.log_softmax(self.tags(torch.relu(self.hidden(y))), -1)


class Attention(nn.Module):
    """A layer of attention and the two linear ones after it, each around a sum and a norm."""

    def __init__(self, width=64, heads=4):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.wide, self.narrow, self.dropout = nn.Linear(width, 4 * width), nn.Linear(4 * width, width), nn.Dropout(0.1)

    def split(self, x):
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)

    def forward(self, x):
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        weights = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.25, -1)
        y = torch.matmul(self.dropout(weights), v).transpose(1, 2).reshape(x.size(0), x.size(1), -1)
        x = self.first(x + self.out(y))
        return self.second(x + self.narrow(nn.functional.gelu(self.wide(x))))


class Encoder(nn.Module):
    """Words and places through layers of attention, the mean of all through a linear one."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(100, 64), nn.Parameter(torch.randn(12, 64))
        self.layers, self.classes = nn.ModuleList([Attention() for _ in range(4)]), nn.Linear(64, 10)

    def forward(self, x):
        y = self.words(x) + self.places
        for layer in self.layers:
            y = layer(y)
        return self.classes(y.mean(1))


if __name__ == "__main__":
    main()
