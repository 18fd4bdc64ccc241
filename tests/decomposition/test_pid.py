"""The decomposition: closed forms, laws, the record, another solver, invalid input."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pidlib.decomposition import PID, mean, pid, sensory_pid
from pidlib.decomposition.gates import (
    GATES,
    Gate,
    chain,
    copy,
    correlated_copy,
    modular_sum,
    noisy_copies,
    noisy_xor,
    product,
)
from pidlib.decomposition.information import mutual_information

NATS = 1e-6 / math.log(2)  # the gap of 1e-6 nats, in bits
FAMILIES = [
    copy(2, 5),
    correlated_copy(0.6),
    modular_sum(7),
    noisy_xor(0.3),
    noisy_copies(0.1, 0.1),
    noisy_copies(0.02, 0.4),
]
FAMILIES += [
    chain(0.01, 0.3),
    product(GATES["W"], GATES["AND"]),
    product(GATES["UNQ"], GATES["PNT UNQ"]),
    product(noisy_xor(0.2), GATES["RDN"]),
]
KNOWN = [*GATES.values(), *FAMILIES]

masses = st.one_of(st.just(0.0), st.integers(0, 9).map(float), st.floats(1e-9, 1))


@st.composite
def joints(draw, sizes=(1, 4), shape=None):
    """Tables of up to 4 x 4 x 4 with zeros, small counts and small masses."""
    shape = shape or draw(st.tuples(*[st.integers(*sizes)] * 3))
    return draw(arrays(np.float64, shape, elements=masses).filter(lambda table: table.sum() > 1e-6))


laws = settings(deadline=None, derandomize=True, max_examples=60, database=None)


def atoms(result: PID) -> np.ndarray:
    return np.array(list(result.atoms.values()))


def assert_same(one: PID, other: PID, shift=0.0):
    """Equal up to what the certificates leave open."""
    assert np.abs(atoms(one) - atoms(other) - shift).max() <= max(one.gap, other.gap) + 1e-12


# closed forms


@pytest.mark.parametrize("method", ["newton", "ipfp"])
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_closed_forms(known: Gate, method):
    result = pid(known.joint(), tol=NATS, method=method)
    assert result.converged and result.gap <= NATS
    assert np.abs(atoms(result) - known.atoms).max() <= result.gap + 1e-14
    assert result.lower - 4e-15 <= sum(known.atoms[:3]) <= result.upper + 4e-15
    for (low, high), exact in zip(result.bounds.values(), known.atoms, strict=True):
        assert low - 4e-15 <= exact <= high + 4e-15


def test_gated_sources_as_sensory_information():
    """T is a fair bit; T=0: Y is vision; T=1: Y is vision xor audio."""
    result = sensory_pid({"T=0": GATES["UNQ1"].joint(), "T=1": GATES["XOR"].joint()})
    assert result.sources == ("vision", "audio")
    assert result.atoms == pytest.approx(
        {"redundancy": 0, "unique_vision": 0.5, "unique_audio": 0, "synergy": 0.5}, abs=1e-12
    )


# laws


@laws
@given(joints())
def test_identities(joint):
    result = pid(joint)
    assert sum(atoms(result)) == pytest.approx(
        mutual_information(joint.reshape(-1, joint.shape[2])).item(), abs=1e-12
    )
    assert result.total == pytest.approx(sum(atoms(result)), abs=1e-12)
    for source, axis in (("vision", 1), ("language", 0)):
        assert result.redundancy + result.unique[source] == pytest.approx(
            mutual_information(joint.sum(axis)).item(), abs=1e-12
        )


@laws
@given(joints())
def test_atoms_are_not_negative_and_the_result_is_certified(joint):
    result = pid(joint)
    assert result.converged and 0 <= result.gap <= 1e-6
    assert atoms(result).min() >= -result.gap - 1e-12


@laws
@given(joints())
def test_swapping_the_sources_swaps_the_atoms_exactly(joint):
    one, other = pid(joint), pid(np.swapaxes(joint, 0, 1), sources=("language", "vision"))
    assert one.unique == other.unique
    assert (one.redundancy, one.synergy, one.lower, one.upper) == (
        other.redundancy,
        other.synergy,
        other.lower,
        other.upper,
    )


@laws
@given(joints(), st.randoms(use_true_random=False))
def test_relabelling_changes_nothing(joint, random):
    orders = [random.sample(range(n), n) for n in joint.shape]
    assert_same(pid(joint), pid(joint[np.ix_(*orders)]))


@laws
@given(joints(), st.floats(0.01, 0.99))
def test_splitting_a_value_changes_nothing(joint, share):
    for axis in range(2):
        first = np.take(joint, [0], axis)
        split = np.concatenate(
            [share * first, (1 - share) * first, np.delete(joint, 0, axis)], axis
        )
        assert_same(pid(joint), pid(split))


@laws
@given(joints(), st.integers(0, 3), st.integers(0, 2))
def test_values_that_never_occur_change_nothing(joint, position, axis):
    position = min(position, joint.shape[axis])
    assert_same(pid(joint), pid(np.insert(joint, position, 0, axis)))


@laws
@given(joints(shape=(2, 3, 2)), joints(shape=(2, 2, 3)))
def test_independent_products_add_up(first, second):
    product = np.einsum("abc,xyz->axbycz", first, second).reshape(4, 6, 6)
    one, other, both = pid(first), pid(second), pid(product)
    assert (
        np.abs(atoms(one) + atoms(other) - atoms(both)).max()
        <= one.gap + other.gap + both.gap + 1e-12
    )


@laws
@given(joints(), arrays(np.float64, 3, elements=st.floats(0.01, 1)))
def test_an_independent_target_gives_zeros(joint, target):
    result = pid(joint.sum(2)[..., None] * target)
    assert np.abs(atoms(result)).max() <= result.gap + 1e-12


@laws
@given(joints(shape=(3, 3, 3)))
def test_exchangeable_sources_have_no_unique_information(joint):
    result = pid(joint + np.swapaxes(joint, 0, 1))
    assert max(map(abs, result.unique.values())) <= result.gap + 1e-12


@laws
@given(joints(), st.sampled_from([2.0**-60, 2.0**70]), st.floats(1e-100, 1e100))
def test_scale_does_not_matter(joint, power, factor):
    assert pid(joint) == pid(power * joint)
    assert_same(pid(joint), pid(factor * joint))


@laws
@given(joints(), arrays(np.float64, 3, elements=st.floats(0.01, 1)))
def test_a_constant_condition_changes_nothing(joint, weights):
    plain, conditional = (
        pid(joint),
        sensory_pid([joint] * 3, weights, sources=("vision", "language")),
    )
    assert conditional.total == pytest.approx(plain.total, abs=1e-12)
    assert_same(conditional, plain)
    alike = sensory_pid([joint], sources=("vision", "language"))
    assert atoms(alike) == pytest.approx(atoms(plain), abs=1e-12)


@laws
@given(joints(), joints())
def test_the_mean_over_conditions(first, second):
    result = sensory_pid([first, second], [0.25, 0.75])
    one, other = pid(first), pid(second)
    assert atoms(result) == pytest.approx(0.25 * atoms(one) + 0.75 * atoms(other), abs=3e-6)
    assert result.total == pytest.approx(0.25 * one.total + 0.75 * other.total, abs=1e-12)
    assert result.gap <= 1e-6 and result.converged


# another solver


def test_agreement_with_the_cone_method_of_dit():
    """200 random joints of 2 to 4 values, dense and sparse, against an exponential-cone program."""
    import dit
    from dit.algorithms.broja_cone import broja_cone_solve
    from dit.pid.measures.ibroja import PID_BROJA

    generator = np.random.default_rng(0)
    for number in range(200):
        shape = tuple(generator.integers(2, 5, 3))
        joint = generator.dirichlet(
            np.full(math.prod(shape), generator.choice([0.2, 1.0]))
        ).reshape(shape)
        table = dit.Distribution(["".join(map(str, at)) for at in np.ndindex(shape)], joint.ravel())
        if number < 5:  # the whole lattice by its public class, which is slow
            result = PID_BROJA(table, [[0], [1]], [2], method="cone")
            theirs = [result.get_pi(node) for node in [((0,), (1,)), ((0,),), ((1,),), ((0, 1),)]]
            assert atoms(pid(joint)) == pytest.approx(theirs, abs=3e-6)
        _, solved = broja_cone_solve(table, [[0], [1]], [2])
        assert list(pid(joint).unique.values()) == pytest.approx(
            [solved["ui_source0"], solved["ui_source1"]], abs=3e-6
        )


# the record


def test_batch_equals_single_joints():
    tables = np.random.default_rng(0).gamma(0.5, size=(6, 3, 4, 2))
    batch = pid(tables)
    assert (
        len(batch) == 6
        and isinstance(batch.synergy, np.ndarray)
        and batch.unique["vision"].shape == (6,)
    )
    for table, one in zip(tables, batch, strict=True):
        alone = pid(table)
        assert_same(one, alone)
        assert isinstance(one.synergy, float) and isinstance(one.converged, bool)
    assert len(batch[1:4]) == 3 and len(batch[batch.synergy > np.median(batch.synergy)]) == 3


def test_arrays_tensors_counts_and_probabilities_are_the_same():
    counts = np.random.default_rng(1).integers(0, 9, (3, 3, 2))
    forms = [
        counts.tolist(),
        torch.as_tensor(counts),
        torch.as_tensor(counts, dtype=torch.float32),
        counts / counts.sum(),
    ]
    for form in forms:
        assert_same(pid(form), pid(counts))


def test_record_is_frozen_and_has_a_short_repr():
    result = pid(GATES["AND"].joint(), sources=("vision", "audio"))
    assert repr(result).startswith(
        "PID(redundancy=0.311278, unique_vision=0.000000, unique_audio=0.000000, synergy=0.5"
    )
    assert list(result.atoms) == ["redundancy", "unique_vision", "unique_audio", "synergy"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.synergy = 0.0
    with pytest.raises(TypeError):
        result.unique["vision"] = 0.0
    with pytest.raises(TypeError, match="no length"):
        len(result)
    with pytest.raises(TypeError, match="no length"):
        result[0]
    assert (
        repr(pid(np.ones((2, 2, 2, 2))))
        == "PID(batch of 2, sources=('vision', 'language'), converged=2/2, bits)"
    )


def test_a_gap_above_the_tolerance_warns_and_is_recorded():
    table = np.random.default_rng(2).gamma(1, size=(20, 20, 4))
    with pytest.warns(UserWarning, match="raise max_iterations"):
        result = pid(table, method="ipfp", max_iterations=5)
    assert not result.converged and result.gap > 1e-6 and "NOT CONVERGED" in repr(result)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = pid(table)
    assert result.lower <= exact.upper and exact.lower <= result.upper


def test_coarse_and_fine_intervals_of_a_large_table_intersect():
    table = np.random.default_rng(3).gamma(1, size=(60, 50, 8))
    coarse, fine = pid(table, tol=1e-2), pid(table)
    assert coarse.converged and coarse.gap > fine.gap
    assert coarse.lower <= fine.upper and fine.lower <= coarse.upper


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 2), (3, 1, 2), (3, 2, 1), (1, 1, 4)])
def test_one_letter_alphabets(shape):
    table = np.random.default_rng(4).random(shape)
    result = pid(table)
    assert result.converged
    assert atoms(result).sum() == pytest.approx(
        mutual_information(table.reshape(-1, shape[2])).item(), abs=1e-12
    )
    assert (
        abs(result.redundancy) <= result.gap + 1e-12 and abs(result.synergy) <= result.gap + 1e-12
    )


def test_settings_of_torch_are_unchanged():
    threads, kind = torch.get_num_threads(), torch.get_default_dtype()
    pid(np.ones((2, 2, 2)))
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, kind)


# what is refused


@pytest.mark.parametrize(
    ("joint", "options", "message"),
    [
        (np.ones((2, 2)), {}, "shape \\(2, 2\\)"),
        (np.ones((1, 1, 2, 2, 2)), {}, "shape \\(1, 1, 2, 2, 2\\)"),
        (np.ones((2, 0, 2)), {}, "none empty"),
        (np.ones((0, 2, 2, 2)), {}, "none empty"),
        (-np.ones((2, 2, 2)), {}, "negative"),
        (np.full((2, 2, 2), np.nan), {}, "NaN"),
        (np.full((2, 2, 2), np.inf), {}, "infinite"),
        (np.zeros((2, 2, 2)), {}, "no mass"),
        (np.stack([np.ones((2, 2, 2)), np.zeros((2, 2, 2))]), {}, "no mass"),
        (np.ones((2, 2, 2)), {"sources": ("vision",)}, "two different sources"),
        (np.ones((2, 2, 2)), {"sources": ("a", "b", "c")}, "two different sources"),
        (np.ones((2, 2, 2)), {"sources": ("a", "a")}, "two different sources"),
        (np.ones((2, 2, 2)), {"sources": "ab"}, "two different sources"),
        (np.ones((2, 2, 2)), {"method": "simplex"}, "unknown method 'simplex'"),
        (np.ones((2, 2, 2)), {"tol": 0}, "positive"),
        (np.ones((2, 2, 2)), {"tol": math.nan}, "positive"),
        (np.ones((2, 2, 2)), {"max_iterations": 0}, "at least one"),
    ],
)
def test_invalid_input_raises(joint, options, message):
    with pytest.raises(ValueError, match=message):
        pid(joint, **options)


@pytest.mark.parametrize(
    ("joints", "weights", "message"),
    [
        ([], None, "one joint"),
        ([np.ones((2, 2))], None, "one joint"),
        ([np.ones((2, 2, 2))], [0.5, 0.5], "one weight per condition"),
        ([np.ones((2, 2, 2))] * 2, [1, -1], "none negative"),
        ([np.ones((2, 2, 2))] * 2, [0, 0], "one positive"),
        ([np.ones((2, 2, 2))] * 2, [1, math.nan], "finite"),
        ({"a": np.ones((2, 2, 2))}, {"a": 1.0}, "weights must hold numbers"),
    ],
)
def test_invalid_conditions_raise(joints, weights, message):
    with pytest.raises(ValueError, match=message):
        sensory_pid(joints, weights)


def test_conditions_without_weight_are_left_out_and_alphabets_may_differ():
    empty, small, large = (
        np.zeros((2, 2, 2)),
        np.ones((2, 2, 2)),
        np.random.default_rng(5).gamma(0.5, size=(3, 4, 3)),
    )
    by_counts = sensory_pid([empty, small, large])
    assert by_counts.total == pytest.approx(
        pid(large).total * large.sum() / (large.sum() + 8), abs=1e-12
    )
    named = sensory_pid({"small": small, "large": large}, [1, 3])
    assert named.total == pytest.approx(0.75 * pid(large).total, abs=1e-12)


def test_mean_of_a_batch_and_of_its_members():
    batch = pid(np.random.default_rng(6).gamma(0.5, size=(4, 3, 3, 2)))
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    of_batch, of_members = mean(batch, weights), mean(list(batch), weights)
    assert of_batch == of_members
    assert of_batch.synergy == pytest.approx(weights @ batch.synergy, abs=1e-15)
    assert of_batch.converged


def test_record_from_informations():
    bounds = {"lower": 0.9, "upper": 0.8, "converged": True}
    record = PID.from_informations(("a", "b"), 0.5, 0.25, 1.0, **bounds)
    assert (record.lower, record.gap, record.total) == (0.8, 0.0, 1.0)
    assert atoms(record) == pytest.approx([-0.05, 0.55, 0.3, 0.2])


def test_a_symmetric_joint_has_equal_unique_atoms_bit_for_bit():
    joint = np.random.default_rng(0).gamma(1, size=(40, 8, 8, 2))
    result = pid(joint + joint.transpose(0, 2, 1, 3))
    assert (result.unique["vision"] == result.unique["language"]).all()


def test_letters_of_almost_no_mass_are_solved_in_any_order():
    rng = np.random.default_rng(1)
    joint = rng.gamma(1, size=(40, 10, 10, 4))
    clean = joint.copy()
    for axis, (letter, mass) in enumerate([(2, 1e-300), (3, 1e-30), (1, 1e-200)], 1):
        np.moveaxis(joint, axis, 0)[letter] *= mass
        np.moveaxis(clean, axis, 0)[letter] = 0
    exact, found = pid(clean), pid(joint)
    for axis in range(1, 4):
        joint = joint.take(rng.permutation(joint.shape[axis]), axis=axis)
    for result in (found, pid(joint)):
        assert result.converged.all()
        assert (abs(result.synergy - exact.synergy) <= result.gap + exact.gap).all()
