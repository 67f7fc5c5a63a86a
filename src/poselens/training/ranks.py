"""What a process knows of the others that train the same network, and how they stay together.

``torchrun`` starts the processes and names them: ranks 0 to N-1. What one of them tells another
goes through the host (gloo); what is added up on GPUs goes from one to the next (NCCL). Alone,
nothing is told to anybody: :data:`ALONE`.
"""

import gc
import hashlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from poselens.clips.batches import memory_ended
from poselens.contrast.ranks import concatenated
from poselens.errors import EnvironmentFault, UsageError

TIMEOUT_VARIABLE = "POSELENS_RANK_TIMEOUT"
TIMEOUT_S = 600.0
"""How long a rank waits for the others; compiling a network takes a minute or two of it."""
_LEAVE_S = 20
"""After this long a rank that failed is gone, whatever still holds it."""
_LOST = ("gloo", "NCCL", "ncclComm", "Connection closed", "Connection reset", "Broken pipe")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among those that train together.

    Attributes:
        rank: Which one this is.
        size: How many there are.
        backend: Through what tensors are added up; empty for one process.
        store: Where few words are left for others; None for one process.
    """

    rank: int = 0
    size: int = 1
    backend: str = ""
    store: Any = None

    @property
    def leads(self) -> bool:
        """Return whether this rank writes files and speaks for all."""
        return self.rank == 0

    @property
    def share(self) -> tuple[int, int]:
        """Return which part of every batch this rank takes."""
        return self.rank, self.size

    def wait(self) -> None:
        """Go on when every rank is here."""
        self.highest(0)

    def highest(self, value: int) -> int:
        """Return the highest value of all ranks."""
        if self.size == 1:
            return value
        told = torch.tensor([value])
        dist.all_reduce(told, dist.ReduceOp.MAX)
        return int(told)

    def counts(self, *own: int) -> list[tuple[int, ...]]:
        """Return some numbers of each rank."""
        if self.size == 1:
            return [own]
        told = [torch.empty(len(own), dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(told, torch.tensor(own))
        return [tuple(each.tolist()) for each in told]

    def rows(self, own: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "b ..."]:
        """Return the rows of all ranks, on the host, one rank behind the other."""
        if self.size == 1:
            return own
        return concatenated(own.cpu(), [count for (count,) in self.counts(len(own))])

    def texts(self, own: str) -> list[str]:
        """Return what each rank says."""
        if self.size == 1:
            return [own]
        coded = torch.from_numpy(np.frombuffer(own.encode(), np.uint8).copy())
        lengths = [count for (count,) in self.counts(len(coded))]
        parts = torch.split(concatenated(coded, lengths), lengths)
        return [bytes(part.tolist()).decode() for part in parts]

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace float32 tensors of one device by their mean over the ranks, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([each.reshape(-1) for each in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = torch.split(flat, [each.numel() for each in tensors])
        # foreach: a thousand small copies would cost a replayed step more than the exchange
        torch._foreach_copy_(
            list(tensors),
            [part.view(each.shape) for each, part in zip(tensors, parts, strict=True)],
        )

    def follow(self, module: nn.Module) -> None:
        """Take the weights and buffers of rank 0."""
        if self.size > 1:
            for tensor in module.state_dict().values():
                held = tensor.contiguous()
                dist.broadcast(held, 0)
                tensor.copy_(held)

    def draw_anew(self, *words: int) -> None:
        """Seed torch's generators by words and the rank; alone they run on.

        What a layer such as dropout draws is then a function of the position, and a saved state
        holds nothing of any one rank.
        """
        if self.size > 1:
            seed = np.random.SeedSequence((*words, self.rank)).generate_state(1, np.uint64)[0]
            torch.manual_seed(int(seed >> np.uint64(1)))

    def agree(self, what: str, value: str) -> None:
        """Refuse to go on where ranks do not find the same.

        Raises:
            EnvironmentFault: ``DIST-004`` naming what differs, and the ranks that differ.
        """
        digest = int.from_bytes(hashlib.sha256(value.encode()).digest()[:7], "big")
        told = [number for (number,) in self.counts(digest)]
        others = [str(rank) for rank, number in enumerate(told) if number != told[0]]
        if others:
            raise EnvironmentFault(
                "DIST-004",
                f"rank 0 and rank {', '.join(others)} do not find the same {what}",
                mend="give every machine the same command, data and folder of the run",
            )

    @contextmanager
    def in_turn(self, what: str) -> Iterator[None]:
        """Let rank 0 do the block before the others do, however long it takes."""
        if self.store is not None and not self.leads:
            # not a wait of torch's, in which Python hears no signal
            while not self.store.check([what]):
                time.sleep(0.05)
        yield
        if self.store is not None and self.leads:
            self.store.set(what, "done")


ALONE = Ranks()


def place() -> tuple[int, int]:
    """Return this process's rank and how many there are, as ``torchrun`` says.

    Raises:
        UsageError: ``DIST-001`` when the environment contradicts itself.
    """
    words = {name: os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not words["WORLD_SIZE"] or words["WORLD_SIZE"] == "1":
        return 0, 1
    lacking = [name for name, word in words.items() if not word.isascii() or not word.isdigit()]
    lacking += [name for name in ("MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if lacking or int(words["RANK"]) >= int(words["WORLD_SIZE"]):
        raise UsageError(
            "DIST-001",
            f"WORLD_SIZE is {words['WORLD_SIZE']!r} and RANK {words['RANK']!r}, but "
            f"{', '.join(lacking) or 'RANK'} cannot be used",
            mend="start with torchrun --standalone --nproc-per-node N -m poselens train ..., or "
            "unset WORLD_SIZE",
        )
    return int(words["RANK"]), int(words["WORLD_SIZE"])


def require_alone(what: str) -> None:
    """Refuse what every rank would do once more.

    Raises:
        UsageError: ``DIST-006`` where ``torchrun`` started several processes.
    """
    size = place()[1]
    if size > 1:
        raise UsageError(
            "DIST-006",
            f"{what} trains every run in one process, and {size} were started",
            mend="start it without torchrun; --jobs shares the runs",
        )


def restarted() -> bool:
    """Return whether ``torchrun`` started this process in the place of one that failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT") or 0) > 0


def beside() -> int:
    """Return how many ranks run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE") or 1) if place()[1] > 1 else 1


@contextmanager
def joined(device: torch.device, *, share_gpu: bool) -> Iterator[Ranks]:
    """Meet the others, and stay together while the block runs.

    On a GPU the process takes the one of its own number. On the CPU it takes its part of the cores,
    where ``torchrun`` gave it one thread.

    Raises:
        UsageError: ``DIST-001`` the environment contradicts itself.
        EnvironmentFault: ``DIST-002`` more ranks than GPUs on this machine, ``DIST-007`` they did
            not meet, ``DIST-003`` one of them was lost later.
    """
    rank, size = place()
    if size == 1:
        yield ALONE
        return
    on_gpu = device.type == "cuda"
    if on_gpu:
        _take_gpu(int(os.environ["LOCAL_RANK"]), share_gpu=share_gpu)
    elif os.environ.get("OMP_NUM_THREADS") == "1":
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // beside()))
    backend = "cpu:gloo,cuda:nccl" if on_gpu and not share_gpu else "gloo"
    store = _meet(rank, size, backend)
    try:
        with _losses_named():
            yield Ranks(rank, size, "nccl" if "nccl" in backend else "gloo", store)
            # who leaves first must not take the others' store or last words away
            dist.all_reduce(torch.zeros(1))
    except BaseException:
        _leave_in_time()
        raise
    # NCCL waits for recordings that hold its kernels, and would wait for ever
    gc.collect()
    dist.destroy_process_group()


def _take_gpu(local: int, *, share_gpu: bool) -> None:
    found = torch.cuda.device_count()
    if local >= found and not share_gpu:
        raise EnvironmentFault(
            "DIST-002",
            f"rank {local} of this machine has no GPU of its own: there are {found}",
            mend=f"use --nproc-per-node {found}, or let them share one with --set "
            "training.share_gpu=true, which is slow",
        )
    torch.cuda.set_device(local % found)


def patience() -> timedelta:
    """Return how long ranks wait for each other."""
    word = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(word) if word else TIMEOUT_S
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e7:
        raise UsageError(
            "DIST-001",
            f"{TIMEOUT_VARIABLE} is {word!r}, expected seconds above 0",
            mend=f"unset it, or give for example {TIMEOUT_VARIABLE}=600",
        )
    return timedelta(seconds=seconds)


def _meet(rank: int, size: int, backend: str) -> Any:
    limit = patience()
    try:
        store, _, _ = next(rendezvous("env://", rank, size, timeout=limit))
        store.set_timeout(limit)
        store = PrefixStore(_attempt(store, rank, size, limit.total_seconds()), store)
        dist.init_process_group(
            backend,
            store=PrefixStore("group", store),
            rank=rank,
            world_size=size,
            timeout=limit,
        )
        # the first exchange connects them; what is wrong with the network shows here
        dist.all_reduce(torch.zeros(1))
    except (RuntimeError, ValueError, OSError, TimeoutError) as fault:
        raise EnvironmentFault(
            "DIST-007",
            f"the {size} ranks did not meet at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']}: {_first_line(fault)}",
            mend="let torchrun choose a free port with --standalone, or check --rdzv-endpoint and "
            "the network between the machines",
        ) from fault
    return PrefixStore("poselens", store)


def _attempt(store: Any, rank: int, size: int, seconds: float) -> str:
    """Return a name that the ranks of this attempt share, and those of an earlier one do not.

    ``torchrun`` keeps its store when it starts ranks anew, with the addresses of the dead in it,
    and machines count restarts differently. So every rank says a word never said before; rank 0
    answers the latest word of each with the name, until all have heard it.
    """
    until = time.monotonic() + seconds
    own, others = secrets.token_hex(8), range(1, size)
    if rank:
        store.set(f"hello/{rank}", own)
    while time.monotonic() < until:
        if rank:
            word, _, name = _said(store, f"welcome/{rank}").partition(" ")
            if word == own:
                store.set(f"{name}/heard/{rank}", "yes")
                return name
        else:
            for other in others:
                if word := _said(store, f"hello/{other}"):
                    store.set(f"welcome/{other}", f"{word} {own}")
            if all(_said(store, f"{own}/heard/{other}") for other in others):
                return own
        time.sleep(0.02)
    raise TimeoutError(f"not all came within {seconds:g} s")


def _said(store: Any, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ""


@contextmanager
def _losses_named() -> Iterator[None]:
    """Say that another rank is gone, where torch tells of sockets."""
    try:
        yield
    except RuntimeError as fault:
        if memory_ended(fault) or not any(word in str(fault) for word in _LOST):
            raise
        raise EnvironmentFault(
            "DIST-003",
            f"another rank ended or does not answer: {_first_line(fault)}",
            mend="its own error comes before this one; go on with --resume",
        ) from fault


def _first_line(fault: BaseException) -> str:
    return str(fault).strip().partition("\n")[0][:200]


def _leave_in_time() -> None:
    """See to it that a failed rank ends: the others learn of it by its end alone.

    A library that waits for the others while Python shuts down would keep all of them waiting; no
    thread runs then, and a signal does.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_LEAVE_S)


def described(ranks: Ranks, batch_size: int, *, sync_batchnorm: bool) -> Mapping[str, Any]:
    """Return what a run folder says of the processes that trained it."""
    facts = {"size": ranks.size, "clips_per_rank": batch_size / ranks.size}
    if ranks.size == 1:
        return facts
    norm = "of all ranks" if sync_batchnorm else "of each rank"
    return {**facts, "backend": ranks.backend, "batch_statistics": norm}
