#!/usr/bin/env python3
"""Times PyTorch's Finalize and planish's, on the same files, on the same machine, in the same run; prints the ratios.

Needs PyTorch 2.15 with torchvision and Rust's `cargo`, and a machine that does nothing else:

    benches/peers/finalize.py --inputs target/peers
    benches/peers/finalize.py --inputs target/peers --runs 9 --threads 1

Inputs (resnet50 and a chain of 2,000 convolutions with relu, quantized with fbgemm's qconfig and saved before Finalize) are made once
and kept in the folder; making the chain takes minutes. Longer chains are made by planish alone, since PyTorch cannot make them in
reasonable time.

What is timed:

* Finalize, PyTorch: `torch._C._jit_pass_quant_finalize` on a module that was just loaded.
* Finalize, planish: all passes, and the verification before the first and after the last, on a module that was just imported. Weights come out
  quantized and packed as values, as PyTorch's do; kernels are beside it: no counterpart of theirs is in PyTorch's figure.
* Import: `torch.jit.load`, and from the path to the module.
* Growth: each pass on chains that planish makes, as the pass before it has left them, on one thread, once in a process as when a model is
  finalized; median and least of many processes, and the factors when the length doubles: the median of those within a round, as what else
  the machine does changes from round to round; and of the least times.
* Peak memory: the most that a process holds that imports and finalizes one file, the pages of the mapped file included.

The two take turns, a warm-up round first; figures are medians. PyTorch runs on one thread, planish on `--threads`.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from program import built

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import reference  # noqa: E402

LENGTHS = [1_250, 2_500, 5_000, 10_000, 20_000]
# Processes for each length: what else a machine does makes one sample twice as long as the next. With so many, the median of their
# ratios is known to two or three percent.
SAMPLES = 61


def main():
    """Makes what is missing, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, default=ROOT / "target/peers", help="folder for the models; kept for the next run")
    parser.add_argument("--runs", type=int, default=5, help="rounds that count")
    parser.add_argument("--threads", type=int, default=2, help="threads of planish")
    parser.add_argument("--only", choices=["growth"], help="measure nothing else")
    parser.add_argument("--chain", type=int, default=2_000, help="layers of the chain that both finalize")
    args = parser.parse_args()
    if args.only == "growth":
        growth(built("finalize"))
        return
    args.inputs.mkdir(parents=True, exist_ok=True)
    reference.use_engine()

    resnet = made(args.inputs / "resnet50.pt", lambda: resnet50())
    chain = made(args.inputs / f"chain{args.chain}.pt", lambda: conv_chain(args.chain))
    program = Planish(built("finalize"), args.threads)

    print(f"{'work':42} {'PyTorch':>12} {'planish':>12} {'ratio':>8}   demanded")
    ours, theirs = compared(program, resnet, args.runs)
    row(f"Finalize, resnet50 ({args.threads} threads)", theirs["finalize_ms"], ours["finalize_ms"], "1/12, aim 1/20")
    row("import, resnet50", theirs["import_ms"], ours["import_ms"], "1/4")
    # PyTorch takes long for it, and the more layers the less the noise.
    ours, theirs = compared(program, chain, min(args.runs, 3))
    row(f"Finalize, chain of {args.chain:,}", theirs["finalize_ms"], ours["finalize_ms"], "1/200, aim 1/400")
    peak, size = peak_of(program, resnet), resnet.stat().st_size
    print(f"{'peak memory, resnet50':42} {'–':>12} {peak / 1e6:9.1f} MB {peak / size:7.2f} × the file   at most 1.5 ×")
    growth(program.path)


def row(work, theirs, ours, demanded):
    """One line of the table."""
    print(f"{work:42} {theirs:9.1f} ms {ours:9.2f} ms {'1/' + format(theirs / ours, '.1f'):>8}   {demanded}", flush=True)


def compared(program, path, runs):
    """Medians of both on one file, in turns."""
    ours, theirs = [], []
    for _ in range(runs + 1):
        theirs.append(pytorch(path))
        ours.append(program.ask(f"file {path}"))
    keys = ("import_ms", "finalize_ms")
    median = lambda rounds: {key: statistics.median(one[key] for one in rounds[1:]) for key in keys}
    return median(ours), median(theirs)


def pytorch(path):
    """One load and one Finalize."""
    start = time.perf_counter()
    module = torch.jit.load(path)
    loaded = time.perf_counter()
    torch._C._jit_pass_quant_finalize(module._c, reference.STATIC, [])
    done = time.perf_counter()
    return {"import_ms": (loaded - start) * 1e3, "finalize_ms": (done - loaded) * 1e3}


def growth(path):
    """Every pass on longer and longer chains; the lengths take turns, so that what else the machine does falls on all of them."""
    lengths = ", ".join(f"{layers:,}" for layers in LENGTHS)
    print(f"\ngrowth: milliseconds on chains of {lengths} layers, and the factors for twice the length (at most 2.2)")
    samples = [[made_once(path, layers) for layers in LENGTHS] for _ in range(SAMPLES)]
    doublings = math.log2(LENGTHS[-1] / LENGTHS[0])
    for name in samples[0][0]:
        rounds = [[process[name] for process in sample] for sample in samples]
        least = [min(times) for times in zip(*rounds)]
        median = [statistics.median(times) for times in zip(*rounds)]
        for what, times, series in ("median", median, rounds), ("least", least, [least]):
            steps = [factor(series, at, at + 1) for at in range(len(LENGTHS) - 1)]
            mean = factor(series, 0, -1) ** (1 / doublings)
            figures = "".join(f"{time:10.2f}" for time in times)
            print(f"  {name:22} {what:7}{figures}  {''.join(f' ×{step:.2f}' for step in steps)}, mean ×{mean:.2f}", flush=True)


def factor(series, before, after):
    """By how much one length takes longer than another, in the middle of several series of times."""
    return statistics.median(times[after] / times[before] for times in series)


def made_once(path, layers):
    """What each pass takes in a process of its own, which has run every pass on a few layers before: rules are read once."""
    environment = {**os.environ, "RAYON_NUM_THREADS": "1"}
    requests = f"made 50\nmade {layers}\n"
    done = subprocess.run([path], input=requests, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[1])["passes_ms"]


def peak_of(program, path):
    """The most memory that a fresh process holds."""
    fresh = Planish(program.path, program.threads)
    fresh.ask(f"file {path}")
    return fresh.ask("peak")["peak_bytes"]


class Planish:
    """The program that answers how long planish takes (`benches/finalize.rs`)."""

    def __init__(self, path, threads):
        self.path, self.threads = path, threads
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([path], text=True, env=environment, **pipes)

    def ask(self, request):
        """One request, one answer."""
        self.process.stdin.write(request + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"planish did not answer {request!r}")
        return json.loads(answer)


def made(path, make):
    """The file, made if it is not there."""
    if not path.exists():
        print(f"making {path}", file=sys.stderr, flush=True)
        partial = path.with_suffix(".partial")
        torch.jit.save(make(), str(partial))
        partial.rename(path)
    return path.resolve()


def resnet50():
    """resnet50 with random weights."""
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.resnet50(weights=None).eval()
    return reference.quantize(net, [torch.randn(1, 3, 224, 224)])


def conv_chain(layers):
    """Convolutions of 4 channels with relu, one after another."""
    torch.manual_seed(0)
    pairs = (layer for _ in range(layers) for layer in (torch.nn.Conv2d(4, 4, 1), torch.nn.ReLU()))
    return reference.quantize(torch.nn.Sequential(*pairs).eval(), [torch.randn(1, 4, 8, 8)])


if __name__ == "__main__":
    main()
