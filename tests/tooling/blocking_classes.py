"""Generate the classes of `skep.sync` from the asynchronous ones.

    python tests/tooling/blocking_classes.py           # write producer/skep/sync/blocking_classes.py
    python tests/tooling/blocking_classes.py --check   # exit status 1 if it is not what would be written

Each public method, property and annotated attribute of a class becomes one of the same name, with the same arguments,
defaults and docstring. `tests/unit/tooling/test_blocking_classes.py` runs the check.
"""

import argparse
import ast
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TARGET: Final = ROOT / "producer" / "skep" / "sync" / "blocking_classes.py"
RUFF: Final = Path(sys.executable).with_name("ruff")

# The classes, in the order in which they need each other, and the modules that define them.
CLASSES: Final = {
    "SessionFiles": "skep.files",
    "Cell": "skep.cell",
    "Session": "skep.session",
    "Cluster": "skep.cluster",
    "WorkerProcess": "skep.local.worker_process",
    "EmbeddedCluster": "skep.local.embedded",
}
# How an object that a call has returned is found again after a fork.
FINDERS: Final = {"Cell": "find_cell", "Session": "find_session"}
BASES: Final = {"EmbeddedCluster": "Cluster"}
HEADER: Final = '''"""The blocking classes, generated from the asynchronous ones: don't edit.

`python tests/tooling/blocking_classes.py` writes this module again.
"""
'''


@dataclass
class Names:
    """The imports of the generated module, by the name that is used."""

    imports: dict[str, str] = field(default_factory=dict)

    def use(self, node: ast.AST, known: dict[str, str]) -> None:
        """Import the names of an annotation or a default, as the module that has it does. Raises KeyError."""
        for each in ast.walk(node):
            name = each.id if isinstance(each, ast.Name) else None
            if isinstance(each, ast.Constant) and each.value in CLASSES:
                continue
            if name and name not in CLASSES and name in known:
                self.imports[name] = known[name]


def module_names(module: str, tree: ast.Module) -> dict[str, str]:
    """Return the import statement for each name that a module has at its top level."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            found |= {alias.name: f"from {node.module} import {alias.name}" for alias in node.names}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = f"from {module} import {node.target.id}"
        elif isinstance(node, ast.ClassDef):
            found[node.name] = f"from {module} import {node.name}"
    return found


class ClassWriter:
    """Writes one blocking class."""

    def __init__(self, name: str, names: Names) -> None:
        module = CLASSES[name]
        path = ROOT / "producer" / Path(*module.split(".")).with_suffix(".py")
        tree = ast.parse(path.read_text())
        self._known = module_names(module, tree)
        self._names = names
        self._name = name
        (self._node,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        names.imports[f"Async{name}"] = f"from {module} import {name} as Async{name}"

    def lines(self) -> list[str]:
        """Return the lines of the class."""
        base = BASES.get(self._name, f"Handle[Async{self._name}]")
        lines = [f"class {self._name}({base}):", *self._docstring(self._node, 4)]
        for node in self._node.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                lines += ["", *self._method(node)]
            elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                for line in self._attributes(node):
                    lines += ["", *line]
        return lines

    def _docstring(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, indent: int) -> list[str]:
        text = ast.get_docstring(node, clean=False)
        return [] if text is None else [f'{" " * indent}"""{text}"""']

    def _attributes(self, init: ast.FunctionDef) -> list[list[str]]:
        """Return a property for each public attribute that `__init__` annotates."""
        found = []
        for node in init.body:
            if isinstance(node, ast.Assign):
                plain = [each.attr for each in node.targets if isinstance(each, ast.Attribute)]
                assert all(name.startswith("_") for name in plain), f"{self._name}: {plain} need an annotation"
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Attribute):
                continue
            name, annotation = node.target.attr, node.annotation
            if name.startswith("_"):
                continue
            if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value) == "Final":
                annotation = annotation.slice
            assert ast.unparse(annotation) != "Final", f"{self._name}.{name} needs a type"
            found.append(self._property(name, annotation, f"The {name.replace('_', ' ')} of this {self._noun()}."))
        return found

    def _noun(self) -> str:
        return {"EmbeddedCluster": "cluster", "WorkerProcess": "worker"}.get(self._name, self._name.lower())

    def _property(self, name: str, annotation: ast.expr, doc: str) -> list[str]:
        self._names.use(annotation, self._known)
        kind = ast.unparse(annotation)
        head = ["    @property", f"    def {name}(self) -> {kind}:", f'        """{doc}"""']
        if self._name in BASES:  # in a fork the cluster is an ordinary one
            self._names.imports["cast"] = "from typing import cast"
            value = f'cast("Async{self._name}", self._first).{name}'
        else:
            value = f"self._current.{name}"
        if kind in CLASSES:
            return [*head, f"        found = self._within(lambda each: each.{name})",
                    f"        return {kind}(self._connection, found, {value}, self._cluster)"]  # fmt: skip
        if kind == "list[WorkerProcess]":
            self._names.imports["find_worker_process"] = "from skep.sync.handle import find_worker_process"
            each = "WorkerProcess(self._connection, find_worker_process(place), each, self._first)"
            return [*head, f"        return [{each} for place, each in enumerate({value})]"]
        return [*head, f"        return {value}"]

    def _method(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
        assert node.returns is not None, f"{self._name}.{node.name} says not what it returns"
        if any(ast.unparse(each) == "property" for each in node.decorator_list):
            doc = ast.get_docstring(node, clean=False) or ""
            return self._property(node.name, node.returns, doc)
        returns = ast.unparse(node.returns).replace("'", "").replace('"', "")
        self._names.use(node.args, self._known)
        call = f"lambda each: each.{node.name}({self._passed(node.args)})"
        if returns.startswith("AsyncIterator["):
            returns = returns.replace("AsyncIterator", "Reading")
            self._names.imports["Reading"] = "from skep.sync.reading import Reading"
            body = [f"return self._read({call})"]
        elif isinstance(node, ast.FunctionDef):
            assert returns in CLASSES, f"{self._name}.{node.name}: a plain method that returns no handle"
            body = [f"return {returns}(self._connection, self._within({call}))"]
        else:
            body = self._awaited(returns, call)
        self._names.use(ast.parse(returns), self._known)
        if returns.removeprefix("list[").removesuffix("]") == self._name:  # not defined yet
            returns = returns.replace(self._name, f'"{self._name}"')
        head = f"    def {node.name}({ast.unparse(node.args)}) -> {returns}:"
        return [head, *self._docstring(node, 8), *(f"        {line}" for line in body)]

    def _awaited(self, returns: str, call: str) -> list[str]:
        """Return the body of a method whose asynchronous one is awaited."""
        inner = returns.removeprefix("list[").removesuffix("]")
        if inner in FINDERS:
            self._names.imports[FINDERS[inner]] = f"from skep.sync.handle import {FINDERS[inner]}"
            if inner == returns:
                made = f"made = self._wait({call})"
                return [made, f"return {inner}(self._connection, {FINDERS[inner]}(made), made, self._cluster)"]
            each = f"{inner}(self._connection, {FINDERS[inner]}(made), made, self._cluster)"
            return [f"return [{each} for made in self._wait({call})]"]
        assert inner not in CLASSES, f"{returns}: not known how it is found after a fork"
        if returns == "Self":
            return [f"self._wait({call})", "return self"]
        return [f"self._wait({call})"] if returns == "None" else [f"return self._wait({call})"]

    def _passed(self, arguments: ast.arguments) -> str:
        """Return the arguments of a method as its body passes them on."""
        plain = [each.arg for each in (*arguments.posonlyargs, *arguments.args)][1:]
        named = [f"{each.arg}={each.arg}" for each in arguments.kwonlyargs]
        rest = [f"**{arguments.kwarg.arg}"] if arguments.kwarg else []
        assert arguments.vararg is None
        return ", ".join([*plain, *named, *rest])


def generated() -> str:
    """Return the module, unformatted."""
    names = Names({"Handle": "from skep.sync.handle import Handle"})
    classes = ["\n".join(ClassWriter(name, names).lines()) for name in CLASSES]
    return "\n\n\n".join([f"{HEADER}\n" + "\n".join(sorted(names.imports.values())), *classes]) + "\n"


def is_current() -> bool:
    """Return whether the committed module is what would be written, apart from its format."""
    return ast.dump(ast.parse(TARGET.read_text())) == ast.dump(ast.parse(_sorted_imports(generated())))


def _sorted_imports(source: str) -> str:
    return _ruff(_ruff(source, "check", "--fix", "--quiet", "--select", "I"), "format")


def _ruff(source: str, *command: str) -> str:
    done = subprocess.run(
        [RUFF, *command, "--stdin-filename", TARGET, "-"], input=source, capture_output=True, text=True, check=True,
        cwd=ROOT,
    )  # fmt: skip
    return done.stdout


def main() -> int:
    """Write the module or check it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare")
    if parser.parse_args().check:
        if is_current():
            return 0
        print(f"{TARGET.relative_to(ROOT)} is out of date: run python {Path(__file__).relative_to(ROOT)}")
        return 1
    TARGET.write_text(_sorted_imports(generated()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
