from itertools import product

import numpy as np
import pytest

from dualmech import metrics as M


@pytest.mark.parametrize(
    ("successes", "n", "interval"),
    [(8, 10, (0.4902, 0.9433)), (0, 10, (0.0, 0.2775)), (10, 10, (0.7225, 1.0)),
     (1, 1, (0.2065, 1.0)), (50, 100, (0.4038, 0.5962)), (475, 480, (0.9758, 0.9955))],
)  # fmt: skip
def test_wilson_by_hand(successes, n, interval):
    found = M.wilson(successes, n)
    assert found == pytest.approx(interval, abs=1e-4)
    for end in (0, 1):  # of none and all exact
        assert (found[end] == end) == (interval[end] == end)


def test_wilson_solves_its_equation():
    """Its ends are the shares p that lie z standard errors of their own from the one seen."""
    for successes, n, z in ((3, 17, 1.959964), (40, 41, 1.0)):
        for p in M.wilson(successes, n, z):
            assert abs(successes / n - p) == pytest.approx(z * np.sqrt(p * (1 - p) / n), rel=1e-9)


def test_bootstrap_covers_the_mean_it_should():
    rng = np.random.RandomState(0)
    intervals = [M.bootstrap(rng.normal(3, 2, 60), 500) for _ in range(200)]
    hits = [low <= 3.0 <= high for low, high in intervals]
    assert 0.88 <= np.mean(hits) <= 0.99


def test_bootstrap_of_two_values_is_known():
    # the mean of two draws from {0, 1} is 0, 1/2 or 1 with chances 1/4, 1/2, 1/4
    assert M.bootstrap([0, 1]) == (0.0, 1.0)
    assert M.bootstrap([5, 5, 5]) == (5.0, 5.0)
    values = np.random.RandomState(1).normal(size=400)
    low, high = M.bootstrap(values)
    error = values.std() / 20
    assert (low, high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.2 * error
    )
    assert M.bootstrap(values, seed=3) == M.bootstrap(values, seed=3) != M.bootstrap(values, seed=4)


def test_permutation_of_identical_and_of_different_samples():
    rng = np.random.RandomState(0)
    first = rng.normal(size=40)
    assert M.paired_permutation(first, first) == 1
    assert M.paired_permutation(first + 2, first) == 1 / 10001
    assert M.paired_permutation(first, first + 2) == 1 / 10001, "two-sided"


def test_permutation_is_the_share_of_all_sign_flips():
    d = np.array([0.5, 1.0, -0.2, 0.7, 0.3])
    means = [abs(np.mean(d * signs)) for signs in product((-1, 1), repeat=5)]
    exact = np.mean([m >= abs(d.mean()) - 1e-12 for m in means])
    assert M.paired_permutation(d, np.zeros(5), 20000) == pytest.approx(exact, abs=0.01)


def test_share_and_mean():
    assert M.share([True] * 8 + [False] * 2) == {
        "value": 0.8, "n": 10,
        "low": pytest.approx(0.4902, abs=1e-4), "high": pytest.approx(0.9433, abs=1e-4),
    }  # fmt: skip
    low, high = M.bootstrap([1, 2, 6])
    assert M.mean([1, 2, 6]) == {"value": 3.0, "n": 3, "low": low, "high": high}


def test_a_difference_of_shares_is_that_of_newcombes_first_example():
    first, second = (M.share([True] * k + [False] * (n - k)) for k, n in ((56, 70), (48, 80)))
    found = M.difference(first, second)
    assert found["value"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.0524, 0.3339), abs=1e-4)
    assert found["n"] == 70


@pytest.mark.parametrize(
    ("words", "measure", "wrong"),
    [
        ("^0 of 0 is not a share: need n >= 1", M.wilson, [(0, 0)]),
        ("^3 of 2 is not a share", M.wilson, [(3, 2)]),
        ("^-1 of 2 is not a share", M.wilson, [(-1, 2)]),
        ("^0 of -1 is not a share", M.wilson, [(0, -1)]),
        ("^need at least two values in one dimension, got shape", M.bootstrap,
         [([],), ([1.0],), ([[1.0, 2.0]],)]),
        ("^need two samples of one length, got", M.paired_permutation,
         [([1, 2], [1]), ([], []), ([[1]], [[1]])]),
        ("need a list of true/false", M.share,
         [([0.2, 0.3, 0.0],), (["no", "no"],), ([[True, False]],), ([2, 1],)]),
        ("0 of 0 is not a share", M.share, [([],)]),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_says_what_it_needs(words, measure, wrong):
    for args in wrong:
        with pytest.raises(ValueError, match=words):
            measure(*args)
