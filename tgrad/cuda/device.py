"""Which GPUs there are, what they are like, and which one is current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tgrad.autograd.variable import Variable
from tgrad.device import device as Device
from tgrad.runtime import cuda
from tgrad.runtime.current import here, place_of
from tgrad.runtime.stream import index_of

Where = str | int | Device | None


def is_available() -> bool:
    """Whether CUDA tensors can be made: on an NVIDIA GPU, or emulated (TRITON_INTERPRET=1).

    Does not initialise the driver, so that worker processes may still be forked.
    """
    return cuda.is_available()


def is_initialized() -> bool:
    """Whether the driver (or the emulator) has been started."""
    return cuda._active is not None


def init() -> None:
    """Start the driver now. Raises RuntimeError where there is no GPU."""
    cuda.active()


def device_count() -> int:
    """The number of GPUs; 0 where there is none. Does not initialise the driver."""
    return cuda.device_count()


def current_device() -> int:
    """The index of the GPU that "cuda" means in this thread."""
    cuda.active()
    return here.place.index


def set_device(device: Where) -> None:
    """Let "cuda" mean ``device`` in this thread from now on. A negative index changes nothing.

    Raises: ValueError for another kind of device, RuntimeError for one that is not there.
    """
    if isinstance(device, int) and device < 0:
        return
    here.place = place_of(index_of(device, "set_device"))


class device:
    """``with tgrad.cuda.device(1):`` lets "cuda" mean that GPU inside; None or -1 changes nothing.

    Unlike ``tgrad.device("cuda", 1)`` as a context manager it does not move where tensors are made
    that name no device.
    """

    def __init__(self, device: Where):
        same = device is None or (isinstance(device, int) and device < 0)
        self.idx = -1 if same else index_of(device, "device")

    def __enter__(self) -> None:
        self.before = here.place
        if self.idx >= 0:
            here.place = place_of(self.idx)

    def __exit__(self, *exc: object) -> None:
        here.place = self.before


class device_of(device):
    """The GPU of a tensor as the current one inside; a CPU tensor changes nothing."""

    def __init__(self, obj: Any):
        is_cuda = isinstance(obj, Variable) and obj.device.type == "cuda"
        super().__init__(obj.device if is_cuda else None)


def synchronize(device: Where = None) -> None:
    """Wait for all work of the GPU to end. Raises RuntimeError while a CUDA graph is captured."""
    cuda.active().synchronize(index_of(device, "synchronize"))


def get_device_name(device: Where = None) -> str:
    """What the GPU is called. Raises RuntimeError where there is none."""
    return get_device_properties(device).name


def get_device_capability(device: Where = None) -> tuple[int, int]:
    """The compute capability, as (9, 0). The emulator's is that of sm_90."""
    found = get_device_properties(device)
    return found.major, found.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be used: it always can, and is fast from compute capability 8.0 on."""
    return is_available() and (including_emulation or get_device_capability() >= (8, 0))


def is_tf32_supported() -> bool:
    """Whether tensor cores multiply in tf32: from compute capability 8.0 on."""
    return is_available() and get_device_capability() >= (8, 0)


def get_arch_list() -> list[str]:
    """Architectures with compiled kernels on board: none, Triton compiles for the GPU it finds."""
    return []


def get_gencode_flags() -> str:
    """How a compiler was told of :func:`get_arch_list`: empty as that is."""
    return ""


def can_device_access_peer(device: Where, peer_device: Where) -> bool:
    """Whether kernels of one GPU can read the other's memory."""
    index, peer = index_of(device), index_of(peer_device)
    return index != peer and cuda.active().driver.can_access_peer(index, peer)


@dataclass(frozen=True)
class DeviceProperties:
    """What the driver tells about a GPU. Memory and caches in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    max_threads_per_multi_processor: int
    max_threads_per_block: int
    warp_size: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    L2_cache_size: int
    is_integrated: int
    is_multi_gpu_board: int
    pci_bus_id: int
    pci_device_id: int
    pci_domain_id: int


ATTRIBUTES = {
    "major": "COMPUTE_CAPABILITY_MAJOR",
    "minor": "COMPUTE_CAPABILITY_MINOR",
    "multi_processor_count": "MULTIPROCESSOR_COUNT",
    "max_threads_per_multi_processor": "MAX_THREADS_PER_MULTIPROCESSOR",
    "max_threads_per_block": "MAX_THREADS_PER_BLOCK",
    "warp_size": "WARP_SIZE",
    "regs_per_multiprocessor": "MAX_REGISTERS_PER_MULTIPROCESSOR",
    "shared_memory_per_block": "MAX_SHARED_MEMORY_PER_BLOCK",
    "shared_memory_per_block_optin": "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN",
    "shared_memory_per_multiprocessor": "MAX_SHARED_MEMORY_PER_MULTIPROCESSOR",
    "L2_cache_size": "L2_CACHE_SIZE",
    "is_integrated": "INTEGRATED",
    "is_multi_gpu_board": "MULTI_GPU_BOARD",
    "pci_bus_id": "PCI_BUS_ID",
    "pci_device_id": "PCI_DEVICE_ID",
    "pci_domain_id": "PCI_DOMAIN_ID",
}
_properties: dict[int, DeviceProperties] = {}


def get_device_properties(device: Where = None) -> DeviceProperties:
    """Name, memory, multiprocessors and limits of a GPU, asked of the driver once."""
    index = index_of(device, "get_device_properties")
    found = _properties.get(index)
    if found is None:
        driver = cuda.active().driver
        found = _properties[index] = DeviceProperties(
            name=driver.device_name(index),
            total_memory=driver.total_memory(index),
            **{ours: driver.device_attribute(index, name) for ours, name in ATTRIBUTES.items()},
        )
    return found
