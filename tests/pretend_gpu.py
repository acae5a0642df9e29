"""A GPU that is not there: CPU tensors that say they are on the device "pretend".

They compute on the CPU, and refuse what CUDA refuses: an operation on tensors of both devices, and
NumPy.  So a test on a machine without a GPU finds the tensor that was left on the wrong device.
What it cannot find are other numbers, speed and memory.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

aten = torch.ops.aten
_setup_privateuseone_for_python_backend("pretend")
GPU = torch.device("pretend:0")
MOVES = (aten._to_copy, aten.copy_)
INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._unsafe_index)  # by CPU tensors, too


class OnGPU(torch.Tensor):
    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        return torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, device=GPU, requires_grad=inner.requires_grad,
        )  # fmt: skip

    def __init__(self, inner: torch.Tensor):
        self.inner = inner

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def tolist(self):
        return self.inner.tolist()

    def __format__(self, how):
        return format(self.inner, how)

    def __repr__(self):
        return f"OnGPU({self.inner})"


def run(func, args, kwargs):
    """An operation as CUDA would do it."""
    packet, flat = func.overloadpacket, tree_flatten((args, kwargs))[0]
    tensors = [t for t in flat if isinstance(t, torch.Tensor)]
    here = any(isinstance(t, OnGPU) for t in tensors)
    if here and packet not in MOVES:
        checked = [args[0], *args[2:]] if packet in INDEXED else (args, kwargs)
        for t in tree_flatten(checked)[0]:
            if isinstance(t, torch.Tensor) and not isinstance(t, OnGPU) and t.ndim:
                raise RuntimeError(f"Expected all tensors to be on the same device: {func}")
        if packet in INDEXED and not isinstance(args[0], OnGPU):
            raise RuntimeError(f"indices should be on the CPU, as the indexed tensor is: {func}")
    asked = kwargs.get("device")
    if asked is not None:
        here = torch.device(asked).type == GPU.type
        kwargs = kwargs | ({"device": torch.device("cpu")} if here else {})
    if packet is aten.copy_:
        here = isinstance(args[0], OnGPU)
    bare_args, bare = tree_map_only(OnGPU, lambda t: t.inner, (args, kwargs))
    out = func(*bare_args, **bare)
    if here:
        out = tree_map_only(torch.Tensor, OnGPU, out)
    if packet in MOVES and packet is not aten.copy_:
        return out
    return return_and_correct_aliasing(func, args, kwargs, out) if here else out


class _Mode(TorchDispatchMode):
    """Catches what has no tensor yet: `torch.zeros(3, device="pretend")`, `x.to("pretend")`."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


# `torch.tensor(..., device="pretend")` works below all modes, and asks the device itself.
LIBRARY = torch.library.Library("aten", "IMPL")


@torch.library.impl(LIBRARY, "empty_strided", "PrivateUse1")
def _empty_strided(size, stride, **how):
    return OnGPU(torch.empty_strided(size, stride, dtype=how.get("dtype")))


@torch.library.impl(LIBRARY, "_copy_from", "PrivateUse1")
def _copy_from(source, target, non_blocking=False):
    source, target = (t.inner if isinstance(t, OnGPU) else t for t in (source, target))
    return target.copy_(source)


@torch.library.impl(LIBRARY, "_local_scalar_dense", "PrivateUse1")
def _local_scalar_dense(x):
    return x.inner.item()


def pretend_gpu():
    """`with pretend_gpu():` there is a device "pretend"."""
    return _Mode()


def move(model: torch.nn.Module) -> None:
    """Put a model on the device, in place."""
    for module in model.modules():
        for name, p in module._parameters.items():
            if p is not None:
                module._parameters[name] = torch.nn.Parameter(OnGPU(p.data), requires_grad=False)
        for name, b in module._buffers.items():
            if b is not None:
                module._buffers[name] = OnGPU(b)


def install(precision: str) -> None:
    """From here on `dualmech.load` gives a model on the device, in a precision."""
    import dualmech

    load = dualmech.load

    def on_gpu(name="mini", **how):
        vlm = load(name, **{"precision": precision} | how)
        move(vlm.model)
        return vlm

    dualmech.load = on_gpu
    pretend_gpu().__enter__()
