"""Reading and writing values, where hundreds of them pass by.

Compiled, these are the bare instructions, out of sight of the compiler's search for the best layout: that one goes
through all operations for each memory access, and a kernel with a thousand accesses would take it an hour. The layout
that it would find is the one that values have anyway: lanes side by side, a line of memory for each warp.
"""

import triton
import triton.language as tl

LINE = tl.constexpr(128)  # bytes of a line of the caches
INTERPRETED = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def read(at, COUNT: tl.constexpr, EACH: tl.constexpr, FAR: tl.constexpr, NEAR: tl.constexpr):
    """COUNT float32 values from the pointers `at` on: EACH of them NEAR elements apart, then the next FAR further."""
    x = ()
    for k in tl.static_range(COUNT):
        here = at + ((k // EACH) * FAR + (k % EACH) * NEAR)
        if INTERPRETED:
            x = x + (tl.load(here),)
        else:
            x = x + (
                tl.inline_asm_elementwise(
                    "ld.global.f32 $0, [$1];",
                    "=f,l",
                    [here.to(tl.uint64, bitcast=True)],
                    dtype=tl.float32,
                    is_pure=False,
                    pack=1,
                ),
            )
    return x


@triton.jit
def write(at, x, COUNT: tl.constexpr, EACH: tl.constexpr, FAR: tl.constexpr, NEAR: tl.constexpr):
    """Store COUNT float32 values where `read` would find them."""
    for k in tl.static_range(COUNT):
        here = at + ((k // EACH) * FAR + (k % EACH) * NEAR)
        if INTERPRETED:
            tl.store(here, x[k])
        else:
            tl.inline_asm_elementwise(
                "st.global.f32 [$1], $2; mov.u32 $0, 0;",
                "=r,l,f",
                [here.to(tl.uint64, bitcast=True), x[k]],
                dtype=tl.int32,
                is_pure=False,
                pack=1,
            )


@triton.jit
def prefetch(at, COUNT: tl.constexpr, EACH: tl.constexpr, FAR: tl.constexpr, NEAR: tl.constexpr):
    """Ask the second-level cache for the values that `read` would read: no register waits for them."""
    if not INTERPRETED:
        for k in tl.static_range(COUNT):
            here = at + ((k // EACH) * FAR + (k % EACH) * NEAR)
            tl.inline_asm_elementwise(
                "prefetch.global.L2 [$1]; mov.u32 $0, 0;",
                "=r,l",
                [here.to(tl.uint64, bitcast=True)],
                dtype=tl.int32,
                is_pure=False,
                pack=1,
            )
