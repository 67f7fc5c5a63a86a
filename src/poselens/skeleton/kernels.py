"""GPU kernels of CTR-GCN, in Triton: what torch would spell as many passes over the same memory.

A block's work is little and its bytes are many, so each operation here is one pass forward and one
or two backward. The plain spelling, which every other device runs, is in ``fused``; so are the
shapes. A kernel is compiled for its constants, which are written in capitals; those that are
layouts and lengths of time let rows be read in wide words.
"""

import triton
import triton.language as tl

JOINTS = 32
"""Joints of a tile; the largest layout that the kernels take."""


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


@triton.jit
def moments(x, counted, sums, people, channels, length, share,
            MASKED: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Sum a channel and its square over the counted people of one share of them."""
    channel, part = tl.program_id(0), tl.program_id(1)
    inside = tl.arange(0, BLOCK)
    first = tl.zeros((BLOCK,), dtype=tl.float32)
    second = tl.zeros((BLOCK,), dtype=tl.float32)
    for person in range(part * share, tl.minimum((part + 1) * share, people)):
        weight = tl.load(counted + person) if MASKED else 1.0
        start = (person * channels + channel).to(tl.int64) * length
        for begin in range(0, length, BLOCK):
            at = begin + inside
            value = tl.load(x + start + at, mask=at < length, other=0.0).to(tl.float32)
            first += weight * value
            second += weight * value * value
    place = sums + (part * channels + channel) * 2
    tl.store(place, tl.sum(first, 0))
    tl.store(place + 1, tl.sum(second, 0))


@triton.jit
def _amount(counted, people, length, MASKED: tl.constexpr, PEOPLE: tl.constexpr):
    """Return how many values of a channel count, at least one."""
    number = people.to(tl.float32)
    if MASKED:
        row = tl.arange(0, PEOPLE)
        number = tl.sum(tl.load(counted + row, mask=row < people, other=0.0), 0)
    return tl.maximum(number * length, 1.0)


@triton.jit
def _total(sums, channel, channels, parts, PARTS: tl.constexpr):
    """Return both sums of a channel, over the shares of people."""
    part = tl.arange(0, PARTS)
    place = sums + (part * channels + channel) * 2
    first = tl.sum(tl.load(place, mask=part < parts, other=0.0), 0)
    second = tl.sum(tl.load(place + 1, mask=part < parts, other=0.0), 0)
    return first, second


@triton.jit
def normalise(x, added, out, counted, sums, mean, scale, running_mean, running_var, weight, bias,
              people, channels, length, share, parts, normal, rectified, momentum, eps,
              ADD: tl.constexpr, TRAIN: tl.constexpr, MASKED: tl.constexpr,
              BLOCK: tl.constexpr, PARTS: tl.constexpr, PEOPLE: tl.constexpr):  # fmt: skip
    """Normalise the first ``normal`` channels, add, and rectify the first ``rectified``.

    In training the statistics come from ``moments``; the first program of a channel writes them
    down, for the way back and into the running ones.
    """
    channel, part = tl.program_id(0), tl.program_id(1)
    known = channel < normal
    if TRAIN:
        first, second = _total(sums, channel, channels, parts, PARTS)
        amount = _amount(counted, people, length, MASKED, PEOPLE)
        centre = first / amount
        variance = tl.maximum(second / amount - centre * centre, 0.0)
    else:
        centre = tl.load(running_mean + channel, mask=known, other=0.0)
        variance = tl.load(running_var + channel, mask=known, other=1.0)
    factor = 1.0 / tl.sqrt(variance + eps)
    if part == 0:
        tl.store(mean + channel, centre, mask=known)
        tl.store(scale + channel, factor, mask=known)
        if TRAIN:
            old = tl.load(running_mean + channel, mask=known, other=0.0)
            tl.store(running_mean + channel, old + momentum * (centre - old), mask=known)
            old = tl.load(running_var + channel, mask=known, other=0.0)
            unbiased = variance * amount / tl.maximum(amount - 1.0, 1.0)
            tl.store(running_var + channel, old + momentum * (unbiased - old), mask=known)
    factor = factor * tl.load(weight + channel, mask=known, other=1.0)
    shift = tl.load(bias + channel, mask=known, other=0.0) - centre * factor
    factor = tl.where(known, factor, 1.0)
    shift = tl.where(known, shift, 0.0)
    floor = tl.where(channel < rectified, 0.0, float("-inf"))
    inside = tl.arange(0, BLOCK)
    for person in range(part * share, tl.minimum((part + 1) * share, people)):
        start = (person * channels + channel).to(tl.int64) * length
        for begin in range(0, length, BLOCK):
            at = begin + inside
            value = tl.load(x + start + at, mask=at < length, other=0.0).to(tl.float32)
            value = value * factor + shift
            if ADD:
                value += tl.load(added + start + at, mask=at < length, other=0.0).to(tl.float32)
            value = tl.maximum(value, floor)
            tl.store(out + start + at, value.to(out.dtype.element_ty), mask=at < length)


@triton.jit
def slope_moments(x, out, slope, counted, mean, scale, sums, people, channels, length, share,
                  normal, rectified, MASKED: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Sum the slope behind the rectifier, and its product with the normalised value."""
    channel, part = tl.program_id(0), tl.program_id(1)
    inside = tl.arange(0, BLOCK)
    centre = tl.load(mean + channel, mask=channel < normal, other=0.0)
    factor = tl.load(scale + channel, mask=channel < normal, other=1.0)
    first = tl.zeros((BLOCK,), dtype=tl.float32)
    second = tl.zeros((BLOCK,), dtype=tl.float32)
    for person in range(part * share, tl.minimum((part + 1) * share, people)):
        present = tl.load(counted + person) if MASKED else 1.0
        start = (person * channels + channel).to(tl.int64) * length
        for begin in range(0, length, BLOCK):
            at = begin + inside
            there = at < length
            incoming = tl.load(slope + start + at, mask=there, other=0.0).to(tl.float32)
            kept = tl.load(out + start + at, mask=there, other=0.0).to(tl.float32) > 0
            incoming = tl.where(kept | (channel >= rectified), incoming, 0.0) * present
            value = tl.load(x + start + at, mask=there, other=0.0).to(tl.float32)
            first += incoming
            second += incoming * (value - centre) * factor
    place = sums + (part * channels + channel) * 2
    tl.store(place, tl.sum(first, 0))
    tl.store(place + 1, tl.sum(second, 0))


@triton.jit
def normalise_backward(x, out, slope, counted, mean, scale, weight, sums,
                       x_slope, added_slope, weight_slope, bias_slope,
                       people, channels, length, share, parts, normal, rectified,
                       ADD: tl.constexpr, TRAIN: tl.constexpr, MASKED: tl.constexpr,
                       BLOCK: tl.constexpr, PARTS: tl.constexpr,
                       PEOPLE: tl.constexpr):  # fmt: skip
    """Return the slopes of the normalised and the added tensor, of weight and of bias."""
    channel, part = tl.program_id(0), tl.program_id(1)
    inside = tl.arange(0, BLOCK)
    known = channel < normal
    centre = tl.load(mean + channel, mask=known, other=0.0)
    factor = tl.load(scale + channel, mask=known, other=1.0)
    gain = factor * tl.load(weight + channel, mask=known, other=1.0)
    first, second = _total(sums, channel, channels, parts, PARTS)
    if part == 0:
        tl.store(bias_slope + channel, first, mask=known)
        tl.store(weight_slope + channel, second, mask=known)
    share_of_mean = 0.0
    if TRAIN:
        amount = _amount(counted, people, length, MASKED, PEOPLE)
        share_of_mean = tl.where(known, 1.0 / amount, 0.0)
    first, second = first * share_of_mean, second * share_of_mean
    for person in range(part * share, tl.minimum((part + 1) * share, people)):
        present = tl.load(counted + person) if MASKED else 1.0
        start = (person * channels + channel).to(tl.int64) * length
        for begin in range(0, length, BLOCK):
            at = begin + inside
            there = at < length
            incoming = tl.load(slope + start + at, mask=there, other=0.0).to(tl.float32)
            kept = tl.load(out + start + at, mask=there, other=0.0).to(tl.float32) > 0
            incoming = tl.where(kept | (channel >= rectified), incoming, 0.0)
            if ADD:
                tl.store(
                    added_slope + start + at,
                    incoming.to(added_slope.dtype.element_ty),
                    mask=there,
                )
            value = tl.load(x + start + at, mask=there, other=0.0).to(tl.float32)
            inner = (value - centre) * factor
            result = gain * (incoming - present * (first + inner * second))
            tl.store(x_slope + start + at, result.to(x_slope.dtype.element_ty), mask=there)


@triton.jit
def look(x, weights, out, joints, frames, steps, stride,
         QUARTER: tl.constexpr, BLOCK: tl.constexpr, PRECISION: tl.constexpr):  # fmt: skip
    """Look along time: two dilated convolutions, a maximum, and what is left as it is.

    One program per person, quarter of the channels, and block of outputs.
    """
    person, quarter = tl.program_id(0), tl.program_id(1)
    c = tl.arange(0, QUARTER)
    place = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    joint, centre = place // steps, (place % steps) * stride
    there = place < joints * steps
    row = ((person * 4 + quarter) * QUARTER + c).to(tl.int64)[:, None]
    source = x + row * (joints * frames) + (joint * frames)[None, :]
    if quarter < 2:
        total = tl.zeros((QUARTER, BLOCK), dtype=tl.float32)
        for tap in tl.static_range(5):
            frame = centre + (tap - 2) * (quarter + 1)
            inside = there & (frame >= 0) & (frame < frames)
            value = tl.load(source + frame[None, :], mask=inside[None, :], other=0.0)
            at = ((quarter * 5 + tap) * QUARTER + c[:, None]) * QUARTER + c[None, :]
            total += tl.dot(tl.load(weights + at), value, input_precision=PRECISION)
    else:
        total = tl.load(source + centre[None, :], mask=there[None, :], other=0.0).to(tl.float32)
        if quarter == 2:
            for side in tl.static_range(-1, 2, 2):
                frame = centre + side
                inside = there & (frame >= 0) & (frame < frames)
                value = tl.load(source + frame[None, :], mask=inside[None, :], other=float("-inf"))
                total = tl.maximum(total, value.to(tl.float32))
    tl.store(
        out + row * (joints * steps) + place[None, :],
        total.to(out.dtype.element_ty),
        mask=there[None, :],
    )


@triton.jit
def look_backward(x, weights, slope, x_slope, joints, frames, steps, stride,
                  QUARTER: tl.constexpr, BLOCK: tl.constexpr,
                  PRECISION: tl.constexpr):  # fmt: skip
    """Return the slope of what was looked at: each input gathers from the outputs that saw it."""
    person, quarter = tl.program_id(0), tl.program_id(1)
    c = tl.arange(0, QUARTER)
    place = tl.program_id(2) * BLOCK + tl.arange(0, BLOCK)
    joint, frame = place // frames, place % frames
    there = place < joints * frames
    row = ((person * 4 + quarter) * QUARTER + c).to(tl.int64)[:, None]
    seen = slope + row * (joints * steps) + (joint * steps)[None, :]
    total = tl.zeros((QUARTER, BLOCK), dtype=tl.float32)
    if quarter < 2:
        for tap in tl.static_range(5):
            centre = frame - (tap - 2) * (quarter + 1)
            step = centre // stride
            inside = there & (centre >= 0) & (centre % stride == 0) & (step < steps)
            value = tl.load(seen + step[None, :], mask=inside[None, :], other=0.0)
            at = ((quarter * 5 + tap) * QUARTER + c[None, :]) * QUARTER + c[:, None]
            total += tl.dot(tl.load(weights + at), value, input_precision=PRECISION)
    elif quarter == 2:
        source = x + row * (joints * frames) + (joint * frames)[None, :]
        own = tl.load(source + frame[None, :], mask=there[None, :], other=0.0).to(tl.float32)
        for side in tl.static_range(-1, 2):
            # the window around `centre` holds this frame at its place `side`; the first largest
            # of its three frames gets the slope
            centre = frame - side
            step = centre // stride
            inside = there & (centre >= 0) & (centre % stride == 0) & (step < steps)
            wins = tl.full((QUARTER, BLOCK), 1, tl.int1)
            for other in tl.static_range(-1, 2):
                if other != side:
                    beside = centre + other
                    known = inside & (beside >= 0) & (beside < frames)
                    value = tl.load(
                        source + beside[None, :], mask=known[None, :], other=float("-inf")
                    ).to(tl.float32)
                    wins = wins & ((own > value) if other < side else (own >= value))
            value = tl.load(seen + step[None, :], mask=inside[None, :], other=0.0).to(tl.float32)
            total += tl.where(wins, value, 0.0)
    else:
        inside = there & (frame % stride == 0)
        total = tl.load(seen + (frame // stride)[None, :], mask=inside[None, :], other=0.0).to(
            tl.float32
        )
    tl.store(
        x_slope + row * (joints * frames) + place[None, :],
        total.to(x_slope.dtype.element_ty),
        mask=there[None, :],
    )


@triton.jit
def look_weights_backward(x, slope, sums, people, joints, frames, steps, stride, share,
                          QUARTER: tl.constexpr, BLOCK: tl.constexpr,
                          PRECISION: tl.constexpr):  # fmt: skip
    """Sum the slope of one tap's weights over one share of the people."""
    quarter, tap, part = tl.program_id(0) // 5, tl.program_id(0) % 5, tl.program_id(1)
    c = tl.arange(0, QUARTER)
    inside_block = tl.arange(0, BLOCK)
    total = tl.zeros((QUARTER, QUARTER), dtype=tl.float32)
    for person in range(part * share, tl.minimum((part + 1) * share, people)):
        row = ((person * 4 + quarter) * QUARTER + c).to(tl.int64)[:, None]
        for begin in range(0, joints * steps, BLOCK):
            place = begin + inside_block
            there = place < joints * steps
            frame = (place % steps) * stride + (tap - 2) * (quarter + 1)
            inside = there & (frame >= 0) & (frame < frames)
            source = x + row * (joints * frames) + ((place // steps) * frames + frame)[None, :]
            value = tl.load(source, mask=inside[None, :], other=0.0)
            incoming = tl.load(
                slope + row * (joints * steps) + place[None, :], mask=there[None, :], other=0.0
            )
            total += tl.dot(incoming, tl.trans(value), input_precision=PRECISION)
    at = ((part * 10 + quarter * 5 + tap) * QUARTER + c[:, None]) * QUARTER + c[None, :]
    tl.store(sums + at, total)
