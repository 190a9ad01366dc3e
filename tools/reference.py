"""Quantized TorchScript archives and what PyTorch makes of them.

Shared by the scripts that make test models: quantization up to the point before Finalize, saving
without source-range files, and PyTorch's own finalized outputs, computed the way planish's results
are compared with: engine `fbgemm`, one thread.
"""

import warnings
import zipfile

import torch
from torch.ao.quantization import default_dynamic_qconfig, float16_dynamic_qconfig, get_default_qconfig
from torch.ao.quantization.quantize_jit import convert_dynamic_jit, convert_jit, prepare_dynamic_jit, prepare_jit

DYNAMIC, STATIC = 0, 1  # QuantType of torch._C._jit_pass_quant_finalize

warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", category=DeprecationWarning)


def use_engine(name="fbgemm"):
    """Selects PyTorch's quantized engine and one thread, so that outputs do not depend on chunking."""
    torch.backends.quantized.engine = name
    torch.set_num_threads(1)


def quantize(net, batches, mode="script", qconfig=None):
    """A float network in eval mode as a quantized, float-simulated script module.

    `batches` calibrate the observers; the first one is the example of a trace. The default qconfig is
    fbgemm's: weights per channel, activations on 7 bits (reduce_range), which no int16 intermediate
    of a CPU without VNNI can saturate.
    """
    module = torch.jit.script(net) if mode == "script" else torch.jit.trace(net, batches[0])
    prepared = prepare_jit(module, {"": qconfig or get_default_qconfig("fbgemm")})
    with torch.no_grad():
        for batch in batches:
            prepared(batch)
    # debug=True stops before Finalize: weights stay float constants behind quantize/dequantize pairs.
    return convert_jit(prepared, debug=True)


def quantize_dynamic(net, mode):
    """A float network as a script module whose linear layers are quantized on the fly, with weights of 8 bits or of half precision."""
    config = {"dynamic": default_dynamic_qconfig, "fp16": float16_dynamic_qconfig}[mode]
    return convert_dynamic_jit(prepare_dynamic_jit(torch.jit.script(net), {"": config}), debug=True)


def finalize(module, quant=STATIC, preserved=()):
    """PyTorch's Finalize. It changes `module` in its first three stages, so call it once per module."""
    return torch.jit._recursive.wrap_cpp_module(torch._C._jit_pass_quant_finalize(module._c, quant, list(preserved)))


def run(module, inputs):
    """One module on one batch, without gradients and without specialising executors."""
    return run_all(module, [inputs])


def run_all(module, inputs):
    """The same for a module of several inputs."""
    with torch.no_grad(), torch.jit.optimized_execution(False):
        return module(*inputs)


def save(module, path):
    """Writes a module as `torch.jit.save` does, without the source-range files (`*.debug_pkl`)."""
    torch.jit.save(module, str(path))
    with zipfile.ZipFile(path) as archive:
        files = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, data in files:
            if not info.filename.endswith(".debug_pkl"):
                archive.writestr(zipfile.ZipInfo(info.filename), data)
