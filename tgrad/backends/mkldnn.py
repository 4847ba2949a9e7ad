"""``tgrad.backends.mkldnn``: oneDNN, which tgrad does not use.

``enabled``, ``deterministic`` and ``allow_tf32`` are kept and read back. They change nothing: NumPy
computes on the CPU, in float32, with the same bits at every run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tgrad.backends.settings import given, install, kept

__all__ = ["flags", "is_available"]

enabled: bool
deterministic: bool
allow_tf32: bool

_settings = {
    "enabled": kept(True, "set_enabled_mkldnn"),
    "deterministic": kept(False, "set_deterministic_mkldnn"),
    "allow_tf32": kept(True, "set_allow_tf32_onednn"),
}


def is_available() -> bool:
    """False: there is no oneDNN here."""
    return False


@contextlib.contextmanager
def flags(
    enabled: bool = False, deterministic: bool = False, allow_tf32: bool = True
) -> Iterator[None]:
    """Inside, the settings have these values."""
    with given(_settings, enabled=enabled, deterministic=deterministic, allow_tf32=allow_tf32):
        yield


install(__name__, **_settings)
