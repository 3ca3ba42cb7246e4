"""Many small jobs, shared by the processes of this machine."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import os
import threading

from keras_c2kd.backend import enable_compilation_cache


def finished(function, jobs, processes):
    """Yield what each job gave as soon as it is done.

    Args:
        function: Of the module that calls; takes a job's values.
        jobs: List of tuples of its arguments.
        processes: Integer; with 1 this process does it, in order.
    """
    if processes == 1:
        yield from (function(*job) for job in jobs)
        return
    # Networks this small gain nothing from more threads than processes. Read
    # when the libraries are imported: by the new processes, not here.
    os.environ["OMP_NUM_THREADS"] = "1"
    with concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("spawn"), _begin_process
    ) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()


def _begin_process():
    """End this process when the one that started it has ended."""

    def watch():
        parent = multiprocessing.parent_process()
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    enable_compilation_cache()
    threading.Thread(target=watch, daemon=True).start()
