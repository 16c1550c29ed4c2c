"""A process that wants to lead: prints `leading` when it does, `lost` when it has lost; SIGTERM makes it release.

python -m tests.cluster.elector KUBECONFIG NAMESPACE IDENTITY
"""

import asyncio
import signal
import sys
from pathlib import Path

from durable_timer import logs
from durable_timer.clock import SystemClock
from durable_timer.errors import LeaseLost
from durable_timer.kube.client import open_client
from durable_timer.kube.lease import Election


async def main(kubeconfig: str, namespace: str, identity: str) -> None:
    """Leads until it is told to stop or has lost."""
    logs.configure(logs.LogFormat.CONSOLE, logs.LogLevel.INFO)
    async with open_client(Path(kubeconfig)) as client:
        election = Election(client, namespace, "operator", identity, SystemClock())
        await election.acquire()
        say("leading")
        holding = asyncio.ensure_future(election.hold())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, holding.cancel)
        try:
            await holding
        except LeaseLost:
            say("lost" if not election.leading() else "lost, and leading")
        except asyncio.CancelledError:
            await election.release()
            say("released")


def say(word: str) -> None:
    """One line to whoever started this."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
