"""`dueq demo`: start everything, submit a job of every kind, follow them, check them, clean up.

Servers, data and ports are its own and temporary; the environment's DueQ settings do not count.
Exit code 0 only if every job ended as it should. A signal stops it in order; a second one makes
that quicker and leaves nothing behind either.
"""

import asyncio
import os
import tempfile
import time
from asyncio import to_thread
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from infra.cli.client import Gateway
from infra.cli.output import say, tell
from infra.cli.waiting import FINAL
from infra.demo.cases import EXCHANGE, ROUTING_KEY, Case, Ended, cases
from infra.demo.target import Target, serving
from infra.demo.view import progress, show_paths
from infra.exits import CommandFailed, Exit
from infra.local.child import OUTPUT
from infra.local.servers import Urls
from infra.up.command import FAILURES, on_signals
from infra.up.plan import Plan
from infra.up.system import System
from pipeline.broker.inbox import Inbox, open_inbox
from pipeline.config import Settings
from pipeline.domain.errors import Unavailable

_PATIENCE_SECONDS = 20.0
_LOOK_SECONDS = 0.02
_TAIL_LINES = 8


def run() -> None:
    """The whole demo; ends by `CommandFailed` when something is not as it should be."""
    for name in [name for name in os.environ if name.startswith("DUEQ_")]:
        del os.environ[name]
    asyncio.run(_run())


async def _run() -> None:
    # The folder goes while signals are still ours: one that came just then would leave it there.
    with tempfile.TemporaryDirectory(prefix="dueq-demo-") as folder:
        await _run_in(Path(folder))


async def _run_in(folder: Path) -> None:
    plan = Plan(data=folder, port=0, imports=("infra.demo.tasks",))
    system = System(plan, Settings(), Urls(), tell)
    ours = asyncio.current_task()
    assert ours is not None
    on_signals(ours.cancel, system.kill)
    try:
        tell("Starting RabbitMQ, MongoDB, Redis, gateway, ingest, watcher and worker")
        await system.start()
        await _play(system)
    except CommandFailed:
        _tell_logs(folder)
        raise
    except (*FAILURES, Unavailable) as failure:
        raise CommandFailed(Exit.FAILED, str(failure)) from None
    except asyncio.CancelledError:
        raise CommandFailed(Exit.FAILED, "stopped before the end") from None
    finally:
        on_signals(system.kill)  # cancelled half way, a stop would leave its servers behind
        tell("Stopping everything")
        await system.stop()


def _tell_logs(folder: Path) -> None:
    """What our processes said last: the folder will be gone when somebody wants to know."""
    for log in sorted(folder.glob(f"*-1/{OUTPUT}")):
        lines = log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        tell(f"\nThe end of the log of {log.parent.name}:")
        for line in lines:
            tell(f"    {line}")


async def _play(system: System) -> None:
    async with AsyncExitStack() as stack:
        target = await stack.enter_async_context(serving())
        inbox = await stack.enter_async_context(
            open_inbox(system.urls.amqp or "", EXCHANGE, ROUTING_KEY)
        )
        gateway = Gateway(system.url)
        say(f"\nSubmitting a job of every kind to {system.url}\n")
        submitted = {}
        for case in cases(target.url):
            answer = await to_thread(gateway.post, "/api/jobs", case.body)
            submitted[answer["id"]] = case
        jobs = await _follow(gateway, submitted)
        ended = [await _end(gateway, case, jobs[id_], target, inbox) for id_, case in
                 submitted.items() if id_ in jobs]  # fmt: skip
    show_paths(ended)
    wrong = [each.case.name for each in ended if each.differences()]
    wrong += [case.name for id_, case in submitted.items() if id_ not in jobs]
    if wrong:
        raise CommandFailed(Exit.FAILED, f"not as they should be: {', '.join(wrong)}")
    say(f"\nAll {len(ended)} jobs ended as they should.")


async def _follow(gateway: Gateway, submitted: Mapping[str, Case]) -> dict[str, dict[str, Any]]:
    """Show the jobs until all have ended; returns what was last seen of them."""
    ends = time.monotonic() + _PATIENCE_SECONDS
    jobs: dict[str, dict[str, Any]] = {}
    with progress(submitted) as view:
        while time.monotonic() < ends:
            answer = await to_thread(gateway.get, "/api/jobs", {"tag": "demo", "limit": 50})
            jobs = {job["id"]: job for job in answer["items"]}
            view.show(jobs)
            if jobs.keys() >= submitted.keys() and _all_final(jobs):
                break
            await asyncio.sleep(_LOOK_SECONDS)
    return jobs


async def _end(
    gateway: Gateway, case: Case, job: Mapping[str, Any], target: Target, inbox: Inbox
) -> Ended:
    path = f"/api/jobs/{job['id']}"
    whole = await to_thread(gateway.get, path)
    executions = await to_thread(gateway.get, f"{path}/executions")
    arrivals = target.visits[whole["id"]] + (whole["id"] in inbox.arrived)
    return Ended(case, whole, executions["items"], arrivals)


def _all_final(jobs: Mapping[str, Mapping[str, Any]]) -> bool:
    return all(job["status"] in FINAL for job in jobs.values())
