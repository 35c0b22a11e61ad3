"""The table of the published losses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lossmith.losses.zoo import examples, templates
from lossmith.losses.zoo.record import Parameter, ZooLoss

_EXACT = "As published: the formula holds for any target."
_PER_CLASS = "Published for hard labels. Soft targets take the form per class, the sum of y_c f(p_c)."
_LINEAR = "Published for hard labels. Linear in y, so a soft target gives the mean of the hard ones' losses."
_EVERY_CLASS = "Published for hard labels; the formula takes any target as it stands."
_TAYLOR = "-(a0*v + a1*v^2 + a2*v^3 + a3*u*v + a4*u*v^2 + a5*u^2*v), v = yhat - cp, u = y - cy"
_TAYLOR_LATEX = (
    r"-\left(a_0 v + a_1 v^2 + a_2 v^3 + a_3 u v + a_4 u v^2 + a_5 u^2 v\right),"
    r"\quad v = \hat{y} - c_p,\ u = y - c_y"
)
_TAYLOR_SOURCE = "Gonzalez and Miikkulainen 2020, arXiv 2002.00059"
_TAYLOR_CODE = f"{_TAYLOR_SOURCE}; parameters from cognizant-ai-labs/TaylorGLO, experiments/oneShot"
_MA = "Ma et al. 2020, arXiv 2006.13554"
_NCE_LATEX = r"\frac{\sum y \ln \hat{y}}{\sum \ln \hat{y}}"


def _table(*losses: ZooLoss) -> Mapping[str, ZooLoss]:
    return MappingProxyType({loss.name: loss for loss in losses})


ZOO: Mapping[str, ZooLoss] = _table(
    ZooLoss(
        name="cross_entropy",
        formula="-y * log(yhat)",
        latex=r"-y \ln \hat{y}",
        reference="torch.nn.functional.cross_entropy",
        note="It is torch's own function, bit for bit.",
        soft=_EXACT,
        template=templates.cross_entropy,
        delegates=True,
    ),
    ZooLoss(
        name="label_smoothing",
        formula="-((1 - smoothing) * y + smoothing / K) * log(yhat)",
        latex=r"-\left((1-s)\, y + \frac{s}{K}\right) \ln \hat{y}",
        reference="Szegedy et al. 2016, arXiv 1512.00567, section 7",
        note="It is torch's own cross-entropy with its argument label_smoothing, which multiplies with this smoothing.",
        soft=_EXACT,
        parameters=(Parameter("smoothing", 0.1, 0.0, 1.0, high_open=True),),
        template=templates.label_smoothing,
        delegates=True,
    ),
    ZooLoss(
        name="focal",
        formula="-y * (1 - yhat)^gamma * log(yhat)",
        latex=r"-y \left(1-\hat{y}\right)^{\gamma} \ln \hat{y}",
        reference="Lin et al. 2017, arXiv 1708.02002, equation 4",
        note="Written naively, its gradient is NaN at saturation for 0 < gamma < 1; here it is the limit, 0.",
        soft=f"{_PER_CLASS} So gamma = 0 is cross-entropy for any target.",
        parameters=(Parameter("gamma", 2.0, 0.0),),
        template=templates.focal,
    ),
    ZooLoss(
        name="poly1",
        formula="-y * log(yhat) + epsilon * y * (1 - yhat)",
        latex=r"-y \ln \hat{y} + \varepsilon\, y \left(1-\hat{y}\right)",
        reference="Leng et al. 2022, arXiv 2204.12511",
        note="Below epsilon = -1 it would rise towards yhat = 1, so that is refused.",
        soft="The published CE + epsilon (1 - p_t) with p_t = sum(y p), which is linear in y.",
        parameters=(Parameter("epsilon", 2.0, -1.0),),
        template=templates.poly1,
    ),
    ZooLoss(
        name="baikal",
        formula="-(log(yhat + 1e-7) - y / (yhat + 1e-7))",
        latex=r"-\left(\ln\left(\hat{y}+\epsilon\right) - \frac{y}{\hat{y}+\epsilon}\right)",
        reference="Gonzalez and Miikkulainen 2019, arXiv 1905.11528",
        note="Least far below yhat = 1 with many classes (0.32 for 10, 0.10 for 100). Summed over the classes as in the"
        " paper's program; ports that average learn K times slower at the same rate. Its slope in the logits reaches"
        " 2.5e6, beyond float16: keep the logits in float32 or bfloat16.",
        soft=_EVERY_CLASS,
        template=templates.baikal,
    ),
    ZooLoss(
        name="taylorglo",
        formula=_TAYLOR,
        latex=_TAYLOR_LATEX,
        reference=_TAYLOR_SOURCE,
        note="Third order; the defaults are those of taylorglo_mnist. Nothing checks that other parameters make a loss:"
        " look at it with 'lossmith show' first.",
        soft=_EVERY_CLASS,
        parameters=(
            Parameter("a0", 8.2896),
            Parameter("a1", 0.2415),
            Parameter("a2", 7.8726),
            Parameter("a3", 8.9666),
            Parameter("a4", 2.0184),
            Parameter("a5", 7.0513),
            Parameter("cp", 7.5216),
            Parameter("cy", -10.9408),
        ),
        template=templates.taylorglo,
    ),
    ZooLoss(
        name="taylorglo_mnist",
        formula=_TAYLOR,
        latex=_TAYLOR_LATEX,
        reference=_TAYLOR_CODE,
        note="The parameters called MNIST: cp = 7.5216, cy = -10.9408, a = (8.2896, 0.2415, 7.8726, 8.9666, 2.0184,"
        " 7.0513). Least at yhat = 0.75 for 2 classes, 0.53 for 10, 0.48 for 100. At the start of training its gradient"
        " is 71 times that of cross-entropy for 2 classes, 14 times for 10, 1.4 times for 100.",
        soft=_EVERY_CLASS,
        template=templates.taylorglo_mnist,
    ),
    ZooLoss(
        name="taylorglo_oldlossga",
        formula=_TAYLOR,
        latex=_TAYLOR_LATEX,
        reference=_TAYLOR_CODE,
        note="The parameters called OldLossga: cp = 1.4872, cy = 0.8439, a = (1.5742, -1.4446, 2.3616, -0.6632,"
        " -2.8569, -1.1313). Least at yhat = 0.69 for 2 classes, 0.45 for 10, 0.40 for 100.",
        soft=_EVERY_CLASS,
        template=templates.taylorglo_oldlossga,
    ),
    ZooLoss(
        name="ngl",
        formula="(exp(a - yhat - yhat * y) - cos(cos(sin(yhat)))) / K",
        latex=r"\frac{1}{K}\left(e^{a-\hat{y}-\hat{y} y} - \cos\cos\sin\hat{y}\right)",
        reference="Akhmedova and Körber 2024, arXiv 2404.12948",
        note="A mean over the classes. A public TensorFlow port applies a sigmoid after softmax when scaling=True,"
        " which is another loss. Least at yhat = 0.57 for 2 classes, 0.36 for 100.",
        soft=_EVERY_CLASS,
        parameters=(Parameter("a", 2.4092),),
        template=templates.ngl,
    ),
    ZooLoss(
        name="sparse_label_smoothing",
        formula="-y * ((1 - smoothing + smoothing / K) * log(yhat)"
        " + smoothing * (1 - 1 / K) * log((1 - yhat) / (K - 1)))",
        latex=r"-y\left(\left(1-s+\frac{s}{K}\right)\ln\hat{y}"
        r"+ s\,\frac{K-1}{K}\ln\frac{1-\hat{y}}{K-1}\right)",
        reference="Raymond et al. 2022, arXiv 2209.08907",
        note="The public code has + on the second term, a loss that goes negative. With the minus here it equals label"
        " smoothing where the other classes share the rest evenly.",
        soft=_PER_CLASS,
        parameters=(Parameter("smoothing", 0.1, 0.0, 1.0, high_open=True),),
        template=templates.sparse_label_smoothing,
    ),
    ZooLoss(
        name="generalised_cross_entropy",
        formula="y * (1 - yhat^q) / q",
        latex=r"y\,\frac{1-\hat{y}^{q}}{q}",
        reference="Zhang and Sabuncu 2018, arXiv 1805.07836",
        note="q = 1 is mae, and q towards 0 is cross-entropy. The larger q, the more robust to wrong labels, and the"
        " slower with many classes.",
        soft=_PER_CLASS,
        parameters=(Parameter("q", 0.7, 0.0, 1.0, low_open=True),),
        template=templates.generalised_cross_entropy,
    ),
    ZooLoss(
        name="symmetric_cross_entropy",
        formula="-alpha * y * log(yhat) - beta * yhat * log(max(y, 1e-4))",
        latex=r"-\alpha\, y \ln\hat{y} - \beta\, \hat{y} \ln\max\left(y, 10^{-4}\right)",
        reference="Wang et al. 2019, arXiv 1908.06112",
        note="The second term, reverse cross-entropy, is 9.2 beta (1 - p_t) for hard labels: log(0) is read as"
        " log(1e-4). The defaults are the paper's for CIFAR-10; for CIFAR-100 it has alpha = 6, beta = 0.1.",
        soft=_EXACT,
        parameters=(Parameter("alpha", 0.1, 0.0), Parameter("beta", 1.0, 0.0)),
        template=templates.symmetric_cross_entropy,
    ),
    ZooLoss(
        name="normalised_cross_entropy",
        formula="sum(y * log(yhat)) / sum(log(yhat))",
        latex=_NCE_LATEX,
        reference=_MA,
        note="Robust to wrong labels, but it underfits alone: the paper pairs it with a passive loss (nce_rce,"
        " nce_mae).",
        soft=_LINEAR,
        function=examples.normalised_cross_entropy,
    ),
    ZooLoss(
        name="nce_rce",
        formula="alpha * sum(y * log(yhat)) / sum(log(yhat)) - beta * sum(yhat * log(max(y, 1e-4)))",
        latex=rf"\alpha {_NCE_LATEX} - \beta \sum \hat{{y}} \ln\max\left(y, 10^{{-4}}\right)",
        reference=f"{_MA}, active passive loss",
        note="The paper chooses alpha and beta for each data set; the defaults of its public code are 1 and 1.",
        soft=_EVERY_CLASS,
        parameters=(Parameter("alpha", 1.0, 0.0), Parameter("beta", 1.0, 0.0)),
        function=examples.nce_rce,
    ),
    ZooLoss(
        name="nce_mae",
        formula="alpha * sum(y * log(yhat)) / sum(log(yhat)) + beta * (1 - sum(y * yhat))",
        latex=rf"\alpha {_NCE_LATEX} + \beta \left(1 - \sum y \hat{{y}}\right)",
        reference=f"{_MA}, active passive loss",
        note="The paper chooses alpha and beta for each data set; the defaults of its public code are 1 and 1.",
        soft=_LINEAR,
        parameters=(Parameter("alpha", 1.0, 0.0), Parameter("beta", 1.0, 0.0)),
        function=examples.nce_mae,
    ),
    ZooLoss(
        name="bi_tempered",
        formula="sum(y * (log_t1(y) - log_t1(p)) - (y^(2 - t1) - p^(2 - t1)) / (2 - t1)), p = exp_t2(logits - l)",
        latex=r"\sum y\left(\ln_{t_1} y - \ln_{t_1} p\right) - \frac{y^{2-t_1} - p^{2-t_1}}{2-t_1},"
        r"\quad p = e_{t_2}^{z - \lambda(z)}",
        reference="Amid et al. 2019, arXiv 1906.03361",
        note="p is not softmax but its tempered form (t2 > 1 has heavier tails): a model trained with it predicts by"
        " that one, and the class order is the same. t1 = t2 = 1 is cross-entropy.",
        soft="As published: a Bregman divergence, 0 where p = y. So it is less than cross-entropy by the entropy of y.",
        parameters=(Parameter("t1", 0.8, 0.0, 1.0), Parameter("t2", 1.2, 1.0, 5.0)),
        function=examples.bi_tempered,
    ),
    ZooLoss(
        name="brier",
        formula="(yhat - y)^2",
        latex=r"\left(\hat{y} - y\right)^2",
        reference="Brier 1950; Hui and Belkin 2020, arXiv 2006.07322",
        note="On probabilities, summed over the classes; Hui and Belkin square logits. Bounded, so a confident mistake"
        " has almost no gradient.",
        soft=_EXACT,
        template=templates.brier,
    ),
    ZooLoss(
        name="mae",
        formula="y * (1 - yhat)",
        latex=r"y \left(1 - \hat{y}\right)",
        reference="Ghosh et al. 2017, arXiv 1712.09482; Ma et al. 2020, arXiv 2006.13554",
        note="1 - p_t, half of sum(|yhat - y|) for hard labels. Robust to wrong labels, but learns slowly, with many"
        " classes hardly at all.",
        soft=_LINEAR,
        template=templates.mae,
    ),
)
