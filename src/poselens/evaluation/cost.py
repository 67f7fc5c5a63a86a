"""What a network costs, part by part: arithmetic, parameters, memory. Nothing is computed for it.

A copy of the network runs on the ``meta`` device, where tensors have a shape and no values, and
every operation that it asks for is looked at. The network itself is left alone, wherever it is.
"""

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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

    kept: int
    peak: int
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
    ghost, given = _ghost(network, inputs, torch.float32)
    watch = _Watch(ghost, given)
    with torch.no_grad(), watch, _followed(ghost, watch.enter):
        ghost(*given)
    macs, params = dict.fromkeys(_parts(ghost, part), 0), dict.fromkeys(_parts(ghost, part), 0)
    for module, count in watch.macs.items():
        macs[part(module)] += count
    for name, parameter in ghost.named_parameters():
        params[part(name.rpartition(".")[0])] += parameter.numel()
    by_part = {name: Cost(macs[name], params[name]) for name in macs}
    return Cost(sum(macs.values()), sum(params.values()), by_part)


def count_memory(
    network: nn.Module,
    *inputs: Tensor,
    dtype: torch.dtype = torch.float32,
    part: PartOf = first_name,
) -> Memory:
    """Add up the activations of a forward pass for the whole batch, in bytes.

    Every floating-point tensor has ``dtype``, parameters too; indices stay as wide as they are.
    What a kernel needs while it runs, such as the workspace of a convolution, is not seen, and
    operations are those of the plain spelling: fused kernels of a GPU keep less.
    """
    ghost, given = _ghost(network, inputs, dtype)
    watch = _Watch(ghost, given)
    with torch.no_grad(), watch, _followed(ghost, watch.enter):
        ghost(*given)
    keeper = _Keeper(ghost)
    # CTR-GCN's root asks in training who is there, which nothing without values can answer;
    # children alone in training mode do what they do when everybody is.
    for child in ghost.children():
        child.train()
    with _followed(ghost, keeper.enter), keeper.hooks():
        ghost(*given)
    kept, peak = dict.fromkeys(_parts(ghost, part), 0), dict.fromkeys(_parts(ghost, part), 0)
    for module, size in keeper.kept.items():
        kept[part(module)] += size
    for module, size in watch.peak.items():
        peak[part(module)] = max(peak[part(module)], size)
    by_part = {name: Memory(kept[name], peak[name]) for name in kept}
    return Memory(sum(kept.values()), max(peak.values()), by_part)


def _ghost(
    network: nn.Module, inputs: Sequence[Tensor], dtype: torch.dtype
) -> tuple[nn.Module, list[Tensor]]:
    given = [
        tensor.to("meta", dtype if tensor.is_floating_point() else tensor.dtype)
        for tensor in inputs
    ]
    return copy.deepcopy(network).to("meta", dtype).eval(), given


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
        peak: Most bytes alive at once while a module ran.
    """

    def __init__(self, network: nn.Module, inputs: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's stub
        self.macs: dict[str, int] = {}
        self.peak: dict[str, int] = {}
        self._module = ""
        self._known = _blocks([*network.parameters(), *network.buffers()])
        self._alive = 0
        for tensor in inputs:
            self._notice(tensor)

    def enter(self, module: str) -> None:
        """Say which module runs."""
        self._module = module

    def _notice(self, tensor: Tensor) -> None:
        block = tensor.untyped_storage()
        key, size = block._cdata, block.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self._alive += size
        weakref.finalize(block, self._forget, key, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Do the operation, then count it."""
        out = operation(*args, **(kwargs or {}))
        for made in out if isinstance(out, list | tuple) else [out]:
            if isinstance(made, Tensor):
                self._notice(made)
        self.peak[self._module] = max(self.peak.get(self._module, 0), self._alive)
        self.macs[self._module] = self.macs.get(self._module, 0) + _macs(operation, args, out)
        return out


class _Keeper:
    """See what autograd keeps for the backward pass.

    Attributes:
        kept: Bytes by module; a memory block counts where it is first kept.
    """

    def __init__(self, network: nn.Module) -> None:
        self.kept: dict[str, int] = {}
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
            self.kept[self._module] = self.kept.get(self._module, 0) + block.nbytes()
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
