"""GPU kernels of CTR-GCN along time, in Triton: one pass over memory where torch makes many.

The plain spelling is in ``fused``, and ``kernels_space`` says how to read a kernel.
"""

import triton
import triton.language as tl


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
