"""`python -m bench NAME [--json PATH]`."""

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

NAMES = ("deploy",)
app = typer.Typer(help="Measurements; a ratio is taken side by side in one run.")


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(NAMES)}, all.")],
    json: Annotated[Path | None, typer.Option(help="Also write the object to this file.")] = None,
) -> None:
    chosen = NAMES if name == "all" else (name,)
    unknown = set(chosen) - set(NAMES)
    if unknown:
        raise typer.BadParameter(f"there is no bench {name!r}; there are: {', '.join(NAMES)}")
    for one in chosen:
        import_module(f"bench.{one}").run().write(json)


if __name__ == "__main__":
    app(prog_name="python -m bench")
