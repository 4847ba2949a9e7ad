"""What may not be: spills, matrix products without tensor cores, narrow loads, too large tiles."""

from __future__ import annotations

from pathlib import Path

import tgrad.kernels.cuda
from tgrad.kernels.gate.facts import WIDE, Facts
from tgrad.kernels.gate.variants import GRID, Variant, finds_arrays

# Bytes of shared memory that one block can have (CUDA C++ Programming Guide, table of compute
# capabilities: 163 KB on 8.0, 227 KB on 9.0 and 10.0).
SHARED = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}

FOLDER = Path(tgrad.kernels.cuda.__path__[0])
# The modules that multiply matrices somewhere: all their kernels are held to it.
MATRIX = {f"tgrad.kernels.cuda.{p.stem}" for p in FOLDER.glob("*.py") if "tl.dot(" in p.read_text()}
# Kernels there that do not.
NO_MATRIX = {
    "matvec_kernel": "a vector fills no tensor core",
    "sum_splits_kernel": "adds partial products",
    "add_parts_kernel": "adds partial products",
    "row_dots_kernel": "adds up products of two rows",
}
# Kernels beside those of row ops that read a few numbers of a large array.
FEW = {
    "statistics_kernel": "reads one element of each channel of x",
    "coefficients_kernel": "reads sums by channel",
    "place_one_kernel": "reads one value and its place for a row that it writes",
    "merged_loss_kernel": "reads the sums of each row's parts, and one of its elements",
    "total_kernel": "one program adds up the programs' losses",
}
# Percent of the bytes. A masked tail doubles the code, narrow; rows have single numbers each.
LEAST_WIDE = 40


def is_matrix(v: Variant) -> bool:
    """Whether the kernel multiplies matrices in a dtype and precision that tensor cores have."""
    if v.kernel.__module__ not in MATRIX or v.name in NO_MATRIX:
        return False
    if v.dtype == "float32":
        return v.constants.get("PRECISION") in ("tf32", "tf32x3")
    return v.dtype in ("float16", "bfloat16")


def must_load_wide(v: Variant) -> bool:
    """Whether its sample wants 16 bytes at a time and every pointer allows it."""
    return (
        not v.narrow
        and v.name not in FEW
        and all(name in v.divisible for name, kind in v.signature.items() if kind[0] == "*")
    )


def failures(v: Variant, f: Facts) -> list[str]:
    """What is wrong with a variant, in words; empty where nothing is."""
    if f.error:
        return [f"does not compile: {f.error.splitlines()[-1]}"]
    found = []
    if f.spilled:
        found.append(f"spills {f.spilled} bytes")
    if f.shared > SHARED[v.arch]:
        found.append(f"needs {f.shared} bytes of shared memory, sm_{v.arch} has {SHARED[v.arch]}")
    if is_matrix(v) and not f.tensor_core:
        found.append("multiplies matrices without tensor cores")
    if must_load_wide(v):
        if 0 < f.load < WIDE:
            found.append(f"loads {f.load} bytes at a time")
        elif f.load and f.wide < LEAST_WIDE and not finds_arrays(v.op):
            found.append(f"loads {f.wide}% of its bytes {WIDE} at a time")
        elif f.load == 0 and f.store < WIDE:
            found.append(f"stores {f.store} bytes at a time")
    if any(n > most for n, most in zip(v.grid, GRID, strict=False)):
        found.append(f"launches a grid of {v.grid}")
    return found
