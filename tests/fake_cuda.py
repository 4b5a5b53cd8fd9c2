"""A CUDA device that computes nothing: shapes, types and devices are followed, and whatever would wait for it is an error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

COPIES = ("_to_copy", "copy_")
_library = torch.library.Library("aten", "IMPL")
# The one operation of the models whose result torch cannot describe without computing it; it is as large as what it is given.
_library.impl("_sample_dirichlet", lambda concentration, generator=None: torch.empty_like(concentration), "Meta")


class WaitsForTheDeviceError(AssertionError):
    """A copy between host and device that waits until all that was queued before it is done."""


class _NoWaitingCopies(TorchDispatchMode):
    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result, name, options = function(*args, **(kwargs or {})), function.overloadpacket.__name__, kwargs or {}
        if name in COPIES:
            source = args[1] if name == "copy_" else args[0]
            waits = not (options.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
            if waits and source.device.type != result.device.type:
                raise WaitsForTheDeviceError(f"{source.device.type} to {result.device.type}, shape {tuple(source.shape)}")
        return result


@contextlib.contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Tensors made and computed here may say device `cuda`. Mixed devices, values read back and copies that wait raise."""
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, _NoWaitingCopies():
        yield mode


def moved(mode: FakeTensorMode, tensor: Tensor) -> Tensor:
    """A real tensor as a fake one on the device."""
    return mode.from_tensor(tensor.detach()).to("cuda", non_blocking=True)


def move(mode: FakeTensorMode, module: nn.Module) -> nn.Module:
    """Parameters and buffers of a real module, as `module.to("cuda")` would; plain attributes stay where they are."""
    for part in module.modules():
        for held in (part._parameters, part._buffers):
            for name, tensor in held.items():
                held[name] = None if tensor is None else moved(mode, tensor)
    return module
