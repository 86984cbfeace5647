"""Celery with a router for its broker and for its results: a worker, and who gives it something to do.

usage: celery_tasks.py ROUTER, as HOST:PORT. The router does transactions per group (`redis.transactions`): the broker's are over two keys.
"""

import subprocess
import sys
import time

from celery import Celery, chain, group

URL = f"redis://{sys.argv[1]}/0"
app = Celery("tasks", broker=URL, backend=URL)
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_expires=1000,
    task_acks_late=True,
    task_track_started=True,
    # How often a worker looks for what others have not acknowledged, under a lock.
    broker_transport_options={"visibility_timeout": 60, "polling_interval": 1},
)


@app.task
def add(a, b):
    return a + b


@app.task(bind=True, max_retries=3)
def at_last(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task
def fail():
    raise ValueError("as it should")


@app.task(ignore_result=True)
def silent():
    pass


def give():
    limit = 60
    assert add.delay(1, 2).get(timeout=limit) == 3
    assert [result.get(timeout=limit) for result in [add.delay(i, i) for i in range(30)]] == [2 * i for i in range(30)]
    assert at_last.delay().get(timeout=limit) == 2, "a task that is tried again"
    before = time.monotonic()
    assert add.apply_async((2, 3), countdown=1).get(timeout=limit) == 5
    assert time.monotonic() - before >= 0.9, "it was to be done later"
    failed = fail.delay()
    try:
        failed.get(timeout=limit)
        raise AssertionError("it has not failed")
    except ValueError as error:
        assert str(error) == "as it should" and failed.state == "FAILURE" and "ValueError" in failed.traceback
    assert group(add.s(i, 1) for i in range(5))().get(timeout=limit) == [1, 2, 3, 4, 5]
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=limit) == 10
    assert add.apply_async((1, 1), priority=9).get(timeout=limit) == 2, "from the queue of another priority"
    assert add.apply_async((1, 1), expires=-1).get(timeout=limit, propagate=False) is not None and silent.delay()
    result = add.delay(4, 4)
    assert result.get(timeout=limit) == 8 and result.state == "SUCCESS" and result.forget() is None
    assert result.state == "PENDING", "it was forgotten"
    (name,) = app.control.ping(timeout=limit, limit=1)[0]
    assert app.control.inspect([name], timeout=limit, limit=1).registered()[name], "the worker answers on its own channel"
    app.control.purge()


def main():
    if "worker" in sys.argv:
        app.worker_main(["worker", "--pool", "solo", "--loglevel", "info", "--hostname", "one@localhost"])
        return
    worker = subprocess.Popen([sys.executable, __file__, sys.argv[1], "worker"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        give()
        worker.terminate()
        said = worker.communicate(timeout=60)[0].decode()
        assert worker.returncode == 0 and "Unrecoverable" not in said and "ResponseError" not in said, said
    except BaseException:
        worker.kill()
        print(worker.communicate()[0].decode(), file=sys.stderr)
        raise
    print("fine")


if __name__ == "__main__":
    # A task is called what its module is, here and in the worker alike.
    main()
