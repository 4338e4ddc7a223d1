"""The whole network forward and backward on a block of one member's images, in one program.

Programs share nothing: each takes blocks in turn and has a scratch of its own, in which every layer leaves what the
next one reads. What one thread has written another one reads after a barrier, so there is one after each layer.
"""

import triton
import triton.language as tl

from trainers.cuda.kernels.convolution import forward, pack
from trainers.cuda.kernels.dense import back, flatten, hidden, softmax, sums, through, unflatten
from trainers.cuda.kernels.gradients import add_up, by_image, by_weights
from trainers.cuda.kernels.memory import LINE, prefetch
from trainers.cuda.kernels.table import COLUMNS, DENSE_COLUMNS


@triton.jit
def gather(
    scratch,
    images,
    which,
    IMAGE_HEIGHT: tl.constexpr,
    IMAGE_WIDTH: tl.constexpr,
    PIXELS: tl.constexpr,
    LANES: tl.constexpr,
):
    """From bytes, an image after the other, to floats in [0, 1], the block's images side by side."""
    plane = IMAGE_HEIGHT * IMAGE_WIDTH
    lane = tl.arange(0, LANES)[None, :]
    image = images + which.to(tl.int64) * (3 * plane)
    prefetch(image, 3 * IMAGE_HEIGHT * IMAGE_WIDTH // LINE, 1, LINE, 0)
    for start in range(0, 3 * plane, PIXELS):
        p = start + tl.arange(0, PIXELS)[:, None]
        inside = p < 3 * plane
        b = tl.load(image + p, mask=inside, other=0).to(tl.float32)
        # b / 255, rounded correctly: the reciprocal in two parts, of which b times the first is exact
        x = tl.fma(b, 5.9838392e-08, b * 0.00392150879)
        channel, y, column = p // plane, (p // IMAGE_WIDTH) % IMAGE_HEIGHT, p % IMAGE_WIDTH
        at = (((y + 1) * 3 + channel) * (IMAGE_WIDTH + 2) + column + 1) * LANES + lane
        tl.store(scratch + at, x, mask=inside)


# Numbers that change from pack to pack must not mean another compilation, of which each takes a quarter of a minute.
SIZES = (
    "members",
    "blocks",
    "batch",
    "total",
    "scratch_size",
    "size",
    "units",
    "convolution_count",
    "dense_count",
    "full",
    "partial_sums",
    "flat_input",
)


@triton.jit(do_not_specialize=SIZES)
def network_kernel(
    scratch,  # float32 (programs, scratch_size), 0 at first
    convolutions,  # int32: the plan's tables
    dense,
    images,  # uint8 (images, 3, height, width)
    labels,  # int32 (images,)
    orders,  # int32 (orders, total): images in the order in which they are taken
    order_of,  # int32 (members,): which of the orders
    parameters,  # float32 (members, size)
    settings,  # float32 (members, 12)
    kinds,  # int32 (members,)
    counters,  # int32 (2,): the batch that this kernel takes, and the one that the optimizer takes
    gradients,  # float32 (members, blocks, size)
    losses,  # float64 (members, blocks)
    hits,  # int32 (members, blocks)
    counts,  # int32 (members, units)
    members,
    blocks,
    batch,
    total,
    scratch_size,
    size,
    units,
    convolution_count,
    dense_count,
    full,
    partial_sums,
    flat_input,
    IMAGE_HEIGHT: tl.constexpr,
    IMAGE_WIDTH: tl.constexpr,
    FLAT: tl.constexpr,
    WIDEST: tl.constexpr,
    LANES: tl.constexpr,
    SLOTS: tl.constexpr,
    STRIP: tl.constexpr,
    PIXELS: tl.constexpr,
    SUMS: tl.constexpr,
    KEEP: tl.constexpr,
    COUNT: tl.constexpr,
):
    """Losses, hits and, with KEEP, gradients of a batch of images, for each member and block of images.

    The batch is number counters[0] of the order's; its number is handed on to the optimizer in counters[1], so that a
    recorded launch goes through an epoch without the host. COUNT counts the images that saturate each unit.
    """
    program = tl.program_id(0)
    PITCH: tl.constexpr = IMAGE_WIDTH + 2
    scratch += program.to(tl.int64) * scratch_size
    number = tl.load(counters)
    if program == 0:
        tl.store(counters + 1, number)
    first = number * batch
    count = tl.minimum(batch, total - first)
    lane = tl.arange(0, LANES)[None, :]
    last = dense + (dense_count - 1) * DENSE_COLUMNS
    top = convolutions + (convolution_count - 1) * COLUMNS
    for item in range(program, members * blocks, tl.num_programs(0)):
        member = item // blocks
        begin = (item % blocks) * LANES
        if begin < count:
            weights = parameters + member * size
            gradient = gradients + size.to(tl.int64) * item
            mine = settings + member * 12
            f = (
                tl.load(mine),
                tl.load(mine + 1),
                tl.load(mine + 2),
                tl.load(mine + 3),
                tl.load(mine + 4),
                tl.load(mine + 5),
            )
            flat_where = (tl.load(mine + 6), tl.load(mine + 7), tl.load(mine + 8), tl.load(mine + 9))
            kind = tl.load(kinds + member)
            often = counts + member * units
            # lanes beyond the last image take the block's first one again, with a gradient of 0
            valid = begin + lane < count
            at = first + begin + tl.where(valid, lane, 0)
            which = tl.load(orders + tl.load(order_of + member).to(tl.int64) * total + at)
            label = tl.load(labels + which)

            gather(scratch, images, which, IMAGE_HEIGHT, IMAGE_WIDTH, PIXELS, LANES)
            for i in range(convolution_count):
                pack(scratch, convolutions + i * COLUMNS, weights)
            tl.debug_barrier()
            for i in range(convolution_count):
                forward(
                    scratch,
                    convolutions + i * COLUMNS,
                    kind,
                    f,
                    flat_where,
                    often,
                    count - begin,
                    KEEP,
                    COUNT,
                    STRIP,
                    PITCH,
                    LANES,
                    SLOTS,
                )
                tl.debug_barrier()
            flatten(scratch, top, flat_input, FLAT, PITCH, LANES)
            tl.debug_barrier()
            if dense_count > 1:
                hidden(scratch, dense, weights, kind, f, flat_where, often, valid, KEEP, COUNT, FLAT, WIDEST, LANES)
                tl.debug_barrier()
                for i in range(1, dense_count - 1):
                    row = dense + i * DENSE_COLUMNS
                    hidden(scratch, row, weights, kind, f, flat_where, often, valid, KEEP, COUNT, WIDEST, WIDEST, LANES)
                    tl.debug_barrier()
                logits = sums(scratch, last, weights, WIDEST, WIDEST, LANES)
            else:
                logits = sums(scratch, last, weights, FLAT, WIDEST, LANES)
            loss, hit = softmax(scratch, last, logits, label, valid, 1.0 / count, KEEP, WIDEST, LANES)
            tl.store(losses + item, loss)
            tl.store(hits + item, hit)

            if KEEP:
                tl.debug_barrier()
                for i in range(dense_count - 1):
                    row = last - i * DENSE_COLUMNS
                    through(
                        scratch,
                        row - DENSE_COLUMNS,
                        back(scratch, row, weights, gradient, WIDEST, WIDEST, LANES),
                        WIDEST,
                        LANES,
                    )
                    tl.debug_barrier()
                unflatten(
                    scratch, top, back(scratch, dense, weights, gradient, FLAT, WIDEST, LANES), FLAT, PITCH, LANES
                )
                tl.debug_barrier()
                for i in range(convolution_count):
                    row = top - i * COLUMNS
                    by_weights(scratch, row, partial_sums, STRIP, PITCH, LANES, SLOTS)
                    tl.debug_barrier()
                    add_up(scratch, row, weights, gradient, full, partial_sums, LANES, SLOTS, SUMS)
                    if i < convolution_count - 1:
                        by_image(scratch, row, row - COLUMNS, STRIP, PITCH, LANES, SLOTS)
                        tl.debug_barrier()
            tl.debug_barrier()
