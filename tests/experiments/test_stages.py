"""The blocks at the ends of the stages, and verdicts on claims."""

import numpy as np
import pytest

from pidlib.experiments.stages import Claim, check_claims, stage_blocks, verdict

RISES = Claim(above=True, margin=0.05)
FALLS = Claim(above=False, margin=0.05)


def test_blocks_are_within_their_stages():
    assert stage_blocks(10) == (1, 7) and stage_blocks(5) == (0, 3) and stage_blocks(28) == (4, 21)
    assert stage_blocks(4) == (0, 2)  # none before a quarter of the depth
    with pytest.raises(ValueError, match="2 blocks have no three stages"):
        stage_blocks(2)


@pytest.mark.parametrize(
    ("claim", "low", "high", "expected"),
    [
        (RISES, 0.1, 0.5, "holds"),
        (RISES, -0.5, -0.1, "against"),
        (FALLS, -0.5, -0.1, "holds"),
        (FALLS, -0.5, 0.1, "open"),
        (FALLS, -0.02, -0.01, "open"),  # within the margin
    ],
)
def test_verdicts(claim, low, high, expected):
    assert verdict(claim, low, high) == expected


def test_claims_without_finite_draws_are_open_and_late_readings_do_not_refute():
    claims = {"missing": RISES, "early": Claim(above=False, bound=0.1, early=True)}
    values = {"missing": np.nan, "early": 0.9}
    draws = {"missing": np.full(3, np.nan), "early": np.array([0.89, 0.9, 0.91])}
    four = check_claims(claims, values, draws, 4)  # first reading at 25 % of the depth
    assert four["verdict"].tolist() == ["open", "open"] and four["early_depth"].eq(0.25).all()
    five = check_claims(claims, values, draws, 5)
    assert five["verdict"].tolist() == ["open", "against"] and five["early_depth"].eq(0.2).all()
    holding = check_claims(claims, values | {"early": 0.01}, draws | {"early": np.zeros(3)}, 4)
    assert holding["verdict"].tolist() == ["open", "holds"]
