"""`dueq gateway|ingest|watcher`: one process each, until SIGTERM or SIGINT (worker: `worker`)."""

import typer


def add_to(app: typer.Typer) -> None:
    """Put these roles into the tree."""
    for command in (gateway, ingest, watcher):
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
