"""Networks trained side by side become what each becomes alone, and what PyTorch's own layers and SGD give."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch")

from surefoot.stats import group_metrics, worst_loss  # noqa: E402
from surefoot.tabular._learners._networks import BATCH_ROWS, by_shape, initial_weights, train_networks  # noqa: E402

BASE = {"layers": 2, "width": 16, "momentum": 0.9, "weight_decay": 0.01, "learning_rate": 0.05}
BASE |= {"step": 0.1, "alpha": 0.5, "size": 0.2, "outliers": 0.01, "penalty": 0.1}


def rows(n: int = 600, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 5)).astype(np.float32)
    g = (generator.random(n) < 0.2).astype(np.int64)
    y = (np.where(g == 1, x[:, 1], x[:, 0]) + 0.3 * generator.normal(size=n) > 0).astype(np.uint8)
    return x, y, g


@pytest.mark.parametrize("name", ["mlp", "group-dro", "chi-square-dro", "cvar-doro"])
def test_together_or_alone_a_network_becomes_the_same(name: str) -> None:
    x, y, g = rows()
    settings = [BASE | {"learning_rate": rate} for rate in (0.1, 0.05, 0.001)]
    together = train_networks(name, settings, (x, y, g), [(x, y)], groups=2, epochs=3, seed=1)
    for place, setting in enumerate(settings):
        alone = train_networks(name, [setting], (x, y, g), [(x, y)], groups=2, epochs=3, seed=1)
        assert_allclose(together.scores[0][place], alone.scores[0][0], atol=2e-5)


@pytest.mark.parametrize("layers", [1, 3])
def test_training_is_that_of_plain_layers_and_sgd(layers: int) -> None:
    x, y, g = rows(300)
    setting = BASE | {"layers": layers}
    ours = train_networks("mlp", [setting], (x, y, g), [(x, y)], groups=2, epochs=1, seed=3)
    start = initial_weights(5, 16, layers, 1, 3)
    modules: list[torch.nn.Module] = []
    for weight, bias in zip(start[::2], start[1::2], strict=True):
        matrix = weight.detach().reshape(weight.shape[-2], weight.shape[-1])
        linear = torch.nn.Linear(*matrix.shape)
        linear.weight.data, linear.bias.data = matrix.T.clone(), bias.detach().reshape(-1).clone()
        modules += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*modules[:-1])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(3))
    for batch in torch.split(order, BATCH_ROWS):
        optimiser.zero_grad()
        logits = model(torch.from_numpy(x)[batch])[:, 0]
        torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.from_numpy(y)[batch].float()).backward()
        optimiser.step()
    with torch.no_grad():
        theirs = torch.sigmoid(model(torch.from_numpy(x))[:, 0])
    assert_allclose(ours.scores[0][0], theirs, atol=1e-5)


def test_scores_go_below_one_half() -> None:
    """The released code of the paper has a ReLU on the output, which holds every score at one half or more."""
    x, y, g = rows()
    found = train_networks("mlp", [BASE], (x, y, g), [(x, y)], groups=2, epochs=20, seed=0)
    assert found.scores[0].min() < 0.1


def test_a_network_that_diverges_leaves_the_others_alone() -> None:
    x, y, g = rows()
    wild = BASE | {"learning_rate": 1e6}
    both = train_networks("mlp", [wild, BASE], (x, y, g), [(x, y)], groups=2, epochs=2, seed=0)
    alone = train_networks("mlp", [BASE], (x, y, g), [(x, y)], groups=2, epochs=2, seed=0)
    assert np.isfinite(both.scores[0]).all()
    assert_allclose(both.scores[0][1], alone.scores[0][0], atol=2e-5)


def test_group_dro_serves_a_planted_worst_group_better() -> None:
    x, y, g = rows(2000)
    losses = {}
    for name in ("mlp", "group-dro"):
        found = train_networks(
            name, [BASE | {"width": 2, "layers": 1}], (x, y, g), [(x, y)], groups=2, epochs=15, seed=0
        )
        losses[name] = worst_loss(group_metrics(y, found.scores[0], g), "cross_entropy")[0]
    assert losses["group-dro"] < losses["mlp"] - 0.05


def test_configurations_train_together_by_shape() -> None:
    shapes = [{"layers": layers, "width": width} for layers in (1, 2) for width in (64, 64, 128)]
    assert list(by_shape(shapes, most=2)) == [[0, 1], [2], [3, 4], [5]]
    assert list(by_shape([shapes[0]] * 3, most=2)) == [[0, 1], [2]]
