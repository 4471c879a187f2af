"""Recipes: how to make anew, after a restore, what can't be saved, such as a connection.

`skep_restore(name, fn)` in a cell: from then on the variable isn't saved, its recipe is, and a restore binds the name
to what `fn()` gives. The recipes travel in a checkpoint as variables of their own.
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
        """Make `skep_restore` known to cells."""
        setattr(builtins, BUILTIN, self.register)

    def register(self, name: str, fn: Recipe | None) -> None:
        """Bind `name` to what `fn()` gives whenever the session is restored, instead of saving it; None: save it again.

        `fn` runs before the next cell does, with every other variable restored. Should it raise, the variable is lost,
        and reading it says why.
        """
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"skep_restore: the name of a variable is needed, not {name!r}")
        if fn is None:
            self._recipes.pop(name, None)
        elif callable(fn):
            self._recipes[name] = fn
        else:
            raise TypeError(f"skep_restore: a function without parameters is needed, not {type(fn).__name__}")

    def put_in(self, names: dict[str, Any]) -> dict[str, Any]:
        """Give the names to save: recipes in the place of the variables that have one."""
        if not self._recipes:
            return names
        kept = {name: value for name, value in names.items() if name not in self._recipes}
        recipes = {PREFIX + name: recipe for name, recipe in self._recipes.items() if name in names}
        return kept | recipes

    def follow_again(self, names: dict[str, Any], kept: set[str], lost: dict[str, str]) -> None:
        """Bind what the recipes that a checkpoint has make, where nothing was restored from it."""
        recipes = {PREFIX + name: recipe for name, recipe in self._recipes.items()}
        names.update({name: recipe for name, recipe in recipes.items() if name in kept})
        self.follow(names, lost)

    def follow(self, names: dict[str, Any], lost: dict[str, str]) -> None:
        """Take the recipes out of restored names and bind what they make; what fails is added to `lost`."""
        found = [name for name in [*names] if isinstance(name, str) and name.startswith(PREFIX)]
        self._recipes = {name.removeprefix(PREFIX): names.pop(name) for name in found}
        for name in [name for name in lost if name.startswith(PREFIX)]:
            lost[name.removeprefix(PREFIX)] = f"its recipe could not be saved: {lost.pop(name)}"
        for name, recipe in self._recipes.items():
            try:
                names[name] = recipe()
            except (Exception, SystemExit) as exc:  # noqa: BLE001 - user code
                lost[name] = f"its recipe raised {describe(exc)}"
