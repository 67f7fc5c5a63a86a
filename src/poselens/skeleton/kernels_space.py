"""GPU kernels of CTR-GCN across joints, in Triton: one pass over memory where torch makes many.

The plain spelling, which every other device runs, is in ``fused``; so are the shapes. A kernel is
compiled for its constants, which are written in capitals; those that are layouts and lengths of
time let rows be read in wide words. JOINTS is the side of a tile, V the joints in it.
"""

import triton
import triton.language as tl


@triton.jit
def summarise(x, summary, channels,
              V: tl.constexpr, FRAMES: tl.constexpr, T: tl.constexpr,
              BLOCK: tl.constexpr):  # fmt: skip
    """Average over time, joints before channels: one program per person and block of channels."""
    person = tl.program_id(0).to(tl.int64)
    c, t = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, T)
    for v in range(V):
        at = ((person * channels + c[:, None]) * V + v) * FRAMES + t[None, :]
        there = (c[:, None] < channels) & (t[None, :] < FRAMES)
        value = tl.load(x + at, mask=there, other=0.0).to(tl.float32)
        mean = tl.sum(value, 1) * (1.0 / FRAMES)
        at = (person * V + v) * channels + c
        tl.store(summary + at, mean.to(summary.dtype.element_ty), mask=c < channels)


@triton.jit
def merge(first, second, third, summary, out, channels,
          V: tl.constexpr, JOINTS: tl.constexpr, FRAMES: tl.constexpr, T: tl.constexpr,
          THIRD: tl.constexpr):  # fmt: skip
    """Add the slopes that come back to one feature: one program per person and channel."""
    program = tl.program_id(0).to(tl.int64)
    v, t = tl.arange(0, JOINTS), tl.arange(0, T)
    there = (v[:, None] < V) & (t[None, :] < FRAMES)
    at = program * (V * FRAMES) + v[:, None] * FRAMES + t[None, :]
    total = tl.load(first + at, mask=there, other=0.0).to(tl.float32)
    total += tl.load(second + at, mask=there, other=0.0).to(tl.float32)
    if THIRD:
        total += tl.load(third + at, mask=there, other=0.0).to(tl.float32)
    beside = ((program // channels) * V + v) * channels + program % channels
    mean = tl.load(summary + beside, mask=v < V, other=0.0).to(tl.float32)
    total += mean[:, None] * (1.0 / FRAMES)
    tl.store(out + at, total.to(out.dtype.element_ty), mask=there)


@triton.jit
def relate(pairs, topology, terms, relations, rows,
           V: tl.constexpr, PITCH: tl.constexpr, WIDTH: tl.constexpr,
           JOINTS: tl.constexpr):  # fmt: skip
    """Write the terms of topologies: one program per person, subset and term."""
    person = tl.program_id(0)
    subset, row = tl.program_id(1) // rows, tl.program_id(1) % rows
    i, j = tl.arange(0, JOINTS)[:, None], tl.arange(0, JOINTS)[None, :]
    there = (i < V) & (j < V)
    value = tl.where(there & (row == relations + 1), 1.0, 0.0)
    if row < relations:
        column = subset * relations + row
        start = person * V * 6 * relations
        own = tl.load(pairs + start + i * (6 * relations) + column, mask=i < V, other=0.0)
        column += 3 * relations
        other = tl.load(pairs + start + j * (6 * relations) + column, mask=j < V, other=0.0)
        difference = own.to(tl.float32) - other.to(tl.float32)
        value = tl.where(there, 2.0 * tl.sigmoid(2.0 * difference) - 1.0, 0.0)
    elif row == relations:
        value = tl.load(topology + (subset * V + i) * V + j, mask=there, other=0.0)
    start = ((person * 3 + subset) * rows + row).to(tl.int64) * WIDTH
    tl.store(
        terms + start + i * PITCH + j,
        value.to(terms.dtype.element_ty),
        mask=(i < V) & (j < PITCH),
    )
    rest = V * PITCH + tl.arange(0, JOINTS)
    tl.store(
        terms + start + rest,
        tl.zeros((JOINTS,), dtype=terms.dtype.element_ty),
        mask=rest < WIDTH,
    )


@triton.jit
def relate_backward(terms, slope, pairs_slope, relations, rows,
                    V: tl.constexpr, PITCH: tl.constexpr, WIDTH: tl.constexpr,
                    JOINTS: tl.constexpr):  # fmt: skip
    """Return the slope of both sides of every pair."""
    person = tl.program_id(0)
    subset, row = tl.program_id(1) // relations, tl.program_id(1) % relations
    i, j = tl.arange(0, JOINTS), tl.arange(0, JOINTS)
    there = (i[:, None] < V) & (j[None, :] < V)
    start = ((person * 3 + subset) * rows + row).to(tl.int64) * WIDTH
    at = start + i[:, None] * PITCH + j[None, :]
    value = tl.load(terms + at, mask=there, other=0.0).to(tl.float32)
    incoming = tl.load(slope + at, mask=there, other=0.0).to(tl.float32)
    incoming *= 1.0 - value * value
    column = subset * relations + row
    start = person * V * 6 * relations
    own = pairs_slope + start + i * (6 * relations) + column
    tl.store(own, tl.sum(incoming, 1).to(pairs_slope.dtype.element_ty), mask=i < V)
    other = pairs_slope + start + j * (6 * relations) + 3 * relations + column
    tl.store(other, (-tl.sum(incoming, 0)).to(pairs_slope.dtype.element_ty), mask=j < V)


@triton.jit
def aggregate(messages, bias, topologies, gathered, channels,
              V: tl.constexpr, PITCH: tl.constexpr, WIDTH: tl.constexpr,
              JOINTS: tl.constexpr, FRAMES: tl.constexpr, T: tl.constexpr,
              PRECISION: tl.constexpr):  # fmt: skip
    """Sum over subsets and sending joints: one program per person and channel."""
    program = tl.program_id(0)
    person, channel = program // channels, program % channels
    v, t = tl.arange(0, JOINTS), tl.arange(0, T)
    square = (v[:, None] < V) & (v[None, :] < V)
    wide = (v[:, None] < V) & (t[None, :] < FRAMES)
    total = tl.zeros((JOINTS, T), dtype=tl.float32)
    for subset in tl.static_range(3):
        at = ((person * 3 + subset) * channels + channel).to(tl.int64) * WIDTH
        topology = tl.load(
            topologies + at + v[:, None] * PITCH + v[None, :], mask=square, other=0.0
        )
        at = (program * 3 + subset).to(tl.int64) * (V * FRAMES)
        message = tl.load(messages + at + v[:, None] * FRAMES + t[None, :], mask=wide, other=0.0)
        message += tl.load(bias + channel * 3 + subset).to(message.dtype)
        total += tl.dot(topology, message, input_precision=PRECISION)
    at = program.to(tl.int64) * (V * FRAMES)
    tl.store(
        gathered + at + v[:, None] * FRAMES + t[None, :],
        total.to(gathered.dtype.element_ty),
        mask=wide,
    )


@triton.jit
def aggregate_backward(messages, bias, topologies, slope,
                       message_slope, bias_slope, topology_slope, channels,
                       V: tl.constexpr, PITCH: tl.constexpr, WIDTH: tl.constexpr,
                       JOINTS: tl.constexpr, FRAMES: tl.constexpr, T: tl.constexpr,
                       PRECISION: tl.constexpr):  # fmt: skip
    """Return the slopes of messages, of their bias per person, and of topologies."""
    program = tl.program_id(0)
    person, channel = program // channels, program % channels
    v, t = tl.arange(0, JOINTS), tl.arange(0, T)
    square = (v[:, None] < V) & (v[None, :] < V)
    wide = (v[:, None] < V) & (t[None, :] < FRAMES)
    at = program.to(tl.int64) * (V * FRAMES)
    incoming = tl.load(slope + at + v[:, None] * FRAMES + t[None, :], mask=wide, other=0.0)
    rest = V * PITCH + v
    for subset in tl.static_range(3):
        start = ((person * 3 + subset) * channels + channel).to(tl.int64) * WIDTH
        place = start + v[:, None] * PITCH + v[None, :]
        topology = tl.load(topologies + place, mask=square, other=0.0)
        at = (program * 3 + subset).to(tl.int64) * (V * FRAMES)
        inside = at + v[:, None] * FRAMES + t[None, :]
        message = tl.load(messages + inside, mask=wide, other=0.0)
        message += tl.load(bias + channel * 3 + subset).to(message.dtype)
        to_message = tl.dot(tl.trans(topology), incoming, input_precision=PRECISION)
        tl.store(message_slope + inside, to_message.to(message_slope.dtype.element_ty), mask=wide)
        tl.store(bias_slope + program * 3 + subset, tl.sum(tl.sum(to_message, 1), 0))
        to_topology = tl.dot(incoming, tl.trans(message), input_precision=PRECISION)
        to_topology = tl.where(square, to_topology, 0.0)
        # what stands beside a topology is written too: a product will read all of it
        tl.store(
            topology_slope + place,
            to_topology.to(topology_slope.dtype.element_ty),
            mask=(v[:, None] < V) & (v[None, :] < PITCH),
        )
        tl.store(
            topology_slope + start + rest,
            tl.zeros((JOINTS,), dtype=topology_slope.dtype.element_ty),
            mask=rest < WIDTH,
        )
