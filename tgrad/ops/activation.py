"""Activation functions of ``nn.functional``, each with its gradient as one more expression."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite
from tgrad.ops.view import normalize_dim
from tgrad.pointwise import Instead, derivative, inplace_method, pointwise, xp

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

FUNCTIONAL = ("nn.functional",)
EVERYWHERE = ("tgrad", "Tensor", "nn.functional")


def activation(
    expression: Callable | None = None,
    *,
    spaces: Sequence[str] = FUNCTIONAL,
    accepts: str = "float",
    result: str = "promote",
) -> Any:
    """Declare a pointwise op that also takes PyTorch's ``inplace=False`` as its last argument."""

    def declare(expression: Callable) -> Any:
        signature = inspect.signature(expression)
        flag = inspect.Parameter("inplace", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
        full = signature.replace(parameters=[*signature.parameters.values(), flag])

        defaults = tuple(p.default for p in full.parameters.values())
        required = defaults.count(inspect.Parameter.empty)

        def prepare(*args: Any, **kwargs: Any) -> Instead:
            if not kwargs and required <= len(args) <= len(defaults):
                *ready, inplace = (*args, *defaults[len(args) :])
                return Instead(call, tuple(ready), bool(inplace))
            bound = full.bind(*args, **kwargs)
            bound.apply_defaults()
            *ready, inplace = bound.arguments.values()
            return Instead(call, tuple(ready), bool(inplace))

        call = pointwise(expression, spaces=spaces, accepts=accepts, result=result, prepare=prepare)
        public = list(call.__signature__.parameters.values())
        call.__signature__ = inspect.Signature([*public, flag])
        return call

    return declare if expression is None else declare(expression)


@activation(accepts="int float", spaces=EVERYWHERE)
def relu(x):
    """max(input, 0); the gradient at 0 is 0. Raises: RuntimeError for bool and complex."""
    return xp.maximum(x, 0)


@derivative(relu)
def relu_backward(g, y):
    """0 where y <= 0, else g."""
    return xp.where(xp.le(y, 0), 0, g)


@activation(accepts="float complex")
def silu(x):
    """input * sigmoid(input) (Elfwing et al. 2017, arXiv:1702.03118)."""
    return xp.div(x, xp.exp(-x) + 1)


@derivative(silu)
def silu_backward(g, x):
    """g s (1 + x (1 - s)) with s = sigmoid(x)."""
    s = xp.sigmoid(x)
    return g * xp.conj(s * (1 + x * (1 - s)))


def approximation(x: Any, approximate: str = "none") -> Instead:
    """The gelu that ``approximate`` names."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError(f"approximate argument must be either none or tanh, got {approximate!r}")
    return Instead(gelu if approximate == "none" else gelu_tanh, (x,))


@pointwise(accepts="float", spaces=FUNCTIONAL, prepare=approximation)
def gelu(x):
    """input * Phi(input), Phi the normal distribution function (Hendrycks and Gimpel 2016).

    ``approximate="tanh"``: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2. arXiv:1606.08415.
    Raises: RuntimeError for any other ``approximate``.
    """
    return x * 0.5 * (xp.erf(x * 0.7071067811865476) + 1)


@derivative(gelu)
def gelu_backward(g, x):
    """g (Phi(x) + x phi(x)), phi the normal density."""
    phi = xp.exp(x * x * -0.5) * 0.3989422804014327
    return g * ((xp.erf(x * 0.7071067811865476) + 1) * 0.5 + x * phi)


@pointwise(accepts="float", spaces=())
def gelu_tanh(x):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    t = xp.tanh(x * (x * x * 0.035677408136300125 + 0.7978845608028654))
    return x * 0.5 * (t + 1)


@derivative(gelu_tanh)
def gelu_tanh_backward(g, x):
    """g ((1 + t) / 2 + x (1 - t^2) u' / 2) with t = tanh(u)."""
    s = x * x
    t = xp.tanh(x * (s * 0.035677408136300125 + 0.7978845608028654))
    slope = s * 0.10703222440890037 + 0.7978845608028654
    return g * ((t + 1) * 0.5 + x * (1 - t * t) * slope * 0.5)


# ---- piecewise linear ----------------------------------------------------------------------------


@activation(accepts="int float")
def hardtanh(x, min_val: float = -1.0, max_val: float = 1.0):
    """min(max(input, min_val), max_val); the gradient at both bounds is 0.

    Raises: RuntimeError for bool and complex.
    """
    return xp.minimum(xp.maximum(x, min_val), max_val)


@derivative(hardtanh)
def hardtanh_backward(g, x, min_val: float, max_val: float):
    """g strictly between the bounds, else 0."""
    return xp.where(xp.gt(x, min_val) & xp.lt(x, max_val), g, 0)


@activation(accepts="int float")
def relu6(x):
    """min(max(input, 0), 6) (Krizhevsky 2010); the gradient at 0 and 6 is 0."""
    return xp.minimum(xp.maximum(x, 0), 6)


@derivative(relu6)
def relu6_backward(g, x):
    """g where 0 < x < 6, else 0."""
    return xp.where(xp.gt(x, 0) & xp.lt(x, 6), g, 0)


@activation
def leaky_relu(x, negative_slope: float = 0.01):
    """input where positive, else negative_slope * input (Maas et al. 2013)."""
    return xp.where(xp.gt(x, 0), x, x * negative_slope)


@derivative(leaky_relu)
def leaky_relu_backward(g, x, negative_slope: float):
    """g where x > 0, else negative_slope * g."""
    return xp.where(xp.gt(x, 0), g, g * negative_slope)


@activation(accepts="int float", spaces=("tgrad", "nn.functional"))
def threshold(x, threshold: float, value: float):
    """input where it is above ``threshold``, else ``value``."""
    return xp.where(xp.le(x, threshold), value, x)


@derivative(threshold)
def threshold_backward(g, x, threshold: float):
    """g where x > threshold, else 0."""
    return xp.where(xp.le(x, threshold), 0, g)


@activation
def hardswish(x):
    """input * min(max(input + 3, 0), 6) / 6 (Howard et al. 2019, arXiv:1905.02244)."""
    return xp.div(x * xp.minimum(xp.maximum(x + 3, 0), 6), 6)


@derivative(hardswish)
def hardswish_backward(g, x):
    """0 up to -3, g from 3 on, g (x / 3 + 1 / 2) between."""
    inner = xp.where(xp.ge(x, 3), g, g * (xp.div(x, 3) + 0.5))
    return xp.where(xp.le(x, -3), 0, inner)


@activation
def hardsigmoid(x):
    """min(max(input + 3, 0), 6) / 6 (Courbariaux et al. 2015, arXiv:1511.00363, rescaled)."""
    return xp.div(xp.minimum(xp.maximum(x + 3, 0), 6), 6)


@derivative(hardsigmoid)
def hardsigmoid_backward(g, x):
    """g / 6 where -3 < x < 3, else 0."""
    return xp.where(xp.gt(x, -3) & xp.lt(x, 3), xp.div(g, 6), 0)


@pointwise(accepts="float", spaces=EVERYWHERE)
def hardshrink(x, lambd: float = 0.5):
    """input where |input| > lambd, else 0."""
    return xp.where(xp.ge(x, -lambd) & xp.le(x, lambd), 0, x)


@derivative(hardshrink)
def hardshrink_backward(g, x, lambd: float):
    """g where |x| > lambd, else 0."""
    return xp.where(xp.gt(x, lambd) | xp.lt(x, -lambd), g, 0)


@composite(spaces=FUNCTIONAL)
def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """input moved towards 0 by ``lambd``, and 0 where |input| <= lambd.

    Raises: RuntimeError for a negative ``lambd``.
    """
    if not lambd >= 0:
        raise RuntimeError(
            f"softshrink: lambda must be greater or equal to 0, but found to be {lambd}."
        )
    return _softshrink(input, lambd)


@pointwise(accepts="float", spaces=())
def _softshrink(x, lambd: float):
    """x - lambd above lambd, x + lambd below -lambd, else 0 (NaN stays)."""
    return xp.where(xp.gt(x, lambd), x - lambd, xp.where(xp.lt(x, -lambd), x + lambd, x * 0))


@derivative(_softshrink)
def softshrink_backward(g, x, lambd: float):
    """g where |x| > lambd, else 0."""
    return xp.where(xp.gt(x, lambd) | xp.lt(x, -lambd), g, 0)


@composite(spaces=EVERYWHERE)
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, else weight * input (He et al. 2015, arXiv:1502.01852).

    Shape: ``weight`` holds one number, or one for each of input's channels (dim 1).
    Raises: RuntimeError where it holds another number, or is of another dtype.
    """
    if not isinstance(weight, Variable):
        raise TypeError(f"prelu(): argument 'weight' must be Tensor, not {type(weight).__name__}")
    if input.dtype is not weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {input.dtype.name} and {weight.dtype.name}"
        )
    if weight.ndim > 1:
        raise RuntimeError(
            f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}"
        )
    if weight.ndim == 1:
        n = weight.shape[0]
        if n != 1:
            if input.ndim == 0:
                raise RuntimeError("prelu: Not allow zero-dim input tensor.")
            channels = input.shape[1] if input.ndim > 1 else 1
            if n != channels:
                raise RuntimeError(
                    "prelu: Mismatch of parameter numbers and input channel size. Found parameter "
                    f"numbers = {n} and channel size = {channels}."
                )
        rest = (1,) * max(input.ndim - 2, 0)
        weight = weight.reshape((1, n, *rest) if input.ndim > 1 else (n,) if input.ndim else ())
    return _prelu(input, weight)


@pointwise(accepts="float", spaces=())
def _prelu(x, weight):
    """x where positive, else weight * x."""
    return xp.where(xp.gt(x, 0), x, weight * x)


@derivative(_prelu, "x")
def prelu_backward(g, x, weight):
    """g where x > 0, else weight * g."""
    return xp.where(xp.gt(x, 0), g, weight * g)


@derivative(_prelu, "weight")
def prelu_weight_backward(g, x):
    """0 where x > 0, else x * g."""
    return xp.where(xp.gt(x, 0), 0, x * g)


@composite(spaces=("tgrad", "nn.functional"))
def rrelu(
    input: Tensor,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """input where positive, else r * input (Xu et al. 2015, arXiv:1505.00853).

    In training r is uniform in [lower, upper) for each element, else it is their mean.
    Raises: RuntimeError if lower > upper.
    """
    if lower > upper:
        raise RuntimeError(
            "rrelu: Lower bound should be less than or equal to the upper bound, got "
            f"{lower} and {upper}"
        )
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = OPS["uniform_"].function(input.detach().clone(), lower, upper)
    y = _prelu(input, slope)
    return input.copy_(y) if inplace else y


# ---- smooth --------------------------------------------------------------------------------------


@activation
def elu(x, alpha: float = 1.0):
    """input where positive, else alpha (e^input - 1) (Clevert et al. 2015, arXiv:1511.07289)."""
    return xp.where(xp.gt(x, 0), x, xp.expm1(x) * alpha)


@derivative(elu)
def elu_backward(g, x, alpha: float):
    """g where x > 0, else g alpha e^x."""
    return xp.where(xp.gt(x, 0), g, g * alpha * xp.exp(x))


@activation(spaces=("tgrad", "nn.functional"))
def celu(x, alpha: float = 1.0):
    """input where positive, else alpha (e^(input / alpha) - 1) (Barron 2017, arXiv:1704.07483).

    ``alpha`` must not be 0.
    """
    return xp.where(xp.gt(x, 0), x, xp.expm1(xp.div(x, alpha)) * alpha)


@derivative(celu)
def celu_backward(g, x, alpha: float):
    """g where x > 0, else g e^(x / alpha)."""
    return xp.where(xp.gt(x, 0), g, g * xp.exp(xp.div(x, alpha)))


@activation(spaces=("tgrad", "nn.functional"))
def selu(x):
    """elu scaled to keep mean 0 and variance 1 (Klambauer et al. 2017, arXiv:1706.02515)."""
    negative = xp.expm1(x) * 1.7580993408473766
    return xp.where(xp.gt(x, 0), x * 1.0507009873554805, negative)


@derivative(selu)
def selu_backward(g, x):
    """1.0507 g where x > 0, else 1.0507 * 1.6733 g e^x."""
    return xp.where(xp.gt(x, 0), g * 1.0507009873554805, g * xp.exp(x) * 1.7580993408473766)


@activation
def mish(x):
    """input * tanh(softplus(input)) (Misra 2019, arXiv:1908.08681).

    tanh(log(1 + e)) = n / (n + 2) with e = e^input and n = e (e + 2); it is 1 from 20 on.
    """
    e = xp.exp(xp.minimum(x, 20))
    n = e * (e + 2)
    return xp.div(x * n, n + 2)


@derivative(mish)
def mish_backward(g, x):
    """g (t + x s (1 - t^2)) with t = tanh(softplus(x)) and s = sigmoid(x)."""
    x = xp.minimum(x, 20)
    e = xp.exp(x)
    n = e * (e + 2)
    t = xp.div(n, n + 2)
    slope = xp.div((n + 1) * 4, (n + 2) * (n + 2))
    return g * (t + x * xp.sigmoid(x) * slope)


@pointwise(accepts="float", spaces=FUNCTIONAL)
def softplus(x, beta: float = 1.0, threshold: float = 20.0):
    """log(1 + e^(beta input)) / beta, and the input where beta * input is above ``threshold``."""
    z = x * beta
    return xp.where(xp.gt(z, threshold), x, xp.div(xp.log1p(xp.exp(z)), beta))


@derivative(softplus)
def softplus_backward(g, x, beta: float, threshold: float):
    """g sigmoid(beta x), and g where beta x is above ``threshold``."""
    z = x * beta
    return xp.where(xp.gt(z, threshold), g, g * xp.sigmoid(z))


@pointwise(accepts="float", spaces=FUNCTIONAL)
def logsigmoid(x):
    """log(sigmoid(input)) = min(input, 0) - log(1 + e^-|input|)."""
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))


@derivative(logsigmoid)
def logsigmoid_backward(g, x):
    """g sigmoid(-x)."""
    return g * xp.sigmoid(-x)


@pointwise(accepts="int float", result="float", spaces=FUNCTIONAL)
def softsign(x):
    """input / (1 + |input|)."""
    return xp.div(x, xp.abs(x) + 1)


@derivative(softsign)
def softsign_backward(g, x):
    """g / (1 + |x|)^2."""
    d = xp.abs(x) + 1
    return xp.div(g, d * d)


@pointwise(accepts="int float", result="float", spaces=FUNCTIONAL)
def tanhshrink(x):
    """input - tanh(input)."""
    return x - xp.tanh(x)


@derivative(tanhshrink)
def tanhshrink_backward(g, x):
    """g tanh(x)^2."""
    t = xp.tanh(x)
    return g * t * t


@composite(spaces=FUNCTIONAL)
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b), a and b the halves along ``dim`` (Dauphin et al. 2016, arXiv:1612.08083).

    Shape: size 2n along ``dim`` -> n. Raises: RuntimeError for an odd size or a 0-d input,
    IndexError for a dim out of range.
    """
    if input.ndim == 0:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    dim = normalize_dim("glu", dim, input.ndim)
    n = input.shape[dim]
    if n % 2:
        raise RuntimeError(f"glu: Halving dimension must be even, but dimension {dim} is size {n}")
    return _glu(input.narrow(dim, 0, n // 2), input.narrow(dim, n // 2, n // 2))


@pointwise(accepts="float", spaces=())
def _glu(x, gate):
    """x * sigmoid(gate)."""
    return x * xp.sigmoid(gate)


@derivative(_glu, "x")
def glu_backward(g, gate):
    """g sigmoid(gate)."""
    return g * xp.sigmoid(gate)


@derivative(_glu, "gate")
def glu_gate_backward(g, x, gate):
    """g x s (1 - s) with s = sigmoid(gate)."""
    s = xp.sigmoid(gate)
    return g * x * s * (1 - s)


# ---- in place ------------------------------------------------------------------------------------


def _inplace(function: Any, spaces: Sequence[str]) -> None:
    """Make ``name_`` public where PyTorch has it as a function too."""
    composite(spaces=spaces)(inplace_method(function.op))


for _of in (elu, hardtanh, leaky_relu):
    _inplace(_of, FUNCTIONAL)
for _of in (celu, relu, selu, threshold):
    _inplace(_of, ("tgrad", "nn.functional"))
