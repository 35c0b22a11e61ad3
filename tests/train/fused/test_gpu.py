"""The fused way on a GPU: close to that on a CPU, and what is not finite stays in its slot."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from bars import LOSSES, FromStep, Outcome, furthest, make_dataset, make_task, together
from lossmith.train.data import Dataset
from lossmith.train.engine import Job, run
from lossmith.train.fused.check import check_fused
from lossmith.train.fused.network import FusionError
from lossmith.train.plan import Plan
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
GPU = torch.device("cuda")
PLAIN: dict[str, Any] = {"augment": {}, "dropout": 0.0}  # what is drawn on a GPU is not what a CPU draws


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset(16, 3)


@pytest.mark.parametrize("model", ["convnet", "resnet9v2", "user_models:residual"])
def test_a_gpu_trains_as_a_cpu_does(dataset: Dataset, model: str) -> None:
    """float64, 20 steps."""
    changes = PLAIN if ":" not in model else {"augment": {}}
    task = make_task(model=model, steps=20, optimizer={"learning_rate": 0.003, "eps": 1e-3}, **changes)
    jobs = [Job(number, LOSSES[number], number) for number in range(4)]
    on_cpu = together(task, dataset, jobs, 3, dtype=torch.float64)
    on_gpu = together(task, dataset, jobs, 3, dtype=torch.float64, device=GPU)
    for number, outcome in on_cpu.items():
        for found in (outcome, on_gpu[number]):
            assert isinstance(found.result, TrainingResult)
            assert found.result.reason is Reason.OK
        worst, where = furthest(on_gpu[number], _without_noise(outcome))
        assert worst <= 1e-6, where


def _without_noise(outcome: Outcome) -> Outcome:
    """Without the biases before batch norm, which begin at 0 and hold only rounding."""
    states = [{name: value for name, value in state.items() if not name.endswith("bias")} for state in outcome.states]
    return Outcome(outcome.result, states)


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_what_is_not_finite_stays_in_its_slot(dataset: Dataset, place: int, value: str) -> None:
    """The same number of slots in both, since a GPU's convolution may choose its way by it."""
    task = make_task(model="resnet9v2")

    def states(spoilt: float) -> dict[int, Outcome]:
        spoiling = FromStep(7, lambda loss, logits: loss * spoilt)
        jobs = [Job(number, LOSSES[number % 4], number) for number in range(8)]
        jobs[place] = Job(place, spoiling, place)
        return together(task, dataset, jobs, 8, device=GPU)

    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        found = states(float(value))
    failed = found.pop(place).result
    assert isinstance(failed, TrainingResult)
    assert (failed.reason, failed.steps) == (Reason.LOSS_NOT_FINITE, 7)
    for outcome in found.values():
        assert isinstance(outcome.result, TrainingResult)
        assert outcome.result.reason is Reason.OK
        assert all(bool(tensor.isfinite().all()) for state in outcome.states for tensor in state.values())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stream_of_jobs_on_a_gpu(dataset: Dataset, dtype: Any) -> None:
    task = make_task(steps=30, epoch_steps=10, augment={"pad": 1, "mixup": 0.3, "randaugment": {"magnitude": 2}})
    jobs = iter([Job(number, LOSSES[number % 4], number // 2) for number in range(7)])
    found = dict(run(task, dataset, lambda: next(jobs, None), Plan("fused", 3, dtype), device=GPU))
    assert len(found) == 7
    for result in found.values():
        assert isinstance(result, TrainingResult)
        assert result.reason is Reason.OK


def test_a_users_model_is_checked_there(dataset: Dataset) -> None:
    check_fused(make_task(model="user_models:residual"), dataset, GPU)
    check_fused(make_task(model="user_models:plain"), dataset, GPU)
    before = torch.cuda.get_rng_state(GPU)
    for model, problem in (("shuffled", "computes something else"), ("dropped_out", "draws from torch's global")):
        with pytest.raises(FusionError, match=problem):
            check_fused(make_task(model=f"user_models:{model}"), dataset, GPU)
    assert torch.equal(torch.cuda.get_rng_state(GPU), before)
