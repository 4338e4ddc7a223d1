"""The command that writes what a sweep has kept as PyTorch files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from sweeps.commands import Json, Name, Store, app, say
from sweeps.commands.text import table


@app.command()
def weights(
    name: Name,
    folder: Annotated[
        Path | None, Argument(metavar="DIR", help="where the files go; default: ./NAME-weights", show_default=False)
    ] = None,
    configuration: Annotated[
        str | None, Option(metavar="NUMBER-OR-ARM", help="only this configuration, or this arm")
    ] = None,
    seed: Annotated[int | None, Option(help="only this seed")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Write the trained weights as PyTorch files.

    One file per configuration and seed, of a sweep with `resources: {keep: weights}` in its spec. torch.load(FILE,
    weights_only=True) gives a dictionary: the network's fields, its layers as modules of torch.nn with their arguments,
    the state_dict, how to scale images, and the recorded accuracy.
    """
    from sweeps import library

    files = library.weights(name, folder, configuration=configuration, seed=seed, store=store)
    columns = {"file": "file", "configuration": "configuration#", "arm": "arm", "seed": "seed#", "epoch": "epoch#"}
    columns |= {name: f"{name}#" for name in ("validation.accuracy", "test.accuracy")}
    rows = [[file[key] for key in columns] for file in files]
    say(files, table([*columns.values()], rows), as_json)
