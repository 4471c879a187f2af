"""Probes at the kernel: namespaces, mounts, and its parts that sessions have no use for.

A call that would do harm is made with wrong arguments: it must be refused before the kernel looks at them.
"""

from .probe import Probe

_ABSENT = "ctypes.c_char_p(b'/absent/file')"

KERNEL = [
    Probe("user_namespace", "make a user namespace", "in_child(lambda: call('unshare', 0x10000000) == 0)"),
    Probe("user_namespace_by_clone", "start a process in a user namespace",
          "in_child(lambda: (pid := call('clone', 0x10000011, 0, 0, 0, 0)) == 0 and os._exit(0) "
          "or os.waitpid(pid, 0)[1] == 0)"),
    Probe("user_namespace_by_clone3", "start a process in a user namespace, by the newer call",
          "reaches('clone3', 0, 0)"),
    Probe("mount_namespace", "make a mount namespace", "in_child(lambda: call('unshare', 0x20000) == 0)", as_root=True),
    Probe("network_namespace", "make a network namespace", "in_child(lambda: call('unshare', 0x40000000) == 0)",
          as_root=True),
    Probe("enter_namespace", "enter the worker's mount namespace",
          "in_child(lambda: call('setns', os.open(f'/proc/{worker_pid}/ns/mnt', 0), 0x20000) == 0)", as_root=True),
    Probe("mount", "mount a file system", f"reaches('mount', {_ABSENT}, {_ABSENT}, {_ABSENT}, 0, 0)", as_root=True),
    Probe("unmount", "unmount a file system", f"reaches('umount2', {_ABSENT}, 0)", as_root=True),
    Probe("new_mount_calls", "mount a file system, by the newer calls", f"reaches('fsopen', {_ABSENT}, 0)", as_root=True),
    Probe("change_root", "change the root directory", f"reaches('chroot', {_ABSENT})", as_root=True),
    Probe("pivot_root", "replace the root file system", f"reaches('pivot_root', {_ABSENT}, {_ABSENT})", as_root=True),
    Probe("open_by_handle", "open a file by its number, past all directories", "reaches('open_by_handle_at', -1, 0, 0)"),
    Probe("watch_files", "watch the use of files by all processes", "reaches('fanotify_init', 0, 0)", as_root=True),
    Probe("bpf", "load a program into the kernel", "reaches('bpf', 0, 0, 0)", as_root=True),
    Probe("perf", "watch the kernel's performance events", "reaches('perf_event_open', 0, 0, -1, -1, 0)"),
    Probe("io_uring", "make system calls past the filter, by io_uring", "reaches('io_uring_setup', 1, 0)"),
    Probe("keyrings", "read the worker's kernel keyring", "reaches('keyctl', 0, -3, 0, 0, 0)"),
    Probe("add_key", "add a kernel key", "reaches('add_key', 0, 0, 0, 0, 0)"),
    Probe("userfaultfd", "hold up the kernel's own page faults", "os.close(call('userfaultfd', 0))\nTrue", as_root=True),
    Probe("load_module", "load a kernel module", "reaches('init_module', 0, 0, 0)", as_root=True),
    Probe("load_module_file", "load a kernel module from a file", "reaches('finit_module', -1, 0, 0)", as_root=True),
    Probe("unload_module", "unload a kernel module", f"reaches('delete_module', {_ABSENT}, 0)", as_root=True),
    Probe("kexec", "start another kernel", "reaches('kexec_load', 0, 0, 0, 1 << 20)", as_root=True),
    Probe("reboot", "reboot the machine", "reaches('reboot', 0, 0, 0, 0)", as_root=True),
    Probe("set_clock", "set the machine's clock", "reaches('clock_settime', 99, 0)"),
    Probe("set_hostname", "set the machine's name", "reaches('sethostname', 0, -1)", as_root=True),
    Probe("swap", "use a file as swap space", f"reaches('swapon', {_ABSENT}, 0)", as_root=True),
    Probe("accounting", "have all processes recorded", f"reaches('acct', {_ABSENT})", as_root=True),
    Probe("kernel_log", "read the kernel's log", "call('syslog', 10, 0, 0) > 0", as_root=True),
    Probe("type_into_terminal", "type into a terminal", "reaches('ioctl', 0, 0x5412, 0)"),
]  # fmt: skip
