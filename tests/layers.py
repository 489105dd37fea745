"""Layers of `torch.nn` and functions like them, with options: rows of the table of second derivatives.

A row's name begins with the name of the class or function, up to the first blank.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

DRAW = torch.Generator().manual_seed(3)
VALUES = torch.randn(5, 4, generator=DRAW, dtype=torch.float64)
SHARES = torch.rand(5, 4, generator=DRAW, dtype=torch.float64)
CLASSES = torch.tensor([0, 3, 1, 2, 2])
SIGNS = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
WORDS = torch.randint(0, 6, (5, 4), generator=DRAW)


class Function(nn.Module):
    """A function as a layer, with further tensors as parameters."""

    def __init__(self, function, *parameters):
        super().__init__()
        self.function = function
        self.own = nn.ParameterList(parameters)

    def forward(self, inputs):
        return self.function(inputs, *self.own)


class On(nn.Module):
    """A layer of several inputs, or with several outputs, as one of one."""

    def __init__(self, layer, apply):
        super().__init__()
        self.layer, self.apply_to = layer, apply

    def forward(self, inputs):
        return self.apply_to(self.layer, inputs)


def function(of, *sizes):
    """A row: the layer is made when it is needed, so that its parameters are drawn then."""
    return lambda: Function(of, *(torch.rand(size, dtype=torch.float64) * 2 - 1 for size in sizes))


def first(layer):
    return lambda: On(layer(), lambda part, inputs: part(inputs)[0])


def pair(layer):
    return lambda: On(layer(), lambda part, inputs: part(inputs, inputs.flip(1).sin()))


def attention(mask=False, **options):
    hidden = torch.ones(5, 5, dtype=torch.bool).triu(1) if mask else None
    return lambda: On(
        nn.MultiheadAttention(4, 2, batch_first=True, **options),
        lambda part, inputs: part(inputs, inputs, inputs, need_weights=mask, attn_mask=hidden)[0],
    )


def settled(norm):
    """A layer in eval mode, after its estimate of the norm has come near."""

    def make():
        layer = norm(nn.Linear(4, 5), n_power_iterations=30)
        layer(VALUES.float())
        return layer.eval()

    return make


def images(dims):
    return (3, 2, *((9,), (7, 6), (5, 6, 5))[dims - 1])


def of_images(dims):
    """Rows of layers that there are for lines, images and volumes."""

    def of(name):
        return getattr(nn, f"{name}{dims}d")

    def unpooling():
        layer = nn.ModuleList([of("MaxPool")(2, return_indices=True), of("MaxUnpool")(2)])
        return On(layer, lambda both, x: both[1](*both[0](x), output_size=x.shape))

    sides = [1, 2] * dims
    rows = {
        "Conv": partial(of("Conv"), 2, 4, 3, padding=1),
        "Conv strided": partial(of("Conv"), 2, 4, 2, stride=2, dilation=2, groups=2),
        "Conv same": partial(of("Conv"), 2, 3, 3, padding="same", bias=False),
        **{f"Conv {m}": partial(of("Conv"), 2, 3, 3, padding=1, padding_mode=m) for m in MODES_OF_PADDING},
        "ConvTranspose": partial(of("ConvTranspose"), 2, 3, 3, stride=2, padding=1, output_padding=1),
        "ConvTranspose groups": partial(of("ConvTranspose"), 2, 4, 2, groups=2, dilation=2),
        "MaxPool": partial(of("MaxPool"), 2),
        "MaxPool padded": partial(of("MaxPool"), 3, stride=2, padding=1, ceil_mode=True),
        "MaxPool overlapping": partial(of("MaxPool"), 3, stride=1),
        "MaxPool dilated": partial(of("MaxPool"), 2, stride=1, dilation=2),
        "MaxUnpool": unpooling,
        "AvgPool": partial(of("AvgPool"), 2),
        "AvgPool padded": partial(of("AvgPool"), 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
        "LPPool 2": partial(of("LPPool"), 2, 2),
        "LPPool 3": lambda: nn.Sequential(nn.Softplus(), of("LPPool")(3, 2)),
        "AdaptiveAvgPool": partial(of("AdaptiveAvgPool"), 3),
        "AdaptiveAvgPool 1": partial(of("AdaptiveAvgPool"), 1),
        "AdaptiveMaxPool": partial(of("AdaptiveMaxPool"), 3),
        "BatchNorm": partial(of("BatchNorm"), 2),
        "BatchNorm plain": partial(of("BatchNorm"), 2, affine=False, momentum=None),
        "InstanceNorm": partial(of("InstanceNorm"), 2, affine=True),
        "ZeroPad": partial(of("ZeroPad"), sides),
        "ConstantPad": partial(of("ConstantPad"), sides, 3.5),
        "ReflectionPad": partial(of("ReflectionPad"), sides),
        "ReplicationPad": partial(of("ReplicationPad"), sides),
        "CircularPad": partial(of("CircularPad"), sides),
    }
    named = {name.replace(" ", f"{dims}d ", 1) if " " in name else f"{name}{dims}d": row for name, row in rows.items()}
    return {name: (row, images(dims)) for name, row in named.items()}


MODES_OF_PADDING = ("reflect", "replicate", "circular")
IMAGES = of_images(1) | of_images(2) | of_images(3)
IMAGES |= {f"GroupNorm {dims}": (partial(nn.GroupNorm, 1, 2), images(dims)) for dims in (1, 2, 3)}
IMAGES |= {
    "GroupNorm 4": (partial(nn.GroupNorm, 2, 4, affine=False), (3, 4, 5)),
    "SyncBatchNorm": (partial(nn.SyncBatchNorm, 4), (5, 4)),
    "LocalResponseNorm": (partial(nn.LocalResponseNorm, 2), (3, 4, 5, 5)),
    "FractionalMaxPool2d": (
        lambda: nn.FractionalMaxPool2d(2, 3, _random_samples=SHARES[:3, :2].repeat(1, 2).view(3, 2, 2)),
        images(2),
    ),
    "FractionalMaxPool3d": (
        lambda: nn.FractionalMaxPool3d(2, 3, _random_samples=SHARES[:3, :2].repeat(1, 3).view(3, 2, 3)),
        images(3),
    ),
    "Fold": (partial(nn.Fold, (4, 4), 2), (3, 8, 9)),
    "Unfold": (partial(nn.Unfold, 2, padding=1), (3, 2, 4, 4)),
    "PixelShuffle": (partial(nn.PixelShuffle, 2), (3, 4, 3, 3)),
    "PixelUnshuffle": (partial(nn.PixelUnshuffle, 2), (3, 2, 4, 4)),
    "ChannelShuffle": (partial(nn.ChannelShuffle, 2), (3, 4, 4, 4)),
    "UpsamplingNearest2d": (partial(nn.UpsamplingNearest2d, scale_factor=2), images(2)),
    "UpsamplingBilinear2d": (partial(nn.UpsamplingBilinear2d, scale_factor=2), images(2)),
    "Softmax2d": (nn.Softmax2d, images(2)),
    **{
        f"Upsample {mode} {dims}": (partial(nn.Upsample, scale_factor=1.7, mode=mode), images(dims))
        for mode, dims in (
            *(("nearest", 1), ("nearest", 2), ("nearest", 3), ("nearest-exact", 2), ("area", 2)),
            *(("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3)),
        )
    },
    **{
        f"Upsample {mode} corners": (
            partial(nn.Upsample, scale_factor=1.7, mode=mode, align_corners=True),
            images(dims),
        )
        for mode, dims in (("linear", 1), ("bilinear", 2), ("bicubic", 2), ("trilinear", 3))
    },
    **{
        f"interpolate {mode} antialias": (
            function(partial(F.interpolate, size=(3, 4), mode=mode, antialias=True)),
            images(2),
        )
        for mode in ("bilinear", "bicubic")
    },
    **{
        f"grid_sample {mode} {padding}": (
            function(
                lambda x, grid, m=mode, p=padding: F.grid_sample(x, grid, m, p, align_corners=False), (3, 3, 4, 2)
            ),
            images(2),
        )
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
    },
    "grid_sample volumes": (function(partial(F.grid_sample, align_corners=True), (3, 3, 4, 2, 3)), images(3)),
    "affine_grid": (
        function(
            lambda x, to: F.grid_sample(x, F.affine_grid(to, x.shape, align_corners=False), align_corners=False),
            (3, 2, 3),
        ),
        images(2),
    ),
}

SEQUENCES = {
    **{
        name: (first(partial(getattr(nn, kind), 4, 3, **options)), (2, 5, 4))
        for name, kind, options in (
            *((kind, kind, {"batch_first": True}) for kind in ("RNN", "GRU", "LSTM")),
            *((f"{kind} 2", kind, {"num_layers": 2, "bidirectional": True}) for kind in ("RNN", "GRU", "LSTM")),
            *(("RNN relu", "RNN", {"nonlinearity": "relu", "bias": False}), ("LSTM proj", "LSTM", {"proj_size": 2})),
        )
    },
    "RNNCell": (partial(nn.RNNCell, 4, 3), (5, 4)),
    "GRUCell": (partial(nn.GRUCell, 4, 3), (5, 4)),
    "LSTMCell": (first(partial(nn.LSTMCell, 4, 3)), (5, 4)),
    "MultiheadAttention": (attention(), (2, 5, 4)),
    "MultiheadAttention masked": (attention(mask=True), (2, 5, 4)),
    "MultiheadAttention bias": (attention(add_bias_kv=True, add_zero_attn=True), (2, 5, 4)),
    "MultiheadAttention kdim": (attention(kdim=4, vdim=4, bias=False), (2, 5, 4)),
    **{
        f"TransformerEncoderLayer {act} {first_norm}": (
            partial(nn.TransformerEncoderLayer, 4, 2, 6, 0.0, act, norm_first=first_norm, batch_first=True),
            (2, 5, 4),
        )
        for act in ("relu", "gelu")
        for first_norm in (False, True)
    },
    "TransformerEncoder": (
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 6, 0.0, batch_first=True), 1).eval(),
        (2, 5, 4),
    ),
    "TransformerDecoderLayer": (pair(partial(nn.TransformerDecoderLayer, 4, 2, 6, 0.0, batch_first=True)), (2, 5, 4)),
    "TransformerDecoder": (
        pair(lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 6, 0.0, batch_first=True), 1)),
        (2, 5, 4),
    ),
    "Transformer": (pair(partial(nn.Transformer, 4, 2, 1, 1, 6, 0.0, batch_first=True)), (2, 5, 4)),
    "scaled_dot_product_attention": (
        function(lambda x: F.scaled_dot_product_attention(x, x.flip(1), x.sin(), is_causal=True, scale=0.7)),
        (2, 5, 4),
    ),
    "Embedding": (partial(nn.Embedding, 6, 4), WORDS),
}

PLAIN = {
    "Identity": (nn.Identity, (5, 4)),
    "Linear": (partial(nn.Linear, 4, 3), (5, 4)),
    "Bilinear": (pair(partial(nn.Bilinear, 4, 4, 3)), (5, 4)),
    "Flatten": (nn.Flatten, (3, 4, 4)),
    "Unflatten": (partial(nn.Unflatten, 1, (2, 2)), (3, 4)),
    "BatchNorm1d vectors": (partial(nn.BatchNorm1d, 4, eps=0.1), (5, 4)),
    "LayerNorm": (partial(nn.LayerNorm, 4), (5, 4)),
    "LayerNorm two": (partial(nn.LayerNorm, (3, 4), bias=False), (5, 3, 4)),
    "LayerNorm plain": (partial(nn.LayerNorm, 4, elementwise_affine=False), (5, 4)),
    "RMSNorm": (partial(nn.RMSNorm, 4), (5, 4)),
    "RMSNorm plain": (partial(nn.RMSNorm, 4, eps=0.1, elementwise_affine=False), (5, 4)),
    "AdaptiveLogSoftmaxWithLoss": (
        lambda: On(nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3, 6], div_value=2), lambda part, x: part(x, 2 * CLASSES).loss),
        (5, 4),
    ),
    **{
        f"weight_norm {name}": (lambda wrap=wrap, layer=layer: nn.Sequential(wrap(layer()), nn.Tanh()), shape)
        for name, wrap, layer, shape in (
            ("old", weight_norm, partial(nn.Linear, 4, 5), (5, 4)),
            ("old None", partial(weight_norm, dim=None), partial(nn.Linear, 4, 5), (5, 4)),
            ("old ConvTranspose2d", weight_norm, partial(nn.ConvTranspose2d, 2, 3, 3), images(2)),
            ("new", parametrizations.weight_norm, partial(nn.Linear, 4, 5), (5, 4)),
            ("new 1", partial(parametrizations.weight_norm, dim=1), partial(nn.Linear, 4, 5), (5, 4)),
            ("new Conv2d", parametrizations.weight_norm, partial(nn.Conv2d, 2, 3, 3), images(2)),
        )
    },
    "spectral_norm old": (settled(spectral_norm), (5, 4)),
    "spectral_norm new": (settled(parametrizations.spectral_norm), (5, 4)),
    "orthogonal": (lambda: parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="matrix_exp"), (5, 4)),
    "orthogonal cayley": (lambda: parametrizations.orthogonal(nn.Linear(4, 4), orthogonal_map="cayley"), (5, 4)),
    "CosineSimilarity": (pair(nn.CosineSimilarity), (5, 4)),
    **{
        f"PairwiseDistance {p}": (pair(partial(nn.PairwiseDistance, p)), (5, 4))
        for p in (0.5, 1.0, 1.5, 2.0, 3.0, float("inf"))
    },
    "normalize": (function(F.normalize), (5, 4)),
    "normalize 3": (function(partial(F.normalize, p=3, dim=0)), (5, 4)),
}

ACTIVATIONS = {
    f"{name} {options or ''}": (lambda name=name, options=options: getattr(nn, name)(**options).eval(), (5, 4))
    for name, several in {
        "ELU": [{}, {"alpha": 0.7}, {"inplace": True}],
        "Hardshrink": [{}],
        "Hardtanh": [{}, {"min_val": -0.5, "max_val": 0.3}, {"inplace": True}],
        "Hardswish": [{}, {"inplace": True}],
        "LeakyReLU": [{}, {"negative_slope": 0.2, "inplace": True}],
        "LogSigmoid": [{}],
        "PReLU": [{}, {"num_parameters": 4}],
        "ReLU": [{}, {"inplace": True}],
        "ReLU6": [{}, {"inplace": True}],
        "RReLU": [{}, {"inplace": True}],
        "SELU": [{}, {"inplace": True}],
        "CELU": [{}, {"alpha": 0.7, "inplace": True}],
        "GELU": [{}, {"approximate": "tanh"}],
        "Sigmoid": [{}],
        "SiLU": [{}, {"inplace": True}],
        "Mish": [{}, {"inplace": True}],
        "Softplus": [{}, {"beta": 2, "threshold": 1}],
        "Softshrink": [{}, {"lambd": 0.2}],
        "Softsign": [{}],
        "Tanh": [{}],
        "Tanhshrink": [{}],
        "Threshold": [{"threshold": 0.1, "value": 2.0}, {"threshold": 0.1, "value": 2.0, "inplace": True}],
        "GLU": [{}],
        "Softmin": [{"dim": 1}],
        "Softmax": [{"dim": 1}],
        "LogSoftmax": [{"dim": 1}],
    }.items()
    for options in several
}

LAYERS = {**IMAGES, **SEQUENCES, **PLAIN, **ACTIVATIONS}
