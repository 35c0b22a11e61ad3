"""The task and the images of the measurement."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossmith.bench.engine.data import find_task, images_of, random_images, timed, whole
from lossmith.errors import ConfigError
from lossmith.train.task import DataConfig, load_task, task_names


@pytest.mark.parametrize("name", task_names())
def test_every_preset_can_be_timed_on_random_images(name: str) -> None:
    task = find_task(name, None, synthetic=True)
    short = timed(task)
    assert (short.stages, short.prescreen, short.stopping) == ((), None, ())
    assert short.steps == short.epoch_steps
    assert type(task).model_validate(short.model_dump()) == short  # still a task
    assert whole(task).steps == task.steps


def test_a_path_is_where_the_data_is(tmp_path: Path) -> None:
    assert find_task("cifar10-resnet9v2", tmp_path, synthetic=False).data.path == str(tmp_path)
    file = tmp_path / "mine.yaml"
    file.write_text("{base: cifar10-convnet, data: {path: here}, batch_size: 32}", encoding="utf-8")
    assert find_task(str(file), tmp_path, synthetic=False).data.path == str(tmp_path)
    assert find_task(str(file), None, synthetic=True).data.path == "here"
    assert find_task("digits", None, synthetic=False) == load_task("digits", "test")


def test_what_users_get_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"exclude each other"):
        find_task("digits", tmp_path, synthetic=True)
    with pytest.raises(ConfigError, match=r"takes no path"):
        find_task("digits", tmp_path, synthetic=False)
    with pytest.raises(ConfigError, match=r"needs data.path"):
        find_task("cifar10-resnet9v2", None, synthetic=False)
    with pytest.raises(ConfigError, match=r"no task preset 'digit'"):
        find_task("digit", None, synthetic=True)


@pytest.mark.parametrize(
    ("config", "shape", "classes"),
    [
        (DataConfig(source="digits"), (1, 8, 8), 10),
        (DataConfig(source="fashion-mnist"), (1, 28, 28), 10),
        (DataConfig(source="cifar100", path="none"), (3, 32, 32), 100),
        (DataConfig(source="folder", path="none", image_size=48), (3, 48, 48), 10),
        (DataConfig(source="cifar10", path="none", image_size=24), (3, 24, 24), 10),
    ],
)
def test_random_images_have_the_shape_of_the_data(
    config: DataConfig, shape: tuple[int, int, int], classes: int
) -> None:
    found = random_images(config)
    assert found.image_shape == shape
    assert found.num_classes == classes
    assert found.name == "random images"
    assert 0 <= int(found.train.labels.min()) <= int(found.train.labels.max()) < classes


def test_random_images_have_the_digits_shape() -> None:
    task = load_task("digits", "test")
    real, random = (images_of(task, synthetic=synthetic) for synthetic in (False, True))
    assert real.image_shape == random.image_shape
    assert len(real.validation) == len(random.validation)
    assert real.num_classes == random.num_classes
