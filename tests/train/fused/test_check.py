"""Users' networks: those that can be fused are trained as they are alone, the others are named."""

from __future__ import annotations

import pytest
import torch

from bars import CPU, LOSSES, alone, furthest, make_dataset, make_task, together
from lossmith.train.data import Dataset
from lossmith.train.engine import Job
from lossmith.train.fused.check import check_fused
from lossmith.train.fused.network import FusionError
from lossmith.train.fused.stream import Stream
from lossmith.train.result import TrainingResult
from lossmith.verdict import Reason

FUSABLE = ("plain", "residual", "excited", "channels_last", "in_place", "frozen", "one_layer_twice")

# in the words of the message, what it begins with
REFUSED = {
    "concatenated": "layer '3.0' (Concatenated) computes something else where losses are trained as one network: set",
    "shuffled": "layer '3' (Shuffled) computes something else",
    "softmax_of_channels": "layer '3' (SoftmaxOfChannels) computes something else",
    "softmax_layer": "layer '3' (Softmax2d) computes something else",
    "zero_at_first": "layer '3' (SharedScale) computes something else",
    "fixed_view": "layer '3' (FixedView) does not work where losses are trained as one network (RuntimeError: ",
    "fixed_squeeze_excite": "layer '3' (FixedSqueezeExcite) does not work",
    "linear_of_three": "layer '3' (Linear) does not work where losses are trained as one network (ValueError: ",
    "dropped_out": "layer '3' (DroppedOut) draws from torch's global generator, which all losses in training share: ",
    "detached": "layer '0' (Conv2d) is trained otherwise where losses are trained as one network: set",
    "cast_to_single": "the model (Sequential) cannot be compared with itself in float64, RuntimeError: ",
    "own_parameter": "layer '3.0' (Scaled) cannot be fused: set execution.way to processes, or use another layer",
    "layer_norm": "layer '3.1' (LayerNorm) cannot be fused: set",
    "embedding": "layer '2' (Embedding) cannot be fused: set",
    "same_padding": "layer '3' (Conv2d) cannot be fused with padding 'same', mode 'zeros': set",
    "reflected": "layer '3' (Conv2d) cannot be fused with padding (1, 1), mode 'reflect': set",
    "cumulative": "layer '3' (BatchNorm2d) cannot be fused with a cumulative average",
    "tied": "layer '4' (Conv2d) cannot be fused, it shares weights with layer '3' (Conv2d): set",
    "hooked": "layer '3' (Conv2d) cannot be fused, it has hooks: set",
}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_dataset()


@pytest.mark.parametrize("model", FUSABLE)
def test_what_can_be_fused_is_trained_as_it_is_alone(dataset: Dataset, model: str) -> None:
    """Of the tensors within 1e-9 relative; biases before batch norm hold rounding, but these models' begin random."""
    optimizer = {"learning_rate": 0.01, "eps": 1e-5, "weight_decay": 1e-3}
    task = make_task(model=f"user_models:{model}", steps=15, optimizer=optimizer)
    before = torch.random.get_rng_state()
    jobs = [Job(number, LOSSES[number], number) for number in range(3)]
    found = together(task, dataset, jobs, 2, dtype=torch.float64)
    assert torch.equal(torch.random.get_rng_state(), before)
    for job in jobs:
        expected = alone(task, dataset, job, dtype=torch.float64)
        worst, where = furthest(found[job.number], expected)
        assert worst <= 1e-9, where


@pytest.mark.parametrize("model", REFUSED)
def test_what_cannot_be_fused_is_named_but_trains_alone(dataset: Dataset, model: str) -> None:
    task = make_task(model=f"user_models:{model}", steps=1)
    before = torch.random.get_rng_state()
    with pytest.raises(FusionError) as caught:
        Stream(task, dataset, 2, CPU, torch.float32)
    assert str(caught.value).startswith(REFUSED[model])
    assert "\n" not in str(caught.value)
    assert "set execution.way to processes" in str(caught.value)
    assert torch.equal(torch.random.get_rng_state(), before)
    if model not in ("embedding", "tied"):  # which no one would train
        result = alone(task, dataset, Job(0, LOSSES[0], 0)).result
        assert isinstance(result, TrainingResult), result
        assert result.reason is Reason.OK


@pytest.mark.parametrize("model", ["convnet", "resnet9v2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_built_in_networks_pass(model: str, channels: int) -> None:
    check_fused(make_task(model=model), make_dataset(9, channels), CPU)


def test_stages_are_refused_before_anything_is_trained(dataset: Dataset) -> None:
    task = make_task(steps=4, stages=[{"steps": 2, "resize": 6}, {"steps": 2, "resize": 8}])
    with pytest.raises(
        FusionError, match=r"^task 'bars' has stages of different images: set execution\.way to processes$"
    ):
        Stream(task, dataset, 2, CPU, torch.float32)
