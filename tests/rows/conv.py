"""Rows of the convolution family."""

import numpy as np

from tests.table import row, s, t
from tgrad.ops.geometry import Sizes


def pair(v) -> tuple:
    return v if isinstance(v, tuple) else (v, v)


def conv2d(
    x, w, b=None, stride: Sizes = 1, padding: Sizes | str = 0, dilation: Sizes = 1, groups=1
):
    """One output pixel at a time."""
    batched = x if x.ndim == 4 else x[None]
    (sh, sw), (dh, dw) = pair(stride), pair(dilation)
    k, c, r, s_ = w.shape
    if isinstance(padding, str):
        total = (dh * (r - 1), dw * (s_ - 1)) if padding == "same" else (0, 0)
        pads = [(n // 2, n - n // 2) for n in total]
    else:
        pads = [(n, n) for n in pair(padding)]
    batched = np.pad(batched, [(0, 0), (0, 0), *pads])
    p = (batched.shape[2] - dh * (r - 1) - 1) // sh + 1
    q = (batched.shape[3] - dw * (s_ - 1) - 1) // sw + 1
    y = np.zeros((len(batched), k, p, q))
    for f in range(k):
        first = f // (k // groups) * c
        for i in range(p):
            for j in range(q):
                window = batched[:, first : first + c, i * sh :, j * sw :]
                window = window[:, :, : dh * (r - 1) + 1 : dh, : dw * (s_ - 1) + 1 : dw]
                y[:, f, i, j] = (window * w[f]).sum((1, 2, 3))
    y += 0 if b is None else b[:, None, None]
    return y if x.ndim == 4 else y[0]


def conv_transpose2d(
    x, w, b=None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0, groups=1,
    dilation: Sizes = 1,
):  # fmt: skip
    """Each input pixel adds its multiple of the filter."""
    batched = x if x.ndim == 4 else x[None]
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    oh, ow = pair(output_padding)
    c, each, r, s_ = w.shape
    n, _, h, v = batched.shape
    rows, cols = (h - 1) * sh + dh * (r - 1) + 1 + oh, (v - 1) * sw + dw * (s_ - 1) + 1 + ow
    y = np.zeros((n, each * groups, rows, cols))
    for i in range(h):
        for j in range(v):
            for k in range(c):
                first = k // (c // groups) * each
                target = y[:, first : first + each, i * sh :, j * sw :]
                target = target[:, :, : dh * (r - 1) + 1 : dh, : dw * (s_ - 1) + 1 : dw]
                target += batched[:, k, i, j, None, None, None] * w[k]
    y = y[:, :, ph : rows - ph, pw : cols - pw]
    y = y + (0 if b is None else b[:, None, None])
    return y if x.ndim == 4 else y[0]


def conv3d(
    x, w, b=None, stride: Sizes = 1, padding: Sizes | str = 0, dilation: Sizes = 1, groups=1
):
    """The sum over planes of the filters of :func:`conv2d` of the planes that they meet."""
    (sd, *plane_stride), (dd, *plane_dilation) = triple(stride), triple(dilation)
    t = w.shape[2]
    if isinstance(padding, str):
        total, rest = (dd * (t - 1) if padding == "same" else 0), padding
        front, back = total // 2, total - total // 2
    else:
        front, *rest = triple(padding)
        back, rest = front, tuple(rest)
    wide = np.pad(x, [(0, 0)] * (x.ndim - 3) + [(front, back), (0, 0), (0, 0)])
    planes = []
    for o in range((wide.shape[-3] - dd * (t - 1) - 1) // sd + 1):
        seen = [wide[..., o * sd + k * dd, :, :] for k in range(t)]
        planes.append(sum(
            conv2d(a, w[:, :, k], None, tuple(plane_stride), rest, tuple(plane_dilation), groups)
            for k, a in enumerate(seen)
        ))  # fmt: skip
    y = np.stack(planes, -3)
    return y if b is None else y + b[:, None, None, None]


def conv_transpose3d(
    x, w, b=None, stride: Sizes = 1, padding: Sizes = 0, output_padding: Sizes = 0, groups=1,
    dilation: Sizes = 1,
):  # fmt: skip
    """Each plane of x adds its 2-D transposed convolution with each plane of the filters."""
    (sd, *plane_stride), (pd, *plane_padding) = triple(stride), triple(padding)
    (od, *plane_extra), (dd, *plane_dilation) = triple(output_padding), triple(dilation)
    depth, t = x.shape[-3], w.shape[2]
    planes: list = [0] * ((depth - 1) * sd + dd * (t - 1) + 1 + od)
    for d in range(depth):
        for k in range(t):
            planes[d * sd + k * dd] = planes[d * sd + k * dd] + conv_transpose2d(
                x[..., d, :, :], w[:, :, k], None, tuple(plane_stride), tuple(plane_padding),
                tuple(plane_extra), groups, tuple(plane_dilation),
            )  # fmt: skip
    shape = np.broadcast_shapes(*[np.shape(p) for p in planes])
    y = np.stack([np.broadcast_to(p, shape) for p in planes[pd : len(planes) - pd]], -3)
    return y if b is None else y + b[:, None, None, None]


def triple(v) -> tuple:
    return v if isinstance(v, tuple) else (v, v, v)


def conv1d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    padding = padding if isinstance(padding, str) else (0, padding)
    y = conv2d(x[..., None, :], w[:, :, None], b, (1, stride), padding, (1, dilation), groups)
    return y[..., 0, :]


def conv_transpose1d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    y = conv_transpose2d(
        x[..., None, :], w[:, :, None], b, (1, stride), (0, padding), (0, output_padding), groups,
        (1, dilation),
    )  # fmt: skip
    return y[..., 0, :]


ROWS = [
    row(
        "conv2d",
        s(t(2, 3, 7, 5), t(4, 3, 3, 3), t(4), padding=1),
        s(t(3, 5, 4), t(2, 3, 1, 1)),  # unbatched, 1x1
        s(t(2, 4, 9, 8), t(6, 2, 3, 2), t(6), stride=2, padding=(1, 0), groups=2),
        s(t(1, 5, 6, 7), t(10, 1, 3, 3), t(10), padding="same", groups=5),  # depthwise
        s(t(1, 2, 9, 10), t(3, 2, 2, 4), padding="same", dilation=(2, 1)),
        s(t(1, 2, 11, 6), t(3, 2, 3, 1), t(3), (3, 2), 2, (4, 1)),
        s(t(1, 1, 6, 5), t(2, 1, 6, 5), padding="valid"),
        s(t(2, 3, 5, 6), t(4, 3, 1, 1), t(4), stride=3),  # pixels that no output reads
        s(t(0, 3, 5, 5), t(4, 3, 3, 3), t(4)),
        s(t(1, 17, 6, 7), t(18, 17, 3, 3), padding=1),  # several blocks of filters
        s(t(1, 8, 6, 5), t(12, 8, 3, 3), t(12), padding=1),
        ref=conv2d,
    ),
    row(
        "conv1d",
        s(t(2, 3, 9), t(4, 3, 3), t(4), stride=2, padding=1),
        s(t(4, 8), t(6, 2, 2), padding="same", dilation=3, groups=2),
        ref=conv1d,
    ),
    row(
        "conv_transpose2d",
        s(t(2, 3, 4, 5), t(3, 4, 3, 3), t(4)),
        s(t(1, 4, 4, 3), t(4, 3, 3, 2), t(6), (2, 3), 1, 1, 2),
        s(t(3, 4, 4), t(3, 2, 2, 3), stride=2, dilation=(3, 2), output_padding=(2, 1)),
        s(t(1, 3, 3, 4), t(3, 1, 3, 3), t(3), groups=3, padding=1),
        s(t(0, 3, 4, 4), t(3, 2, 2, 2)),
        ref=conv_transpose2d,
    ),
    row(
        "conv_transpose1d",
        s(t(2, 3, 5), t(3, 4, 3), t(4), stride=2, padding=1, output_padding=1),
        s(t(4, 6), t(4, 2, 2), groups=2, dilation=2),
        ref=conv_transpose1d,
    ),
    row(
        "conv3d",
        s(t(1, 2, 3, 4, 3), t(3, 2, 2, 3, 3), t(3), padding=1),
        s(t(2, 4, 3, 2), t(3, 2, 1, 1, 1)),  # unbatched, 1x1x1
        s(t(2, 4, 5, 4, 3), t(2, 2, 3, 2, 2), t(2), (2, 1, 2), (1, 0, 1), groups=2),
        s(t(1, 3, 3, 3, 4), t(3, 1, 2, 3, 2), t(3), padding="same", groups=3),  # depthwise
        s(t(1, 1, 5, 3, 4), t(1, 1, 2, 2, 3), padding="same", dilation=(3, 1, 1)),
        s(t(0, 2, 3, 3, 3), t(3, 2, 2, 2, 2), t(3)),
        s(t(1, 17, 2, 3, 3), t(18, 17, 2, 2, 2), stride=(1, 2, 1), padding=(1, 0, 0)),
        ref=conv3d,
    ),
    row(
        "conv_transpose3d",
        s(t(1, 2, 2, 3, 2), t(2, 3, 2, 3, 2), t(3)),
        s(t(1, 4, 2, 2, 3), t(4, 1, 3, 2, 2), t(2), (2, 1, 2), 1, (1, 0, 1), 2),
        s(t(2, 3, 2, 2), t(2, 2, 2, 1, 2), stride=2, dilation=(3, 1, 2), output_padding=(2, 1, 0)),
        ref=conv_transpose3d,
    ),
    row(
        "conv_tbc",
        s(t(5, 2, 3), t(3, 3, 4), t(4), 1),
        s(t(4, 1, 2), t(2, 2, 3), t(3)),
        ref=lambda x, w, b, pad=0: conv1d(
            x.transpose(1, 2, 0), w.transpose(2, 1, 0), b, padding=pad
        ).transpose(2, 0, 1),
    ),
]
