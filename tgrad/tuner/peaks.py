"""What GPUs can do at most, from their makers' data sheets: what measured times are held against.

Dense rates: NVIDIA's sheets print the double, with sparsity, for tensor cores from the H100 on.
Sources: [A100] NVIDIA A100 Tensor Core GPU data sheet (2021) and Ampere architecture white paper
(V1.0, tables 1 and 5). [H100] NVIDIA H100 Tensor Core GPU data sheet (2023) and Hopper architecture
white paper (V1.04, tables 1 to 3). [H200] NVIDIA H200 Tensor Core GPU data sheet (2024). [B200]
NVIDIA HGX B200 data sheet (2025), a GPU of the eight; its L2 is what driver queries that others
published say. Resources of a multiprocessor: [CC] CUDA C++ Programming Guide, technical
specifications per compute capability.
"""

from __future__ import annotations

from typing import NamedTuple

from tgrad.kernels.cuda.limits import family

MB, KB = 1 << 20, 1 << 10


class Peak(NamedTuple):
    """One product. Rates are dense, in TFLOP/s; ``tf32`` and ``half`` are of tensor cores."""

    name: str
    arch: int  # 90 for sm_90
    multiprocessors: int
    half: float  # float16 and bfloat16
    tf32: float
    float32: float
    float64: float  # of tensor cores where they have it
    fp8: float  # 0 where there is none
    bandwidth: float  # of memory, GB/s
    l2: int  # bytes
    source: str

    def flops(self, kind: str) -> float:
        """TFLOP/s for a dtype, or a ``kind`` of multiplication as the kernels name them."""
        rates = {
            "float16": self.half, "bfloat16": self.half, "half": self.half, "ragged": self.half,
            "tf32": self.tf32, "tf32x3": self.tf32 / 3, "float32": self.float32,
            "float64": self.float64, "float8_e4m3fn": self.fp8, "float8_e5m2": self.fp8,
        }  # fmt: skip
        return rates.get(kind, self.float32)


PEAKS = [
    Peak("A100 SXM 80GB", 80, 108, 312, 156, 19.5, 19.5, 0, 2039, 40 * MB, "[A100]"),
    Peak("A100 SXM 40GB", 80, 108, 312, 156, 19.5, 19.5, 0, 1555, 40 * MB, "[A100]"),
    Peak("A100 PCIe 80GB", 80, 108, 312, 156, 19.5, 19.5, 0, 1935, 40 * MB, "[A100]"),
    Peak("A100 PCIe 40GB", 80, 108, 312, 156, 19.5, 19.5, 0, 1555, 40 * MB, "[A100]"),
    Peak("H100 SXM", 90, 132, 989.4, 494.7, 66.9, 66.9, 1978.9, 3352, 50 * MB, "[H100]"),
    Peak("H100 PCIe", 90, 114, 756, 378, 51.2, 51.2, 1513, 2039, 50 * MB, "[H100]"),
    Peak("H200 SXM", 90, 132, 989.4, 494.7, 66.9, 66.9, 1978.9, 4800, 50 * MB, "[H200]"),
    Peak("B200", 100, 148, 2250, 1125, 75, 37, 4500, 8000, 126 * MB, "[B200]"),
]
# What the driver calls them; all words of an entry must be in the name, the first that fits counts.
NAMES = {
    ("A100", "SXM", "80GB"): "A100 SXM 80GB", ("A100", "SXM"): "A100 SXM 40GB",
    ("A100", "80GB"): "A100 PCIe 80GB", ("A100",): "A100 PCIe 40GB",
    ("H100", "PCIE"): "H100 PCIe", ("H100", "HBM3"): "H100 SXM", ("H100", "SXM"): "H100 SXM",
    ("H200",): "H200 SXM", ("B200",): "B200",
}  # fmt: skip
BY_NAME = {p.name: p for p in PEAKS}
DEFAULT = {80: "A100 SXM 80GB", 90: "H100 SXM", 100: "B200"}  # for an architecture alone


class Resources(NamedTuple):
    """What programs share on a multiprocessor [CC]."""

    registers: int  # of 32 bits
    warps: int
    programs: int
    shared: int  # bytes, of which every program takes 1 KB for the system


RESOURCES = {
    80: Resources(65536, 64, 32, 164 * KB),
    90: Resources(65536, 64, 32, 228 * KB),
    100: Resources(65536, 64, 32, 228 * KB),
}
REGISTER_UNIT = 256  # registers in which a warp gets them
SYSTEM = 1 * KB


def peak_of(name: str) -> Peak | None:
    """The row of a GPU by the driver's name for it; None for one that is not in the table."""
    upper = name.upper()
    for words, row in NAMES.items():
        if all(word in upper for word in words):
            return BY_NAME[row]
    return None


def peak_for(arch: int) -> Peak:
    """The row that stands for an architecture where there is no GPU of it."""
    return BY_NAME[DEFAULT[family(arch)]]


def resident(registers: int, shared: int, warps: int, arch: int) -> int:
    """How many programs of a kernel a multiprocessor holds at once."""
    r = RESOURCES[family(arch)]
    a_warp = -(-max(registers, 1) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    return min(
        r.registers // (a_warp * warps), r.warps // warps, r.programs,
        r.shared // (shared + SYSTEM),
    )  # fmt: skip


def occupancy(registers: int, shared: int, warps: int, arch: int) -> float:
    """The share of a multiprocessor's warps that are there at once."""
    return resident(registers, shared, warps, arch) * warps / RESOURCES[family(arch)].warps
