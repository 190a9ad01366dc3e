#!/usr/bin/env python3
"""Makes cases of the oracle: small quantized modules, each with what PyTorch's own Finalize makes of it.

    tools/oracle.py --out target/oracle
    tools/oracle.py --out target/oracle --only 'op_upsample_*' 'fn_*'
    tools/oracle.py --out target/oracle --vary 7
    tools/oracle.py --out target/oracle --random 7 --count 200
    tools/oracle.py --list

`--vary` makes each case another one: other weights and inputs, another configuration of its kind, traced instead of scripted, and where
the signal's size is free another size. `--random` makes networks of layers drawn by lot (`oracle_random.py`).

The modules stand in `oracle_cases.py`, `oracle_language.py`, `oracle_strange.py`, `oracle_settings.py` and `oracle_networks.py`. A case is a folder as in `tests/fixtures/oracle`:

* `before.pt`, `before.ir`: the module quantized by `quantize_jit`, before Finalize, and its graphs as read back from that file;
* `after.ir`: the graphs of PyTorch's finalized module; `after_mem.ir` besides, where the module that was never saved and loaded has
  other operators after Finalize;
* `tensors.safetensors`: inputs, outputs of the module before, and of the finalized one under each engine, on one thread;
* `meta.json`: how the module was made, the operators before and after, and the errors that PyTorch raises on the way.

Each case is made in a process of its own: some end in a crash of PyTorch, which `build_error` then records.
"""

import argparse
import collections
import dataclasses
import fnmatch
import json
import math
import os
import random
import shutil
import signal
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.ao import quantization as q
from torch.ao.quantization.quantize_jit import convert_dynamic_jit, convert_jit, prepare_dynamic_jit, prepare_jit

import oracle_cases
import oracle_language
import oracle_networks
import oracle_random
import oracle_settings
import oracle_strange
import reference

ENGINES = ("x86", "fbgemm", "onednn", "qnnpack")


def static(weight, reduce_range):
    """Observers of smallest and largest value, activations on 7 or 8 bits."""
    activation = q.MinMaxObserver.with_args(reduce_range=reduce_range)
    return q.QConfig(activation=activation, weight=weight)


def embedding(width):
    """Weights of embedding bags, prepacked by the named operator."""
    rows = q.PlaceholderObserver.with_args(dtype=torch.float, custom_op_name=f"embedding_bag_{width}")
    return q.QConfig(activation=rows, weight=rows)


QCONFIGS = {
    "pt7": lambda: static(q.default_weight_observer, True),
    "pt8": lambda: static(q.default_weight_observer, False),
    "pc7": lambda: static(q.default_per_channel_weight_observer, True),
    "pc8": lambda: static(q.default_per_channel_weight_observer, False),
    "x86": lambda: q.get_default_qconfig("x86"),
    "fbgemm": lambda: q.get_default_qconfig("fbgemm"),
    "qnnpack": lambda: q.get_default_qconfig("qnnpack"),
    "onednn": lambda: q.get_default_qconfig("onednn"),
    "dyn": lambda: q.default_dynamic_qconfig,
    "dyn_pc": lambda: q.per_channel_dynamic_qconfig,
    "fp16": lambda: q.float16_dynamic_qconfig,
    "eb8": lambda: embedding("byte"),
    "eb4": lambda: embedding("4bit"),
}


def main():
    """Makes every asked-for case and prints one line for each that PyTorch has trouble with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder to write to")
    parser.add_argument("--only", nargs="*", default=["*"], help="names, with wildcards")
    parser.add_argument("--vary", type=int, metavar="SEED", help="make each case another one")
    parser.add_argument("--random", type=int, metavar="SEED", help="networks drawn by lot, instead of the tables' cases")
    parser.add_argument("--count", type=int, default=100, help="how many of them")
    parser.add_argument("--list", action="store_true", help="print the names and make nothing")
    args = parser.parse_args()
    if args.random is None:
        families = (oracle_cases.every, oracle_language.language, oracle_language.extremes, oracle_strange.strange)
        families += (oracle_settings.settings, oracle_settings.ways, oracle_settings.vision, oracle_networks.networks, oracle_networks.layouts)
        cases = [case for family in families for case in family()]
    else:
        cases = [oracle_random.case(args.random, at) for at in range(args.count)]
    cases = [case for case in cases if any(fnmatch.fnmatch(case.name, only) for only in args.only)]
    if args.vary is not None:
        cases = [varied(case, args.vary) for case in cases if not case.way]
    if args.list:
        print("\n".join(case.name for case in cases))
        return
    if not args.out:
        parser.error("--out is needed")
    reference.use_engine()
    for case in cases:
        folder = args.out / case.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        record(folder, case, {})
        child = os.fork()
        if child == 0:
            os._exit(enter(folder, case))
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            crash = signal.Signals(os.WTERMSIG(status)).name
            record(folder, case, {**json.loads((folder / "meta.json").read_text()), "build_error": f"ended by {crash}"})
    print(f"{len(cases)} cases in {args.out}")


def varied(case, seed):
    """The case with another seed, configuration, mode and size of signals, by lot."""
    lot = random.Random(f"{seed} {case.name}")
    kinds = (
        ("pt7", "pt8", "pc7", "pc8", "x86", "fbgemm", "qnnpack", "onednn"),
        ("dyn", "dyn_pc", "fp16"),
        ("eb8", "eb4"),
    )
    config = lot.choice(next(kind for kind in kinds if case.qconfig in kind))
    mode = lot.choice(("script", "script", "trace"))
    name = f"{case.name}_v{seed}"
    return dataclasses.replace(case, name=name, qconfig=config, mode=mode, shapes=resized(lot, case))


def resized(lot, case):
    """Shapes with other batches, lengths, heights and widths; what was equal stays equal, and channels stay what they are."""
    if case.qt == "dynamic" or any(len(shape) < 3 for shape in case.shapes) or case.name.startswith(("linear", "bmm", "matmul")):
        return case.shapes
    sizes = {size: size if size == 1 else lot.randrange(6, 34 if len(case.shapes[0]) < 5 else 9) for shape in case.shapes for size in shape[2:]}
    batches = {shape[0]: shape[0] if shape[0] == 1 else lot.randrange(1, 6) for shape in case.shapes}
    return tuple((batches[shape[0]], shape[1], *(sizes[size] for size in shape[2:])) for shape in case.shapes)


def enter(folder, case):
    """One case, in the process that was started for it."""
    try:
        meta = make(folder, case)
    except Exception as error:  # what PyTorch cannot make is a fact of the case
        meta = {"build_error": str(error)}
    record(folder, case, meta)
    for key in ("build_error", "reload_error", "finalize_error", "engine_errors"):
        if key in meta:
            print(f"{case.name}: {key}: {str(meta[key]).strip()[:160]!r}", flush=True)
    return 0


def make(folder, case):
    """Quantizes, saves, finalizes and runs; returns the record."""
    # Inputs and weights depend on the name alone, so that a case stays the same whatever is made besides it.
    random.seed(case.name)
    torch.manual_seed(random.getrandbits(63))
    net = case.net()
    net.train(case.training)
    batches = [case.inputs() for _ in range(4)]
    quant = reference.DYNAMIC if case.qt == "dynamic" else reference.STATIC
    quantized = case.way(net, batches) if case.way else quantize(case, net, batches)

    meta = {"ops_before": operators(quantized)}
    archive = folder / "before.pt"
    reference.save(quantized, archive)
    if case.repack:
        case.repack(archive)
    try:
        loaded = torch.jit.load(archive)
    except RuntimeError as error:
        return {**meta, "reload_error": str(error), "finalize_error": f"reload failed: {error}"}
    (folder / "before.ir").write_text(printed(loaded))

    inputs = batches[0]
    tensors = {f"input.{at}": value for at, value in enumerate(inputs)}
    before = answer(loaded, inputs)
    tensors |= named("before", before)
    errors, off = {}, {}
    for engine in ENGINES:
        reference.use_engine(engine)
        try:
            finalized = reference.finalize(torch.jit.load(archive), quant, case.preserved)
        except RuntimeError as error:
            meta["finalize_error"] = str(error)
            break
        if engine == "fbgemm":
            (folder / "after.ir").write_text(printed(finalized))
            meta |= {
                "ops_after": operators(finalized),
                "attrs_after": attributes(finalized),
            }
            meta["leftover_dequantize"] = meta["ops_after"].get("aten::dequantize", 0)
        try:
            after = answer(finalized, inputs)
        except RuntimeError as error:
            errors[engine] = last_line(error)
            continue
        tensors |= named(f"after_{engine}", after)
        off[engine] = largest(before, after)
    reference.use_engine()
    save_file(
        {name: value.detach().clone().contiguous() for name, value in tensors.items()}, folder / "tensors.safetensors"
    )
    if "finalize_error" not in meta:
        # Last: Finalize changes the module it is given.
        try:
            in_memory = reference.finalize(quantized, quant, case.preserved)
        except RuntimeError:
            in_memory = finalized
        meta["ops_after_mem"] = operators(in_memory)
        meta["mem_vs_reload_same_ops"] = meta["ops_after_mem"] == meta["ops_after"]
        if not meta["mem_vs_reload_same_ops"]:
            (folder / "after_mem.ir").write_text(printed(in_memory))
    meta["max_abs_dev_vs_simulated"] = off
    if errors:
        meta["engine_errors"] = errors
    return meta


def quantize(case, net, batches):
    """The network by `quantize_jit`, up to Finalize."""
    module = torch.jit.trace(net, batches[0]) if case.mode == "trace" else torch.jit.script(net)
    module.train(case.training)
    configs = {key: value and QCONFIGS[value]() for key, value in (case.qdict or {"": case.qconfig}).items()}
    if case.qt == "dynamic":
        return convert_dynamic_jit(prepare_dynamic_jit(module, configs), debug=True)
    prepared = prepare_jit(module, configs)
    with torch.no_grad():
        for batch in batches:
            prepared(*batch)
    return convert_jit(prepared, debug=True)


def record(folder, case, meta):
    """Writes `meta.json`: the case, then what was found."""
    about = {key: getattr(case, key) for key in ("name", "qt", "qconfig", "mode", "preserved", "note", "qdict")}
    (folder / "meta.json").write_text(json.dumps({**about, **meta}, indent=1) + "\n")


def answer(module, inputs):
    """The module's answer on copies of the inputs, from the same random numbers each time."""
    torch.manual_seed(0)
    return reference.run_all(module, [value.clone() for value in inputs])


def named(prefix, value):
    """The tensors of an answer by name: nothing for the only one, a number in a tuple or list, `.key` in a dict."""
    if isinstance(value, torch.Tensor):
        return {prefix: value.dequantize() if value.is_quantized else value}
    if isinstance(value, dict):
        return {f"{prefix}.{key}": inner for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        flat = [inner for outer in value for inner in (outer if isinstance(outer, (tuple, list)) else [outer])]
        return {f"{prefix}{at}": inner for at, inner in enumerate(flat) if isinstance(inner, torch.Tensor)}
    return {}


def largest(a, b):
    """The largest difference between two answers."""
    a, b = named("", a), named("", b)
    pairs = [(a[name].float(), b[name].float()) for name in a if name in b and a[name].shape == b[name].shape]
    off = max((float((x - y).abs().max()) for x, y in pairs if x.numel()), default=0.0)
    # JSON has no other numbers.
    return off if math.isfinite(off) else None


def printed(module):
    """The graphs of every method of the module and of its submodules, as PyTorch prints them."""
    texts = []
    for path, inner in module.named_modules():
        kind = inner._c._type().qualified_name()
        for method in sorted(inner._c._method_names(), key=lambda name: (name != "forward" and not path, name)):
            graph = inner._c._get_method(method).graph
            texts.append(f"# module {path or '<root>'} type {kind} method {method}\n{graph.str(False)}")
    return "\n".join(texts)


def operators(module):
    """How often each operator stands in the graph of `forward`, its blocks included."""
    counts = collections.Counter()
    open_blocks = [module._c._get_method("forward").graph]
    while open_blocks:
        for node in open_blocks.pop().nodes():
            counts[node.kind()] += 1
            open_blocks.extend(node.blocks())
    return dict(sorted(counts.items()))


def attributes(module):
    """The attributes of the root that `forward` reads."""
    nodes = module._c._get_method("forward").graph.findAllNodes("prim::GetAttr")
    return sorted({node.s("name") for node in nodes})


def last_line(error):
    """The line of a TorchScript error that says what happened."""
    return [line for line in str(error).splitlines() if line.strip()][-1].strip()


if __name__ == "__main__":
    main()
