"""What a network costs, part by part: arithmetic, parameters, memory. Nothing is computed for it.

A copy of the network runs on the ``meta`` device, where tensors have a shape and no values, and
every operation that it asks for is looked at. The network itself is left alone, wherever it is.
"""

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_ATEN = torch.ops.aten
_FACTORS = {_ATEN.mm.default: 0, _ATEN.bmm.default: 0}
_FACTORS |= {_ATEN.addmm.default: 1, _ATEN.baddbmm.default: 1}
"""Matrix products, and which argument is the first factor."""

PartOf = Callable[[str], str]
"""From a module's dotted name, empty for the network itself, to the part it belongs to."""


@dataclass(frozen=True)
class Cost:
    """What one call of a network costs.

    Attributes:
        macs: Multiply-accumulate operations of convolutions and matrix products.
        params: Numbers in its parameters; buffers do not count.
        by_part: The same of each part, in the order of the network's modules.
    """

    macs: int
    params: int
    by_part: Mapping[str, "Cost"] = field(default_factory=dict)


class Bytes(NamedTuple):
    """An amount of memory, with floating-point numbers of four bytes and of two."""

    fp32: int
    bf16: int


@dataclass(frozen=True)
class Memory:
    """Bytes of activations; parameters and buffers do not count.

    Attributes:
        kept: What training keeps from the forward pass for the backward pass, the input included:
            every memory block once, however many operations keep a tensor in it.
        peak: The most that is alive at once in a forward pass without gradients, the input
            included.
        by_part: The same of each part. A block is the part's that first keeps it; a peak is of what
            is alive while the part runs, whoever made it.
    """

    kept: Bytes
    peak: Bytes
    by_part: Mapping[str, "Memory"] = field(default_factory=dict)


def first_name(module: str) -> str:
    """Return the first part of a dotted name: a direct child of the network."""
    return module.partition(".")[0] or "rest"


def count_macs(network: nn.Module, *inputs: Tensor, part: PartOf = first_name) -> Cost:
    """Count multiply-accumulates (half the FLOPs) of a forward pass for the whole batch.

    Convolutions, linear layers, matrix products and what einsum makes of them count. Biases,
    normalisation, activations and other elementwise work do not, as is usual in the field; nor do
    fused attention kernels, which no network here has. Agrees with ``torch.utils.flop_counter``.
    """
    ghost, given = _ghost(network, inputs)
    return _cost(ghost, _watched(ghost, given), part)


def count_cost(
    network: nn.Module, *inputs: Tensor, part: PartOf = first_name
) -> tuple[Cost, Memory]:
    """Count as `count_macs`, and add up the activations of the whole batch.

    In bf16 every floating-point tensor has two bytes an element, parameters too; indices and the
    statistics of normalisation stay as wide as they are. What a kernel needs while it runs, such as
    the workspace of a convolution, is not seen, and operations are those of the plain spelling:
    fused kernels of a GPU keep less.
    """
    ghost, given = _ghost(network, inputs)
    watch = _watched(ghost, given)
    keeper = _Keeper(ghost)
    # CTR-GCN's root asks in training who is there, which nothing without values can answer;
    # children alone in training mode do what they do when everybody is.
    for child in ghost.children():
        child.train()
    with _followed(ghost, keeper.enter), keeper.hooks():
        ghost(*given)
    parts = _parts(ghost, part)
    kept, peak = dict.fromkeys(parts, Bytes(0, 0)), dict.fromkeys(parts, Bytes(0, 0))
    for module, size in keeper.kept.items():
        kept[part(module)] = _sum(kept[part(module)], size)
    for module, size in watch.peak.items():
        peak[part(module)] = _most(peak[part(module)], size)
    by_part = {name: Memory(kept[name], peak[name]) for name in parts}
    whole = Memory(reduce(_sum, kept.values()), reduce(_most, peak.values()), by_part)
    return _cost(ghost, watch, part), whole


def _sum(one: Bytes, other: Bytes) -> Bytes:
    return Bytes(one.fp32 + other.fp32, one.bf16 + other.bf16)


def _most(one: Bytes, other: Bytes) -> Bytes:
    return Bytes(max(one.fp32, other.fp32), max(one.bf16, other.bf16))


def _cost(ghost: nn.Module, watch: "_Watch", part: PartOf) -> Cost:
    parts = _parts(ghost, part)
    macs, params = dict.fromkeys(parts, 0), dict.fromkeys(parts, 0)
    for module, count in watch.macs.items():
        macs[part(module)] += count
    for name, parameter in ghost.named_parameters():
        params[part(name.rpartition(".")[0])] += parameter.numel()
    by_part = {name: Cost(macs[name], params[name]) for name in parts}
    return Cost(sum(macs.values()), sum(params.values()), by_part)


def _watched(ghost: nn.Module, given: Sequence[Tensor]) -> "_Watch":
    watch = _Watch(ghost, given)
    with torch.no_grad(), watch, _followed(ghost, watch.enter):
        ghost(*given)
    return watch


def _ghost(network: nn.Module, inputs: Sequence[Tensor]) -> tuple[nn.Module, list[Tensor]]:
    """Return a network without values, in bfloat16: what would be float32 then shows itself."""
    given = [
        tensor.to("meta", torch.bfloat16 if tensor.is_floating_point() else tensor.dtype)
        for tensor in inputs
    ]
    return copy.deepcopy(network).to("meta", torch.bfloat16).eval(), given


def _size(tensor: Tensor) -> Bytes:
    """Return the size of a tensor's block, and what it would be in a network of float32."""
    size = tensor.untyped_storage().nbytes()
    return Bytes(size * 2 if tensor.dtype == torch.bfloat16 else size, size)


def _parts(network: nn.Module, part: PartOf) -> list[str]:
    """Name the parts in the order of the modules, the network itself last."""
    names = [name for name, _ in network.named_modules()]
    return list(dict.fromkeys(part(name) for name in [*names[1:], ""]))


@contextmanager
def _followed(network: nn.Module, enter: Callable[[str], None]) -> Iterator[None]:
    """Call ``enter`` with the name of the innermost running module whenever that changes."""
    running = [""]

    def begin(name: str) -> None:
        running.append(name)
        enter(name)

    def end() -> None:
        running.pop()
        enter(running[-1])

    handles = []
    for name, module in network.named_modules():
        if name:
            before = module.register_forward_pre_hook(lambda *_, name=name: begin(name))
            handles += [before, module.register_forward_hook(lambda *_: end())]
    enter("")
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's stub
    """See every operation: its products, and the memory blocks that it makes.

    Attributes:
        macs: Multiply-accumulates by module.
        peak: Most bytes alive at once while a module ran, by module.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's stub
        self.macs: dict[str, int] = {}
        self.peak: dict[str, Bytes] = {}
        self._module = ""
        self._known = _blocks([*network.parameters(), *network.buffers()])
        self._alive = Bytes(0, 0)
        for tensor in inputs:
            self._notice(tensor)

    def enter(self, module: str) -> None:
        """Say which module runs."""
        self._module = module

    def _notice(self, tensor: Tensor) -> None:
        block = tensor.untyped_storage()
        if block._cdata in self._known:
            return
        size = _size(tensor)
        self._known.add(block._cdata)
        self._alive = _sum(self._alive, size)
        weakref.finalize(block, self._forget, block._cdata, size).atexit = False

    def _forget(self, key: int, size: Bytes) -> None:
        self._known.discard(key)
        self._alive = _sum(self._alive, Bytes(-size.fp32, -size.bf16))

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do the operation, then count it."""
        out = operation(*args, **(kwargs or {}))
        for made in out if isinstance(out, list | tuple) else [out]:
            if isinstance(made, Tensor):
                self._notice(made)
        self.peak[self._module] = _most(self.peak.get(self._module, self._alive), self._alive)
        self.macs[self._module] = self.macs.get(self._module, 0) + _macs(operation, args, out)
        return out


class _Keeper:
    """See what autograd keeps for the backward pass.

    Attributes:
        kept: Bytes by module; a memory block counts where it is first kept.
    """

    def __init__(self, network: nn.Module) -> None:
        self.kept: dict[str, Bytes] = {}
        self._module = ""
        self._known = _blocks([*network.parameters(), *network.buffers()])
        # a freed block's address may be given to another one
        self._held: list[torch.UntypedStorage] = []

    def enter(self, module: str) -> None:
        """Say which module runs."""
        self._module = module

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        """Return the context in which autograd tells what it keeps."""
        return torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept)

    def _keep(self, tensor: Tensor) -> Tensor:
        block = tensor.untyped_storage()
        if block._cdata not in self._known:
            self._known.add(block._cdata)
            self._held.append(block)
            self.kept[self._module] = _sum(self.kept.get(self._module, Bytes(0, 0)), _size(tensor))
        return tensor


def _blocks(tensors: Sequence[Tensor]) -> set[int]:
    return {tensor.untyped_storage()._cdata for tensor in tensors}


def _macs(operation: Any, args: Sequence[Any], out: Any) -> int:
    if operation is _ATEN.convolution.default:
        given, weight, transposed = args[0], args[1], args[6]
        places: int = (given if transposed else out).numel()
        # inputs of a group, or outputs of one where it is transposed, times the taps
        return places * int(weight[0].numel())
    if operation in _FACTORS:
        left, right = args[_FACTORS[operation] :][:2]
        return int(left.numel() * right.shape[-1])
    return 0
