"""Recipes: how to make, after a restore, a value that can't be saved, such as a connection.

`skep_restore(name, fn)` in a cell: from then on the recipe is saved instead of the variable, and a restore binds the
name to the result of `fn()`. A checkpoint saves recipes as variables of their own.
"""

import builtins
from collections.abc import Callable
from typing import Any, Final

from skep_workers.session.checkpoint.lost_names import describe

BUILTIN: Final = "skep_restore"
PREFIX: Final = "__skep_recipe__"

Recipe = Callable[[], Any]


class Recipes:
    """The recipes of one session, by variable."""

    def __init__(self) -> None:
        self._recipes: dict[str, Recipe] = {}

    def install(self) -> None:
        """Make `skep_restore` available to cells."""
        setattr(builtins, BUILTIN, self.register)

    def register(self, name: str, fn: Recipe | None) -> None:
        """Bind `name` to the result of `fn()` in each restore, instead of saving its value; None: save the value again.

        `fn` runs before the next cell does, with every other variable restored. If it raises, the variable is lost,
        and the NameError of a cell that reads it contains the reason.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"skep_restore: the name of a variable is needed, not {name!r}")
        if fn is None:
            self._recipes.pop(name, None)
        elif callable(fn):
            self._recipes[name] = fn
        else:
            raise TypeError(f"skep_restore: a function without parameters is needed, not {type(fn).__name__}")

    def replace_variables(self, names: dict[str, Any]) -> dict[str, Any]:
        """Return the names to save, with recipes in place of the variables that have one."""
        if not self._recipes:
            return names
        kept = {name: value for name, value in names.items() if name not in self._recipes}
        recipes = {PREFIX + name: recipe for name, recipe in self._recipes.items() if name in names}
        return kept | recipes

    def bind_again(self, names: dict[str, Any], kept: set[str], lost: dict[str, str]) -> None:
        """Bind the results of the recipes in a checkpoint from which nothing was restored, in a fork."""
        recipes = {PREFIX + name: recipe for name, recipe in self._recipes.items()}
        names.update({name: recipe for name, recipe in recipes.items() if name in kept})
        self.bind(names, lost)

    def bind(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Remove the recipes from restored names, and bind their results; failures are added to `lost`."""
        found = [name for name in [*names] if isinstance(name, str) and name.startswith(PREFIX)]
        self._recipes = {name.removeprefix(PREFIX): names.pop(name) for name in found}
        for name in [name for name in lost if name.startswith(PREFIX)]:
            lost[name.removeprefix(PREFIX)] = f"its recipe could not be saved: {lost.pop(name)}"
        for name, recipe in self._recipes.items():
            try:
                names[name] = recipe()
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code
                lost[name] = f"its recipe raised {describe(exc)}"
