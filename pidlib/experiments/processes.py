"""Independent tasks in this process or in several."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any


def run_all(tasks: Sequence[Callable[[], Any]], jobs: int, **options: Any) -> Iterator[Any]:
    """Results of the tasks, as they are done; after a failure no further task starts.

    With one job the tasks run here, in order; `options` are those of the ProcessPoolExecutor.
    """
    if jobs == 1:
        yield from (task() for task in tasks)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), **options) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            yield from (future.result() for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)
