"""Sizes at which kernels take another way. Tests lower them to reach every way on small arrays."""

from __future__ import annotations


class limits:
    index = 2**31  # offsets from which on 64 bits are needed
    inner = 64  # elements of an innermost axis from which on pointwise tiles lie along it
    transposed = 16  # of both axes that a pointwise tile transposes between
    scan = 4096  # counts that a program adds up at a time
    row = 32768  # longest row that one program keeps in registers
    programs = 528  # four per multiprocessor of an H100: fewer leave memory idle


# Bytes a program may have, by architecture.
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}


def family(arch: int) -> int:
    """The architecture in tables like SHARED_MEMORY whose row holds for ``arch``."""
    return 80 if arch < 90 else 90 if arch < 100 else 100


def is_wide(*reaches: int) -> bool:
    """Whether offsets up to one of ``reaches`` need 64 bits."""
    return max(reaches) >= limits.index


def common_unit(most: int, *numbers: int) -> int:
    """The largest power of two up to ``most`` that divides all ``numbers``.

    Kernels take sizes and steps in this unit and multiply them again: the compiler then knows what
    they are divisible by, and loads wide. Triton itself asks of arguments only whether 16 divides
    them, which misses rows of 1000 floats.
    """
    unit = most
    for n in numbers:
        while n % unit:
            unit //= 2
    return unit
