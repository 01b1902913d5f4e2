"""`dueq up`, `demo`, `doctor` and `bench`: the whole system at once."""

from pathlib import Path
from typing import Annotated

import typer

from infra.bench.measure import Measure
from infra.cli.output import Format, Output

_Count = Annotated[int, typer.Option(min=0, max=64)]


def add_to(app: typer.Typer) -> None:
    """Put the commands into the tree."""
    for command in (up, demo, doctor, bench):
        app.command()(command)


def up(  # noqa: PLR0913 - each is a flag
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Of the gateway; 0: free ports for everything."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Data, ports and URLs are kept here.")] = Path(".dueq"),
    gateways: Annotated[int, typer.Option(min=1, max=64)] = 1,
    ingests: _Count = 1,
    watchers: _Count = 1,
    workers: _Count = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=10_000, help="Of each worker.")] = 10,
    import_: Annotated[
        list[str] | None, typer.Option("--import", metavar="MODULE", help="Has @task functions.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Run all of it on this machine, on private servers, until Ctrl-C."""
    from infra.up.command import Plan, run

    run(
        Plan(
            data=data,
            port=port,
            gateways=gateways,
            ingests=ingests,
            watchers=watchers,
            workers=workers,
            concurrency=concurrency,
            imports=tuple(import_ or []),
        ),
        output,
    )


def demo() -> None:
    """Start everything, run a job of every kind, show the path of each, clean up."""
    from infra.demo.command import run

    run()


def doctor(output: Output = Format.TABLE) -> None:
    """Check servers and settings, and say how to mend what is wrong."""
    from infra.doctor import run

    run(output)


def bench(  # noqa: PLR0913 - each is a flag
    only: Annotated[
        list[Measure] | None, typer.Option(help="Measure only this; may repeat.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="So many a run, of each measure.")] = None,
    rate: Annotated[float, typer.Option(min=1, help="Punctuality: so many due a second.")] = 200,
    runs: Annotated[int, typer.Option(min=1, help="Medians of so many.")] = 3,
    url: Annotated[
        str | None,
        typer.Option(
            envvar="DUEQ_URL",
            help="Drive this gateway, whose workers have --import infra.bench.tasks, "
            "instead of a system of our own.",
        ),
    ] = None,
    gateways: Annotated[int, typer.Option(min=1, max=64)] = 1,
    ingests: Annotated[int, typer.Option(min=1, max=64)] = 1,
    watchers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    workers: Annotated[int, typer.Option(min=1, max=64)] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=10_000, help="Of each worker.")] = 1000,
    profile: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Run py-spy on these processes.")
    ] = None,
    output: Output = Format.TABLE,
) -> None:
    """Measure throughput, cost, latency and punctuality; every job is checked."""
    from infra.bench.command import Options, run
    from infra.bench.target import Setup

    setup = Setup(gateways, ingests, watchers, workers, concurrency)
    run(Options(tuple(only or ()), jobs, rate, runs, url, profile, setup), output)
