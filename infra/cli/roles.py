"""`dueq gateway|ingest|watcher|worker`: one process each, until SIGTERM or SIGINT."""

from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Put the four roles into the tree."""
    for command in (gateway, ingest, watcher, worker):
        app.command(rich_help_panel="One process")(command)


def gateway() -> None:
    """Take jobs over HTTP."""
    from infra.roles.gateway import run

    run()


def ingest() -> None:
    """Store what RabbitMQ holds in MongoDB."""
    from infra.roles.ingest import run

    run()


def watcher() -> None:
    """Dispatch what becomes due, reap what was lost, reconcile Redis with MongoDB."""
    from infra.roles.watcher import run

    run()


def worker(
    queue: Annotated[
        list[str] | None, typer.Option(help="Run jobs of this queue; may repeat.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=10_000, help="Jobs at a time.")] = 10,
    import_: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Has @task functions; may repeat."),
    ] = None,
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Run jobs of kind command on this machine.")
    ] = False,
) -> None:
    """Run jobs."""
    from infra.roles.worker import Asked, run

    run(
        Asked(
            queues=tuple(queue or ["default"]),
            concurrency=concurrency,
            imports=tuple(import_ or []),
            allow_commands=allow_commands,
        )
    )
