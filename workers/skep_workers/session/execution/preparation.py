"""What is decided about a cell before it runs: its translation, its compiled code and its route."""

from collections import Counter
from typing import Any

from skep_shared.protocol.frames import Execute
from skep_shared.values import decode_value
from skep_workers.session.attribution.writer import Writer, current_writer
from skep_workers.session.checkpoint.checkpointer import Checkpointer
from skep_workers.session.compilation.analysis import CodeAnalyzer
from skep_workers.session.compilation.blocking_calls import DEFAULT_POLICY, ExecutionMode
from skep_workers.session.compilation.compiling import CellCompiler, cell_filename
from skep_workers.session.compilation.routing import Route, Router
from skep_workers.session.errors.sources import register_source
from skep_workers.session.execution.prepared import Prepared
from skep_workers.session.execution.warning_memory import forget_warnings
from skep_workers.session.magics.pasted import with_plain_line_ends
from skep_workers.session.magics.syntax import translate
from skep_workers.session.runtime.namespace import NamespaceManager
from skep_workers.session.safeguards.original_builtins import OriginalBuiltins


class CellPreparer:
    """Translates, compiles and routes the cells of one session."""

    def __init__(self, namespace: NamespaceManager) -> None:
        self._namespace = namespace
        self._builtins = OriginalBuiltins()
        self._compiler = CellCompiler()
        self._router = Router(DEFAULT_POLICY, namespace.names)

    @property
    def future_flags(self) -> int:
        """The compiler flags of the future imports that cells have made."""
        return self._compiler.future_flags

    @future_flags.setter
    def future_flags(self, flags: int) -> None:
        self._compiler.future_flags = flags

    def configure(self, detection: dict[str, Any], cache_size: int | None) -> None:
        """Set the changes to the detection of blocking calls, and the size of the analyzer's cache."""
        self._compiler.analyzer = CodeAnalyzer(cache_size)
        self._router.policy = DEFAULT_POLICY.changed(detection)

    def prepare(self, cell: Execute, writer: Writer, started_ns: int, checkpointer: Checkpointer | None) -> Prepared:
        """Return the cell ready to run, or with the error that keeps it from running."""
        filename = cell_filename(cell.seq)
        code = with_plain_line_ends(cell.code)
        register_source(code, filename)
        forget_warnings(self._namespace.names)
        token = current_writer.set(writer)  # the compiler's warnings are output of the cell
        try:
            with self._builtins:
                translated = translate(code, filename)
                if translated.shown is not code:
                    register_source(translated.shown, filename)
                compiled = self._compiler.compile(translated.source, filename)
                route = self._router.route(compiled.analysis)
                if cell.inputs is not None:
                    self._namespace.merge(decode_value(cell.inputs))
                if checkpointer is not None:
                    checkpointer.before_cell(compiled)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            exc.__traceback__ = None  # all its frames are the engine's
            return Prepared(cell, writer, started_ns, error=exc)
        finally:
            current_writer.reset(token)
        if compiled.awaits:  # the compiler's word is final; the analysis before it only estimates
            route = Route(ExecutionMode.TOP_LEVEL_AWAIT)
        return Prepared(cell, writer, started_ns, compiled, route, translated.is_timed, translated.capture)

    def remove_detected(self) -> dict[str, int]:
        """Return how often the router has detected each kind of call, and start again at zero."""
        if not self._router.counters:  # as for most cells; a new Counter takes longer than this test
            return {}
        detected, self._router.counters = dict(self._router.counters), Counter()
        return detected
