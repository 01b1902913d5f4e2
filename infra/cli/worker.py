"""`dueq worker`: run jobs; `dueq worker list`: who does."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from infra.cli.client import Gateway
from infra.cli.output import Format, Output, emit_list

app = typer.Typer(help="Run jobs; list who does.", invoke_without_command=True)
_COLUMNS = (
    "id", "host", "pid", "version", "over", "queues", "concurrency", "running", "last_seen_at",
)  # fmt: skip


@app.callback()
def worker(
    context: typer.Context,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:WEIGHT]",
            help="Run jobs of this queue; may repeat. While several have work, one of weight 3 "
            "gets three times as many slots as one of weight 1.",
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=10_000, help="Jobs at a time.")] = 10,
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            max=256,
            help="So many workers, each a process with its own id, port and --concurrency, "
            "started again when it dies.",
        ),
    ] = 1,
    import_: Annotated[
        list[str] | None,
        typer.Option("--import", metavar="MODULE", help="Has @task functions; may repeat."),
    ] = None,
    allow_commands: Annotated[
        bool, typer.Option("--allow-commands", help="Run jobs of kind command on this machine.")
    ] = False,
    allow_command: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Run this command, or those of this folder/, and no "
            "others; may repeat. Goes before --allow-commands.",
        ),
    ] = None,
) -> None:
    """Run jobs."""
    if context.invoked_subcommand is not None:
        return
    from infra.exits import CommandFailed, Exit
    from pipeline.domain.queue_share import weights_of

    try:
        weights = weights_of(queue or ["default"])
    except ValueError as error:
        raise CommandFailed(Exit.USAGE, f"--queue: {error}") from None
    if processes > 1:
        from infra.roles.siblings import run_siblings

        run_siblings(processes)
        return
    from infra.roles.worker import Asked, run

    run(
        Asked(
            queues=tuple(weights),
            weights=weights,
            concurrency=concurrency,
            imports=tuple(import_ or []),
            allow_commands=allow_commands,
            allow_command=tuple(allow_command or []),
        )
    )


@app.command("list")
def list_(output: Output = Format.TABLE) -> None:
    """The workers that are alive, those over HTTP too."""
    answer = Gateway.here().get("/api/workers")
    if output is Format.TABLE:
        answer |= {"items": [_told(worker) for worker in answer["items"]]}
    emit_list(answer, output, _COLUMNS)


def _told(worker: Mapping[str, Any]) -> dict[str, Any]:
    """Its queues with their weights, in few words."""
    return {**worker, "queues": worker.get("weights") or ",".join(worker["queues"])}
