#!/usr/bin/env python3
"""Makes quantized vision models to test with: resnet18, resnet50, mobilenet_v2, scripted and traced.

The weights are random, from a fixed seed; the batch norms get statistics from a few random batches first, so that
activations have sane ranges. Each model gives two files:

* `NAME_MODE.pt`: the TorchScript module quantized by `quantize_jit` with fbgemm's qconfig (weights per
  channel, activations on 7 bits), saved before Finalize;
* `NAME_MODE.safetensors`: `input.0`, `expected.0` = output of the module that PyTorch finalized in memory,
  and, where it differs, `reloaded.0` = output of the module that PyTorch finalized after saving and
  loading it.

The two graphs differ for relu6: re-loading merges equal constants, and PyTorch's clamp patterns then match no
longer, so the clamp stays a float operator behind dequantize. planish fuses in both cases, hence the
in-memory output is the expected one. (The values came out equal for all six models of the default
options.) Both are computed by engine fbgemm on one thread.

    tools/models.py --out target/models
    tools/models.py --out target/models --model mobilenet_v2 --mode trace --size 96 --batch 1
"""

import argparse
import time
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file

import reference

MODELS = ("resnet18", "resnet50", "mobilenet_v2")
MODES = ("script", "trace")


def main():
    """Makes every asked-for model and prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--model", nargs="*", choices=MODELS, default=MODELS)
    parser.add_argument("--mode", nargs="*", choices=MODES, default=MODES)
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=2, help="images in input.0")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    reference.use_engine()
    for model in args.model:
        for mode in args.mode:
            make(model, mode, args)


def make(model, mode, args):
    """One model in one mode: archive, inputs and expected outputs."""
    start = time.perf_counter()
    torch.manual_seed(args.seed)
    net = float_net(model, args.size)
    batches = [torch.randn(4, 3, args.size, args.size) for _ in range(3)]
    quantized = reference.quantize(net, batches, mode)

    stem = args.out / f"{model}_{mode}"
    archive = stem.with_suffix(".pt")
    reference.save(quantized, archive)

    inputs = torch.randn(args.batch, 3, args.size, args.size)
    # In memory last: Finalize changes the module it is given.
    reloaded = reference.run(reference.finalize(torch.jit.load(archive)), inputs)
    expected = reference.run(reference.finalize(quantized), inputs)
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
    net = torchvision.models.get_model(model, weights=None)
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


if __name__ == "__main__":
    main()
