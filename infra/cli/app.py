"""The tree of commands."""

import typer

from infra.cli import config, everything, job, parked, queue, roles, schedule, watcher, worker

app = typer.Typer(
    name="dueq",
    help="A distributed job scheduler: on time, and nothing it accepted is ever lost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
everything.add_to(app)
roles.add_to(app)
app.add_typer(watcher.app, name="watcher", rich_help_panel="One process")
app.add_typer(worker.app, name="worker", rich_help_panel="One process")
app.add_typer(job.app, name="job")
app.add_typer(schedule.app, name="schedule")
app.add_typer(queue.app, name="queue")
app.add_typer(parked.app, name="parked")
config.add_to(app)
