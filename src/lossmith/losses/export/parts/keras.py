"""Parts of the files that are exported for Keras 3. This module is read as text; as it stands it is cross-entropy."""

# pyright: reportOptionalOperand=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
# pyright: reportOperatorIssue=false, reportArgumentType=false
# (the stubs of keras.ops take a symbolic result of None for possible)

from __future__ import annotations

from typing import Any

import keras
from keras import ops

EPS = 1e-7  # keeps divisors and the arguments of logarithms away from 0
NEWTON_STEPS = 12  # reach float64's accuracy for up to 100,000 classes and temperatures up to 5


def class_terms(logits: Any, y: Any) -> Any:
    """f(y, yhat) of every class, for yhat = softmax(logits); the classes are the last axis."""
    log_yhat = log_softmax(logits)
    return -y * log_yhat


def whole_example(logits: Any, y: Any) -> Any:
    """The loss of every example; the classes are the last axis."""
    return -ops.sum(y * log_softmax(logits), axis=-1)


def example_losses(logits: Any, y: Any, weight: Any) -> Any:
    """One value per example: the weighted sum over the classes."""
    terms = class_terms(logits, y)
    return ops.sum(terms if weight is None else terms * weight, axis=-1)


def whole_example_losses(logits: Any, y: Any, weight: Any) -> Any:
    """One value per example. It is no sum over classes, so the weight is that of its target."""
    value = whole_example(logits, y)
    return value if weight is None else value * ops.sum(y * weight, axis=-1)


def log_softmax(logits: Any) -> Any:
    """log(softmax(logits)); a class masked by a logit of -inf gets the least finite number, since 0 * -inf is NaN."""
    least = -1.7e308 if keras.backend.standardize_dtype(logits.dtype) == "float64" else -3.4e38
    return ops.maximum(ops.log_softmax(logits, axis=-1), least)


# Chebyshev coefficients on the intervals of the Cephes library (Moshier 1989), for float64.
# SMALL: of exp(-x) I0(x) for x in [0, 8], in x / 4 - 1.
# LARGE: of exp(-x) sqrt(x) I0(x) for x from 8, in 16 / x - 1.
I0_SMALL = (
    0.33839763720473803, -0.3046826723431984, 0.17162090152220877, -0.09490109704804764, 0.04930528423967071,
    -0.02373741480589947, 0.010546460394594998, -0.004324309995050576, 0.0016394756169413357,
    -0.0005763755745385824, 0.00018850288509584165, -5.754195010082104e-05, 1.6448448070728896e-05,
    -4.4167383584587505e-06, 1.1173875391201037e-06, -2.670793853940612e-07, 6.046995022541919e-08,
    -1.300025009986248e-08, 2.6598237246823866e-09, -5.189795601635263e-10, 9.675809035373237e-11,
    -1.726826291441556e-11, 2.95505266312964e-12, -4.856446783111929e-13, 7.676185498604936e-14,
    -1.1685332877993451e-14, 1.715391285555133e-15, -2.431279846547955e-16, 3.3307945188222384e-17,
)  # fmt: skip
I0_LARGE = (
    0.4022452055070544, 0.0033691164782556943, 6.889758346916825e-05, 2.8913705208347567e-06,
    2.0489185894690638e-07, 2.266668990498178e-08, 3.3962320257083865e-09, 4.94060238822497e-10,
    1.1889147107846439e-11, -3.1499165279632416e-11, -1.3215811840447713e-11, -1.7941785315068062e-12,
    7.180124451383666e-13, 3.8527783827421426e-13, 1.54008621752141e-14, -4.150569347287222e-14,
    -9.554846698828307e-15, 3.8116806693526224e-15, 1.7725601330565263e-15, -3.425485619677219e-16,
    -2.8276239805165836e-16, 3.461222867697461e-17, 4.46562142029676e-17,
)  # fmt: skip
# Chebyshev coefficients on the intervals of the Cephes library (Moshier 1989), for float64.
# SMALL: of exp(-x) I1(x) / x for x in [0, 8], in x / 4 - 1.
# LARGE: of exp(-x) sqrt(x) I1(x) for x from 8, in 16 / x - 1.
I1_SMALL = (
    0.12629359322181682, -0.17641651835783406, 0.1026436586898471, -0.05294598120809499, 0.024726449030626516,
    -0.010564084894626197, 0.004156422944312888, -0.0015135724506312532, 0.0005122859561685758,
    -0.00016176081582589674, 4.781565107550054e-05, -1.3273163656039436e-05, 3.4702513081376785e-06,
    -8.568720264695455e-07, 2.0032947535521353e-07, -4.445059128796328e-08, 9.381537386495773e-09,
    -1.8872497517228294e-09, 3.625590281552117e-10, -6.663489723502027e-11, 1.1736186298890901e-11,
    -1.9839743977649436e-12, 3.223793365945575e-13, -5.042185504727912e-14, 7.600684294735408e-15,
    -1.1055969477353862e-15, 1.5536319577362005e-16, -2.111421214358166e-17,
)  # fmt: skip
I1_LARGE = (
    0.38928811750914005, -0.009761097491361469, -0.00011058893876262371, -3.882564808877691e-06,
    -2.512236237870209e-07, -2.6314688468895196e-08, -3.835380385964237e-09, -5.589743462196584e-10,
    -1.8974958123505413e-11, 3.2526035830154884e-11, 1.4125807436613782e-11, 2.0356285441470896e-12,
    -7.198551776245908e-13, -4.0835511110921974e-13, -2.1015418427726643e-14, 4.272440016711951e-14,
    1.0420276984128802e-14, -3.8144030724370075e-15, -1.8803547755107825e-15, 3.3082023109209285e-16,
    2.96262899764595e-16, -3.209525921993424e-17, -4.6503053684893586e-17,
)  # fmt: skip


def chebyshev(x: Any, coefficients: tuple[float, ...]) -> Any:
    """The Chebyshev series at x in [-1, 1], by Clenshaw's recurrence (Abramowitz and Stegun 1964, section 22.18)."""
    after, here = ops.zeros_like(x), ops.zeros_like(x)
    for coefficient in reversed(coefficients[1:]):
        here, after = 2 * x * here - after + coefficient, here
    return x * here - after + coefficients[0]


def i0e(x: Any) -> Any:
    """exp(-|x|) I0(x), the modified Bessel function of order 0."""
    size = absolute(x)
    small = ops.where(size <= 8, size, 8.0)
    large = ops.where(size <= 8, 8.0, size)
    at_large = chebyshev(16 / large - 1, I0_LARGE) / ops.sqrt(large)
    return ops.where(size <= 8, chebyshev(small / 4 - 1, I0_SMALL), at_large)


def i1e(x: Any) -> Any:
    """exp(-|x|) I1(x), the modified Bessel function of order 1."""
    size = absolute(x)
    small = ops.where(size <= 8, size, 8.0)
    large = ops.where(size <= 8, 8.0, size)
    at_large = ops.sign(x) * chebyshev(16 / large - 1, I1_LARGE) / ops.sqrt(large)
    return ops.where(size <= 8, x * chebyshev(small / 4 - 1, I1_SMALL), at_large)


def i0(x: Any) -> Any:
    """I0(x), the modified Bessel function of order 0."""
    return ops.exp(absolute(x)) * i0e(x)


def i1(x: Any) -> Any:
    """I1(x), the modified Bessel function of order 1."""
    return ops.exp(absolute(x)) * i1e(x)


def absolute(x: Any) -> Any:
    """|x|, with slope 0 at 0 whatever the backend."""
    return x * ops.sign(x)


def sqrt_abs(x: Any) -> Any:
    """The square root of |x|, with slope 0 at 0, where plain differentiation gives NaN."""
    at_zero = ops.equal(x, 0)
    return ops.where(at_zero, 0.0, ops.sqrt(ops.abs(ops.where(at_zero, 1.0, x))))


def sigmoid_slope(x: Any) -> Any:
    """The derivative of the sigmoid; s * (1 - s) would round to 0 long before it."""
    return ops.sigmoid(x) * ops.sigmoid(-x)


def log_one_minus(log_yhat: Any) -> Any:
    """log(1 - yhat), exact also where one class takes nearly everything: there from what the other classes have."""
    top = ops.cast(ops.one_hot(ops.argmax(log_yhat, axis=-1), log_yhat.shape[-1]), "bool")
    others = ops.logsumexp(ops.where(top, -float("inf"), log_yhat), axis=-1, keepdims=True)
    return ops.where(top, others, ops.log1p(-ops.exp(ops.where(top, -1.0, log_yhat))))


@ops.custom_gradient
def guard(x: Any) -> Any:
    """x; but its gradient is 0 where 0 * infinity made it NaN: the limit where a flat function follows an overflow."""

    def gradient(*arguments: Any, upstream: Any = None) -> Any:
        upstream = arguments[-1] if upstream is None else upstream  # backends differ in how they pass it
        return ops.where(ops.isnan(upstream), 0.0, upstream)

    return x, gradient


def normalised_cross_entropy(logits: Any, y: Any) -> Any:
    """sum(y log yhat) / sum(log yhat), where the lower sum leaves out a class that is masked by a logit of -inf."""
    log_yhat = log_softmax(logits)
    return ops.sum(y * log_yhat, axis=-1) / ops.sum(ops.where(ops.equal(logits, -float("inf")), 0.0, log_yhat), axis=-1)


def nce_rce(logits: Any, y: Any, alpha: float, beta: float) -> Any:
    """alpha NCE + beta RCE, with RCE = -sum(yhat log clamp(y, 1e-4, 1))."""
    reverse = -ops.sum(ops.softmax(logits, axis=-1) * ops.log(ops.clip(y, 1e-4, 1.0)), axis=-1)
    return alpha * normalised_cross_entropy(logits, y) + beta * reverse


def nce_mae(logits: Any, y: Any, alpha: float, beta: float) -> Any:
    """alpha NCE + beta MAE, with MAE = 1 - sum(y yhat)."""
    return alpha * normalised_cross_entropy(logits, y) + beta * (1 - ops.sum(y * ops.softmax(logits, axis=-1), axis=-1))


def bi_tempered(logits: Any, y: Any, t1: float, t2: float) -> Any:
    """sum(y (log_t1 y - log_t1 yhat) - (y^(2 - t1) - yhat^(2 - t1)) / (2 - t1)), yhat the softmax of temperature t2."""
    log_yhat = log_tempered_softmax(logits, t2)
    log_y = ops.log(ops.maximum(y, 1e-37))
    matching = y * (log_tempered(log_y, t1) - log_tempered(log_yhat, t1))
    return ops.sum(matching - (y * ops.exp((1 - t1) * log_y) - ops.exp((2 - t1) * log_yhat)) / (2 - t1), axis=-1)


def log_tempered(log_u: Any, t: float) -> Any:
    """log_t u = (u^(1 - t) - 1) / (1 - t), of log u."""
    return log_u if t == 1 else ops.expm1((1 - t) * log_u) / (1 - t)


def log_tempered_softmax(logits: Any, t: float) -> Any:
    """log of the softmax of temperature t >= 1: exp_t(z - l(z)), where l(z) makes the sum 1, by Newton's method."""
    if t == 1:
        return log_softmax(logits)
    # l(z + c) = l(z) + c, so the largest logit can be taken as 0
    largest = ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
    below = ops.maximum(logits - largest, -1e37)
    shift = ops.zeros_like(below[..., :1])
    for _ in range(NEWTON_STEPS):
        shift = newton_step(ops.stop_gradient(below), shift, t)
    shift = newton_step(below, shift, t)  # from the solution: its gradient is the solution's
    return -ops.log1p((t - 1) * (shift - below)) / (t - 1)


def newton_step(below: Any, shift: Any, t: float) -> Any:
    """A better `shift`, by solving sum(p)^(1 - t) = 1, which is nearly linear in it."""
    log_p = -ops.log1p((t - 1) * (shift - below)) / (t - 1)
    total = ops.logsumexp(log_p, axis=-1, keepdims=True)
    slope = ops.exp(ops.logsumexp(t * log_p, axis=-1, keepdims=True) - t * total)
    return shift - ops.expm1((1 - t) * total) / ((t - 1) * slope)


@keras.saving.register_keras_serializable(package="lossmith", name="REGISTERED_NAME")
class LossModule(keras.losses.Loss):
    """The loss, for model.compile(loss=LossModule()).

    Args:
        class_weight: C numbers, of the classes.
        ignore_class: the label that counts for nothing, or None. A mean leaves it out of the number it divides by.
        label_smoothing: in [0, 1], the share of the target that is spread evenly over the classes.
        from_logits: whether y_pred are logits; else they are probabilities, which softmax already gave.
        reduction: as in keras.losses.Loss; a mean divides by the number of examples, not by their class weights.
        name: of the instance.
        dtype: of the computation, "float32" or "float64"; by default keras.config.floatx().
    """

    def __init__(
        self,
        *,
        class_weight: Any = None,
        ignore_class: int | None = -100,
        label_smoothing: float = 0.0,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str = "loss_function",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.class_weight = None if class_weight is None else [float(x) for x in class_weight]
        self.ignore_class = ignore_class
        self.label_smoothing = label_smoothing
        self.from_logits = from_logits

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """One value per example.

        Args:
            y_true: class indices [...] or [..., 1], or probabilities [..., C]. A label that is neither a class nor
                `ignore_class` makes its example's loss NaN, since compiled code cannot raise an error.
            y_pred: [..., C], logits or probabilities.
        """
        dtype = "float64" if keras.backend.standardize_dtype(y_pred.dtype) == "float64" else "float32"
        logits = ops.cast(y_pred, dtype)
        if not self.from_logits:
            logits = ops.log(ops.maximum(logits, 1e-37))
        classes = logits.shape[-1]
        counts = wrong = None
        if len(y_true.shape) == len(logits.shape) and y_true.shape[-1] == classes:
            y = ops.cast(y_true, dtype)
        else:
            labels = ops.cast(y_true, "int32")
            if len(labels.shape) == len(logits.shape):
                labels = ops.squeeze(labels, -1)
            wrong = ops.logical_or(labels < 0, labels >= classes)
            y = ops.one_hot(ops.where(wrong, 0, labels), classes, dtype=dtype)
            if self.ignore_class is not None:
                counts = ops.not_equal(labels, self.ignore_class)
                wrong = ops.logical_and(wrong, counts)
                # even logits, so that no infinity of an ignored example makes the gradient NaN
                logits = ops.where(ops.expand_dims(counts, -1), logits, 0.0)
        y = y * (1 - self.label_smoothing) + self.label_smoothing / classes

        weight = None if self.class_weight is None else ops.convert_to_tensor(self.class_weight, dtype=dtype)
        value = example_losses(logits, y, weight)
        if counts is not None:
            value = ops.where(counts, value, 0.0)
            if self.reduction in ("sum_over_batch_size", "mean"):  # Keras will divide by the number of all examples
                share = ops.mean(ops.cast(counts, dtype))
                value = value / ops.where(share > 0, share, 1.0)
        return value if wrong is None else ops.where(wrong, float("nan"), value)

    def get_config(self) -> dict[str, Any]:
        """What from_config needs to make an equal instance."""
        config = super().get_config()
        return {
            **config,
            "class_weight": self.class_weight,
            "ignore_class": self.ignore_class,
            "label_smoothing": self.label_smoothing,
            "from_logits": self.from_logits,
            "dtype": self.dtype,
        }
