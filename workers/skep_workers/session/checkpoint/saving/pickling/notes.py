"""What a pickler notes about the objects of one stream while it pickles them."""

from dataclasses import dataclass, field
from types import ModuleType


@dataclass(slots=True)
class StreamNotes:
    """Facts about one stream.

    named: keys of the definitions that the stream refers to.
    files: names of the files that its code objects were compiled from.
    constants: ids of the constants of its code objects.
    remarks: values that a restore will only have in part.
    referred: ids of objects that modules own, to which the stream has references.
    modules: the session's own modules that the stream mentions; the stream holds them empty.
    unknown: names of library classes whose loading has not been tried yet.
    finalized: classes that have a `__del__`.
    classes: definitions that were pickled by value.
    restores_by_code: loading the stream runs code of cells.
    hashes_by_state: loading the stream may hash an object before its state is set.
    is_remade: loading the stream may make another value than was saved, since code of cells takes part.
    """

    named: set[str] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    constants: set[int] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)
    referred: set[int] = field(default_factory=set)
    modules: list[ModuleType] = field(default_factory=list)
    unknown: set[str] = field(default_factory=set)
    finalized: set[type] = field(default_factory=set)
    classes: list[type] = field(default_factory=list)
    restores_by_code: bool = False
    hashes_by_state: bool = False
    is_remade: bool = False
