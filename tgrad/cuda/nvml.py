"""What NVIDIA's management library measures of a GPU, through the ``nvidia-ml-py`` package."""

from __future__ import annotations

import importlib
from typing import Any

from tgrad.cuda.device import get_device_properties
from tgrad.device import device
from tgrad.runtime.stream import index_of

__all__ = ["clock_rate", "device_memory_used", "list_gpu_processes", "memory_usage", "power_draw",
           "temperature", "utilization"]  # fmt: skip

Where = str | int | device | None


def _nvml(where: Where) -> tuple[Any, Any]:
    """The package, started, and its handle of a GPU, found by the place on the bus: its own
    numbers know nothing of CUDA_VISIBLE_DEVICES."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError as error:
        raise ModuleNotFoundError(
            "nvidia-ml-py does not seem to be installed or it can't be imported."
        ) from error
    try:
        nvml.nvmlInit()
    except (nvml.NVMLError_DriverNotLoaded, nvml.NVMLError_LibraryNotFound) as error:
        raise RuntimeError("cuda driver can't be loaded, is cuda enabled?") from error
    found = get_device_properties(where)
    place = f"{found.pci_domain_id:08x}:{found.pci_bus_id:02x}:{found.pci_device_id:02x}.0"
    return nvml, nvml.nvmlDeviceGetHandleByPciBusId(place.encode())


def device_memory_used(device: Where = None) -> int:
    """Bytes in use on the GPU, all processes counted.

    Raises: ModuleNotFoundError without nvidia-ml-py, RuntimeError without a driver.
    """
    nvml, handle = _nvml(device)
    return nvml.nvmlDeviceGetMemoryInfo(handle).used


def memory_usage(device: Where = None) -> int:
    """Percent of the last sample's time in which memory was read or written.

    Raises: ModuleNotFoundError without nvidia-ml-py, RuntimeError without a driver.
    """
    nvml, handle = _nvml(device)
    return nvml.nvmlDeviceGetUtilizationRates(handle).memory


def utilization(device: Where = None) -> int:
    """Percent of the last sample's time in which a kernel ran.

    Raises: ModuleNotFoundError without nvidia-ml-py, RuntimeError without a driver.
    """
    nvml, handle = _nvml(device)
    return nvml.nvmlDeviceGetUtilizationRates(handle).gpu


def temperature(device: Where = None) -> int:
    """Degrees Celsius of the GPU's die.

    Raises: ModuleNotFoundError without nvidia-ml-py, RuntimeError without a driver.
    """
    nvml, handle = _nvml(device)
    return nvml.nvmlDeviceGetTemperature(handle, 0)


def power_draw(device: Where = None) -> int:
    """Milliwatts.

    Raises: ModuleNotFoundError without nvidia-ml-py, RuntimeError without a driver.
    """
    nvml, handle = _nvml(device)
    return nvml.nvmlDeviceGetPowerUsage(handle)


def clock_rate(device: Where = None) -> int:
    """MHz of the multiprocessors.

    Raises: ModuleNotFoundError without nvidia-ml-py, RuntimeError without a driver.
    """
    nvml, handle = _nvml(device)
    return nvml.nvmlDeviceGetClockInfo(handle, 1)


def list_gpu_processes(device: Where = None) -> str:
    """The processes that use the GPU and their memory, a line each; or why they cannot be told."""
    try:
        nvml, handle = _nvml(device)
    except ModuleNotFoundError:
        return "pynvml module not found, please install nvidia-ml-py"
    except RuntimeError as error:
        return str(error)
    lines = [f"GPU:{index_of(device)}"]
    for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
        used = (process.usedGpuMemory or 0) / (1 << 20)  # None where the system does not tell
        lines.append(f"process {process.pid:>10d} uses {used:>12.3f} MB GPU memory")
    return "\n".join(lines if len(lines) > 1 else [*lines, "no processes are running"])
