"""Checking ops and comparing tensors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tgrad import autograd, dtypes
from tgrad.dispatch import FallbackWarning, Op, wrap
from tgrad.runtime import cuda
from tgrad.tensor import Tensor

__all__ = ["assert_close", "check_op"]

# (rtol, atol) by dtype, torch.testing's defaults.
TOLERANCE = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Tensors, numbers, and sequences or mappings of them. Default tolerances go by dtype; give both
    ``rtol`` and ``atol`` or neither.
    """
    if (rtol is None) != (atol is None):
        raise ValueError("assert_close: expected both rtol and atol or neither")

    def fail(text: str) -> None:
        raise AssertionError(msg(text) if callable(msg) else msg or text)

    if isinstance(expected, dict):
        if not isinstance(actual, dict) or actual.keys() != expected.keys():
            fail(f"The keys of the mappings do not match: {actual} and {expected}")
        pairs = [(actual[k], expected[k]) for k in expected]
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        if len(actual) != len(expected):
            fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        pairs = list(zip(actual, expected, strict=True))
    else:
        _compare(
            actual, expected, rtol, atol, equal_nan, check_device, check_dtype, check_stride, fail
        )
        return
    for a, b in pairs:
        assert_close(
            a, b, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=check_device,
            check_dtype=check_dtype, check_stride=check_stride, msg=msg,
        )  # fmt: skip


def _compare(a: Any, b: Any, rtol, atol, equal_nan, device, dtype, stride, fail) -> None:
    if isinstance(a, Tensor) != isinstance(b, Tensor):
        raise TypeError(f"assert_close: cannot compare {type(a).__name__} and {type(b).__name__}")
    x, y = (v.detach().host() if isinstance(v, Tensor) else np.asarray(v) for v in (a, b))
    if x.shape != y.shape:
        fail(f"The values for attribute 'shape' do not match: {x.shape} != {y.shape}.")
    kinds = [dtypes.float64, dtypes.float64]
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        kinds = [a.dtype, b.dtype]
        for on, name in ((device, "device"), (dtype, "dtype")):
            if on and getattr(a, name) != getattr(b, name):
                fail(
                    f"The values for attribute '{name}' do not match: {getattr(a, name)} != "
                    f"{getattr(b, name)}."
                )
        if stride and a.stride() != b.stride():
            fail(f"The values for attribute 'stride()' do not match: {a.stride()} != {b.stride()}.")
    if rtol is None:
        known = [TOLERANCE.get(kind, (0.0, 0.0)) for kind in kinds]
        rtol, atol = max(k[0] for k in known), max(k[1] for k in known)
    x, y = (
        v.astype(np.result_type(v.dtype, np.float64) if v.dtype.kind != "c" else v.dtype)
        for v in (x, y)
    )
    with np.errstate(all="ignore"):
        wrong = ~np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
        if wrong.any():
            worst = np.nanmax(np.abs(x - y), where=wrong, initial=0)
            fail(
                f"Tensor-likes are not close!\n\n"
                f"Mismatched elements: {wrong.sum()} / {wrong.size}\n"
                f"Greatest absolute difference: {worst} (up to {atol} allowed, rtol {rtol}), first "
                f"at index {tuple(int(i) for i in np.argwhere(wrong)[0])}"
            )


def check_op(
    function: Callable[..., Any],
    *args: Any,
    devices: Sequence[str] | None = None,
    gradient: bool | None = None,
    second_order: bool | None = None,
    tolerance: float = 2e-5,
    **kwargs: Any,
) -> None:
    """Check everything that can be checked about a registered op, on one set of arguments.

    Documentation; a kernel per device; float64 and float32 agree within ``tolerance`` of the
    largest magnitude; the devices agree; strided inputs give what contiguous ones give; inputs stay
    unchanged; backward agrees with finite differences, to second order too (by default wherever
    the op has a gradient). Floating tensors among ``args`` are converted to each dtype.
    Raises: AssertionError (or GradcheckError) that names the op and what failed.
    """
    entry: Op | None = getattr(function, "op", None)
    if entry is None:
        raise TypeError(f"check_op: {function!r} is not an op; declare it with tgrad.library.op")
    assert entry.doc, f"{entry.name} has no docstring"
    kinds = devices or (("cpu", "cuda") if cuda.is_available() else ("cpu",))
    want = _call(function, args, kwargs, "cpu", dtypes.float64)
    for kind in kinds:
        assert entry.kind == "composite" or entry.kernel(kind), f"{entry.name}: no {kind} kernel"
        for dtype in (dtypes.float64, dtypes.float32):
            for strided in (False, True):
                what = f"{entry.name} on {kind}, {dtype.name}{', strided' * strided}"
                got = _call(function, args, kwargs, kind, dtype, strided)
                bound = 1e-10 if dtype is dtypes.float64 else tolerance
                _agree(got, want, bound, what)
    if gradient is None:
        gradient = bool(entry.rules) and any(_floating(a) for a in args)
    if gradient:
        _check_gradients(function, args, kwargs, entry, kinds, second_order is not False)


def _check_gradients(function, args, kwargs, entry: Op, kinds: Sequence[str], second: bool) -> None:
    def call(*xs: Any) -> Any:
        return function(*xs, **kwargs)

    leaves = _convert(args, "cpu", dtypes.float64, grad=True)
    autograd.gradcheck(call, leaves, fast_mode=True)
    if second:
        autograd.gradgradcheck(call, leaves, fast_mode=True)
    want = _gradients(call, leaves)
    for kind in kinds:
        got = _gradients(call, _convert(args, kind, dtypes.float64, grad=True))
        _agree(got, want, 1e-9, f"gradient of {entry.name} on {kind}")


def _gradients(call: Callable, leaves: list[Any]) -> list[Any]:
    y = call(*leaves)
    ys = [z for z in (y if isinstance(y, (tuple, list)) else [y]) if z.requires_grad]
    total = sum((z * z).sum() for z in ys)
    xs = [x for x in leaves if isinstance(x, Tensor) and x.requires_grad]
    found = autograd.grad(total, xs, allow_unused=True)
    return [g for g in found if g is not None]


def _floating(a: Any) -> bool:
    return isinstance(a, Tensor) and a.dtype.is_floating_point


def _convert(
    args: Sequence[Any], kind: str, dtype: dtypes.dtype, strided: bool = False, grad: bool = False
) -> list[Any]:
    made = []
    for a in args:
        if isinstance(a, (list, tuple)):
            a = type(a)(_convert(a, kind, dtype, strided, grad))
        elif isinstance(a, Tensor):
            a = a.detach().to(dtype if _floating(a) else a.dtype).to(kind)
            if strided and a.ndim:
                a = spread(a)
            if grad and _floating(a):
                a = a.clone().requires_grad_()
        made.append(a)
    return made


def spread(x: Tensor) -> Tensor:
    """The same values in memory with gaps and reversed axes."""
    a = x.host()
    wide = np.zeros((*a.shape[::-1], 2), a.dtype)
    wide[..., 0] = a.transpose()
    array = wide if x.is_cpu else cuda.active().from_host(wide)
    return wrap(array[..., 0].transpose(), x.device)


def _call(function, args, kwargs, kind, dtype, strided: bool = False) -> list[Any]:
    made = _convert(args, kind, dtype, strided)
    before = [a.host().copy() if isinstance(a, Tensor) else None for a in made]
    with autograd.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("error", FallbackWarning)
        y = function(*made, **kwargs)
    for a, old in zip(made, before, strict=True):
        if old is not None:
            np.testing.assert_array_equal(a.host(), old, err_msg="an input was changed")
    return list(y) if isinstance(y, (tuple, list)) else [y]


def _agree(got: Sequence[Any], want: Sequence[Any], bound: float, what: str) -> None:
    assert len(got) == len(want), f"{what}: {len(got)} results, expected {len(want)}"
    for g, w in zip(got, want, strict=True):
        a, b = g.detach().host(), w.detach().host()
        assert a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}"
        a, b = a.astype(np.float64), b.astype(np.float64)
        finite = np.abs(b[np.isfinite(b)])
        scale = max(float(finite.max()) if finite.size else 0.0, 1.0)
        np.testing.assert_allclose(a, b, rtol=bound, atol=bound * scale, err_msg=what)
