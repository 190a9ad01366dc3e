#!/usr/bin/env python3
"""Writes the operator schema table `src/ir/schemas.txt` from an installed PyTorch.

A TorchScript archive names operators without their overload and leaves defaulted arguments out, so
whoever reads one needs the schemas. planish carries them as data; this script is the only place that
asks PyTorch for them.

An operator name enters the table when at least one of these holds:

* it occurs in a graph of a `.ir` dump or in a method of a `.pt` archive below one of the SOURCE paths;
* it occurs in a graph of one of the `--model` networks (scripted, before and after quantization);
* it is a TorchScript primitive: an `aten::`/`prim::` operator that has an overload without tensors
  (arithmetic, comparison, list, dict, string, conversion);
* it belongs to the namespace `quantized`;
* it is listed in COMMON below: tensor operators that models of today use.

Every overload of such a name is written, in the order in which PyTorch registered it (the order in
which TorchScript tries overloads), except those that write into a keyword-only `out` argument: no
archive can reach them without naming `out`, and none of the supported ones does.

    tools/schemas.py --out src/ir/schemas.txt tests/fixtures/oracle examples --model resnet18
"""

import argparse
import re
import sys
import warnings
from pathlib import Path

import torch

# Tensor operators that exported models use and that the archives at hand need not contain.
COMMON = """
abs add add_ addmm all amax amin any arange argmax argmin avg_pool1d avg_pool2d avg_pool3d
adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d
adaptive_max_pool3d baddbmm batch_norm bitwise_and bitwise_not bitwise_or bmm broadcast_tensors cat ceil celu
celu_ chunk clamp clamp_ clamp_max clamp_min clone constant_pad_nd contiguous conv1d conv2d conv3d _convolution
conv_transpose1d conv_transpose2d conv_transpose3d copy_ cos cumsum dequantize detach div div_ dropout
dropout_ einsum elu elu_ embedding embedding_bag empty empty_like eq erf exp expand expand_as feature_dropout
fill_ flatten flip floor floor_divide full full_like fused_moving_avg_obs_fake_quant gather ge gelu glu group_norm
gru gt hardshrink hardsigmoid hardsigmoid_ hardswish hardswish_ hardtanh hardtanh_ index index_put_
index_select instance_norm int_repr is_floating_point item layer_norm le leaky_relu leaky_relu_ lerp linear linspace
log log2 log_softmax logical_and logical_not logical_or logical_xor logsigmoid logsumexp lstm lt masked_fill masked_fill_
masked_select matmul max max_pool1d max_pool2d max_pool3d maximum mean meshgrid min minimum mish mm movedim mul
mul_ narrow ne neg new_empty new_full new_ones new_zeros norm numel one_hot ones ones_like pad permute
pixel_shuffle pixel_unshuffle pow prelu prod q_per_channel_axis q_per_channel_scales
q_per_channel_zero_points q_scale q_zero_point qscheme quantize_per_channel quantize_per_tensor
_choose_qparams_per_tensor _saturate_weight_to_fp16 fake_quantize_per_channel_affine
fake_quantize_per_tensor_affine reciprocal reflection_pad1d reflection_pad2d relu relu6 relu6_ relu_
remainder repeat repeat_interleave replication_pad1d replication_pad2d reshape reshape_as rms_norm
rnn_relu rnn_tanh roll round rsqrt rsub scalar_tensor scaled_dot_product_attention scatter scatter_add
select selu selu_ sigmoid sigmoid_ sign silu silu_ sin size slice softmax softplus softshrink sort split
split_with_sizes sqrt square squeeze squeeze_ stack std stride sub sub_ sum swapaxes t tanh tanh_ tensor_split
threshold tile to topk transpose tril triu true_divide trunc type_as unbind unflatten unfold unsqueeze unsqueeze_
upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d
upsample_nearest3d upsample_trilinear3d var view view_as where zeros zeros_like
IntImplicit FloatImplicit ScalarImplicit tensor as_tensor rand randn is_nonzero fmod scaled_dot_product_attention
prim::NumToTensor prim::shape prim::layout prim::requires_grad prim::data prim::is_quantized prim::is_cuda
""".split()

# Vision networks whose graphs are read by `--model all`. No vision transformer: quantizing one ends PyTorch
# with a segmentation fault.
MODELS = (
    "resnet18 resnet50 mobilenet_v2 mobilenet_v3_small densenet121 squeezenet1_0 googlenet "
    "inception_v3 shufflenet_v2_x1_0 mnasnet1_0 vgg11_bn alexnet efficientnet_b0 regnet_y_400mf"
).split()

NODE = re.compile(r"= ([a-z_]\w*::\w+)[\[(]")

# Names of the graph executor's own machinery, which no archive holds, and of global switches.
INTERNAL = re.compile(
    r"Group|Guard|Graph|Subgraph|MKLDNN|Bailout|Broadcast|Sizes|Concat|PythonOp|BatchSide|GradCheck|TypeCheck|StaticRuntime"
    r"|AddStatValue|TimePoint|await|autocast|cufft|cuda|cudnn|distributed|profil|grad|rpc|fork|vulkan|nnpack|sym_constrain|manual_seed"
)


def main():
    """Parses the command line, gathers operator names, writes the table."""
    args = parse_args()
    warnings.filterwarnings("ignore")
    schemas = torch._C._jit_get_all_schemas()

    names = {name if "::" in name else f"aten::{name}" for name in COMMON}
    names |= {s.name for s in schemas if s.name.startswith("quantized::")}
    names |= {s.name for s in schemas if is_primitive(s)}
    for source in args.sources:
        names |= names_below(source)
    models = MODELS if args.model == ["all"] else args.model
    for model in models:
        names |= names_of_model(model)

    table = render(names)
    args.out.write_text(table)
    lines = [line for line in table.splitlines() if not line.startswith("#")]
    print(f"{args.out}: {len(lines)} schemas", file=sys.stderr)


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=Path, metavar="SOURCE", help="folder or file with .ir dumps and .pt archives")
    parser.add_argument("--out", type=Path, required=True, help="the table to write")
    parser.add_argument("--model", nargs="*", default=[], help="torchvision networks to script and quantize, or `all`")
    return parser.parse_args()


def is_primitive(schema):
    """Whether a schema is one of TorchScript's own scalar, list, dict or string operators."""
    if schema.name.split("::")[0] not in ("aten", "prim"):
        return False
    types = [str(a.type) for a in schema.arguments] + [str(r.type) for r in schema.returns]
    foreign = ("Tensor", "Generator", "Stream", "Future", "RRef", "__torch__", "Storage")
    if any(word in t for t in types for word in foreign):
        return False
    return not INTERNAL.search(schema.name)


def names_below(source):
    """Operator names in every dump and archive at or below a path."""
    names = set()
    files = sorted(source.rglob("*")) if source.is_dir() else [source]
    for file in files:
        if file.suffix == ".ir":
            names |= set(NODE.findall(file.read_text()))
        elif file.suffix == ".pt":
            try:
                names |= names_of_module(torch.jit.load(file))
            except RuntimeError as error:
                print(f"{file}: not loaded: {str(error).splitlines()[0]}", file=sys.stderr)
    return names


def names_of_model(model):
    """Operator names of a torchvision network: as scripted, quantized, and finalized."""
    import torchvision
    from torch.ao.quantization import get_default_qconfig
    from torch.ao.quantization.quantize_jit import convert_jit, prepare_jit

    options = {"init_weights": False} if model in ("googlenet", "inception_v3") else {}
    net = torchvision.models.get_model(model, weights=None, **options).eval()
    scripted = torch.jit.script(net)
    names = names_of_module(scripted)
    side = 299 if model == "inception_v3" else 224
    try:
        prepared = prepare_jit(scripted, {"": get_default_qconfig("fbgemm")})
        with torch.no_grad():
            prepared(torch.randn(1, 3, side, side))
        simulated = convert_jit(prepared, debug=True)
        names |= names_of_module(simulated)
        names |= names_of_module(torch.jit._recursive.wrap_cpp_module(torch._C._jit_pass_quant_finalize(simulated._c, 1, [])))
    except (RuntimeError, AttributeError) as error:
        print(f"{model}: not quantized: {str(error).splitlines()[0]}", file=sys.stderr)
    return names


def names_of_module(module):
    """Operator names of every method of a module and of its submodules."""
    names = set()
    for part in module.modules():
        for method in part._c._method_names():
            names |= names_of_block(part._c._get_method(method).graph)
    return names


def names_of_block(block):
    """Operator names of a graph or block, nested blocks included."""
    names = set()
    for node in block.nodes():
        names.add(node.kind())
        for inner in node.blocks():
            names |= names_of_block(inner)
    return names


def writes_out(schema):
    """Whether an overload writes into a keyword-only argument."""
    return any(a.kwarg_only and a.is_out for a in schema.arguments)


def render(names):
    """The table as text: names in ASCII order, overloads in registration order."""
    lines = [
        f"# Operator schemas of PyTorch {torch.__version__.split('+')[0]}, made by tools/schemas.py.",
        "# One schema a line; names in ASCII order, overloads of one name in the order of registration,",
        "# which is the order in which TorchScript tries them. SymInt is written int; out variants are left out.",
    ]
    for name in sorted(names):
        for schema in torch._C._jit_get_schemas_for_operator(name):
            if not writes_out(schema):
                lines.append(str(schema).replace("SymInt", "int"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
