"""A pool's module in another form than expected is left as it is, and the cell that imports it gets a warning."""

from types import SimpleNamespace

import pytest

from skep_workers.session.attribution.pools import attribute_callbacks, attribute_executors, attribute_pools
from skep_workers.session.display import library_hooks


def a_class(*methods):
    """Return a class with these methods."""
    return type("Class", (), dict.fromkeys(methods, lambda *_: None))


def multiprocessing_pool(**other):
    """Return a module with the names of multiprocessing.pool that are changed; `other` replaces some."""
    names = {
        "Pool": a_class("_guarded_task_generation"),
        "ThreadPool": a_class("_setup_queues"),
        "ApplyResult": a_class("__init__", "_set"),
        "MapResult": a_class("__init__", "_set"),
        "IMapIterator": a_class("__init__"),
    }
    return SimpleNamespace(__name__="multiprocessing.pool", **names | other)


OTHERS = {
    "no generation": (attribute_pools, multiprocessing_pool(Pool=a_class())),
    "no queues": (attribute_pools, multiprocessing_pool(ThreadPool=a_class())),
    "no results": (attribute_pools, multiprocessing_pool(MapResult=a_class("__init__"))),
    "no threads' items": (attribute_executors, SimpleNamespace(__name__="concurrent.futures.thread")),
    "no run": (
        attribute_executors,
        SimpleNamespace(__name__="concurrent.futures.thread", _WorkItem=a_class("__init__")),
    ),
    "no processes' items": (attribute_callbacks, SimpleNamespace(__name__="concurrent.futures.process")),
}


@pytest.mark.parametrize(("attribute", "module"), OTHERS.values(), ids=OTHERS.keys())
def test_nothing_is_changed_if_a_name_is_missing(attribute, module):
    classes = {name: dict(vars(value)) for name, value in vars(module).items() if isinstance(value, type)}
    warnings = []

    library_hooks.apply(
        lambda module, _: attribute(module), module, SimpleNamespace(warn=lambda *words: warnings.append(words))
    )

    assert {name: dict(vars(getattr(module, name))) for name in classes} == classes
    [(category, message)] = warnings
    assert category == "display"
    assert message.startswith(f"output of {module.__name__} may be shown with another cell: AttributeError: ")


def test_a_pool_without_its_queue_or_its_calls_works_as_if_it_were_not_attributed():
    module = multiprocessing_pool(Pool=type("Pool", (), {"_guarded_task_generation": lambda *_: iter([1])}))
    attribute_pools(module)
    pool = module.ThreadPool()

    pool._setup_queues()
    assert list(module.Pool()._guarded_task_generation(1)) == [1]
