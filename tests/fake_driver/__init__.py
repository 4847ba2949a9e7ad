"""Tests on a CUDA driver without a GPU: ``fake.h`` says what it does.

A test under :func:`on_fake_driver` runs in a process of its own that finds the fake library as
``libcuda.so.1``. Such processes are forked from one that has imported everything and has not
touched the driver: 20 ms a test instead of a second.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-shared",
         "-fPIC", "-D_GNU_SOURCE", "-Wl,-soname,libcuda.so.1", "-lpthread")  # fmt: skip


def compiler() -> str | None:
    return (
        os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    )


def missing() -> str | None:
    """Why the fake driver cannot be built here, or None."""
    if not sys.platform.startswith("linux"):
        return "the fake libcuda.so.1 needs Linux"
    if compiler() is None:
        return "no C compiler to build the fake libcuda.so.1 with"
    for package in ("triton", "cuda.bindings"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{package} is not installed"
    return None


def build(folder: Path) -> Path:
    """Compile the library into ``folder``, which then goes on LD_LIBRARY_PATH."""
    import triton

    include = Path(triton.__file__).parent / "backends" / "nvidia" / "include"
    sources = [str(p) for p in sorted(HERE.glob("*.c"))]
    made = folder / "libcuda.so.1"
    command = [compiler() or "cc", *sources, *FLAGS, f"-I{include}", "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The environment of a program that is to find the fake driver in ``folder``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("TRITON_INTERPRET", "FAKE_"))}
    kept["LD_LIBRARY_PATH"] = os.pathsep.join(
        p for p in (str(folder), os.environ.get("LD_LIBRARY_PATH")) if p
    )
    kept["PYTHONPATH"] = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    return kept


class FakeDriver:
    """The process that tests are forked from, and the folder of the library."""

    def __init__(self, folder: Path):
        self.folder = build(folder)
        self.server: subprocess.Popen | None = None

    def run(self, body: Callable[..., Any], arguments: dict[str, Any], settings: dict) -> None:
        """Call ``body(**arguments)``, a function of a test module, in a new process."""
        if self.server is None:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "tests.fake_driver.server"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, env=environment(self.folder), cwd=ROOT,
            )  # fmt: skip
        assert self.server.stdin is not None and self.server.stdout is not None
        packed = base64.b64encode(pickle.dumps(arguments)).decode()
        request = {"module": body.__module__, "name": body.__name__, "arguments": packed,
                   "settings": settings}  # fmt: skip
        self.server.stdin.write(json.dumps(request).encode() + b"\n")
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        if not answer["ok"]:
            pytest.fail(answer["output"], pytrace=False)

    def program(self, source: str, **settings: object) -> subprocess.CompletedProcess:
        """Run a whole program of its own on the fake driver."""
        env = environment(self.folder) | settings_env(settings)
        return subprocess.run(
            [sys.executable, "-c", source], env=env, cwd=ROOT, capture_output=True, text=True
        )

    def close(self) -> None:
        if self.server is not None:
            self.server.communicate()  # closes its input, which ends it


def settings_env(settings: dict[str, object]) -> dict[str, str]:
    """``devices=2`` as FAKE_CUDA_DEVICES=2; names in capitals as they are."""
    return {(k if k.isupper() else f"FAKE_CUDA_{k.upper()}"): str(v) for k, v in settings.items()}


@pytest.fixture(scope="session")
def fake_driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDriver]:
    reason = missing()
    if reason is not None:
        pytest.skip(reason)
    driver = FakeDriver(tmp_path_factory.mktemp("fake_driver"))
    yield driver
    driver.close()


def on_fake_driver(**settings: object) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test in its own process on the fake driver.

    ``settings``: ``devices=``, ``memory=`` (bytes a device), ``version=`` (13000), ``arch=`` (90),
    ``eager=1`` (do work when it is queued), ``pageable=1`` (the GPU reads ordinary host memory, and
    when it comes to it), ``record=0``, ``fault="cuInit:1:100"`` (entry point,
    which call, code); names in capitals are environment variables. Arguments must pickle.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def test(*, fake_driver: FakeDriver, **arguments: Any) -> None:
            fake_driver.run(body, arguments, settings_env(settings))

        given = inspect.signature(body)
        fixture = inspect.Parameter("fake_driver", inspect.Parameter.KEYWORD_ONLY)
        test.__signature__ = given.replace(  # pyright: ignore[reportAttributeAccessIssue]
            parameters=[*given.parameters.values(), fixture]
        )
        return test

    return decorate
