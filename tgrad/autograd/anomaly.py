"""Anomaly detection: nodes remember the line that made them, and backward looks for NaN."""

from __future__ import annotations

from tgrad.autograd.grad_mode import mode as _mode


class set_detect_anomaly:
    """Switch anomaly detection, at once; as a context manager it is undone at the end."""

    def __init__(self, mode: bool, check_nan: bool = True):
        self.previous = _mode.anomaly, _mode.anomaly_check_nan
        _mode.anomaly, _mode.anomaly_check_nan = bool(mode), bool(check_nan)

    def __enter__(self) -> None:
        """Already in effect."""

    def __exit__(self, *exc: object) -> None:
        _mode.anomaly, _mode.anomaly_check_nan = self.previous


class detect_anomaly:
    """Inside, a NaN gradient raises RuntimeError with the forward lines of the op that made it."""

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan
        self.previous: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self.previous.append((_mode.anomaly, _mode.anomaly_check_nan))
        _mode.anomaly, _mode.anomaly_check_nan = True, self.check_nan

    def __exit__(self, *exc: object) -> None:
        _mode.anomaly, _mode.anomaly_check_nan = self.previous.pop()


def is_anomaly_enabled() -> bool:
    return _mode.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    return _mode.anomaly_check_nan


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switch anomaly detection from now on, and whether backward looks for NaN then."""
    _mode.anomaly, _mode.anomaly_check_nan = bool(mode), bool(check_nan)
