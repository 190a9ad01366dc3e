"""Quantized modules by other ways than `quantize_jit` with its usual settings.

`set_*`: observers of every kind, type and range. `way_*`: eager mode, FX graph mode and quantization-aware training, scripted or traced,
modules that PyTorch has finalized already, and archives that were written or packed again. `tv_*`: the blocks of torchvision's networks.
"""

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.ao.nn.intrinsic as intrinsic
import torch.ao.nn.quantized as quantized
import torch.ao.nn.quantized.dynamic as quantized_dynamic
import torch.nn.functional as F
from torch import Tensor, nn
from torch.ao import quantization as q
from torch.ao.quantization import quantize_fx
from torch.ao.quantization.quantize_jit import convert_dynamic_jit, convert_jit, prepare_dynamic_jit, prepare_jit

import reference
from oracle_cases import IMAGE, LINE, ROW, VOLUME, Case, conv, warmed, written

SYMMETRIC, AFFINE = torch.per_tensor_symmetric, torch.per_tensor_affine
ROWS_SYMMETRIC, ROWS_AFFINE = torch.per_channel_symmetric, torch.per_channel_affine


def setting(activation=None, weight=None):
    """A configuration of an activation's observer and a weight's."""
    return q.QConfig(activation=activation or q.default_observer, weight=weight or q.default_weight_observer)


# How activations and weights are observed, by name.
SETTINGS = {
    "hist_quint8": lambda: setting(q.HistogramObserver.with_args(reduce_range=False)),
    "hist_reduced": lambda: setting(q.HistogramObserver.with_args(reduce_range=True), q.default_per_channel_weight_observer),
    "hist_symmetric": lambda: setting(q.HistogramObserver.with_args(qscheme=SYMMETRIC)),
    "hist_bins": lambda: setting(q.HistogramObserver.with_args(bins=64)),
    "moving": lambda: setting(q.MovingAverageMinMaxObserver.with_args(averaging_constant=0.3)),
    "moving_rows": lambda: setting(
        q.MovingAverageMinMaxObserver, q.MovingAveragePerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=ROWS_SYMMETRIC)
    ),
    "symmetric": lambda: setting(q.MinMaxObserver.with_args(qscheme=SYMMETRIC)),
    "narrow": lambda: setting(q.MinMaxObserver.with_args(quant_min=0, quant_max=15)),
    "narrow_weight": lambda: setting(None, q.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=SYMMETRIC, quant_min=-8, quant_max=7)),
    "weight_127": lambda: setting(
        q.HistogramObserver,
        q.PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=ROWS_SYMMETRIC, quant_min=-127, quant_max=127, eps=2**-12),
    ),
    "weight_affine": lambda: setting(None, q.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=AFFINE)),
    "weight_rows_affine": lambda: setting(None, q.PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=ROWS_AFFINE)),
    "weight_reduced": lambda: setting(None, q.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=SYMMETRIC, reduce_range=True)),
    "weight_quint8": lambda: setting(None, q.MinMaxObserver.with_args(dtype=torch.quint8, qscheme=AFFINE)),
    "weight_axis1": lambda: setting(None, q.PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=ROWS_SYMMETRIC, ch_axis=1)),
    "weight_float_qparams": lambda: q.float_qparams_weight_only_qconfig,
    "activation_qint8": lambda: setting(q.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=SYMMETRIC)),
    "activation_qint8_affine": lambda: setting(q.MinMaxObserver.with_args(dtype=torch.qint8)),
    "activation_qint32": lambda: setting(q.MinMaxObserver.with_args(dtype=torch.qint32, quant_min=-(2**20), quant_max=2**20)),
    "activation_float16": lambda: q.float16_static_qconfig,
    "fixed": lambda: setting(q.FixedQParamsObserver.with_args(scale=1.0 / 16, zero_point=100)),
    "eps": lambda: setting(q.MinMaxObserver.with_args(eps=0.5)),
    "qat_default": lambda: q.default_qat_qconfig,
    "qat_fbgemm": lambda: q.get_default_qat_qconfig("fbgemm"),
    "qat_qnnpack": lambda: q.get_default_qat_qconfig("qnnpack"),
    "qnnpack_symmetric": lambda: q.default_symmetric_qnnpack_qconfig,
    "per_channel_default": lambda: q.default_per_channel_qconfig,
    "placeholder": lambda: setting(q.PlaceholderObserver.with_args(dtype=torch.quint8)),
    "weight_only": lambda: q.QConfig(activation=q.default_placeholder_observer, weight=q.default_weight_observer),
}
# The same for activations that are quantized on the fly.
DYNAMIC_SETTINGS = {
    "dyn_full": lambda: q.QConfig(
        activation=q.PlaceholderObserver.with_args(dtype=torch.quint8, quant_min=0, quant_max=255, is_dynamic=True),
        weight=q.default_weight_observer,
    ),
    "dyn_rows_affine": lambda: q.QConfig(
        activation=q.default_dynamic_quant_observer,
        weight=q.PerChannelMinMaxObserver.with_args(dtype=torch.qint8, qscheme=ROWS_AFFINE),
    ),
    "dyn_weight_affine": lambda: q.QConfig(
        activation=q.default_dynamic_quant_observer, weight=q.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=AFFINE)
    ),
    "dyn_weight_narrow": lambda: q.QConfig(
        activation=q.default_dynamic_quant_observer,
        weight=q.MinMaxObserver.with_args(dtype=torch.qint8, qscheme=SYMMETRIC, quant_min=-16, quant_max=15),
    ),
    "dyn_weight_hist": lambda: q.QConfig(
        activation=q.default_dynamic_quant_observer, weight=q.HistogramObserver.with_args(dtype=torch.qint8, qscheme=SYMMETRIC)
    ),
    "dyn_only_weight": lambda: q.QConfig(activation=q.default_placeholder_observer, weight=q.default_weight_observer),
}


class Joints(nn.Module):
    """Everything that has a row of its own, once."""

    def __init__(s):
        super().__init__()
        s.a, s.b, s.n = conv(padding=1), conv(padding=1, groups=2), warmed(nn.BatchNorm2d(4))
        s.l, s.ln = nn.Linear(4, 6), nn.LayerNorm(6)

    def forward(s, x):
        x = F.relu(s.n(s.a(x)))
        y = F.hardswish(s.b(x)) + x
        y = torch.cat([y * 2.0, F.elu(y + 1.0)], 1)
        y = F.avg_pool2d(y, 2) * torch.sigmoid(F.avg_pool2d(y, 2))
        y = torch.tanh(y).mean([2, 3])
        return s.ln(s.l(y[:, :4]))


# Small networks that every setting is tried on.
NETS = {
    "conv": (lambda: nn.Sequential(conv(), nn.ReLU(), conv(4, 6, 1)), IMAGE),
    "linear": (lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4)), ROW),
    "joints": (Joints, IMAGE),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3, padding=2, dilation=2), nn.ReLU(), nn.ConvTranspose1d(6, 4, 3)), LINE),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(4, 6, 2, groups=2), nn.ReLU(True), nn.Conv3d(6, 4, 1)), VOLUME),
}


def settings():
    """Each setting on two or three of the networks."""
    names = list(NETS)
    for at, (name, config) in enumerate(SETTINGS.items()):
        for net in dict.fromkeys(("joints", names[at % 5], names[(at + 1) % 5])):
            make, shape = NETS[net]
            way = lambda net, batches, config=config: statically(torch.jit.script(net), batches, config())
            yield Case(f"set_{name}_{net}", make, (shape,), name, way=way)
    for name, config in DYNAMIC_SETTINGS.items():
        for net in ("linear", "joints"):
            make, shape = NETS[net]
            way = lambda net, batches, config=config: dynamically(torch.jit.script(net), config())
            yield Case(f"set_{name}_{net}", make, (shape,), name, "dynamic", way=way)


def statically(module, batches, config, names=("",)):
    """`quantize_jit`, up to Finalize."""
    prepared = prepare_jit(module, dict.fromkeys(names, config))
    with torch.no_grad():
        for batch in batches:
            prepared(*batch)
    return convert_jit(prepared, debug=True)


def dynamically(module, config):
    """The same for weights alone."""
    return convert_dynamic_jit(prepare_dynamic_jit(module, {"": config}), debug=True)


class Stubbed(nn.Module):
    """A network of eager mode, with stubs where quantized values begin and end."""

    def __init__(s):
        super().__init__()
        s.quant, s.dequant = q.QuantStub(), q.DeQuantStub()
        s.c, s.n, s.r, s.d = conv(padding=1), warmed(nn.BatchNorm2d(4)), nn.ReLU(), conv(4, 4, 1)
        s.l, s.f, s.g = nn.Linear(4, 3), quantized.FloatFunctional(), quantized.FloatFunctional()
        s.h = nn.Hardswish()

    def forward(s, x):
        x = s.quant(x)
        y = s.r(s.n(s.c(x)))
        y = s.f.add_relu(y, s.d(y))
        y = s.g.cat([y, s.h(y)], 1)[:, 2:6]
        y = F.adaptive_avg_pool2d(F.max_pool2d(y, 2), 1).flatten(1)
        return s.dequant(s.l(y))


class Functional(nn.Module):
    """What is no layer: sums, products and concatenations by eager mode's stand-ins."""

    def __init__(s):
        super().__init__()
        s.quant, s.dequant, s.c = q.QuantStub(), q.DeQuantStub(), conv(padding=1)
        s.parts = nn.ModuleList([quantized.FloatFunctional() for _ in range(6)])

    def forward(s, x):
        x = s.quant(x)
        y = s.c(x)
        y = s.parts[0].add(y, x)
        y = s.parts[1].mul(y, x)
        y = s.parts[2].mul_scalar(y, 0.5)
        y = s.parts[3].add_scalar(y, 1.5)
        y = s.parts[4].cat([y, x], 1)
        return s.dequant(F.interpolate(y, scale_factor=2.0, mode="nearest"))


def layered(*layers):
    """A chain of layers between the stubs of eager mode."""
    return lambda: q.QuantWrapper(nn.Sequential(*[layer() for layer in layers]))


def norms():
    """Layers that keep their own scale when converted."""
    return nn.Sequential(
        conv(padding=1),
        nn.GroupNorm(2, 4),
        nn.ELU(),
        nn.InstanceNorm2d(4, affine=True),
        nn.LeakyReLU(0.2),
        nn.Sigmoid(),
        nn.LayerNorm(6),
        nn.Hardswish(),
        nn.Dropout(0.1),
    )


def eagerly(net, batches, config="fbgemm", fuse=(), qat=False, mode="script"):
    """Eager mode: observers beside the layers, then layers that own packed weights."""
    net.eval()
    if fuse:
        net = (q.fuse_modules_qat if qat else q.fuse_modules)(net.train() if qat else net, [list(part) for part in fuse])
    net.qconfig = q.get_default_qat_qconfig(config) if qat else q.get_default_qconfig(config)
    net = q.prepare_qat(net.train()) if qat else q.prepare(net)
    for batch in batches:
        net(*batch)
    net = q.convert(net.eval())
    return made(net, batches, mode)


def made(net, batches, mode):
    """Scripted or traced."""
    with torch.no_grad():
        return torch.jit.trace(net, batches[0]) if mode == "trace" else torch.jit.script(net)


def by_fx(net, batches, to=quantize_fx.convert_fx, config="fbgemm", qat=False, mode="script", mapping=None):
    """FX graph mode: quantized layers, or reference layers between quantize and dequantize."""
    chosen = mapping() if mapping else q.get_default_qat_qconfig_mapping(config) if qat else q.get_default_qconfig_mapping(config)
    if qat:
        prepared = quantize_fx.prepare_qat_fx(net.train(), chosen, batches[0])
    else:
        prepared = quantize_fx.prepare_fx(net.eval(), chosen, batches[0])
    for batch in batches:
        prepared(*batch)
    return made(to(prepared.eval()), batches, mode)


def to_reference(prepared):
    """Reference layers: weights that are quantized and dequantized on every call."""
    return quantize_fx.convert_to_reference_fx(prepared)


def fake_quantized(net, batches):
    """Quantization-aware training that was never converted: the fake quantizers are still there, and no longer observe."""
    net.qconfig = q.get_default_qat_qconfig("fbgemm")
    net = q.prepare_qat(net.train())
    for batch in batches:
        net(*batch)
    net.apply(q.disable_observer)
    net.eval()
    net.apply(nn.intrinsic.qat.freeze_bn_stats)
    return made(net, batches, "trace")


def finalized(net, batches):
    """What PyTorch has finalized already."""
    return reference.finalize(statically(torch.jit.script(net), batches, q.get_default_qconfig("fbgemm")))


def frozen_first(net, batches):
    """Frozen while it was in float."""
    return statically(torch.jit.freeze(torch.jit.script(net)), batches, q.get_default_qconfig("fbgemm"))


def inference_first(net, batches):
    """Frozen and tidied for inference, batch norms folded, while it was in float."""
    module = torch.jit.freeze(torch.jit.script(net.eval()))
    torch._C._jit_pass_fold_frozen_conv_bn(module.graph)
    return statically(module, batches, q.get_default_qconfig("fbgemm"))


def loaded_first(net, batches):
    """Written and read once before it was quantized."""
    module = loaded(torch.jit.script(net))
    return statically(module, batches, q.get_default_qconfig("fbgemm"))


def loaded(module):
    """The module, written and read again."""
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def reloaded(net, batches):
    """Quantized, then written and read twice."""
    return loaded(loaded(statically(torch.jit.script(net), batches, q.get_default_qconfig("fbgemm"))))


def within(net, batches):
    """A quantized module as a part of a module that is scripted later."""
    inner = statically(torch.jit.script(net), batches, q.get_default_qconfig("fbgemm"))
    return torch.jit.script(Around(inner).eval())


class Around(nn.Module):
    """A module around another."""

    def __init__(s, inner):
        super().__init__()
        s.inner, s.k = inner, 2.0

    def forward(s, x):
        return s.inner(x) * s.k


def ways():
    """Other ways to a quantized module."""
    stubbed = (Stubbed, IMAGE)
    fuse = (("c", "n", "r"),)
    chains = {
        "stubbed": (*stubbed, {"fuse": fuse}),
        "functional": (Functional, IMAGE, {}),
        "norms": (lambda: q.QuantWrapper(norms()), IMAGE, {}),
        "linear": (layered(lambda: nn.Linear(5, 6), nn.ReLU, lambda: nn.Linear(6, 3), nn.Sigmoid), ROW, {}),
        "conv1d": (layered(lambda: nn.Conv1d(4, 6, 3, padding=1), nn.ReLU, lambda: nn.Conv1d(6, 4, 1)), LINE, {}),
        "conv1d_reflect": (layered(lambda: nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect")), LINE, {}),
        "conv2d_reflect": (layered(lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")), IMAGE, {}),
        "conv3d": (layered(lambda: nn.Conv3d(4, 6, 2), nn.ReLU, lambda: nn.Conv3d(6, 4, 1)), VOLUME, {}),
        "pools": (layered(conv, lambda: nn.MaxPool2d(2, 1), lambda: nn.AvgPool2d(2, 1), lambda: nn.AdaptiveAvgPool2d(2)), IMAGE, {}),
        "relu6": (layered(lambda: conv(padding=1), nn.ReLU6, conv, lambda: nn.Hardtanh(-0.5, 0.5)), IMAGE, {}),
        "batch_norm": (layered(conv, lambda: nn.MaxPool2d(2), lambda: warmed(nn.BatchNorm2d(4)), nn.ReLU), IMAGE, {}),
    }
    for name, (make, shape, options) in chains.items():
        for mode in ("script", "trace"):
            way = lambda net, batches, options=options, mode=mode: eagerly(net, batches, mode=mode, **options)
            yield Case(f"way_eager_{name}_{mode}", make, (shape,), "fbgemm", mode=mode, way=way)
    yield Case(
        "way_eager_transposed",
        lambda: q.QuantWrapper(nn.Sequential(conv(), nn.ConvTranspose2d(4, 4, 3))),
        (IMAGE,),
        "default",
        way=lambda net, batches: with_config(net, batches, q.default_qconfig),
    )
    for config in ("x86", "qnnpack", "onednn"):
        way = lambda net, batches, config=config: eagerly(net, batches, config, fuse)
        yield Case(f"way_eager_stubbed_{config}", Stubbed, (IMAGE,), config, way=way)
    way = lambda net, batches: eagerly(net, batches, fuse=fuse, qat=True)
    yield Case("way_qat_eager", Stubbed, (IMAGE,), "fbgemm", way=way)
    yield Case("way_fake_quantized", Stubbed, (IMAGE,), "fbgemm", mode="trace", way=fake_quantized)
    fx = {
        "joints": (Joints, IMAGE),
        "conv1d": (lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU()), LINE),
        "conv3d": (NETS["conv3d"][0], VOLUME),
        "linear": (NETS["linear"][0], ROW),
        "norms": (norms, IMAGE),
    }
    for name, (make, shape) in fx.items():
        for to in (quantize_fx.convert_fx, to_reference):
            kind = "reference" if to is to_reference else "fx"
            for mode in ("script", "trace"):
                way = lambda net, batches, to=to, mode=mode: by_fx(net, batches, to, mode=mode)
                yield Case(f"way_{kind}_{name}_{mode}", make, (shape,), "fbgemm", mode=mode, way=way)
        way = lambda net, batches: by_fx(net, batches, to_reference, "qnnpack", qat=True)
        yield Case(f"way_reference_{name}_qat", make, (shape,), "qnnpack", way=way)
    for name, way in {
        "finalized": finalized,
        "frozen_first": frozen_first,
        "inference_first": inference_first,
        "loaded_first": loaded_first,
        "reloaded": reloaded,
        "within": within,
    }.items():
        for net in ("conv", "linear", "joints"):
            make, shape = NETS[net]
            yield Case(f"way_{name}_{net}", make, (shape,), "fbgemm", way=way)
    yield from eager_dynamic()
    yield from archives()


def with_config(net, batches, config):
    """Eager mode with this configuration."""
    net.qconfig = config
    net = q.prepare(net.eval())
    for batch in batches:
        net(*batch)
    return torch.jit.script(q.convert(net))


class Recurrent(nn.Module):
    """A recurrent layer, its answer and a linear layer."""

    def __init__(s, kind, **options):
        super().__init__()
        s.r, s.l = kind(5, 4, **options), nn.Linear(4 * (2 if options.get("bidirectional") else 1), 3)

    def forward(s, x):
        return s.l(s.r(x)[0])


class Cells(nn.Module):
    """A cell, step by step."""

    def __init__(s, kind):
        super().__init__()
        s.r = kind(5, 4)

    def forward(s, x):
        h = s.r(x[0])
        for t in range(1, x.size(0)):
            h = s.r(x[t], h)
        return h


class LstmSteps(nn.Module):
    """An LSTM cell, step by step."""

    def __init__(s):
        super().__init__()
        s.r = nn.LSTMCell(5, 4)

    def forward(s, x):
        h = s.r(x[0])
        for t in range(1, x.size(0)):
            h = s.r(x[t], h)
        return h[0] + h[1]


def eager_dynamic():
    """Eager mode with weights alone: linear and recurrent layers, cells, embeddings."""
    nets = {
        "linear": (NETS["linear"][0], (ROW,)),
        "lstm": (lambda: Recurrent(nn.LSTM), ((3, 2, 5),)),
        "lstm_two": (lambda: Recurrent(nn.LSTM, num_layers=2, bidirectional=True, batch_first=True), ((2, 3, 5),)),
        "gru": (lambda: Recurrent(nn.GRU, num_layers=2), ((3, 2, 5),)),
        "lstm_cell": (LstmSteps, ((3, 2, 5),)),
        "gru_cell": (lambda: Cells(nn.GRUCell), ((3, 2, 5),)),
        "rnn_cell": (lambda: Cells(nn.RNNCell), ((3, 2, 5),)),
    }
    kinds = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    for name, (make, shapes) in nets.items():
        for dtype, tail in ((torch.qint8, ""), (torch.float16, "_half")):
            way = lambda net, batches, dtype=dtype: torch.jit.script(q.quantize_dynamic(net, kinds, dtype=dtype))
            yield Case(f"way_dynamic_{name}{tail}", make, shapes, "dyn", "dynamic", way=way)
    for width, config in ((8, q.float_qparams_weight_only_qconfig), (4, q.float_qparams_weight_only_qconfig_4bit)):
        way = lambda net, batches, config=config: embedded(net, config)
        bag = lambda: written("return s.e(i, o)", "i, o", e=nn.EmbeddingBag(10, 12, include_last_offset=True, mode="sum"))
        values = lambda: (torch.randint(0, 10, (8,)), torch.tensor([0, 3, 8]))
        yield Case(f"way_embedding_bag_{width}", bag, (), f"eb{width}", "dynamic", way=way, values=values)
        rows = lambda: written("return s.e(i)", "i", e=nn.Embedding(10, 12))
        indices = lambda: (torch.randint(0, 10, (2, 3)),)
        yield Case(f"way_embedding_{width}", rows, (), f"eb{width}", "dynamic", way=way, values=indices)


def embedded(net, config):
    """Embeddings of 8 or 4 bits by eager mode."""
    net.e.qconfig = config
    return torch.jit.script(q.convert(q.prepare(net)))


def archives():
    """Archives that were packed in other ways, all of one module."""
    make, shape = NETS["joints"]
    way = lambda net, batches: statically(torch.jit.script(net), batches, q.get_default_qconfig("fbgemm"))
    for name, repack in {
        "deflated": lambda path: packed(path, compression=zipfile.ZIP_DEFLATED),
        "reversed": lambda path: packed(path, order=reversed),
        "renamed": lambda path: packed(path, folder="größe 1.0/sub"),
        "folders": lambda path: packed(path, extra={"/": b"", "code/": b"", "data/": b""}),
        "more_files": lambda path: packed(path, extra={"extra/producer_info.json": b"{}", ".data/serialization_id": b"1", "model.json": b"[]"}),
        "comment": lambda path: packed(path, comment=b"PK\x05\x06 not the end" * 3),
        "prefixed": lambda path: path.write_bytes(b"#!/usr/bin/env loader\n" * 5 + path.read_bytes()),
        "sources": with_sources,
        "lite": lite,
        "mobile_files": with_extra_files,
    }.items():
        yield Case(f"way_archive_{name}", make, (shape,), "fbgemm", way=way, repack=repack)


def packed(path, compression=zipfile.ZIP_STORED, order=lambda files: files, folder=None, extra=None, comment=b""):
    """Packs an archive again."""
    with zipfile.ZipFile(path) as archive:
        files = [(name, archive.read(name)) for name in archive.namelist()]
    root = files[0][0].split("/")[0]
    files += [(f"{root}{name}" if name == "/" else f"{root}/{name}", data) for name, data in (extra or {}).items()]
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.comment = comment
        for name, data in order(files):
            archive.writestr((folder or root) + name.removeprefix(root), data)


def with_sources(path):
    """With the files of source ranges."""
    torch.jit.save(torch.jit.load(path), str(path))


def lite(path):
    """With the bytecode of the mobile interpreter besides."""
    torch.jit.load(path)._save_for_lite_interpreter(str(path))


def with_extra_files(path):
    """With files of the user's."""
    torch.jit.save(torch.jit.load(path), str(path), _extra_files={"labels.txt": "a\nb", "größe/x.json": "{}"})


def vision():
    """The blocks that torchvision's networks are built of."""
    import torchvision
    from torchvision import models, ops
    from torchvision.models import convnext, densenet, efficientnet, mnasnet, mobilenetv2, mobilenetv3
    from torchvision.models import regnet, resnet, shufflenetv2, squeezenet, swin_transformer, vision_transformer
    from torchvision.models.googlenet import Inception
    from torchvision.models.inception import InceptionA, InceptionC
    from torchvision.models.segmentation import deeplabv3, fcn, lraspp
    from torchvision.models.video import resnet as video

    norm = nn.BatchNorm2d
    mb = efficientnet.MBConvConfig(3, 3, 1, 8, 8, 1)
    fused = efficientnet.FusedMBConvConfig(2, 3, 2, 8, 8, 1)
    v3 = mobilenetv3.InvertedResidualConfig
    image = (1, 8, 9, 9)
    kinds = {
        "basic_block": (lambda: resnet.BasicBlock(8, 8), image),
        "bottleneck": (lambda: resnet.Bottleneck(8, 2), image),
        "bottleneck_stride": (
            lambda: resnet.Bottleneck(8, 4, 2, nn.Sequential(nn.Conv2d(8, 16, 1, 2, bias=False), norm(16)), groups=2, base_width=64),
            image,
        ),
        "dense_block": (lambda: densenet._DenseBlock(2, 8, 2, 4, 0.0), image),
        "transition": (lambda: densenet._Transition(8, 4), image),
        "inverted_residual": (lambda: mobilenetv2.InvertedResidual(8, 8, 1, 3), image),
        "inverted_stride": (lambda: mobilenetv2.InvertedResidual(8, 12, 2, 3), image),
        "v3_hardswish": (lambda: mobilenetv3.InvertedResidual(v3(8, 3, 16, 8, True, "HS", 1, 1, 1), norm), image),
        "v3_relu": (lambda: mobilenetv3.InvertedResidual(v3(8, 5, 16, 12, False, "RE", 2, 1, 1), norm), image),
        "shuffle_unit": (lambda: shufflenetv2.InvertedResidual(8, 8, 1), image),
        "shuffle_stride": (lambda: shufflenetv2.InvertedResidual(8, 16, 2), image),
        "fire": (lambda: squeezenet.Fire(8, 4, 6, 6), image),
        "inception": (lambda: Inception(8, 4, 3, 4, 2, 3, 3), image),
        "inception_a": (lambda: InceptionA(8, 4), image),
        "inception_c": (lambda: InceptionC(8, 4), image),
        "mnas": (lambda: mnasnet._InvertedResidual(8, 8, 3, 1, 3, 0.1), image),
        "mbconv": (lambda: efficientnet.MBConv(mb, 0.0, norm), image),
        "fused_mbconv": (lambda: efficientnet.FusedMBConv(fused, 0.1, norm), image),
        "convnext": (lambda: convnext.CNBlock(8, 1e-6, 0.1), image),
        "convnext_norm": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), convnext.LayerNorm2d(8)), image),
        "regnet": (lambda: regnet.ResBottleneckBlock(8, 8, 1, norm, nn.ReLU, 4, 1.0, 0.25), image),
        "swin": (lambda: swin_transformer.SwinTransformerBlock(8, 2, [2, 2], [1, 1]), (1, 4, 4, 8)),
        "swin_v2": (lambda: swin_transformer.SwinTransformerBlockV2(8, 2, [2, 2], [0, 0]), (1, 4, 4, 8)),
        "patch_merging": (lambda: swin_transformer.PatchMerging(8), (1, 5, 4, 8)),
        "vit": (lambda: vision_transformer.EncoderBlock(2, 8, 16, 0.0, 0.0), (1, 5, 8)),
        "squeeze_excite": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), ops.SqueezeExcitation(8, 4)), image),
        "squeeze_hardsigmoid": (
            lambda: nn.Sequential(nn.Conv2d(8, 8, 1), ops.SqueezeExcitation(8, 4, scale_activation=nn.Hardsigmoid)),
            image,
        ),
        "conv_norm": (lambda: ops.Conv2dNormActivation(8, 6, 3, 2, activation_layer=nn.SiLU), image),
        "conv3d_norm": (lambda: ops.Conv3dNormActivation(4, 6, 3), (1, 4, 5, 5, 5)),
        "mlp": (lambda: ops.MLP(8, [16, 4], norm_layer=nn.LayerNorm, activation_layer=nn.GELU, dropout=0.1), (3, 8)),
        "frozen_norm": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), ops.FrozenBatchNorm2d(8), nn.ReLU()), image),
        "permute": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), ops.Permute([0, 2, 3, 1]), nn.Linear(8, 4)), image),
        "stochastic": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), ops.StochasticDepth(0.5, "row")), image),
        "drop_block": (lambda: nn.Sequential(nn.Conv2d(8, 8, 1), ops.DropBlock2d(0.5, 3)), image),
        "aspp": (lambda: deeplabv3.ASPP(8, [1, 2], 8), image),
        "fcn_head": (lambda: fcn.FCNHead(8, 3), image),
        "lraspp": (lambda: Features(lraspp.LRASPPHead(8, 8, 3, 4)), image),
        "fpn": (lambda: Pyramid(ops.FeaturePyramidNetwork([8, 8], 8)), image),
        "video_basic": (lambda: video.BasicBlock(4, 4, video.Conv3DSimple), (1, 4, 4, 5, 5)),
        "video_plus": (lambda: video.BasicBlock(4, 4, video.Conv2Plus1D), (1, 4, 4, 5, 5)),
        "quantizable_basic": (lambda: models.quantization.resnet.QuantizableBasicBlock(8, 8), image),
        "quantizable_v3": (
            lambda: models.quantization.mobilenetv3.QuantizableInvertedResidual(v3(8, 3, 16, 8, True, "HS", 1, 1, 1), norm),
            image,
        ),
    }
    configs = ("fbgemm", "pc8", "x86", "qnnpack")
    for at, (name, (make, shape)) in enumerate(kinds.items()):
        mode = "trace" if at % 3 == 2 else "script"
        yield Case(f"tv_{name}", lambda make=make: uneven(make()), (shape,), configs[at % 4], mode=mode)


class Features(nn.Module):
    """A head that reads a dict of features."""

    def __init__(s, head):
        super().__init__()
        s.head, s.down = head, nn.Conv2d(8, 8, 3, 2, 1)

    def forward(s, x):
        return s.head({"low": x, "high": s.down(x)})


class Pyramid(Features):
    """A head that answers a dict of features."""

    def forward(s, x):
        found = s.head({"low": x, "high": s.down(x)})
        return found["low"], found["high"]


def uneven(net):
    """With batch norms as after training."""
    for part in net.modules():
        if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d, nn.BatchNorm1d)):
            warmed(part)
    return net
