"""`dueq watcher`: watch over jobs; `dueq watcher list`: who does."""

import typer

from infra.cli.client import Gateway
from infra.cli.output import Format, Output, emit_list

app = typer.Typer(help="Watch over jobs; list who does.", invoke_without_command=True)
_COLUMNS = ("id", "host", "pid", "version", "started_at", "last_seen_at")


@app.callback()
def watcher(context: typer.Context) -> None:
    """Dispatch what becomes due, reap what was lost, reconcile Redis with MongoDB."""
    if context.invoked_subcommand is not None:
        return
    from infra.roles.watcher import run

    run()


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """The watchers that are alive."""
    emit_list(Gateway.here().get("/api/watchers"), output, _COLUMNS)
