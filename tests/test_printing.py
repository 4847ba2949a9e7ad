"""Printing: the strings are PyTorch 2.13's, with tgrad in the place of torch."""

# ruff: noqa: E501 - lines as long as PyTorch leaves them

from __future__ import annotations

import pytest

import tgrad
from tgrad.printing import printoptions

CASES = {
    "L.tensor(1.5)": "tensor(1.5000)",
    "L.tensor(3)": "tensor(3)",
    "L.tensor(True)": "tensor(True)",
    'L.tensor(float("nan"))': "tensor(nan)",
    "L.tensor(-0.0)": "tensor(-0.)",
    "L.tensor(2 - 1j)": "tensor(2.-1.j)",
    "L.tensor([])": "tensor([])",
    "L.zeros(2, 0)": "tensor([], size=(2, 0))",
    "L.zeros(0, dtype=L.int32)": "tensor([], dtype=tgrad.int32)",
    "L.zeros(0, dtype=L.int64)": "tensor([], dtype=tgrad.int64)",
    "L.zeros(3, 0, dtype=L.bool)": "tensor([], size=(3, 0), dtype=tgrad.bool)",
    "L.zeros(2, 0, 3)": "tensor([], size=(2, 0, 3))",
    "L.arange(5)": "tensor([0, 1, 2, 3, 4])",
    "L.arange(-3, 4)": "tensor([-3, -2, -1,  0,  1,  2,  3])",
    "L.arange(5.0)": "tensor([0., 1., 2., 3., 4.])",
    "L.tensor([1.0, 2.5])": "tensor([1.0000, 2.5000])",
    "L.tensor([1e-5, 1])": "tensor([1.0000e-05, 1.0000e+00])",
    "L.tensor([1e9])": "tensor([1.0000e+09])",
    "L.tensor([1.0, 1000.0])": "tensor([   1., 1000.])",
    "L.tensor([1.0, 1001.0])": "tensor([1.0000e+00, 1.0010e+03])",
    "L.tensor([0.5, 1e4])": "tensor([5.0000e-01, 1.0000e+04])",
    "L.tensor([1e8])": "tensor([100000000.])",
    "L.tensor([1.5e8])": "tensor([1.5000e+08])",
    'L.tensor([float("nan"), 1])': "tensor([nan, 1.])",
    'L.tensor([float("inf"), -float("inf"), 1.5])': "tensor([   inf,   -inf, 1.5000])",
    'L.tensor([float("inf"), 2.0])': "tensor([inf, 2.])",
    'L.tensor([float("nan")] * 3)': "tensor([nan, nan, nan])",
    "L.tensor([0.0, -0.0])": "tensor([0., -0.])",
    "L.tensor([0.0, 1e-4])": "tensor([0.0000e+00, 1.0000e-04])",
    "L.tensor([0.0, 9e-5])": "tensor([0.0000e+00, 9.0000e-05])",
    "L.tensor([-1.5, 2, 1e-3])": "tensor([-1.5000e+00,  2.0000e+00,  1.0000e-03])",
    "L.tensor([123456.789])": "tensor([123456.7891])",
    "L.tensor([99999.0, 1])": "tensor([9.9999e+04, 1.0000e+00])",
    "L.tensor([0.1] * 11)": """\
tensor([0.1000, 0.1000, 0.1000, 0.1000, 0.1000, 0.1000, 0.1000, 0.1000, 0.1000,
        0.1000, 0.1000])""",
    "L.tensor([[1.5], [2]])": """\
tensor([[1.5000],
        [2.0000]])""",
    "L.tensor([1e-10])": "tensor([1.0000e-10])",
    "L.tensor([2**31, 1])": "tensor([2147483648,          1])",
    "L.tensor([1e38, -1e38])": "tensor([ 1.0000e+38, -1.0000e+38])",
    "L.tensor([1e3, -1])": "tensor([1000.,   -1.])",
    "L.tensor([True, False])": "tensor([ True, False])",
    "L.tensor([[True], [False]])": """\
tensor([[ True],
        [False]])""",
    "L.tensor([1 + 2j, 3 - 4.5j])": "tensor([1.+2.0000j, 3.-4.5000j])",
    "L.tensor([1j])": "tensor([0.+1.j])",
    "L.tensor([1, 2], dtype=L.uint8)": "tensor([1, 2], dtype=tgrad.uint8)",
    "L.tensor([[1, 2]], dtype=L.int16)": "tensor([[1, 2]], dtype=tgrad.int16)",
    "L.tensor([0.1, 0.25], dtype=L.float16)": "tensor([0.1000, 0.2500], dtype=tgrad.float16)",
    "L.tensor([65504, 1], dtype=L.float16)": "tensor([6.5504e+04, 1.0000e+00], dtype=tgrad.float16)",
    "L.tensor([0.1, 100.0], dtype=L.bfloat16)": "tensor([  0.1001, 100.0000], dtype=tgrad.bfloat16)",
    "L.tensor([0.1, -3], dtype=L.float64)": "tensor([ 0.1000, -3.0000], dtype=tgrad.float64)",
    "L.tensor([[1 / 3, -2 / 3], [1e2, 5]])": """\
tensor([[  0.3333,  -0.6667],
        [100.0000,   5.0000]])""",
    "L.arange(24).reshape(2, 3, 4)": """\
tensor([[[ 0,  1,  2,  3],
         [ 4,  5,  6,  7],
         [ 8,  9, 10, 11]],

        [[12, 13, 14, 15],
         [16, 17, 18, 19],
         [20, 21, 22, 23]]])""",
    "L.arange(16.0).reshape(2, 2, 2, 2) / 3": """\
tensor([[[[0.0000, 0.3333],
          [0.6667, 1.0000]],

         [[1.3333, 1.6667],
          [2.0000, 2.3333]]],


        [[[2.6667, 3.0000],
          [3.3333, 3.6667]],

         [[4.0000, 4.3333],
          [4.6667, 5.0000]]]])""",
    "L.tensor([[[[-0.0072]]]])": "tensor([[[[-0.0072]]]])",
    "L.arange(30) * 1.1": """\
tensor([ 0.0000,  1.1000,  2.2000,  3.3000,  4.4000,  5.5000,  6.6000,  7.7000,
         8.8000,  9.9000, 11.0000, 12.1000, 13.2000, 14.3000, 15.4000, 16.5000,
        17.6000, 18.7000, 19.8000, 20.9000, 22.0000, 23.1000, 24.2000, 25.3000,
        26.4000, 27.5000, 28.6000, 29.7000, 30.8000, 31.9000])""",
    "L.arange(150).reshape(5, 30)": """\
tensor([[  0,   1,   2,   3,   4,   5,   6,   7,   8,   9,  10,  11,  12,  13,
          14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,  25,  26,  27,
          28,  29],
        [ 30,  31,  32,  33,  34,  35,  36,  37,  38,  39,  40,  41,  42,  43,
          44,  45,  46,  47,  48,  49,  50,  51,  52,  53,  54,  55,  56,  57,
          58,  59],
        [ 60,  61,  62,  63,  64,  65,  66,  67,  68,  69,  70,  71,  72,  73,
          74,  75,  76,  77,  78,  79,  80,  81,  82,  83,  84,  85,  86,  87,
          88,  89],
        [ 90,  91,  92,  93,  94,  95,  96,  97,  98,  99, 100, 101, 102, 103,
         104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116, 117,
         118, 119],
        [120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130, 131, 132, 133,
         134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147,
         148, 149]])""",
    "L.arange(1001)": "tensor([   0,    1,    2,  ...,  998,  999, 1000])",
    "L.arange(2000).reshape(40, 50) / 7": """\
tensor([[0.0000e+00, 1.4286e-01, 2.8571e-01,  ..., 6.7143e+00, 6.8571e+00,
         7.0000e+00],
        [7.1429e+00, 7.2857e+00, 7.4286e+00,  ..., 1.3857e+01, 1.4000e+01,
         1.4143e+01],
        [1.4286e+01, 1.4429e+01, 1.4571e+01,  ..., 2.1000e+01, 2.1143e+01,
         2.1286e+01],
        ...,
        [2.6429e+02, 2.6443e+02, 2.6457e+02,  ..., 2.7100e+02, 2.7114e+02,
         2.7129e+02],
        [2.7143e+02, 2.7157e+02, 2.7171e+02,  ..., 2.7814e+02, 2.7829e+02,
         2.7843e+02],
        [2.7857e+02, 2.7871e+02, 2.7886e+02,  ..., 2.8529e+02, 2.8543e+02,
         2.8557e+02]])""",
    "L.arange(1200).reshape(3, 400)": """\
tensor([[   0,    1,    2,  ...,  397,  398,  399],
        [ 400,  401,  402,  ...,  797,  798,  799],
        [ 800,  801,  802,  ..., 1197, 1198, 1199]])""",
    "L.arange(1200).reshape(400, 3) * 0.01": """\
tensor([[0.0000e+00, 1.0000e-02, 2.0000e-02],
        [3.0000e-02, 4.0000e-02, 5.0000e-02],
        [6.0000e-02, 7.0000e-02, 8.0000e-02],
        ...,
        [1.1910e+01, 1.1920e+01, 1.1930e+01],
        [1.1940e+01, 1.1950e+01, 1.1960e+01],
        [1.1970e+01, 1.1980e+01, 1.1990e+01]])""",
    "L.arange(2000).reshape(10, 10, 20)": """\
tensor([[[   0,    1,    2,  ...,   17,   18,   19],
         [  20,   21,   22,  ...,   37,   38,   39],
         [  40,   41,   42,  ...,   57,   58,   59],
         ...,
         [ 140,  141,  142,  ...,  157,  158,  159],
         [ 160,  161,  162,  ...,  177,  178,  179],
         [ 180,  181,  182,  ...,  197,  198,  199]],

        [[ 200,  201,  202,  ...,  217,  218,  219],
         [ 220,  221,  222,  ...,  237,  238,  239],
         [ 240,  241,  242,  ...,  257,  258,  259],
         ...,
         [ 340,  341,  342,  ...,  357,  358,  359],
         [ 360,  361,  362,  ...,  377,  378,  379],
         [ 380,  381,  382,  ...,  397,  398,  399]],

        [[ 400,  401,  402,  ...,  417,  418,  419],
         [ 420,  421,  422,  ...,  437,  438,  439],
         [ 440,  441,  442,  ...,  457,  458,  459],
         ...,
         [ 540,  541,  542,  ...,  557,  558,  559],
         [ 560,  561,  562,  ...,  577,  578,  579],
         [ 580,  581,  582,  ...,  597,  598,  599]],

        ...,

        [[1400, 1401, 1402,  ..., 1417, 1418, 1419],
         [1420, 1421, 1422,  ..., 1437, 1438, 1439],
         [1440, 1441, 1442,  ..., 1457, 1458, 1459],
         ...,
         [1540, 1541, 1542,  ..., 1557, 1558, 1559],
         [1560, 1561, 1562,  ..., 1577, 1578, 1579],
         [1580, 1581, 1582,  ..., 1597, 1598, 1599]],

        [[1600, 1601, 1602,  ..., 1617, 1618, 1619],
         [1620, 1621, 1622,  ..., 1637, 1638, 1639],
         [1640, 1641, 1642,  ..., 1657, 1658, 1659],
         ...,
         [1740, 1741, 1742,  ..., 1757, 1758, 1759],
         [1760, 1761, 1762,  ..., 1777, 1778, 1779],
         [1780, 1781, 1782,  ..., 1797, 1798, 1799]],

        [[1800, 1801, 1802,  ..., 1817, 1818, 1819],
         [1820, 1821, 1822,  ..., 1837, 1838, 1839],
         [1840, 1841, 1842,  ..., 1857, 1858, 1859],
         ...,
         [1940, 1941, 1942,  ..., 1957, 1958, 1959],
         [1960, 1961, 1962,  ..., 1977, 1978, 1979],
         [1980, 1981, 1982,  ..., 1997, 1998, 1999]]])""",
    "L.full((3, 1100), 7)": """\
tensor([[7, 7, 7,  ..., 7, 7, 7],
        [7, 7, 7,  ..., 7, 7, 7],
        [7, 7, 7,  ..., 7, 7, 7]])""",
    "L.ones(2, requires_grad=True)": "tensor([1., 1.], requires_grad=True)",
    "L.ones(2, requires_grad=True) * 2": "tensor([2., 2.], grad_fn=<MulBackward0>)",
    "L.ones(2, requires_grad=True).exp()": "tensor([2.7183, 2.7183], grad_fn=<ExpBackward0>)",
    "L.ones(2, dtype=L.float64, requires_grad=True)": "tensor([1., 1.], dtype=tgrad.float64, requires_grad=True)",
    "L.arange(40.0).requires_grad_() + 0.5": """\
tensor([ 0.5000,  1.5000,  2.5000,  3.5000,  4.5000,  5.5000,  6.5000,  7.5000,
         8.5000,  9.5000, 10.5000, 11.5000, 12.5000, 13.5000, 14.5000, 15.5000,
        16.5000, 17.5000, 18.5000, 19.5000, 20.5000, 21.5000, 22.5000, 23.5000,
        24.5000, 25.5000, 26.5000, 27.5000, 28.5000, 29.5000, 30.5000, 31.5000,
        32.5000, 33.5000, 34.5000, 35.5000, 36.5000, 37.5000, 38.5000, 39.5000],
       grad_fn=<AddBackward0>)""",
}  # fmt: skip

OPTIONS = [
    ({"precision": 2}, "L.tensor([1.2345, 100])", "tensor([  1.23, 100.00])"),
    ({"precision": 7}, "L.tensor([1.2345])", "tensor([1.2345001])"),
    ({"edgeitems": 1, "threshold": 5}, "L.arange(20).reshape(4, 5)", """\
tensor([[ 0,  ...,  4],
        ...,
        [15,  ..., 19]])"""),
    ({"edgeitems": 0, "threshold": 5}, "L.arange(20)", "tensor([...], size=(20,))"),
    ({"linewidth": 40}, "L.arange(30)", """\
tensor([ 0,  1,  2,  3,  4,  5,  6,  7,
         8,  9, 10, 11, 12, 13, 14, 15,
        16, 17, 18, 19, 20, 21, 22, 23,
        24, 25, 26, 27, 28, 29])"""),
    ({"linewidth": 30}, "L.ones(3, dtype=L.float64, requires_grad=True)", """\
tensor([1., 1., 1.],
       dtype=tgrad.float64,
       requires_grad=True)"""),
    ({"sci_mode": True}, "L.tensor([1.5, 20])", "tensor([1.5000e+00, 2.0000e+01])"),
    ({"sci_mode": True}, "L.tensor([2.0, 20])", "tensor([2.0000e+00, 2.0000e+01])"),
    ({"sci_mode": False}, "L.tensor([1e-6, 1e6])", "tensor([      0.0000, 1000000.0000])"),
    ({"profile": "short"}, "L.arange(1002) / 3", "tensor([0.00e+00, 3.33e-01,  ..., 3.33e+02, 3.34e+02])"),
    ({"profile": "full"}, "L.arange(1100)[:4]", "tensor([0, 1, 2, 3])"),
]  # fmt: skip


def evaluated(code: str) -> tgrad.Tensor:
    return eval(code, {"L": tgrad})


@pytest.mark.parametrize("code", CASES)
def test_prints_as_pytorch_does(code: str):
    assert repr(evaluated(code)) == CASES[code]


@pytest.mark.parametrize("options, code, want", OPTIONS)
def test_print_options_change_the_text(options: dict, code: str, want: str):
    with printoptions(**options):
        assert repr(evaluated(code)) == want


def test_print_options_last_until_changed():
    tgrad.set_printoptions(precision=1)
    assert repr(tgrad.tensor(0.25)) == "tensor(0.2)"
    tgrad.set_printoptions(profile="default")
    assert repr(tgrad.tensor(0.25)) == "tensor(0.2500)"
    with pytest.raises(KeyError):
        tgrad.set_printoptions(profile="none")


def test_the_device_is_named_where_it_is_a_gpu():
    assert repr(tgrad.ones(2, device="cuda")) == "tensor([1., 1.], device='cuda:0')"
    x = tgrad.ones(1, device="cuda", dtype=tgrad.int32)
    assert repr(x) == "tensor([1], device='cuda:0', dtype=tgrad.int32)"


def test_the_default_dtype_is_not_named():
    tgrad.set_default_dtype(tgrad.float64)
    try:
        assert repr(tgrad.ones(1)) == "tensor([1.])"
    finally:
        tgrad.set_default_dtype(tgrad.float32)


def test_formats_of_numbers_hold_for_tensors_without_dims():
    assert f"{tgrad.tensor(1.5):.3f} {tgrad.tensor(3):4d}" == "1.500    3"
    assert f"{tgrad.tensor([1.5])}" == "tensor([1.5000])"
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{tgrad.tensor([1.5]):.3f}"


def test_parameters_print_as_such():
    text = repr(tgrad.nn.Parameter(tgrad.ones(2)))
    assert text == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"


def test_results_of_several_fields_print_one_a_line():
    x = tgrad.tensor([[1.0, 3.0, 2.0]])
    assert repr(x.max(1)) == "tgrad.return_types.max(\nvalues=tensor([3.]),\nindices=tensor([1]))"
    assert repr(tgrad.linalg.qr(x)).startswith("tgrad.return_types.linalg_qr(\nQ=tensor(")


def test_a_node_is_named_as_pytorch_names_it_and_has_a_class_of_that_name():
    x = tgrad.ones(3, 4, requires_grad=True)
    loss = tgrad.nn.functional.mse_loss(x, tgrad.zeros(3, 4))
    assert repr(loss) == "tensor(1., grad_fn=<MseLossBackward0>)"
    assert type(loss.grad_fn).__name__ == "MseLossBackward0"
    assert repr(x[0]).endswith("grad_fn=<SelectBackward0>)")
    node = (x + 1).grad_fn
    assert type(node).__name__ == node.name() == "AddBackward0" and type(node) is type(
        (x + 2).grad_fn
    )
    assert repr(node).startswith("<AddBackward0 object at 0x")
