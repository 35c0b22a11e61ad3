"""The elementwise functions of the generated GPU kernels, as Triton functions of float32 blocks.

Triton's own language has few of them, and those of CUDA's library cannot be run by Triton's interpreter. So the rest is
spelt here, once for both: what is tested without a GPU is what a GPU runs. Relative errors are below 2e-6, beside that
of the GPU's exponential, which rounds x * log2(e) first: 6e-8 * |x| (and with it erfc(x), 6e-8 * x^2).

A GPU's logarithm and square root take a subnormal number (below 1.2e-38) for 0.

Polynomials without a source given are least-squares fits at Chebyshev nodes, weighted for the relative error.

Importing this module imports Triton.
"""

import triton
import triton.language as tl


@triton.jit
def is_nan(x):
    return x != x  # noqa: PLR0124 - true of NaN alone


@triton.jit
def maximum(a, b):
    """As torch.maximum: NaN wins."""
    return tl.where(is_nan(a), a, tl.where(a > b, a, b))


@triton.jit
def minimum(a, b):
    """As torch.minimum: NaN wins."""
    return tl.where(is_nan(a), a, tl.where(a < b, a, b))


@triton.jit
def sign(x):
    """As torch.sign: 0 for NaN."""
    return tl.where(x > 0, 1.0, 0.0) - tl.where(x < 0, 1.0, 0.0)


@triton.jit
def limit_product(a, b):
    """a * b with 0 * infinity = 0, and 0 for NaN."""
    product = a * b
    return tl.where(is_nan(product), 0.0, product)


@triton.jit
def unless_nan(value, slope):
    """The slope, or NaN where the value is."""
    return tl.where(is_nan(value), value, slope)


@triton.jit
def log10(x):
    return tl.log(x) * 0.4342944819032518


@triton.jit
def log1p(x):
    """log(1 + x); the rounding of 1 + x cancels in the quotient (Kahan, HP-15C Advanced Functions Handbook, 1982)."""
    u = 1.0 + x
    lost = u - 1.0
    return tl.where(lost == 0.0, x, tl.log(u) * (x / tl.where(lost == 0.0, 1.0, lost)))


@triton.jit
def sigmoid(x):
    return 1.0 / (1.0 + tl.exp(-x))


@triton.jit
def _sinh_series(x):
    """sinh for |x| < 1: its Taylor series."""
    z = x * x
    series = z * (1.0 / 39916800.0) + 1.0 / 362880.0
    series = series * z + 1.0 / 5040.0
    series = series * z + 1.0 / 120.0
    series = series * z + 1.0 / 6.0
    return x + x * z * series


@triton.jit
def sinh(x):
    root = tl.exp(tl.abs(x) * 0.5)  # its square may overflow where sinh does not
    large = (0.5 * root) * root - (0.5 / root) / root
    return tl.where(tl.abs(x) < 1.0, _sinh_series(x), tl.where(x < 0, -large, large))


@triton.jit
def cosh(x):
    root = tl.exp(tl.abs(x) * 0.5)
    return (0.5 * root) * root + (0.5 / root) / root


@triton.jit
def asinh(x):
    size = tl.abs(x)
    square = size * size
    moderate = log1p(size + square / (1.0 + tl.sqrt(1.0 + square)))
    found = tl.where(size < 1e9, moderate, tl.log(size) + 0.6931471805599453)
    return tl.where(x < 0, -found, found)


@triton.jit
def tanh(x):
    size = tl.abs(x)
    large = 1.0 - 2.0 / (tl.exp(2.0 * size) + 1.0)
    return tl.where(size < 0.5, _sinh_series(x) / cosh(x), tl.where(x < 0, -large, large))


@triton.jit
def atan(x):
    size = tl.abs(x)
    inner = tl.where(size > 1.0, 1.0 / size, size)
    z = inner * inner
    series = z * 0.0027817078 - 0.015793836
    series = series * z + 0.042241037
    series = series * z - 0.07465779
    series = series * z + 0.10622653
    series = series * z - 0.1419892
    series = series * z + 0.19992018
    series = series * z - 0.33333045
    series = inner + inner * z * series
    found = tl.where(size > 1.0, 1.5707963267948966 - series, series)
    return tl.where(x < 0, -found, found)


@triton.jit
def erfc(x):
    """1 - erf(x); for x > 0.5, exp(-x^2) times a polynomial in t = 1 / (1 + x / 2): small values keep digits."""
    t = 1.0 / (1.0 + 0.5 * tl.abs(x))
    series = t * -0.0606566 + 0.29374006
    series = series * t - 0.50738823
    series = series * t + 0.30113715
    series = series * t - 0.04183403
    series = series * t + 0.20865268
    series = series * t + 0.24173953
    series = series * t + 0.28254184
    series = series * t + 0.2820781
    return tl.where(x > 0.5, tl.exp(-x * x) * (t * series), 1.0 - tl.erf(x))


@triton.jit
def _i0_series(x):
    """I0 for |x| < 4: its power series, sum of (x^2 / 4)^k / k!^2."""
    z = 0.25 * x * x
    series = z * (1.0 / 1593350922240000.0) + 1.0 / 13168189440000.0
    series = series * z + 1.0 / 131681894400.0
    series = series * z + 1.0 / 1625702400.0
    series = series * z + 1.0 / 25401600.0
    series = series * z + 1.0 / 518400.0
    series = series * z + 1.0 / 14400.0
    series = series * z + 1.0 / 576.0
    series = series * z + 1.0 / 36.0
    series = series * z + 0.25
    series = series * z + 1.0
    return series * z + 1.0


@triton.jit
def _i0_tail(size):
    """I0(x) * exp(-x) for x >= 4: a polynomial in 1 / x, times 1 / sqrt(x)."""
    u = 1.0 / size
    series = u * -14.314186 + 7.193423
    series = series * u - 0.68887526
    series = series * u + 0.010440822
    series = series * u + 0.040031526
    series = series * u + 0.027456757
    series = series * u + 0.049877577
    series = series * u + 0.39894226
    return series * tl.sqrt(u)


@triton.jit
def i0(x):
    size = tl.abs(x)
    root = tl.exp(size * 0.5)  # its square may overflow where I0 does not
    return tl.where(size < 4.0, _i0_series(x), (root * _i0_tail(size)) * root)


@triton.jit
def i0e(x):
    size = tl.abs(x)
    return tl.where(size < 4.0, tl.exp(-size) * _i0_series(x), _i0_tail(size))


@triton.jit
def _i1_series(x):
    """I1 for |x| < 4: its power series, x / 2 times the sum of (x^2 / 4)^k / (k! (k + 1)!)."""
    z = 0.25 * x * x
    series = z * (1.0 / 19120211066880000.0) + 1.0 / 144850083840000.0
    series = series * z + 1.0 / 1316818944000.0
    series = series * z + 1.0 / 14631321600.0
    series = series * z + 1.0 / 203212800.0
    series = series * z + 1.0 / 3628800.0
    series = series * z + 1.0 / 86400.0
    series = series * z + 1.0 / 2880.0
    series = series * z + 1.0 / 144.0
    series = series * z + 1.0 / 12.0
    series = series * z + 0.5
    return (series * z + 1.0) * (0.5 * x)


@triton.jit
def _i1_tail(size):
    """I1(x) * exp(-x) for x >= 4: a polynomial in 1 / x, times 1 / sqrt(x)."""
    u = 1.0 / size
    series = u * 17.024212 - 9.027069
    series = series * u + 1.0630304
    series = series * u - 0.061894994
    series = series * u - 0.050106563
    series = series * u - 0.046173334
    series = series * u - 0.14961344
    series = series * u + 0.3989423
    return series * tl.sqrt(u)


@triton.jit
def i1(x):
    size = tl.abs(x)
    root = tl.exp(size * 0.5)
    large = (root * _i1_tail(size)) * root
    return tl.where(size < 4.0, _i1_series(x), tl.where(x < 0, -large, large))


@triton.jit
def i1e(x):
    size = tl.abs(x)
    large = _i1_tail(size)
    return tl.where(size < 4.0, tl.exp(-size) * _i1_series(x), tl.where(x < 0, -large, large))
