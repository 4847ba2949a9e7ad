"""What a driver call that failed raises. Apart from the driver, which needs NVIDIA's bindings."""

from __future__ import annotations


class CudaError(RuntimeError):
    """A driver call failed. ``code`` is the CUresult, ``function`` the entry point."""

    def __init__(self, function: str, code: int, text: str):
        super().__init__(text)
        self.function, self.code = function, code
