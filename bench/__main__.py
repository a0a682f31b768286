"""`python -m bench NAME [--json PATH]`."""

from pathlib import Path
from typing import Annotated

import typer

import bench.agents
import bench.deploy

app = typer.Typer(help="Benchmarks. Each ratio is measured side by side in one run.")
Json = Annotated[Path | None, typer.Option("--json", help="Also write the object to this file.")]


@app.command()
def deploy(json: Json = None) -> None:
    """From a reservation to SSH, and back to available, on the virtual rack."""
    bench.deploy.run().write(json)


@app.command()
def agents(
    *,
    json: Json = None,
    agents: Annotated[int, typer.Option(help="Number of agents.")] = 10_000,
    seconds: Annotated[float, typer.Option(help="Duration in seconds.")] = 60,
    interval: Annotated[float, typer.Option(help="Seconds between an agent's reports.")] = 10,
    gpus: Annotated[int, typer.Option(help="GPUs in each agent's server.")] = 8,
    database_url: Annotated[
        str, typer.Option(help="An empty database; by default a new SQLite file.")
    ] = "",
) -> None:
    """Reports from simulated agents to one daemon on one core."""
    bench.agents.run(agents, seconds, interval, gpus, database_url).write(json)


@app.command()
def all() -> None:
    """Run every benchmark with its defaults."""
    deploy()
    agents()


if __name__ == "__main__":
    app(prog_name="python -m bench")
