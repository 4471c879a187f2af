"""Probes at files: the machine's, the worker's, and those of another session."""

from skep_workers.sandbox.kernel.landlock import ABI

from .probe import Probe, in_basic

_METADATA = "Landlock, which this tier uses, does not restrict it; only a user or a mount namespace of its own would"

FILES = [
    Probe("read_host_file", "read a file of the worker's user", "reads(secret)"),
    Probe("write_host_file", "change a file of the worker's user", "opens(secret)"),
    Probe("truncate_host_file", "truncate a file by its path", "os.truncate(spare, 0)\nTrue", landlock=ABI.TRUNCATE),
    Probe("delete_host_file", "delete a file of the worker's user", "os.unlink(doomed)\nTrue"),
    Probe("create_host_file", "create a file in the worker's directory", "opens(f'{worker_directory}/new', 65)"),
    Probe("list_worker_directory", "list the worker's directory", "bool(os.listdir(worker_directory))"),
    Probe("list_sessions", "list the directories of all sessions", "'victim' in os.listdir(place)"),
    Probe("read_session_file", "read another session's file", "reads(victim_file)"),
    Probe("write_session_file", "change another session's file", "opens(victim_file)"),
    Probe("create_session_file", "create a file in another session's directory", "opens(f'{victim_directory}/new', 65)"),
    Probe("rename_session_file", "move another session's file away", "os.rename(victim_spare, 'taken')\nTrue"),
    Probe("link_host_file", "link a file of the worker into the own directory", "os.link(secret, 'link')\nreads('link')"),
    Probe("read_through_symlink", "read a file through an own symbolic link", "os.symlink(secret, 'to')\nreads('to')"),
    Probe("read_through_root", "read a file through /proc/self/root", "reads(f'/proc/self/root{secret}')"),
    Probe("read_through_directory", "read a file below a descriptor of the root directory",
          "top = os.open('/', os.O_PATH)\nfd = os.open(secret.lstrip('/'), os.O_RDONLY, dir_fd=top)\nbool(os.read(fd, 1))"),
    Probe("watch_names", "watch the names of files in a directory that can't be listed",
          "fd = libc.inotify_init1(0)\nlibc.inotify_add_watch(fd, victim_directory.encode(), 0x100) >= 0"),
    Probe("read_temporary_files", "list the machine's temporary directory", "temporary_name in os.listdir('/tmp')"),
    Probe("read_passwords", "read /etc/shadow", "opens('/etc/shadow', os.O_RDONLY)", as_root=True),
    Probe("write_python", "change a module of the Python installation", "opens(os.__file__)", as_root=True),
    Probe("write_kernel_setting", "change a kernel setting below /proc/sys",
          "opens('/proc/sys/kernel/core_pattern')", as_root=True),
    Probe("read_kernel_log", "read the kernel's log from its device",
          "opens('/dev/kmsg', os.O_RDONLY | os.O_NONBLOCK)", as_root=True),
    Probe("make_device", "make a device file", "os.mknod('device', 0o20600, os.makedev(1, 3))\nTrue", as_root=True),
    Probe("inherited_descriptor", "read through a descriptor that the zygote had open",
          "bool(os.pread(sys.modules['skep_escape_leak'].DESCRIPTOR, 1, 0))"),
    Probe("stat_host_file", "see that a file exists, its size and times", "os.stat(secret).st_size > 0",
          in_basic(_METADATA)),
    Probe("chmod_host_file", "change the mode of a file of the worker's user", "os.chmod(spare, 0o600)\nTrue",
          in_basic(_METADATA)),
    Probe("utime_host_file", "change the times of a file of the worker's user", "os.utime(spare)\nTrue",
          in_basic(_METADATA)),
]  # fmt: skip
