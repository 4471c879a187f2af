"""Which calls of get_running_loop only check for a loop, and calls on the main thread for other threads."""

import contextlib
import sys
import threading

import pytest

from skep_workers.session.runtime.main_thread import MainThread
from skep_workers.session.runtime.running_loop import _only_asks

ASKS = {
    "except RuntimeError": "try: ask()\n    except RuntimeError: pass",
    "with a result": "try:\n        x = ask()\n    except RuntimeError:\n        x = None",
    "a tuple": "try: ask()\n    except (ValueError, RuntimeError): pass",
    "a later clause": "try: ask()\n    except ValueError: pass\n    except RuntimeError: pass",
    "an else": "try: ask()\n    except RuntimeError: pass\n    else: x = 1",
    "a finally around it": "try:\n        try: ask()\n        except RuntimeError: pass\n    finally: x = 1",
    "returned": "try: return ask()\n    except RuntimeError: return None",
}
WANTS = {
    "nothing around it": "ask()",
    "another exception": "try: ask()\n    except ValueError: pass",
    "every exception": "try: ask()\n    except Exception: pass",
    "a finally": "try: ask()\n    finally: x = 1",
    "a with": "with contextlib.nullcontext(): ask()",
    "in the handler": "try: x = 1 / 0\n    except ZeroDivisionError: ask()",
    "after it": "try: x = 1\n    except RuntimeError: pass\n    ask()",
}


def asked(body: str, filename: str = "module.py") -> bool:
    found = []
    names = {"ask": lambda: found.append(_only_asks(sys._getframe(1))), "contextlib": contextlib}
    exec(compile(f"def f():\n    {body}\n", filename, "exec"), names)  # noqa: S102 - code of this test
    names["f"]()
    return found[0]


@pytest.mark.parametrize("body", ASKS.values(), ids=ASKS.keys())
def test_a_module_that_expects_the_error_gets_the_error(body):
    assert asked(body) is True


@pytest.mark.parametrize("body", WANTS.values(), ids=WANTS.keys())
def test_a_module_that_does_not_expect_the_error_gets_the_loop(body):
    assert asked(body) is False


@pytest.mark.parametrize("body", ASKS.values(), ids=ASKS.keys())
def test_code_of_a_cell_gets_the_loop(body):
    assert asked(body, "<cell 7>") is False


def test_the_main_thread_makes_calls_for_other_threads_while_it_waits():
    main, results = MainThread(), []
    main.install()

    def call() -> None:
        results.append(main.call(threading.get_ident))
        with pytest.raises(ZeroDivisionError):
            main.call(lambda: 1 / 0)
        results.append("raised")

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()

    assert results == [threading.get_ident(), "raised"]
    assert main.call(threading.get_ident) == threading.get_ident()
