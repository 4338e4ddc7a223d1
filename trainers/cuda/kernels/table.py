"""The columns of the plan's tables, as the kernels read them."""

import triton.language as tl

from trainers.cuda.plan import CONVOLUTION, DENSE, PACKED, TAPS

COLUMNS = tl.constexpr(len(CONVOLUTION))
HEIGHT = tl.constexpr(CONVOLUTION.index("height"))
WIDTH = tl.constexpr(CONVOLUTION.index("width"))
GROUPS = tl.constexpr(CONVOLUTION.index("groups"))
ROWS = tl.constexpr(CONVOLUTION.index("rows"))
POOLED = tl.constexpr(CONVOLUTION.index("pooled"))
SEPARABLE = tl.constexpr(CONVOLUTION.index("separable"))
PARAMETERS = tl.constexpr(CONVOLUTION.index("parameters"))
INPUT = tl.constexpr(CONVOLUTION.index("input"))
VALUE = tl.constexpr(CONVOLUTION.index("value"))
SLOPE = tl.constexpr(CONVOLUTION.index("slope"))
CHOICE = tl.constexpr(CONVOLUTION.index("choice"))
GRADIENT = tl.constexpr(CONVOLUTION.index("gradient"))
WEIGHTS = tl.constexpr(CONVOLUTION.index("weights"))
UNITS = tl.constexpr(CONVOLUTION.index("units"))

DENSE_COLUMNS = tl.constexpr(len(DENSE))
DENSE_INPUTS = tl.constexpr(DENSE.index("inputs"))
DENSE_OUTPUTS = tl.constexpr(DENSE.index("outputs"))
DENSE_PARAMETERS = tl.constexpr(DENSE.index("parameters"))
DENSE_BIAS = tl.constexpr(DENSE.index("bias"))
DENSE_INPUT = tl.constexpr(DENSE.index("input"))
DENSE_VALUE = tl.constexpr(DENSE.index("value"))
DENSE_SLOPE = tl.constexpr(DENSE.index("slope"))
DENSE_UNITS = tl.constexpr(DENSE.index("units"))

WEIGHT_COUNT = tl.constexpr(TAPS)
WEIGHT_PLACES = tl.constexpr(PACKED)
