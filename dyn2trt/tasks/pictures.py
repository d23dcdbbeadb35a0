"""Pictures that no training saw, as PNG files: ``python -m dyn2trt.tasks.pictures RECIPE FOLDER``."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import replacing
from dyn2trt.images import to_pictures
from dyn2trt.recipe import Recipe
from dyn2trt.tasks.task import make_task


def write_pictures(recipe: Recipe, folder: Path, count: int = 12) -> list[Path]:
    """Write the first ``count`` images of the test part, or of the validation part where there is no test.

    Raises:
        Dyn2trtError: the recipe has no ``[train]`` section, or its data is missing.
    """
    if recipe.train is None:
        raise Dyn2trtError("the recipe has no [train] section, so no task to take pictures of")
    task = make_task(recipe.train, recipe.export.input_shape)
    data = task.test or task.validation
    files = []
    for index in range(min(count, len(data))):
        picture = to_pictures(data[index][0][None].numpy(), mean=task.mean, std=task.std)[0]
        files.append(folder / f"{recipe.train.task}_{index:02d}.png")
        with replacing(files[-1]) as temporary:
            Image.fromarray(picture).save(temporary, optimize=True)
    return files


if __name__ == "__main__":
    import typer

    from dyn2trt.recipe import load_recipe

    def main(recipe: Path, folder: Path, count: int = 12) -> None:
        """Write held-out pictures of a recipe's task as PNG files."""
        for file in write_pictures(load_recipe(recipe), folder, count):
            typer.echo(str(file))

    typer.run(main)
