"""What is done over all members at once: adding up blocks of images in their order, and Adam.

Adam is as in Algorithm 1 of Kingma and Ba (2015), computed as torch.optim.Adam does; the penalty is part of what it
sees.
"""

import triton
import triton.language as tl

LOG2_BETA1 = tl.constexpr(-0.15200309344504997)  # log2(0.9)
LOG2_BETA2 = tl.constexpr(-0.0014434168696687186)  # log2(0.999)


@triton.jit
def added_up(gradients, member, blocks, used, size, p, inside):
    """The sum over the first `used` of the member's blocks, in their order and in double precision."""
    at = gradients + (member * blocks).to(tl.int64) * size + p
    total = tl.zeros_like(p).to(tl.float64)
    for _b in range(used):
        total += tl.load(at, mask=inside, other=0.0).to(tl.float64)
        at += size
    return total.to(tl.float32)


@triton.jit(do_not_specialize=("blocks", "batch", "total", "size"))
def adam_kernel(
    gradients,  # float32 (members, blocks, size), as network_kernel left them
    losses,  # float64 (members, blocks)
    hits,  # int32 (members, blocks)
    parameters,  # float32 (members, size)
    first_moment,
    second_moment,
    settings,  # float32 (members, 12)
    learning_rates,  # float64 (members,)
    steps,  # int64 (members,): done before this epoch
    counters,  # int32 (2,)
    loss_sums,  # float64 (members,): over the epoch's images so far
    hit_sums,  # int64 (members,)
    blocks,
    batch,
    total,
    size,
    LANES: tl.constexpr,
    WIDTH: tl.constexpr,
):
    """One optimizer step of every member; and the epoch's losses and hits."""
    member = tl.program_id(0)
    tile = tl.program_id(1)
    number = tl.load(counters + 1)
    count = tl.minimum(batch, total - number * batch)
    used = tl.cdiv(count, LANES)
    if tile == 0:
        loss = tl.load(loss_sums + member)
        hit = tl.load(hit_sums + member)
        for b in range(used):
            loss += tl.load(losses + member * blocks + b)
            hit += tl.load(hits + member * blocks + b)
        # every thread has read the sums before one of them writes
        tl.debug_barrier()
        tl.store(loss_sums + member, loss)
        tl.store(hit_sums + member, hit)
        if member == 0:
            tl.store(counters, number + 1)
    step = (tl.load(steps + member) + number + 1).to(tl.float64)
    rate = (tl.load(learning_rates + member) / (1.0 - tl.exp2(step * LOG2_BETA1))).to(tl.float32)
    correction = tl.sqrt(1.0 - tl.exp2(step * LOG2_BETA2)).to(tl.float32)
    p = tile * WIDTH + tl.arange(0, WIDTH)
    inside = p < size
    at = member * size + p
    w = tl.load(parameters + at, mask=inside, other=0.0)
    l1 = tl.load(settings + member * 12 + 10)
    l2 = tl.load(settings + member * 12 + 11)
    sign = tl.where(w > 0.0, 1.0, tl.where(w < 0.0, -1.0, 0.0))
    g = added_up(gradients, member, blocks, used, size, p, inside) + l2 * w + l1 * sign
    m = tl.load(first_moment + at, mask=inside, other=0.0)
    v = tl.load(second_moment + at, mask=inside, other=0.0)
    m = m + 0.1 * (g - m)
    v = 0.999 * v + 0.001 * (g * g)
    w = w - tl.div_rn(rate * m, tl.div_rn(tl.sqrt_rn(v), correction) + 1e-7)
    tl.store(first_moment + at, m, mask=inside)
    tl.store(second_moment + at, v, mask=inside)
    tl.store(parameters + at, w, mask=inside)


@triton.jit(do_not_specialize=("blocks", "size"))
def gradient_kernel(
    gradients,  # float32 (members, blocks, size)
    totals,  # float32 (members, size)
    blocks,
    size,
    WIDTH: tl.constexpr,
):
    """Each member's gradient, added up over all blocks."""
    member = tl.program_id(0)
    p = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = p < size
    total = added_up(gradients, member, blocks, blocks, size, p, inside)
    tl.store(totals + member * size + p, total, mask=inside)


@triton.jit(do_not_specialize=("blocks",))
def score_kernel(
    losses,  # float64 (members, blocks)
    hits,  # int32 (members, blocks)
    loss_sums,  # float64 (members,)
    hit_sums,  # int64 (members,)
    blocks,
    WIDTH: tl.constexpr,
):
    """Each member's loss and hits, added up over all blocks: WIDTH sums side by side, and those in a fixed tree."""
    member = tl.program_id(0)
    loss = tl.zeros([WIDTH], tl.float64)
    hit = tl.zeros([WIDTH], tl.int64)
    for start in range(0, blocks, WIDTH):
        b = start + tl.arange(0, WIDTH)
        loss += tl.load(losses + member * blocks + b, mask=b < blocks, other=0.0)
        hit += tl.load(hits + member * blocks + b, mask=b < blocks, other=0)
    tl.store(loss_sums + member, tl.sum(loss, axis=0))
    tl.store(hit_sums + member, tl.sum(hit, axis=0))
