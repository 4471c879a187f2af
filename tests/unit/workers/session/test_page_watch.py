"""The kernel reports every written page, whatever happens to the memory; where it can't, no buffer is watched."""

import ctypes
import mmap
import os
import random

import pytest

from skep_shared.checkpoints.content_chunks import CHUNK_BYTES, split
from skep_workers.session.checkpoint.unchanged import page_watch, unchanged_buffers
from skep_workers.session.checkpoint.unchanged.page_watch import PAGE, PageWatch
from skep_workers.session.checkpoint.unchanged.unchanged_buffers import UnchangedBuffers, address_of

PAGES = 16
MAP_FIXED, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, READ_WRITE = 0x10, 2, 1, 0x20, 3
MREMAP_MAYMOVE, MREMAP_FIXED = 1, 2
libc = ctypes.CDLL(None, use_errno=True)
for function in (libc.mmap, libc.mremap):
    function.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


@pytest.fixture
def watch():
    """The kernel's watch; without one the test is skipped."""
    try:
        watch = PageWatch()
    except OSError as exc:
        pytest.skip(f"not run: this kernel doesn't report written pages ({exc})")
    yield watch
    watch.close()


@pytest.fixture
def start():
    """The address of some pages of memory, filled with ones."""
    address = libc.mmap(None, PAGES * PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    ctypes.memset(address, 1, PAGES * PAGE)
    yield address
    libc.munmap(address, PAGES * PAGE)


def clean_pages(watch, start):
    """Return the numbers of the clean pages; none if they are no longer watched."""
    try:
        found = watch.clean_ranges((start, start + PAGES * PAGE))
    except OSError:
        return set()
    return {number for first, end in found for number in range((first - start) // PAGE, (end - start) // PAGE)}


ALL = set(range(PAGES))


def read_into(address):
    read, write = os.pipe()
    os.write(write, b"new")
    os.readv(read, [(ctypes.c_char * 3).from_address(address)])
    os.close(read)
    os.close(write)


def map_again(address):
    libc.mmap(address, PAGE, READ_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)


def unmap_and_map_again(address):
    libc.munmap(address, PAGE)
    map_again(address)


def move_onto(address):
    other = libc.mmap(None, PAGE, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    ctypes.memset(other, 9, PAGE)
    libc.mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, address)


def share(address):
    libc.mmap(address, PAGE, READ_WRITE, MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS, -1, 0)


CHANGES = {
    "a write": lambda address: ctypes.memset(address + 5, 2, 1),
    "a system call's write": read_into,
    "memory freed": lambda address: libc.madvise(ctypes.c_void_p(address), PAGE, mmap.MADV_DONTNEED),
    "memory mapped over it": map_again,
    "memory unmapped and mapped again": unmap_and_map_again,
    "memory moved onto it": move_onto,
    "shared memory in its place": share,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_page_is_not_clean(watch, start, change):
    watch.protect((start, start + PAGES * PAGE))
    assert clean_pages(watch, start) == ALL

    change(start + 3 * PAGE)

    assert 3 not in clean_pages(watch, start)


def test_a_page_counts_as_written_in_one_scan_only(watch, start):
    watch.protect((start, start + PAGES * PAGE))
    ctypes.memset(start + PAGE, 2, 1)
    ctypes.memset(start + 5 * PAGE, 2, 1)

    assert [clean_pages(watch, start), clean_pages(watch, start)] == [ALL - {1, 5}, ALL]


def test_a_freed_page_is_not_clean_even_if_it_was_read_since(watch, start):
    watch.protect((start, start + PAGES * PAGE))
    libc.madvise(ctypes.c_void_p(start), PAGE, mmap.MADV_DONTNEED)
    assert ctypes.string_at(start, 1) == b"\0"

    assert clean_pages(watch, start) == ALL - {0}


def test_writes_of_a_forked_child_do_not_count_in_the_parent(watch, start):
    watch.protect((start, start + PAGES * PAGE))
    child = os.fork()
    if child == 0:
        ctypes.memset(start, 7, PAGES * PAGE)
        os._exit(0)
    os.waitpid(child, 0)

    assert clean_pages(watch, start) == ALL
    ctypes.memset(start, 2, 1)  # after the fork a write copies the page
    assert clean_pages(watch, start) == ALL - {0}


def test_released_memory_is_not_clean(watch, start):
    watch.protect((start, start + PAGES * PAGE))
    watch.release((start, start + PAGES * PAGE))

    assert clean_pages(watch, start) == set()


def test_nothing_is_clean_once_the_descriptors_are_closed(start):
    watch = PageWatch.open()
    if watch is None:
        pytest.skip("not run: this kernel doesn't report written pages")
    watch.protect((start, start + PAGES * PAGE))
    watch.close()

    assert clean_pages(watch, start) == set()


def test_there_is_no_watch_on_an_unsupported_machine(monkeypatch):
    monkeypatch.setattr(page_watch, "_SYSCALL", {})

    assert PageWatch.open() is None


def names(view):
    return [name for name, _ in split(view)]


def memory_of(size):
    """Return memory that shares no page with other data, whose writes would count as its own."""
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def snapshot(buffers, view):
    """Do what a snapshot does; return the chunks' names, and how many chunks it hashed."""
    known = buffers.find_unchanged(has_threads=False).get(address_of(view), ())
    found = [name for name, _ in split(view, known)]
    buffers.record({address_of(view): found})
    return found, known.count(None) if known else len(found)


@pytest.mark.parametrize("seed", range(5))
def test_chunk_names_match_the_content_after_any_writes(watch, seed, monkeypatch):
    monkeypatch.setattr(
        unchanged_buffers, "may_miss_writes", lambda: False
    )  # whatever else this machine does meanwhile
    rng = random.Random(seed)
    buffers, view, hashed = UnchangedBuffers(lambda: watch), memory_of(8 * CHUNK_BYTES + 1000), []
    view[:] = rng.randbytes(len(view))
    for _ in range(60):
        for _ in range(rng.choice([0, 0, 0, 0, 1, 3, 200])):
            place = rng.randrange(len(view))
            view[place] = rng.randrange(256)
        found, count = snapshot(buffers, view)
        assert found == names(view)
        hashed.append(count)

    assert {0, 9} <= set(hashed)  # otherwise nothing was watched, or nothing was hashed


def test_an_unchanged_buffer_is_hashed_three_times_and_then_only_where_it_changes(watch):
    view = memory_of(20 * CHUNK_BYTES)
    view[:] = random.Random(1).randbytes(len(view))
    buffers = UnchangedBuffers(lambda: watch)

    assert [snapshot(buffers, view)[1] for _ in range(4)] == [20, 20, 20, 0]  # watched from the third on
    view[3 * CHUNK_BYTES + PAGE] ^= 1
    assert [snapshot(buffers, view)[1] for _ in range(2)] == [1, 0]


def test_a_rewritten_buffer_is_released_and_must_be_unchanged_for_longer(watch):
    view = memory_of(20 * CHUNK_BYTES)
    buffers, rng, hashed = UnchangedBuffers(lambda: watch), random.Random(1), []
    for round_number in range(14):
        if round_number in {0, 4}:
            view[:] = rng.randbytes(len(view))
        hashed.append(snapshot(buffers, view)[1])

    assert hashed == [20, 20, 20, 0, 20, 20, 20, 20, 0, 0, 0, 0, 0, 0]


def test_a_fork_starts_with_no_watch_and_does_not_disturb_its_parents(watch):
    view = memory_of(8 * CHUNK_BYTES)
    view[:] = random.Random(1).randbytes(len(view))
    buffers = UnchangedBuffers(lambda: watch)
    for _ in range(4):
        snapshot(buffers, view)
    child = os.fork()
    if child == 0:
        buffers._open_watch = PageWatch.open
        view[5] ^= 1
        hashed = []
        for _ in range(4):
            found, count = snapshot(buffers, view)
            hashed.append(count if found == names(view) else -1)
        os._exit(0 if hashed == [8, 8, 8, 0] else 1)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert snapshot(buffers, view) == (names(view), 0)


def test_a_buffer_that_always_changes_is_never_watched():
    opened = []
    view, rng = memory_of(8 * CHUNK_BYTES), random.Random(1)
    buffers = UnchangedBuffers(lambda: opened.append(1))
    for _ in range(5):
        view[:] = rng.randbytes(len(view))
        snapshot(buffers, view)

    assert not opened


@pytest.mark.parametrize("why", ["threads", "pinned memory"])
def test_everything_is_hashed_where_a_device_may_write(watch, monkeypatch, why):
    view = memory_of(8 * CHUNK_BYTES)
    buffers = UnchangedBuffers(lambda: watch)
    for _ in range(4):
        snapshot(buffers, view)
    assert buffers.find_unchanged(has_threads=False)

    monkeypatch.setattr(unchanged_buffers, "may_miss_writes", lambda: why == "pinned memory")

    assert not buffers.find_unchanged(has_threads=why == "threads")
    assert not buffers.find_unchanged(has_threads=False)  # it may have been written meanwhile
