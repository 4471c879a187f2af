"""The blocks of frames and series that share memory until one of them is written to, as bytes and back.

pandas records for a block's values which other blocks have them, and copies them before it writes to one. Pickled by
pandas itself, blocks that share their values would share them after a restore, too, but without that record: writing to
a frame would change the series that was selected from it. A version of pandas without these records is not changed.
"""

from typing import Any, Final

from skep_workers.session.checkpoint.reducers.definitions import Reduced, Reducer, module_of

_INTERNALS: Final = "pandas._libs.internals"


def reducer_of(kind: type) -> Reducer | None:
    """Return the reducer for instances of a class of pandas; None if pickle does."""
    if kind.__name__ == "BlockValuesRefs" and module_of(kind) == _INTERNALS:
        return _reduce_references
    if any(base.__name__ == "Block" and module_of(base) == _INTERNALS for base in kind.__mro__):
        return _reduce_block
    return _reduce_series_manager if kind.__name__ == "SingleBlockManager" else None


def _reduce_references(references: Any) -> Reduced:
    return type(references), ()


def _reduce_series_manager(manager: Any) -> Any:
    """Reduce the manager of a series to its block and axis; pandas would save the values instead of the block."""
    block, axis = manager.blocks[0], manager.axes[0]
    return (type(manager), (block, axis)) if _shares(block) else manager.__reduce_ex__(4)


def _reduce_block(block: Any) -> Any:
    reduced = block.__reduce__()
    is_shared = len(reduced) == 2 and _shares(block)
    return (*reduced, block.refs, None, None, join_references) if is_shared else reduced


def _shares(block: Any) -> bool:
    blocks = getattr(getattr(block, "refs", None), "referenced_blocks", ())
    return sum(each() is not None for each in blocks) > 1


def join_references(block: Any, references: Any) -> None:
    """Record in pandas that this block shares its values, so that it copies them before it writes to them."""
    references.add_reference(block)
    block.refs = references
