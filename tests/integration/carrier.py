"""Run as a program: a worker of the back door beside others, until it is told to stop or killed."""

from __future__ import annotations

import asyncio
import signal
import sys

from syncserver.store import db
from tests.integration.backdoor import Trial, told
from tests.peers.vendor.demo import Demo
from upstream.outbox import CHANNEL
from upstream.wakeup import Wakeup
from upstream.worker import Limits


async def main(url: str, kind: str, lag_seconds: float, lease_seconds: float) -> None:
    """Work for all tenants of a database until SIGTERM."""
    database = await db.connect(url, readers=12)
    trial = Trial(database, Demo(lag_seconds=lag_seconds).manifest, told(kind))
    worker = trial.worker(Limits(lease_seconds=lease_seconds))
    wakeup = Wakeup(url, CHANNEL, worker.wake)
    await wakeup.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await worker.run(stop)
    await wakeup.stop()
    await trial.close()
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
