"""Small readers and settings of the top level, ``tgrad.version`` and ``tgrad.types``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, get_args

import pytest

import tgrad


def test_the_version_is_told_in_one_place():
    toml = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert tgrad.__version__ == tgrad.version.__version__
    assert f'version = "{tgrad.version.__version__}"' in toml
    assert tgrad.version.hip is None and tgrad.version.debug is False
    with pytest.raises(AttributeError, match="no attribute 'metal'"):
        tgrad.version.metal  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


def test_the_version_of_cuda_is_that_of_the_bindings(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "12.9.4")
    assert tgrad.version.cuda == "12.9"

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    assert tgrad.version.cuda is None


def test_types_name_what_functions_take():
    types: Any = tgrad.types
    assert isinstance(1.5, types.Number) and not isinstance("1", types.Number)
    assert all(isinstance(d, types.Device) for d in (tgrad.device("cpu"), "cuda", 0, None))
    assert {str, os.PathLike[str]} < set(get_args(types.FileLike))
    assert get_args(types._size)[0] is tgrad.Size and types._dtype is tgrad.dtype


def test_storages_are_known(tmp_path):
    seen = []
    tgrad.save(tgrad.ones(2), tmp_path / "x.pt")
    tgrad.load(tmp_path / "x.pt", map_location=lambda s, place: seen.append(tgrad.is_storage(s)))
    assert seen == [True] and not tgrad.is_storage(tgrad.ones(1))


def test_anomaly_detection_is_switched_and_read():
    assert not tgrad.is_anomaly_enabled() and tgrad.is_anomaly_check_nan_enabled()
    x = tgrad.zeros(1, requires_grad=True)
    try:
        tgrad.set_anomaly_enabled(True)
        assert tgrad.is_anomaly_enabled()
        with pytest.raises(RuntimeError, match="nan"):
            (x.sqrt() * 0).sum().backward()
        tgrad.set_anomaly_enabled(True, check_nan=False)
        assert not tgrad.is_anomaly_check_nan_enabled()
        (x.sqrt() * 0).sum().backward()
    finally:
        tgrad.set_anomaly_enabled(False)
    assert not tgrad.is_anomaly_enabled() and tgrad.is_anomaly_check_nan_enabled()


@pytest.mark.parametrize("given, level, required, warn_only", [
    ("warn", 1, True, True), ("error", 2, True, False), ("default", 0, False, False),
    (2, 2, True, False), (1, 1, True, True), (0, 0, False, False),
])  # fmt: skip
def test_the_debug_mode_is_determinism_by_another_name(given, level, required, warn_only):
    try:
        tgrad.set_deterministic_debug_mode(given)
        assert tgrad.get_deterministic_debug_mode() == level
        assert tgrad.are_deterministic_algorithms_enabled() is required
        assert tgrad.is_deterministic_algorithms_warn_only_enabled() is warn_only
    finally:
        tgrad.use_deterministic_algorithms(False)
    assert tgrad.get_deterministic_debug_mode() == 0


@pytest.mark.parametrize("call, error", [
    (lambda t: t.set_deterministic_debug_mode("loud"), RuntimeError),
    (lambda t: t.set_deterministic_debug_mode(3), RuntimeError),
    (lambda t: t.set_deterministic_debug_mode(1.0), TypeError),
    (lambda t: t.set_warn_always(1), RuntimeError),
    (lambda t: t.set_num_interop_threads(0), RuntimeError),
    (lambda t: t.set_num_interop_threads(True), RuntimeError),
])  # fmt: skip
def test_unfit_values_are_refused(call: Any, error: type[Exception]):
    with pytest.raises(error):
        call(tgrad)
    assert tgrad.get_deterministic_debug_mode() == 0 and not tgrad.is_warn_always_enabled()


def test_threads_between_ops_are_kept():
    before = tgrad.get_num_interop_threads()
    assert before >= 1
    tgrad.set_num_interop_threads(3)
    assert tgrad.get_num_interop_threads() == 3
    tgrad.set_num_interop_threads(before)


@pytest.mark.parametrize("n", [5, 3_000_000])  # one loop, and shares of several threads
@pytest.mark.parametrize("dtype, tiny", [(tgrad.float32, 1e-40), (tgrad.float64, 1e-310)])
def test_denormals_are_flushed_where_that_is_supported(n: int, dtype: Any, tiny: float):
    threads, x = tgrad.get_num_threads(), tgrad.full((n,), tiny, dtype=dtype)
    tgrad.set_num_threads(2)
    try:
        supported = tgrad.set_flush_denormal(True)
        assert supported is (sys.platform == "linux" and platform.machine() == "x86_64")
        halves = (x * 0.5).count_nonzero().item(), x.exp().sub(1).count_nonzero().item()
        assert halves == ((0, 0) if supported else (n, 0))
        assert tgrad.set_flush_denormal(False) is supported
        assert (x * 0.5).count_nonzero().item() == n
    finally:
        tgrad.set_flush_denormal(False)
        tgrad.set_num_threads(threads)


def test_elsewhere_denormals_are_computed_with(monkeypatch):
    from tgrad.runtime import denormals

    monkeypatch.setattr(denormals, "_environment", lambda: None)
    assert tgrad.set_flush_denormal(True) is False
    assert tgrad.tensor([1e-40]).mul(1).count_nonzero().item() == 1


def test_warnings_come_once_or_always():
    def warned() -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(3):
                tgrad.linalg.cholesky(tgrad.eye(2, device="cuda"))
        return sum(issubclass(w.category, tgrad.FallbackWarning) for w in caught)

    warned()
    assert warned() == 0
    tgrad.set_warn_always(True)
    try:
        assert tgrad.is_warn_always_enabled() and warned() == 3
    finally:
        tgrad.set_warn_always(False)
    assert warned() == 0


def test_the_new_names_are_not_loaded_by_the_import():
    code = (
        "import sys, tgrad; print([m for m in ('accelerator', 'backends', 'cuda', 'legacy', "
        "'types', 'cpu', 'multiprocessing') if 'tgrad.' + m in sys.modules])"
    )
    env = {**os.environ, "TRITON_INTERPRET": "0"}
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert made.stdout.strip() == "[]", made.stderr
