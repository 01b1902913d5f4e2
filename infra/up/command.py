"""`dueq up` as a person sees it: progress, URLs, a line to try, Ctrl-C."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from infra.cli.output import Format, say, say_json, tell
from infra.exits import CommandFailed, Exit
from infra.local.child import OUTPUT
from infra.local.install import InstallFailed
from infra.local.servers import DataDirInUse, ServerFailed
from infra.roles.hangup import on_hangup
from infra.settings import load_settings
from infra.up.member import MemberFailed
from infra.up.plan import LOOPBACK, Plan, given_urls, may_run_commands
from infra.up.system import System
from pipeline.config import Settings

__all__ = ["FAILURES", "Plan", "on_signals", "run"]

FAILURES = (DataDirInUse, InstallFailed, MemberFailed, ServerFailed)
_TRY = """curl -X POST {url}/api/jobs -H "Content-Type: application/json" \
-d '{{"payload": "test job"}}'"""


def run(plan: Plan, form: Format) -> None:
    """Everything, until SIGINT or SIGTERM."""
    settings = load_settings(home=plan.data / "nothing")
    asyncio.run(_run(System(plan, settings, given_urls(), tell), plan, settings, form))


async def _run(system: System, plan: Plan, settings: Settings, form: Format) -> None:
    began = time.monotonic()
    ours = asyncio.current_task()
    assert ours is not None
    # The first signal ends what runs and stops in order; a second one does not wait.
    on_signals(ours.cancel, system.kill)
    stopping = asyncio.Event()
    on_hangup(ours.cancel, stopping.is_set)
    try:
        with suppress(asyncio.CancelledError):
            await system.start()
            _announce(system, plan, settings, form, time.monotonic() - began)
            await system.watch()
        tell("Stopping: workers first, then the rest, then the servers")
    except FAILURES as failure:
        raise CommandFailed(Exit.FAILED, str(failure)) from None
    finally:
        stopping.set()
        on_signals(system.kill)  # cancelled half way, a stop would leave its servers behind
        await system.stop()


def on_signals(*reactions: Callable[[], object]) -> None:
    """Each SIGINT or SIGTERM calls the next of these, and the last one again and again."""
    ahead = iter(reactions[:-1])

    def signalled() -> None:
        next(ahead, reactions[-1])()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, signalled)


def _announce(system: System, plan: Plan, settings: Settings, form: Format, seconds: float) -> None:
    for line in _warnings(system, settings):
        tell(line)
    if form is not Format.TABLE:
        say_json(system.description)
        return
    say(f"\nDueQ is up after {seconds:.1f} s. Ctrl-C stops it.\n")
    servers = {"RabbitMQ": system.urls.amqp, "MongoDB": system.urls.mongo,
               "Redis": system.urls.redis}  # fmt: skip
    for name, url in ({"DueQ": system.url} | servers).items():
        say(f"  {name:<9} {url}")
    for process in system.processes:
        say(f"  {process.role:<9} {process.http}  pid {process.pid}")
    say(f"  {'logs':<9} {plan.data}/*/{OUTPUT}\n")
    say(f"Try:\n  {_TRY.format(url=system.url)}\n")


def _warnings(system: System, settings: Settings) -> list[str]:
    lines = []
    if "DUEQ_HTTP_ALLOW" not in os.environ:
        lines.append(f"http jobs may reach this machine (DUEQ_HTTP_ALLOW={LOOPBACK})")
    if may_run_commands(settings, system.urls):
        lines.append("command jobs run on this machine, as you; only this machine can submit them")
    else:
        lines.append("command jobs are refused: other machines could submit them")
    return lines
