"""Tasks run here or in several processes, until one fails."""

import operator
from functools import partial

import pytest

from pidlib.experiments.processes import run_all

TASKS = [partial(operator.add, 1, 2), partial(operator.mul, 2, 4)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_of_all_tasks_and_the_first_failure(jobs):
    assert sorted(run_all(TASKS, jobs)) == [3, 8]
    with pytest.raises(ZeroDivisionError):
        list(run_all([*TASKS, partial(operator.truediv, 1, 0)], jobs))
