"""What a worker runs jobs with: one executor for each kind, and what they stand on."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from infra.exits import CommandFailed, Exit
from infra.roles.clients import beside
from infra.roles.running import Process
from pipeline.broker.publisher import RabbitIntake
from pipeline.broker.targets import RabbitTargets
from pipeline.queue.live_notes import RedisLiveNotes
from pipeline.queue.sick_targets import RedisSickTargets
from pipeline.stats import dueq_version
from workers.breaker import Breaker
from workers.executors.allowed_commands import AllowedCommands
from workers.executors.amqp import AmqpExecutor
from workers.executors.command import CommandExecutor
from workers.executors.executors import Executors
from workers.executors.http import HttpExecutor, open_http
from workers.executors.task import Submit, TaskExecutor, submit_nowhere
from workers.follow_ups import FollowUps
from workers.notes import Notes
from workers.secrets import Secrets
from workers.tasks import REGISTRY
from workers.telling import Telling


@asynccontextmanager
async def executors_of(
    process: Process, concurrency: int, command: CommandExecutor | None, notes: Notes
) -> AsyncIterator[Executors]:
    """All kinds; `command` None: no commands."""
    async with (
        _http(process) as http,
        RabbitTargets(process.settings.amqp_url, process.clock) as targets,
        beside(targets.run()),
        _submit(process) as submit,
        RedisLiveNotes(process.settings.redis_url) as live,
        beside(Telling(notes, live, process.clock, process.settings.lease).run()),
    ):
        task = TaskExecutor(REGISTRY, concurrency, notes, submit)
        try:
            amqp = AmqpExecutor(targets, _secrets(process))
            yield Executors(task, http, amqp, command)
        finally:
            task.close()
            if command is not None:
                command.close()


@asynccontextmanager
async def _submit(process: Process) -> AsyncIterator[Submit]:
    """How tasks submit jobs; a worker that has no tasks of anybody's needs no connection for it."""
    if REGISTRY.tasks.keys() <= {"echo"}:
        yield submit_nowhere
        return
    settings, clock, chance = process.settings, process.clock, process.chance
    seconds = settings.publish_timeout_seconds
    async with RabbitIntake(settings.amqp_url, seconds, clock, chance) as intake:
        yield FollowUps(intake, clock, chance).submit


def any_command(process: Process, notes: Notes) -> CommandExecutor:
    """Runs whatever jobs ask for."""
    return CommandExecutor(secrets=_secrets(process), notes=notes)


def listed_commands(process: Process, patterns: Sequence[str], notes: Notes) -> CommandExecutor:
    """Runs what is listed."""
    try:
        allowed = AllowedCommands(patterns)
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"--allow-command: {error}") from None
    return CommandExecutor(allowed, _secrets(process), notes)


@asynccontextmanager
async def _http(process: Process) -> AsyncIterator[HttpExecutor]:
    settings, clock, chance = process.settings, process.clock, process.chance
    async with RedisSickTargets(settings.redis_url, chance) as targets:
        breaker = Breaker(targets, clock, chance, settings.http_breaker_failures)
        async with (
            open_http(
                settings.http_allow,
                f"DueQ/{dueq_version()}",
                secrets=_secrets(process),
                clock=clock,
                breaker=breaker,
            ) as http,
            beside(breaker.keep_current()),
        ):
            yield http


def _secrets(process: Process) -> Secrets:
    return Secrets(os.environ, process.settings.secrets_dir)
