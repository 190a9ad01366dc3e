"""Operators, lines of `forward` and classes of modules for `oracle_cases.py`."""

import math
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def nets(kind, *args, **options):
    """How to make a module."""
    return lambda: kind(*args, **options)


def both(name, kind, rank=2, *args):
    """An activation, in place besides."""
    return {name: (nets(kind, *args), rank), f"{name}_inplace": (nets(kind, *args, inplace=True), rank)}


# Name, how to make it, and the rank of its image.
OPERATORS = {
    "relu_only": (nets(nn.ReLU), 2),
    "sigmoid": (nets(nn.Sigmoid), 2),
    "tanh": (nets(nn.Tanh), 2),
    "celu": (nets(nn.CELU, 0.5), 2),
    "prelu": (nets(nn.PReLU), 2),
    "prelu_channels": (nets(nn.PReLU, 4), 2),
    "gelu": (nets(nn.GELU), 2),
    "gelu_tanh": (nets(nn.GELU, "tanh"), 2),
    "softplus": (nets(nn.Softplus), 2),
    "softmax": (nets(nn.Softmax, 1), 2),
    "log_softmax": (nets(nn.LogSoftmax, 1), 2),
    "logsigmoid": (nets(nn.LogSigmoid), 2),
    "softsign": (nets(nn.Softsign), 2),
    "tanhshrink": (nets(nn.Tanhshrink), 2),
    "hardshrink": (nets(nn.Hardshrink), 2),
    "softshrink": (nets(nn.Softshrink), 2),
    "threshold": (nets(nn.Threshold, 0.1, 0.2), 2),
    **both("relu6", nn.ReLU6),
    **both("hardtanh", nn.Hardtanh, 2, -0.3, 0.9),
    **both("hardtanh_default", nn.Hardtanh),
    **both("hardswish", nn.Hardswish),
    **both("hardsigmoid", nn.Hardsigmoid),
    **both("elu", nn.ELU),
    **both("elu_alpha", nn.ELU, 2, 0.5),
    **both("leaky_relu", nn.LeakyReLU),
    **both("leaky_relu_slope", nn.LeakyReLU, 2, 0.2),
    **both("silu", nn.SiLU),
    **both("mish", nn.Mish),
    **both("selu", nn.SELU),
    "identity": (nets(nn.Identity), 2),
    "flatten": (nets(nn.Flatten), 2),
    "flatten_all": (nets(nn.Flatten, 0), 2),
    "unflatten": (nets(nn.Unflatten, 1, (2, 2)), 2),
    "dropout": (nets(nn.Dropout, 0.3), 2),
    "dropout2d": (nets(nn.Dropout2d, 0.3), 2),
    "dropout1d": (nets(nn.Dropout1d, 0.3), 1),
    "dropout3d": (nets(nn.Dropout3d, 0.3), 3),
    "alpha_dropout": (nets(nn.AlphaDropout, 0.3), 2),
    "feature_alpha_dropout": (nets(nn.FeatureAlphaDropout, 0.3), 2),
    "max_pool1d": (nets(nn.MaxPool1d, 2), 1),
    "max_pool2d": (nets(nn.MaxPool2d, 2), 2),
    "max_pool3d": (nets(nn.MaxPool3d, 2), 3),
    "max_pool1d_opts": (nets(nn.MaxPool1d, 3, 2, 1), 1),
    "max_pool2d_opts": (nets(nn.MaxPool2d, 3, 2, 1, 1, ceil_mode=True), 2),
    "max_pool2d_dil": (nets(nn.MaxPool2d, 2, 1, 0, 2), 2),
    "max_pool3d_opts": (nets(nn.MaxPool3d, (2, 1, 2), (2, 1, 1)), 3),
    "avg_pool1d": (nets(nn.AvgPool1d, 3), 1),
    "avg_pool2d": (nets(nn.AvgPool2d, 2), 2),
    "avg_pool3d": (nets(nn.AvgPool3d, 2), 3),
    "avg_pool1d_opts": (nets(nn.AvgPool1d, 3, 2, 1, True, False), 1),
    "avg_pool2d_ceil": (nets(nn.AvgPool2d, 3, 2, 1, ceil_mode=True, count_include_pad=False), 2),
    "avg_pool2d_div": (nets(nn.AvgPool2d, 2, divisor_override=3), 2),
    "avg_pool2d_pad": (nets(nn.AvgPool2d, 3, 1, 1), 2),
    "avg_pool3d_opts": (nets(nn.AvgPool3d, 2, 1, 1, True, False), 3),
    "avg_pool3d_div": (nets(nn.AvgPool3d, 2, divisor_override=5), 3),
    "adaptive_avg_pool1d": (nets(nn.AdaptiveAvgPool1d, 2), 1),
    "adaptive_avg_pool2d": (nets(nn.AdaptiveAvgPool2d, 2), 2),
    "adaptive_avg_pool2d_one": (nets(nn.AdaptiveAvgPool2d, 1), 2),
    "adaptive_avg_pool2d_none": (nets(nn.AdaptiveAvgPool2d, (None, 3)), 2),
    "adaptive_avg_pool2d_odd": (nets(nn.AdaptiveAvgPool2d, (3, 3)), 2),
    "adaptive_avg_pool3d": (nets(nn.AdaptiveAvgPool3d, 2), 3),
    "adaptive_max_pool1d": (nets(nn.AdaptiveMaxPool1d, 2), 1),
    "adaptive_max_pool2d": (nets(nn.AdaptiveMaxPool2d, 2), 2),
    "adaptive_max_pool3d": (nets(nn.AdaptiveMaxPool3d, 2), 3),
    "lp_pool2d": (nets(nn.LPPool2d, 2, 2), 2),
    "layer_norm": (nets(nn.LayerNorm, [4, 5, 4]), 2),
    "layer_norm_noaffine": (nets(nn.LayerNorm, [5, 4], elementwise_affine=False), 2),
    "layer_norm_last": (nets(nn.LayerNorm, 4), 2),
    "layer_norm_nobias": (nets(nn.LayerNorm, 4, bias=False), 2),
    "group_norm": (nets(nn.GroupNorm, 2, 4), 2),
    "group_norm_noaffine": (nets(nn.GroupNorm, 2, 4, affine=False), 2),
    "group_norm1d": (nets(nn.GroupNorm, 2, 4), 1),
    "group_norm3d": (nets(nn.GroupNorm, 4, 4), 3),
    **{
        f"instance_norm{rank}d{'_affine' if affine else ''}": (nets(kind, 4, affine=affine), rank)
        for rank, kind in ((1, nn.InstanceNorm1d), (2, nn.InstanceNorm2d), (3, nn.InstanceNorm3d))
        for affine in (False, True)
    },
    "rms_norm": (nets(nn.RMSNorm, 4), 2),
    "local_response_norm": (nets(nn.LocalResponseNorm, 2), 2),
    "upsample_nearest1d": (nets(nn.Upsample, scale_factor=2), 1),
    "upsample_nearest2d": (nets(nn.Upsample, scale_factor=2), 2),
    "upsample_nearest3d": (nets(nn.Upsample, scale_factor=2), 3),
    "upsample_nearest1d_size": (nets(nn.Upsample, size=11), 1),
    "upsample_nearest2d_size": (nets(nn.Upsample, size=(7, 9)), 2),
    "upsample_nearest3d_size": (nets(nn.Upsample, size=(5, 4, 7)), 3),
    "upsample_linear1d": (nets(nn.Upsample, scale_factor=2, mode="linear", align_corners=True), 1),
    "upsample_linear1d_na": (nets(nn.Upsample, scale_factor=2, mode="linear"), 1),
    "upsample_linear1d_size": (nets(nn.Upsample, size=11, mode="linear"), 1),
    "upsample_bilinear2d": (nets(nn.Upsample, scale_factor=2, mode="bilinear", align_corners=True), 2),
    "upsample_bilinear2d_na": (nets(nn.Upsample, size=(9, 11), mode="bilinear", align_corners=False), 2),
    "upsample_bilinear2d_scale_na": (nets(nn.Upsample, scale_factor=1.5, mode="bilinear"), 2),
    "upsample_bilinear2d_size_ac": (nets(nn.Upsample, size=(9, 11), mode="bilinear", align_corners=True), 2),
    "upsampling_bilinear2d": (nets(nn.UpsamplingBilinear2d, scale_factor=2), 2),
    "upsampling_nearest2d": (nets(nn.UpsamplingNearest2d, size=(8, 9)), 2),
    "upsample_trilinear3d": (nets(nn.Upsample, scale_factor=2, mode="trilinear", align_corners=True), 3),
    "upsample_trilinear3d_na": (nets(nn.Upsample, scale_factor=2, mode="trilinear"), 3),
    "upsample_trilinear3d_size": (nets(nn.Upsample, size=(5, 4, 7), mode="trilinear"), 3),
    "upsample_bicubic2d": (nets(nn.Upsample, size=(9, 11), mode="bicubic"), 2),
    "upsample_nearest_exact": (nets(nn.Upsample, size=(9, 11), mode="nearest-exact"), 2),
    "upsample_recompute": (nets(nn.Upsample, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True), 2),
    "upsample_nearest2d_scale_two": (nets(nn.Upsample, scale_factor=(2.0, 3.0)), 2),
    "pixel_shuffle": (nets(nn.PixelShuffle, 2), 2),
    "pixel_unshuffle": (nets(nn.PixelUnshuffle, 1), 2),
    "channel_shuffle": (nets(nn.ChannelShuffle, 2), 2),
    "zero_pad2d": (nets(nn.ZeroPad2d, 1), 2),
    "constant_pad2d": (nets(nn.ConstantPad2d, 1, 0.5), 2),
    "reflection_pad1d": (nets(nn.ReflectionPad1d, 1), 1),
    "reflection_pad2d": (nets(nn.ReflectionPad2d, 1), 2),
    "replication_pad2d": (nets(nn.ReplicationPad2d, (1, 0, 2, 1)), 2),
    "circular_pad2d": (nets(nn.CircularPad2d, 1), 2),
    "unfold": (nets(nn.Unfold, 2), 2),
    "cosine_self": (nets(nn.CosineSimilarity, 1), 2),
}
OPERATORS.pop("cosine_self")

# Those that are traced too.
TRACED = (
    "relu_only",
    "sigmoid",
    "tanh",
    "relu6",
    "relu6_inplace",
    "hardtanh",
    "hardswish",
    "hardsigmoid",
    "elu",
    "leaky_relu",
    "gelu",
    "silu",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_one",
    "adaptive_max_pool2d",
    "layer_norm",
    "group_norm",
    "instance_norm2d_affine",
    "instance_norm1d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_bilinear2d_na",
    "upsample_trilinear3d",
    "upsample_nearest2d_size",
    "upsample_trilinear3d_size",
    "upsample_linear1d_size",
    "pixel_shuffle",
    "flatten",
    "dropout",
    "identity",
    "prelu",
    "softmax",
    "reflection_pad2d",
)

# Those that stand between two convolutions too: their results have four channels.
BETWEEN = tuple(name for name in OPERATORS if name not in ("flatten", "flatten_all", "unflatten", "unfold"))

# Lines of `forward` of a module with the convolutions `c` (padded) and `c2`.
FUNCTIONS = {
    "chunk": "a, b = s.c(x).chunk(2, 1)\nreturn a + b",
    "chunk_one": "return s.c(x).chunk(2, 1)[0]",
    "split": "a, b = torch.split(s.c(x), 2, 1)\nreturn torch.cat([b, a], 1)",
    "split_sizes": "a, b = torch.split(s.c(x), [1, 3], 1)\nreturn b",
    "unbind": "a, b, c, d = s.c(x).unbind(1)\nreturn b",
    "stack": "y = s.c(x)\nreturn torch.stack([y, y], 1)",
    "pad": "return F.pad(s.c(x), [1, 1, 1, 1])",
    "pad_value": "return F.pad(s.c(x), [1, 1, 1, 1], value=0.5)",
    "pad_reflect": "return F.pad(s.c(x), [1, 1, 1, 1], mode='reflect')",
    "repeat": "return s.c(x).repeat(1, 2, 1, 1)",
    "repeat_interleave": "return s.c(x).repeat_interleave(2, 1)",
    "expand": "return s.c(x).unsqueeze(1).expand(2, 3, 4, 7, 6)",
    "tile": "return s.c(x).tile([1, 2, 1, 1])",
    "permute": "return s.c(x).permute(0, 2, 3, 1)",
    "transpose": "return s.c(x).transpose(1, 2)",
    "t": "return s.c(x)[0, 0].t()",
    "movedim": "return s.c(x).movedim(1, 3)",
    "reshape": "return s.c(x).reshape(2, -1)",
    "view": "return s.c(x).view(2, -1)",
    "view_size": "y = s.c(x)\nreturn y.view(y.size(0), -1)",
    "view_shape": "y = s.c(x)\nreturn y.view(y.shape[0], y.shape[1], -1)",
    "flatten_method": "return s.c(x).flatten(1)",
    "squeeze": "return s.c(x)[:, :1].squeeze(1)",
    "unsqueeze": "return s.c(x).unsqueeze(0)",
    "contiguous": "return s.c(x).permute(0, 2, 3, 1).contiguous()",
    "slice": "return s.c(x)[:, 1:3]",
    "slice_step": "return s.c(x)[:, :, ::2]",
    "select": "return s.c(x)[:, 0]",
    "narrow": "return s.c(x).narrow(1, 1, 2)",
    "index": "return s.c(x)[torch.tensor([1, 0])]",
    "index_select": "return s.c(x).index_select(1, torch.tensor([2, 0]))",
    "flip": "return s.c(x).flip([2])",
    "roll": "return s.c(x).roll(1, 2)",
    "gather": "y = s.c(x)\nreturn y.gather(1, torch.zeros([2, 1, 7, 6], dtype=torch.long))",
    "min": "return s.c(x).min()",
    "max": "return s.c(x).max()",
    "max_dim": "return s.c(x).max(1)[0]",
    "min_dim": "return s.c(x).min(1)[0]",
    "argmax": "return s.c(x).argmax(1)",
    "amax": "return s.c(x).amax(1)",
    "topk": "return s.c(x).topk(2, 1)[0]",
    "sort": "return s.c(x).sort(1)[0]",
    "mean": "return s.c(x).mean([2, 3])",
    "mean_all": "return s.c(x).mean()",
    "mean_keep": "return s.c(x).mean([2, 3], keepdim=True)",
    "mean_one": "return s.c(x).mean(2)",
    "mean_neg": "return s.c(x).mean([-1])",
    "mean_dtype": "return s.c(x).mean([2, 3], dtype=torch.float)",
    "mean_f": "return torch.mean(s.c(x), dim=(2, 3))",
    "mean_channel": "return s.c(x).mean(1)",
    "sum": "return s.c(x).sum([2, 3])",
    "std": "return s.c(x).std([2, 3])",
    "norm": "return s.c(x).norm()",
    "prod": "return s.c(x)[0, 0, :2, :2].prod()",
    "cumsum": "return s.c(x).cumsum(1)",
    "clamp": "return torch.clamp(s.c(x), -0.3, 0.9)",
    "clamp_": "return s.c(x).clamp_(-0.3, 0.9)",
    "clamp_min": "return torch.clamp(s.c(x), min=0.1)",
    "clamp_max": "return torch.clamp(s.c(x), max=0.1)",
    "clamp_int": "return torch.clamp(s.c(x), 0, 1)",
    "clamp_min_f": "return s.c(x).clamp_min(0.1)",
    "clip": "return s.c(x).clip(-0.3, 0.9)",
    "clamp_twice": "return torch.clamp(torch.clamp(s.c(x), -0.3, 0.9), -0.2, 0.8)",
    "hardtanh_": "return F.hardtanh_(s.c(x), -0.3, 0.9)",
    "hardtanh_twice": "return F.hardtanh(F.hardtanh(s.c(x), -0.3, 0.9), -0.3, 0.9)",
    "relu6_f": "return F.relu6(s.c(x))",
    "relu6_": "return F.relu6(s.c(x), inplace=True)",
    "relu6_twice": "return F.relu6(s.c2(F.relu6(s.c(x))))",
    "sigmoid": "return torch.sigmoid(s.c(x))",
    "sigmoid_": "return s.c(x).sigmoid_()",
    "tanh": "return torch.tanh(s.c(x))",
    "tanh_": "return s.c(x).tanh_()",
    "hardsigmoid": "return F.hardsigmoid(s.c(x))",
    "hardsigmoid_": "return F.hardsigmoid(s.c(x), inplace=True)",
    "hardswish": "return F.hardswish(s.c(x))",
    "elu": "return F.elu(s.c(x), 0.7)",
    "elu_": "return F.elu_(s.c(x))",
    "leaky_relu": "return F.leaky_relu(s.c(x), 0.3)",
    "leaky_relu_": "return F.leaky_relu_(s.c(x))",
    "relu_method": "return s.c(x).relu()",
    "relu_inplace_method": "return s.c(x).relu_()",
    "relu_twice": "return F.relu(F.relu(s.c(x)))",
    "relu_only": "return F.relu(x)",
    "relu_then_view": "return F.relu(s.c(x)).view(2, -1)",
    "relu_of_view": "return F.relu(s.c(x).view(2, -1))",
    "dropout": "return F.dropout(s.c(x), 0.5, s.training)",
    "dropout_": "return F.dropout(s.c(x), 0.5, False, True)",
    "detach": "return s.c(x).detach()",
    "clone": "return s.c(x).clone()",
    "to_float": "return s.c(x).to(torch.float)",
    "to_device": "return s.c(x).to('cpu')",
    "float": "return s.c(x).float()",
    "type_as": "return s.c(x).type_as(x)",
    "double": "return s.c(x).double()",
    "half": "return s.c(x).half()",
    "sub_scalar": "return s.c(x) - 1.0",
    "neg": "return -s.c(x)",
    "abs": "return s.c(x).abs()",
    "exp": "return s.c(x).exp()",
    "sqrt": "return s.c(x).abs().sqrt()",
    "log": "return (s.c(x).abs() + 1).log()",
    "sin": "return s.c(x).sin()",
    "floor": "return s.c(x).floor()",
    "round": "return s.c(x).round()",
    "sign": "return s.c(x).sign()",
    "where": "y = s.c(x)\nreturn torch.where(y > 0, y, y * 2)",
    "compare": "return s.c(x) > 0",
    "masked_fill": "y = s.c(x)\nreturn y.masked_fill(y < 0, 0.5)",
    "reciprocal": "return s.c(x).add(10).reciprocal()",
    "square": "return s.c(x).square()",
    "lerp": "y = s.c(x)\nreturn torch.lerp(y, y * 2, 0.3)",
    "addcmul": "y = s.c(x)\nreturn torch.addcmul(y, y, y)",
    "erf": "return s.c(x).erf()",
    "rsqrt": "return (s.c(x).abs() + 1).rsqrt()",
    "softmax": "return F.softmax(s.c(x), dim=1)",
    "log_softmax": "return F.log_softmax(s.c(x), dim=1)",
    "normalize": "return F.normalize(s.c(x), dim=1)",
    "layer_norm_functional": "return F.layer_norm(s.c(x), [7, 6])",
    "group_norm_functional": "return F.group_norm(s.c(x), 2)",
    "instance_norm_functional": "return F.instance_norm(s.c(x))",
    "interpolate": "return F.interpolate(s.c(x), scale_factor=2.0)",
    "interpolate_size": "return F.interpolate(s.c(x), size=[9, 8], mode='bilinear', align_corners=False)",
    "interpolate_like": "y = s.c(x)\nreturn F.interpolate(y, size=y.shape[2:], mode='nearest')",
    "grid_sample": "return F.grid_sample(s.c(x), torch.zeros([2, 3, 3, 2]), align_corners=False)",
    "pixel_shuffle": "return F.pixel_shuffle(s.c(x), 2)",
    "unfold": "return F.unfold(s.c(x), [2, 2])",
    "one_hot_mul": "return s.c(x) * F.one_hot(torch.tensor([0, 1]), 4).view(2, 4, 1, 1).float()",
    "einsum": "y = s.c(x)\nreturn torch.einsum('bchw,bdhw->bcd', y, y)",
    "max_pool2d": "return F.max_pool2d(s.c(x), 2)",
    "max_pool2d_indices": "return F.max_pool2d(s.c(x), 2, return_indices=True)[0]",
    "avg_pool2d": "return F.avg_pool2d(s.c(x), 2)",
    "pools": "return F.max_pool2d(F.avg_pool2d(s.c(x), 2), 2)",
    "adaptive_avg_pool2d": "return F.adaptive_avg_pool2d(s.c(x), (1, 1))",
    "adaptive_avg_flatten": "return torch.flatten(F.adaptive_avg_pool2d(s.c(x), 1), 1)",
    "shared_conv": "return s.c2(s.c2(x))",
    "two_uses": "y = s.c(x)\nreturn y + s.c(y)",
    "three_uses": "y = s.c(x)\nreturn torch.cat([y, F.relu(y), y * 2], 1)",
    "dead_code": "y = s.c(x)\nz = s.c2(y)\nreturn y",
    "conv_relu_two_readers": "y = s.c(x)\nreturn F.relu(y) + y",
    "relu_inplace_two_readers": "y = s.c(x)\nz = y.clone()\ny.relu_()\nreturn y + z",
    "input_inplace": "x.relu_()\nreturn s.c(x)",
    "input_twice": "return s.c(x) + s.c(x + 1)",
    "conv_of_sum": "return s.c(x + x)",
    "quantized_view_inplace": "y = s.c(x)\ny[:, 0] = 0.0\nreturn y",
    "add_inplace_slice": "y = s.c(x)\ny[:, 0].add_(1.0)\nreturn y",
    "copy_": "y = s.c(x)\ny.copy_(x)\nreturn y",
    "zero_": "y = s.c(x)\nreturn y.zero_()",
    "mul_inplace_twice": "y = s.c(x)\ny *= 2\ny *= 3\nreturn s.c2(y)",
    "tuple_ret": "y = s.c(x)\nreturn y, F.relu(y)",
    "dict_ret": "y = s.c(x)\nreturn {'a': y, 'b': y.mean([2, 3])}",
    "list_ret": "y = s.c(x)\nreturn [y, s.c2(y)]",
    "nested_ret": "y = s.c(x)\nreturn (y, (s.c2(y), y * 2))",
    "namedtuple_ret": "y = s.c(x)\nreturn Two(y, s.c2(y))",
    "tuple_two_convs": "return s.c(x), s.c2(x)",
    "tuple_with_int": "y = s.c(x)\nreturn s.c2(y), y.size(1)",
    "optional_ret": "return s.c(x)",
    "none_ret": "y = s.c(x)\nreturn y, None",
    "chunk_ret": "return s.c(x).chunk(2, 1)",
    "shape_arith": "y = s.c(x)\nb, c, h, w = y.shape\nreturn y.view(b, 2, c // 2, h, w).transpose(1, 2).contiguous().view(b, c, h, w)",
    "zeros_like": "y = s.c(x)\nreturn y + torch.zeros_like(y)",
    "ones": "y = s.c(x)\nreturn y + torch.ones(y.size(1), 1, 1)",
    "arange": "y = s.c(x)\nreturn y + torch.arange(6)",
    "full": "y = s.c(x)\nreturn y + torch.full([1, 4, 1, 1], 0.5)",
    "numel": "y = s.c(x)\nreturn y * (1.0 / y.numel())",
    "len": "y = s.c(x)\nreturn y * len(y)",
    "empty_cat": "y = s.c(x)\na: List[Tensor] = []\nfor i in range(2):\n    a.append(y)\nreturn torch.cat(a, 1)",
    "isinstance": "y = s.c(x)\nif isinstance(y, Tensor):\n    y = y + 1\nreturn y",
    "format_assert": "assert x.dim() == 4, 'got {}'.format(x.dim())\nreturn s.c(x)",
    "print_dead": "y = s.c(x)\nn = str(y.size(0)) + 'a'\nreturn y",
    "no_grad": "with torch.no_grad():\n    y = s.c(x)\nreturn y",
    "channels_last": "return s.c(x).contiguous(memory_format=torch.channels_last)",
    "complex_index": "return s.c(x)[:, 1:, ::2, -1]",
    "none_index": "return s.c(x)[:, None]",
    "ellipsis_index": "return s.c(x)[..., 0]",
    "swapaxes": "return s.c(x).swapaxes(1, 2)",
    "hstack": "y = s.c(x)\nreturn torch.hstack((y, y))",
    "tensor_split": "return s.c(x).tensor_split(2, 1)[1]",
    "meshgrid": "y = s.c(x)\nreturn y + torch.arange(7).view(7, 1) * 0.5",
    "scalar_tensor_add": "return s.c(x) + torch.tensor(2.0)",
    "item": "y = s.c(x)\nreturn y * float(y.size(2))",
    "float_div_size": "y = s.c(x)\nreturn y / y.size(1)",
}
RETURNS = {
    "tuple_ret": "Tuple[Tensor, Tensor]",
    "dict_ret": "Dict[str, Tensor]",
    "list_ret": "List[Tensor]",
    "nested_ret": "Tuple[Tensor, Tuple[Tensor, Tensor]]",
    "namedtuple_ret": "Two",
    "tuple_two_convs": "Tuple[Tensor, Tensor]",
    "tuple_with_int": "Tuple[Tensor, int]",
    "optional_ret": "Optional[Tensor]",
    "none_ret": "Tuple[Tensor, Optional[Tensor]]",
    "chunk_ret": "List[Tensor]",
}
FUNCTIONS_TRACED = (
    "chunk",
    "split",
    "mean",
    "mean_keep",
    "clamp",
    "clamp_",
    "slice",
    "permute",
    "view_size",
    "reshape",
    "shape_arith",
    "interpolate",
    "interpolate_size",
    "adaptive_avg_flatten",
    "relu6_twice",
    "hardtanh_twice",
    "sub_scalar",
    "stack",
    "pad",
    "expand",
    "max_dim",
    "softmax",
    "shared_conv",
    "conv_relu_two_readers",
    "sigmoid_",
    "leaky_relu_",
    "dropout",
    "where",
    "quantized_view_inplace",
    "item",
    "float_div_size",
    "squeeze",
    "unbind",
    "mean_all",
)
BEFORE = (
    "chunk",
    "split",
    "split_sizes",
    "pad",
    "pad_reflect",
    "transpose",
    "contiguous",
    "slice_step",
    "flip",
    "mean_keep",
    "clamp",
    "clamp_",
    "relu6_f",
    "sigmoid",
    "sigmoid_",
    "tanh_",
    "hardsigmoid_",
    "hardswish",
    "elu_",
    "leaky_relu_",
    "dropout",
    "detach",
    "clone",
    "sub_scalar",
    "neg",
    "abs",
    "where",
    "softmax",
    "layer_norm_functional",
    "interpolate",
    "interpolate_size",
    "avg_pool2d",
    "shape_arith",
    "float",
    "channels_last",
    "mul_inplace_twice",
    "expand_same",
    "relu_twice",
    "clamp_twice",
    "to_device",
)
BEFORE = tuple(
    name
    for name in BEFORE
    if name in FUNCTIONS
    and name not in ("split_sizes", "chunk", "avg_pool2d", "mean_keep", "where", "mul_inplace_twice")
)


class Two(NamedTuple):
    """A named tuple that a module returns."""

    a: Tensor
    b: Tensor


TYPES = {kind.__name__: kind for kind in (Tensor, Two, math)}
TYPES |= {"Any": Any, "Dict": Dict, "List": List, "Optional": Optional, "Tuple": Tuple, "Union": Union}


def conv(channels=4, to=4, kernel=3, **options):
    """A convolution of images."""
    return nn.Conv2d(channels, to, kernel, **options)


class IfSize(nn.Module):
    def __init__(s):
        super().__init__()
        s.c1, s.c2 = conv(), conv()

    def forward(s, x):
        if x.size(0) > 1:
            y = s.c1(x)
        else:
            y = s.c2(x)
        return torch.relu(y)


class IfAttribute(nn.Module):
    def __init__(s, flag):
        super().__init__()
        s.f, s.c1, s.c2 = flag, conv(), conv()

    def forward(s, x):
        y = s.c1(x)
        if s.f:
            y = torch.flatten(y, 1)
        return y


class IfOneBranch(IfSize):
    def forward(s, x):
        y = s.c1(x)
        if x.size(0) > 5:
            y = F.relu(y)
        return y


class EarlyReturn(IfSize):
    def forward(s, x):
        y = s.c1(x)
        if x.size(0) > 1:
            return F.relu(y)
        return s.c2(y)


class IfNested(IfSize):
    def forward(s, x):
        if x.size(0) > 1:
            if x.size(1) > 2:
                y = s.c1(x)
            else:
                y = s.c2(x)
        else:
            y = s.c2(x)
        return y


class IfNone(IfSize):
    def forward(s, x, z: Optional[Tensor] = None):
        y = s.c1(x)
        if z is not None:
            y = y + z
        return s.c2(y)


class Loop(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv(padding=1)

    def forward(s, x):
        for i in range(3):
            x = torch.relu(s.c(x))
        return x


class LoopSize(Loop):
    def forward(s, x):
        for i in range(x.size(0)):
            x = s.c(x)
        return x


class LoopAfter(Loop):
    def forward(s, x):
        x = s.c(x)
        for i in range(2):
            x = x + x
        return x


class While(Loop):
    def forward(s, x):
        i = 0
        y = s.c(x)
        while i < 3:
            y = F.relu(y)
            i += 1
        return y


class LoopBreak(Loop):
    def forward(s, x):
        y = s.c(x)
        for i in range(5):
            if i > 2:
                break
            y = y * 2
        return y


class LoopList(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.ModuleList([conv(padding=1) for _ in range(3)])

    def forward(s, x):
        for layer in s.l:
            x = F.relu(layer(x))
        return x


class LoopEnumerate(LoopList):
    def forward(s, x):
        ys: List[Tensor] = []
        for i, layer in enumerate(s.l):
            ys.append(layer(x))
        return torch.cat(ys, 1)


class IndexList(LoopList):
    def forward(s, x):
        return s.l[0](x) + s.l[-1](x)


class ModuleDict(nn.Module):
    def __init__(s):
        super().__init__()
        s.d = nn.ModuleDict({"a": conv(padding=1), "b": conv(padding=1)})

    def forward(s, x):
        for name, layer in s.d.items():
            if name == "a":
                x = F.relu(layer(x))
            else:
                x = layer(x)
        return x


class Sub(nn.Module):
    def __init__(s, fc):
        super().__init__()
        s.fc = fc

    def forward(s, x):
        return s.fc(x)


class Pair(nn.Module):
    def __init__(s, a, b):
        super().__init__()
        s.a, s.b = Sub(a), Sub(b)

    def forward(s, x):
        return s.b(s.a(x))


class SharedModule(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = Sub(nn.Linear(5, 5))
        s.b = s.a

    def forward(s, x):
        return s.b(s.a(x))


class SharedWeight(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = nn.Linear(5, 5), nn.Linear(5, 5)
        s.b.weight = s.a.weight

    def forward(s, x):
        return s.b(s.a(x))


class Containers(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.sizes: List[int] = [2, 2]
        s.names: Dict[str, float] = {"a": 0.5}
        s.pair: Tuple[int, float] = (1, 2.0)
        s.maybe: Optional[int] = 3

    def forward(s, x):
        y = F.avg_pool2d(s.c(x), s.sizes)
        y = y * s.names["a"]
        m = s.maybe
        if m is not None:
            y = y + m
        return y * s.pair[1]


class TwoInputsDict(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def pick(s, d: Dict[str, Tensor]) -> Tensor:
        return d["x"] + d["y"]

    def forward(s, x):
        y = s.c(x)
        return s.pick({"x": y, "y": F.relu(y)})


class OwnMethods(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.c2 = conv(padding=1), conv()

    def head(s, x):
        return F.relu(s.c(x))

    def tail(s, x, flag: bool):
        y = s.c2(x)
        if flag:
            return F.relu(y)
        return y

    def forward(s, x):
        return s.tail(s.head(s.head(x)), True)


class TryFinal(nn.Module):
    scale: torch.jit.Final[float]

    def __init__(s):
        super().__init__()
        s.c, s.scale = conv(), 2.0

    def forward(s, x):
        return s.c(x) * s.scale


@torch.jit.interface
class Layer(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        pass


class Plain(nn.Module):
    def __init__(s, fc):
        super().__init__()
        s.fc = fc

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x))


class OnInterface(nn.Module):
    part: Layer

    def __init__(s, first=None, second=None):
        super().__init__()
        s.part = Plain(second or nn.Linear(5, 5))
        s.fc = first or nn.Linear(5, 5)

    def forward(s, x):
        return s.part.forward(s.fc(x))


class Forks(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = nn.Linear(5, 5), nn.Linear(5, 5)

    def work(s, x):
        return F.relu(s.b(x))

    def forward(s, x):
        y = torch.jit.fork(s.work, x)
        z = s.a(x)
        return z + torch.jit.wait(y)


class ForksConv(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = conv(), conv()

    def forward(s, x):
        y = torch.jit.fork(s.b, x)
        return s.a(x) + torch.jit.wait(y)


def scaled(x: Tensor, n: int) -> Tensor:
    """A function of the user."""
    if n > 1:
        x = F.relu(x)
    return x + n


def twice(x):
    """A function of the user."""
    return torch.relu(x) + x


class CallsFunction(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(5, 5)

    def forward(s, x):
        return twice(s.l(x))


class CallsFunctionConv(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        return scaled(twice(s.c(x)), 2)


FLOWS = {
    "if_size": (IfSize, ((2, 4, 7, 6),)),
    "if_size_other": (IfSize, ((1, 4, 7, 6),)),
    "if_const_flatten": (lambda: IfAttribute(True), ((2, 4, 7, 6),)),
    "if_const_false": (lambda: IfAttribute(False), ((2, 4, 7, 6),)),
    "if_one_branch": (IfOneBranch, ((2, 4, 7, 6),)),
    "early_return": (EarlyReturn, ((2, 4, 7, 6),)),
    "if_nested": (IfNested, ((2, 4, 7, 6),)),
    "if_none": (IfNone, ((2, 4, 7, 6),)),
    "loop": (Loop, ((2, 4, 7, 6),)),
    "loop_size": (LoopSize, ((2, 4, 7, 6),)),
    "loop_after": (LoopAfter, ((2, 4, 7, 6),)),
    "while": (While, ((2, 4, 7, 6),)),
    "loop_break": (LoopBreak, ((2, 4, 7, 6),)),
    "loop_list": (LoopList, ((2, 4, 7, 6),)),
    "loop_enumerate": (LoopEnumerate, ((2, 4, 7, 6),)),
    "index_list": (IndexList, ((2, 4, 7, 6),)),
    "module_dict": (ModuleDict, ((2, 4, 7, 6),)),
    "shared_class": (lambda: Pair(nn.Linear(5, 5), nn.Linear(5, 5)), ((3, 5),)),
    "shared_module": (SharedModule, ((3, 5),)),
    "shared_weight": (SharedWeight, ((3, 5),)),
    "containers": (Containers, ((2, 4, 7, 6),)),
    "dict_argument": (TwoInputsDict, ((2, 4, 7, 6),)),
    "own_methods": (OwnMethods, ((2, 4, 7, 6),)),
    "final": (TryFinal, ((2, 4, 7, 6),)),
}


class Residual(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b, s.n1, s.n2, s.r = (
            conv(padding=1, bias=False),
            conv(padding=1, bias=False),
            nn.BatchNorm2d(4),
            nn.BatchNorm2d(4),
            nn.ReLU(True),
        )

    def forward(s, x):
        y = s.n2(s.b(s.r(s.n1(s.a(x)))))
        y += x
        return s.r(y)


class Downsample(Residual):
    def __init__(s):
        super().__init__()
        s.d = nn.Sequential(conv(4, 4, 1, bias=False), nn.BatchNorm2d(4))

    def forward(s, x):
        y = s.n2(s.b(s.r(s.n1(s.a(x)))))
        return s.r(y + s.d(x))


class InvertedResidual(nn.Module):
    def __init__(s):
        super().__init__()
        s.b = nn.Sequential(
            conv(4, 8, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(True),
            conv(8, 8, 3, padding=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(True),
            conv(8, 4, 1, bias=False),
            nn.BatchNorm2d(4),
        )

    def forward(s, x):
        return x + s.b(x)


class SqueezeExcite(nn.Module):
    def __init__(s):
        super().__init__()
        s.c0, s.p, s.f1, s.r, s.f2, s.h = (
            conv(4, 8, padding=1),
            nn.AdaptiveAvgPool2d(1),
            conv(8, 4, 1),
            nn.ReLU(),
            conv(4, 8, 1),
            nn.Hardsigmoid(),
        )

    def forward(s, x):
        x = s.c0(x)
        return x * s.h(s.f2(s.r(s.f1(s.p(x)))))


class Head(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.l = conv(4, 6), nn.Linear(6, 3)

    def forward(s, x):
        x = F.relu(s.c(x))
        x = F.adaptive_avg_pool2d(x, (1, 1))
        return s.l(torch.flatten(x, 1))


class Dense(nn.Module):
    def __init__(s):
        super().__init__()
        s.n = nn.ModuleList([nn.BatchNorm2d(4 + 2 * i) for i in range(3)])
        s.l = nn.ModuleList([conv(4 + 2 * i, 2, padding=1) for i in range(3)])

    def forward(s, x):
        found = [x]
        for n, layer in zip(s.n, s.l):
            found.append(layer(F.relu(n(torch.cat(found, 1)))))
        return torch.cat(found, 1)


class Shuffle(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = nn.Sequential(
            conv(2, 2, 1),
            nn.BatchNorm2d(2),
            nn.ReLU(True),
            conv(2, 2, padding=1, groups=2),
            nn.BatchNorm2d(2),
            conv(2, 2, 1),
            nn.ReLU(True),
        )

    def forward(s, x):
        a, b = x.chunk(2, dim=1)
        y = torch.cat((a, s.c(b)), 1)
        n, c, h, w = y.size()
        y = y.view(n, 2, c // 2, h, w)
        return torch.transpose(y, 1, 2).contiguous().view(n, c, h, w)


class Fire(nn.Module):
    def __init__(s):
        super().__init__()
        s.s, s.a, s.b, s.r = conv(4, 3, 1), conv(3, 4, 1), conv(3, 4, padding=1), nn.ReLU(True)

    def forward(s, x):
        x = s.r(s.s(x))
        return torch.cat([s.r(s.a(x)), s.r(s.b(x))], 1)


class Inception(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b, s.c = conv(4, 3, 1), conv(4, 3, (1, 3), padding=(0, 1)), conv(4, 3, 1)

    def forward(s, x):
        return torch.cat([F.relu(s.a(x)), F.relu(s.b(x)), s.c(F.avg_pool2d(x, 3, 1, 1)), F.max_pool2d(x, 3, 1, 1)], 1)


class Hswish(nn.Module):
    def __init__(s):
        super().__init__()
        s.b = nn.Sequential(
            conv(4, 8, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.Hardswish(True),
            conv(8, 8, 3, padding=1, groups=8, bias=False),
            nn.BatchNorm2d(8),
            nn.Hardswish(True),
            nn.Dropout(0.2, True),
            conv(8, 4, 1),
        )

    def forward(s, x):
        return s.b(x) + x


class Attention(nn.Module):
    def __init__(s, d=16, h=4):
        super().__init__()
        s.h = h
        s.q, s.k, s.v, s.o = (nn.Linear(d, d) for _ in range(4))
        s.n1, s.n2, s.f1, s.f2 = nn.LayerNorm(d), nn.LayerNorm(d), nn.Linear(d, 32), nn.Linear(32, d)

    def forward(s, x):
        b, t, d = x.size(0), x.size(1), x.size(2)
        q = s.q(x).view(b, t, s.h, d // s.h).transpose(1, 2)
        k = s.k(x).view(b, t, s.h, d // s.h).transpose(1, 2)
        v = s.v(x).view(b, t, s.h, d // s.h).transpose(1, 2)
        a = torch.softmax(torch.matmul(q, k.transpose(-2, -1)) * 0.5, -1)
        y = torch.matmul(a, v).transpose(1, 2).reshape(b, t, d)
        x = s.n1(x + s.o(y))
        return s.n2(x + s.f2(F.gelu(s.f1(x))))


class Transformer(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.ModuleList([Attention(), Attention()])

    def forward(s, x):
        for layer in s.l:
            x = layer(x)
        return x


class LstmCell(nn.Module):
    def __init__(s):
        super().__init__()
        s.ih, s.hh = nn.Linear(5, 16), nn.Linear(4, 16)

    def forward(s, x, h, c):
        g = s.ih(x) + s.hh(h)
        i, f, gg, o = g.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(gg)
        return torch.sigmoid(o) * torch.tanh(c), c


class Lstm(nn.Module):
    def __init__(s, kind=nn.LSTM, **options):
        super().__init__()
        s.r = kind(5, 3, **options)

    def forward(s, x):
        return s.r(x)[0]


class LstmThenLinear(nn.Module):
    def __init__(s):
        super().__init__()
        s.r, s.l = nn.LSTM(5, 4), nn.Linear(4, 2)

    def forward(s, x):
        y, _ = s.r(x)
        return s.l(y)


class Steps(nn.Module):
    def __init__(s):
        super().__init__()
        s.ih, s.hh = nn.Linear(5, 4), nn.Linear(4, 4)

    def forward(s, x):
        h = torch.zeros(x.size(1), 4)
        for t in range(x.size(0)):
            h = torch.tanh(s.ih(x[t]) + s.hh(h))
        return h


class DynamicIf(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = nn.Linear(5, 5)

    def forward(s, x):
        if x.size(0) > 2:
            y = s.a(x)
        else:
            y = x
        return y


class DynamicIfBoth(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(s, x):
        if x.size(0) > 2:
            return s.a(x)
        return s.b(x)


class Functional(nn.Module):
    def __init__(s, bias, relu=False):
        super().__init__()
        s.w, s.b, s.relu = nn.Parameter(torch.randn(6, 5)), nn.Parameter(torch.randn(6)) if bias else None, relu

    def forward(s, x):
        y = F.linear(x, s.w, s.b)
        return F.relu(y) if s.relu else y


class TwoUses(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.b = nn.Linear(5, 6), nn.Linear(5, 6, bias=False)

    def forward(s, x):
        return s.a(x) + F.relu(s.b(x))


class SameTwice(nn.Module):
    def __init__(s):
        super().__init__()
        s.a = nn.Linear(5, 5)

    def forward(s, x):
        return s.a(F.relu(s.a(x)))


class ConvMix(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.l = nn.Conv1d(3, 3, 3), nn.Linear(7, 6)

    def forward(s, x):
        return s.l(F.relu(s.c(x)))


class LinearMix(nn.Module):
    def __init__(s):
        super().__init__()
        s.a, s.n, s.b, s.d = nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 4), nn.Dropout(0.2)

    def forward(s, x):
        return F.softmax(s.b(s.d(F.gelu(s.n(s.a(x))))), -1)


class Embedded(nn.Module):
    def __init__(s):
        super().__init__()
        s.e, s.l = nn.Embedding(10, 5), nn.Linear(5, 3)

    def forward(s, x):
        return s.l(s.e((x.abs() * 3).long().clamp(0, 9)))


class MultiHead(nn.Module):
    def __init__(s):
        super().__init__()
        s.m = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(s, x):
        return s.m(x, x, x)[0]


class CellSteps(nn.Module):
    def __init__(s, kind):
        super().__init__()
        s.r = kind(5, 4)

    def forward(s, x):
        return s.r(x)


class LstmCellModule(nn.Module):
    def __init__(s):
        super().__init__()
        s.r = nn.LSTMCell(5, 4)

    def forward(s, x, h, c):
        h, c = s.r(x, (h, c))
        return h, c


def linear(k=5, to=6, *after, **options):
    """A linear layer and what follows."""
    return lambda: nn.Sequential(nn.Linear(k, to, **options), *[part() for part in after])


ROW = ((3, 5),)
DYNAMIC = {
    "linear": (linear(), ROW),
    "nobias": (linear(bias=False), ROW),
    "linear_relu": (linear(5, 4, nn.ReLU), ROW),
    "relu_inplace": (linear(5, 4, lambda: nn.ReLU(True)), ROW),
    "one_row": (linear(), ((1, 5),)),
    "1d_input": (linear(), ((5,),)),
    "3d_input": (linear(), ((2, 3, 5),)),
    "k_large": (linear(256, 8), ((4, 256),)),
    "wide": (linear(33, 65), ((3, 33),)),
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)), ROW),
    "mix": (LinearMix, ROW),
    "bn": (lambda: nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU()), ROW),
    "functional": (lambda: Functional(True), ROW),
    "functional_nobias": (lambda: Functional(False), ROW),
    "functional_relu": (lambda: Functional(True, True), ROW),
    "two_uses": (TwoUses, ROW),
    "same_twice": (SameTwice, ROW),
    "shared_class": (lambda: Pair(nn.Linear(5, 5), nn.Linear(5, 5)), ROW),
    "shared_module": (SharedModule, ROW),
    "shared_weight": (SharedWeight, ROW),
    "conv_mix": (ConvMix, ((2, 3, 9),)),
    "if": (DynamicIf, ROW),
    "if_both": (DynamicIfBoth, ROW),
    "loop": (Steps, ((3, 2, 5),)),
    "lstm": (Lstm, ((3, 2, 5),)),
    "lstm_two_layers": (lambda: Lstm(num_layers=2, bidirectional=True), ((3, 2, 5),)),
    "lstm_batch_first": (lambda: Lstm(batch_first=True), ((3, 2, 5),)),
    "lstm_linear": (LstmThenLinear, ((3, 2, 5),)),
    "gru": (lambda: Lstm(nn.GRU), ((3, 2, 5),)),
    "rnn": (lambda: Lstm(nn.RNN), ((3, 2, 5),)),
    "lstm_cell": (LstmCell, ((3, 5), (3, 4), (3, 4))),
    "lstm_cell_module": (LstmCellModule, ((3, 5), (3, 4), (3, 4))),
    "gru_cell": (lambda: CellSteps(nn.GRUCell), ROW),
    "rnn_cell": (lambda: CellSteps(nn.RNNCell), ROW),
    "transformer": (Transformer, ((2, 5, 16),)),
    "embedding": (Embedded, ((3, 2),)),
    "attention": (MultiHead, ((2, 5, 16),)),
    "iface": (OnInterface, ROW),
    "fork": (Forks, ROW),
    "user_function": (CallsFunction, ROW),
    "zero_rows": (linear(), ((0, 5),)),
    "encoder_layer": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), ((2, 5, 16),)),
    "bilinear": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Softmax(-1)), ROW),
    "module_list": (lambda: ListOfLinear(), ROW),
    "constant_input": (lambda: ConstantInput(), ROW),
}


class ListOfLinear(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.ModuleList([nn.Linear(5, 5) for _ in range(3)])

    def forward(s, x):
        ys = []
        for layer in s.l:
            ys.append(layer(x))
        return torch.stack(ys)


class ConstantInput(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.Linear(5, 5)

    def forward(s, x):
        return s.l(x * 0 + 2.5)


class Extra(nn.Module):
    def __init__(s, c=None):
        super().__init__()
        s.c = c or conv()
        s.scale: float = 2.0
        s.label: str = "planish"
        s.version: List[int] = [1, 2]

    @torch.jit.export
    def info(s) -> float:
        return s.scale

    @torch.jit.export
    def other(s, x: Tensor) -> Tensor:
        return s.c(x) * s.scale

    def forward(s, x):
        return s.c(x)


class Deep(nn.Module):
    def __init__(s):
        super().__init__()
        s.c, s.inner = conv(), 3

    def forward(s, x):
        return s.c(x) * s.inner


class ExtraDeep(nn.Module):
    def __init__(s):
        super().__init__()
        s.deep, s.c = Deep(), conv(padding=1)

    def forward(s, x):
        return s.deep(s.c(x))


class Counts(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.n: int = 0

    def forward(s, x):
        s.n = s.n + 1
        return s.c(x) + s.n


class CountsTensor(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.register_buffer("n", torch.zeros(1))

    def forward(s, x):
        s.n.add_(1)
        return s.c(x) + s.n


class KeepsLast(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.register_buffer("last", torch.zeros(2, 4, 5, 4))

    def forward(s, x):
        y = s.c(x)
        s.last = y
        return y


class AliasedView(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.register_buffer("t", torch.ones(4, 1, 1))

    def forward(s, x):
        v = s.t[0]
        v += 1
        return s.c(x) + s.t


class ChangesBias(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        s.c.bias.zero_()
        return s.c(x)


class ConstantList(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        s.ts: List[Tensor] = [torch.ones(1), torch.zeros(1)]

    def forward(s, x):
        y = s.c(x)
        for t in s.ts:
            y = y + t
        return y


MUTATED = {
    "counts": Counts,
    "counts_tensor": CountsTensor,
    "keeps_last": KeepsLast,
    "aliased_view": AliasedView,
    "changes_bias": ChangesBias,
    "constant_list": ConstantList,
}


class ReturnsSelf(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        return s


class Overlaps(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()
        t = torch.randn(4)
        s.ts: List[Tensor] = [t, t[1:]]

    def forward(s, x):
        s.ts[0].add_(1)
        return s.c(x) + s.ts[1][0]


class OverlapTuple(Overlaps):
    def __init__(s):
        super().__init__()
        t = torch.randn(4)
        s.pair: Tuple[Tensor, Tensor] = (t, t)

    def forward(s, x):
        return s.c(x) + s.pair[0][0] + s.pair[1][0]


class OverlapDict(Overlaps):
    def __init__(s):
        super().__init__()
        t = torch.randn(4)
        s.d: Dict[str, Tensor] = {"a": t, "b": t}

    def forward(s, x):
        return s.c(x) + s.d["a"][0] + s.d["b"][0]


class ContainerIndex(nn.Module):
    def __init__(s):
        super().__init__()
        s.l = nn.ModuleList([Plain(conv(padding=1)), Plain(conv(padding=1))])

    def forward(s, x):
        i = x.size(0) - 1
        part: Layer = s.l[i]
        return part.forward(x)


class SetsInterface(OnInterface):
    def __init__(s):
        super().__init__(conv(padding=1), conv(padding=1))
        s.other: Layer = Plain(conv(padding=1))

    def forward(s, x):
        s.part = s.other
        return s.part.forward(s.fc(x))


class Raises(nn.Module):
    def __init__(s):
        super().__init__()
        s.c = conv()

    def forward(s, x):
        y = s.c(x)
        if y.dim() == 4:
            raise RuntimeError("always")
        return y


REFUSED = {
    "returns_self": ReturnsSelf,
    "overlap_list": Overlaps,
    "overlap_tuple": OverlapTuple,
    "overlap_dict": OverlapDict,
    "container_index": ContainerIndex,
    "sets_interface": SetsInterface,
    "raises": Raises,
}
