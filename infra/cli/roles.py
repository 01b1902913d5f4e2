"""`dueq gateway|ingest`: one process each, until SIGTERM or SIGINT. `watcher` and `worker` have
more to say, and modules of their own.
"""

import typer


def add_to(app: typer.Typer) -> None:
    """Put these roles into the tree."""
    for command in (gateway, ingest):
        app.command(rich_help_panel="One process")(command)


def gateway() -> None:
    """Take jobs over HTTP."""
    from infra.roles.gateway import run

    run()


def ingest() -> None:
    """Store what RabbitMQ holds in MongoDB."""
    from infra.roles.ingest import run

    run()
