import numpy as np
import pytest
import torch
from torch.testing import assert_close

from dualmech import probes


def planted(n=300, width=24, seed=0):
    """Noise plus, for each class, its own direction."""
    generator, fixed = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(9)
    basis = torch.linalg.qr(torch.randn(width, width, generator=fixed))[0]
    labels = torch.arange(n) % 3
    states = 0.5 * torch.randn(n, width, generator=generator) + 4 * basis[labels]
    return states, labels, basis[:3]


def test_probabilities_and_accuracy_by_hand():
    probe = probes.Probe(torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([0.0, 1.0]))
    states = torch.tensor([[3.0, 1.0], [1.0, 0.0]])
    a, b = np.exp([[3, 3], [1, 1]]).T  # scores 3 and 2 + 1, then 1 and 0 + 1
    assert probe(states).numpy() == pytest.approx(np.stack([a, b], 1) / (a + b)[:, None])
    assert probe(states.to(torch.bfloat16)).dtype == torch.float32
    probe = probes.Probe(torch.eye(3), torch.zeros(3))
    assert probe.accuracy(torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 1, 2, 0])) == 0.75


def test_a_planted_direction_is_found():
    states, labels, directions = planted()
    probe = probes.fit(states, labels, steps=1000, lr=1e-2)
    fresh, truth, _ = planted(seed=1)
    assert probe.accuracy(fresh, truth) == 1
    weights = probe.weights - probe.weights.mean(1, keepdim=True)
    weights, directions = weights.T, directions - directions.mean(0)
    cosine = torch.nn.functional.cosine_similarity(weights[:, None], directions[None], dim=-1)
    assert (cosine.diag() > 0.8).all() and cosine.argmax(1).tolist() == [0, 1, 2]
    assert not probe.weights.requires_grad and not probe.bias.requires_grad


def test_the_released_recipe_step_by_step_also_where_gradients_are_off():
    states, labels, _ = planted(n=30)
    width = states.shape[1]
    weights = torch.randn(width, 3, generator=torch.Generator().manual_seed(4)) / width**0.5
    linear = torch.nn.Linear(width, 3)
    linear.weight.data, linear.bias.data = weights.T.clone(), torch.zeros(3)
    optimizer = torch.optim.AdamW(linear.parameters(), lr=1e-3, weight_decay=1e-4)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(linear(states), labels).backward()
        optimizer.step()
    with torch.no_grad():
        probe = probes.fit(states, labels, seed=4)
    assert_close(probe.weights, linear.weight.data.T, rtol=0, atol=1e-5)
    assert_close(probe.bias, linear.bias.data, rtol=0, atol=1e-5)
    assert not torch.equal(probes.fit(states, labels, seed=5).weights, probe.weights)


def test_a_class_without_an_example():
    with pytest.raises(ValueError, match=r"^classes \[1, 3\] have no example among 3 labels$"):
        probes.fit(torch.ones(3, 4), torch.tensor([0, 2, 2]), classes=4)


def test_heat_map_by_hand():
    probe = probes.Probe(torch.eye(2) * 3, torch.zeros(2))
    states = torch.zeros(2, 6, 2)
    states[:, 1, 0] = 1  # row 0, column 1, in both images
    states[0, 5, 1] = 1  # row 1, column 2, in one
    found = probes.heat_map(probe, states, (2, 3))
    sure = 1 / (1 + np.exp(-3))
    assert found.shape == (2, 3, 2)
    assert found[0, 1].tolist() == pytest.approx([sure, 1 - sure])
    assert found[1, 2].tolist() == pytest.approx([(0.5 + 1 - sure) / 2, (0.5 + sure) / 2])
    assert found[1, 0].tolist() == [0.5, 0.5]


# --- amplification -------------------------------------------------------------------------


def test_amplified_by_hand():
    states = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    one, two = torch.tensor([[2.0, 0.0]]), torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    # <x, w> / |w|^2 is 3/2 and 0 for the first direction, 7/2 and 1/2 for the second
    for w, how, wanted in ((one, "projection", [[9.0, 4.0], [0.0, 1.0]]),
                           (two, "projection", [[16.0, 11.0], [1.0, 2.0]]),
                           (one, "constant", [[7.0, 4.0], [4.0, 1.0]]),
                           (two, "constant", [[9.0, 6.0], [6.0, 3.0]])):  # fmt: skip
        assert_close(probes.amplified(states, w, 2, how), torch.tensor(wanted))
        assert torch.equal(probes.amplified(states, w, 0.0, how), states)
    with pytest.raises(ValueError, match="^how is 'projection' or 'constant', not 'other'$"):
        probes.amplified(states, one, 2, "other")


def test_matched_null_moves_as_far_along_one_line():
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 20, 16, generator=generator)
    changed = probes.amplified(states, torch.randn(2, 16, generator=generator), 4)
    null = probes.matched_null(states, changed, seed=5)
    moves = (null - states).reshape(-1, 16)
    assert_close(moves.norm(dim=-1), (changed - states).norm(dim=-1).flatten())
    line = moves[0] / moves[0].norm()
    assert_close((moves @ line).abs(), moves.norm(dim=-1))
    # outwards, as in projection scaling
    assert ((moves * states.reshape(-1, 16)).sum(-1) > 0).all()
    assert torch.equal(probes.matched_null(states, changed, seed=5), null)
    other = (probes.matched_null(states, changed, seed=6) - states)[0, 0]
    assert abs(other @ line / other.norm()) < 0.9, "another seed is another line"
    assert torch.equal(probes.matched_null(states, states), states)
