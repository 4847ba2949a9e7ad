"""DataParallel: a batch shared out among the GPUs of this process."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

from tgrad import cuda
from tgrad.autograd.grad_mode import is_grad_enabled
from tgrad.device import device as Device
from tgrad.nn.modules.module import Module
from tgrad.nn.parallel.parallel_apply import parallel_apply
from tgrad.nn.parallel.replicate import replicate
from tgrad.nn.parallel.scatter_gather import Where, gather, place, scatter_kwargs


def check_home(module: Module, home: Device) -> None:
    """Raise RuntimeError unless all of ``module`` is on ``home``."""
    for t in chain(module.parameters(), module.buffers()):
        if t.device is not home:
            raise RuntimeError(
                f"module must have its parameters and buffers on device {home} (device_ids[0]) but "
                f"found one of them on device: {t.device}"
            )


class DataParallel(Module):
    """``module`` on several devices: each call cuts the batch along ``dim``, one part a device.

    In each forward the module is copied to the devices and the copies run in threads; gradients of
    all are added up in ``module``. What a copy writes to itself is lost, but for buffers on the
    first device. Without a GPU it calls the module. ``device_ids`` are all GPUs unless given; the
    result is on ``output_device``, the first of them unless given. Beyond PyTorch's, any devices of
    tgrad may be named, the CPU too.
    Raises: RuntimeError by a call unless the module is on the first device.
    """

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Where] | None = None,
        output_device: Where | None = None,
        dim: int = 0,
    ):
        super().__init__()
        self.module = module
        self.device_ids: list[Any] = []
        if device_ids is None:
            device_ids = list(range(cuda.device_count())) if cuda.is_available() else []
        if not device_ids:
            return
        self.dim = dim
        self.device_ids = list(device_ids)
        self.output_device = self.device_ids[0] if output_device is None else output_device
        self.src_device_obj = place(self.device_ids[0])
        if len(self.device_ids) == 1:
            module.to(self.src_device_obj)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        if not self.device_ids:
            return self.module(*inputs, **kwargs)
        check_home(self.module, self.src_device_obj)
        args, named = self.scatter(inputs, kwargs, self.device_ids)
        if not args:
            args, named = ((),), ({},)
        if len(self.device_ids) == 1:
            return self.module(*args[0], **named[0])
        replicas = self.replicate(self.module, self.device_ids[: len(args)])
        outputs = self.parallel_apply(replicas, args, named)
        return self.gather(outputs, self.output_device)

    def replicate(self, module: Module, device_ids: Sequence[Where]) -> list[Any]:
        """Copies of ``module``, one a device."""
        return replicate(module, device_ids, not is_grad_enabled())

    def scatter(self, inputs: tuple, kwargs: dict[str, Any] | None, device_ids: Any) -> Any:
        """The arguments of each copy."""
        return scatter_kwargs(inputs, kwargs, device_ids, self.dim)

    def parallel_apply(self, replicas: Sequence[Module], inputs: Any, kwargs: Any) -> list[Any]:
        """What each copy computes."""
        return parallel_apply(replicas, inputs, kwargs, self.device_ids[: len(replicas)])

    def gather(self, outputs: Any, output_device: Where) -> Any:
        """The results as one."""
        return gather(outputs, output_device, self.dim)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Where] | None = None,
    output_device: Where | None = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """One call of :class:`DataParallel`; an ``output_device`` of -1 is the CPU.

    Raises: RuntimeError without a GPU and without ``device_ids``, or for a module elsewhere than on
    the first device.
    """
    args = inputs if isinstance(inputs, tuple) else () if inputs is None else (inputs,)
    if device_ids is None:
        if not cuda.is_available():
            raise RuntimeError("device type could not be determined")
        device_ids = list(range(cuda.device_count()))
    check_home(module, place(device_ids[0]))
    parts, named = scatter_kwargs(args, module_kwargs, device_ids, dim)
    if not parts:
        parts, named = ((),), ({},)
    if len(device_ids) == 1:
        return module(*parts[0], **named[0])
    used = device_ids[: len(parts)]
    outputs = parallel_apply(replicate(module, used), parts, named, used)
    return gather(outputs, device_ids[0] if output_device is None else output_device, dim)
