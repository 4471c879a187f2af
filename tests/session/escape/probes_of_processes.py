"""Probes at processes: the worker's, the zygote's, and another session's; and at memory shared by name."""

from skep_shared.isolation.sandbox_tiers import Tier
from skep_workers.sandbox.kernel.landlock import ABI

from .probe import Probe, in_basic, in_every_tier

_VISIBLE = "processes are visible in this tier; give passwords to workers in the environment, not in arguments"
_NAMED = "multiprocessing needs /dev/shm; names can't be listed or watched, but Python's have only 32 random bits"

PROCESSES = [
    *(Probe(f"{whose}_{name}", f"read the {what} of {who}", code.format(pid=f"{{{whose}_pid}}"))
      for whose, who in (("worker", "the worker"), ("zygote", "the zygote"), ("victim", "another session"))
      for name, what, code in (
          ("environ", "environment", "reads(f'/proc/{pid}/environ')"),
          ("memory", "memory", "opens(f'/proc/{pid}/mem', os.O_RDONLY)"),
          ("maps", "memory map", "reads(f'/proc/{pid}/maps')"),
          ("descriptors", "open files", "bool(os.readlink(f'/proc/{pid}/fd/0'))"),
      )),
    Probe("steal_descriptor", "take over an open descriptor of the worker",
          "os.close(call('pidfd_getfd', os.pidfd_open(worker_pid), 0, 0))\nTrue"),
    Probe("read_memory_by_call", "read another session's memory by process_vm_readv",
          "local, remote = ctypes.create_string_buffer(8), (ctypes.c_void_p * 2)(victim_address, 8)\n"
          "here = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)\n"
          "libc.process_vm_readv(victim_pid, here, 1, remote, 1, 0) == 8"),
    Probe("trace_session", "trace another session",
          "found = libc.ptrace(0x4206, victim_pid, 0, 0) == 0\n"
          "found and (libc.ptrace(17, victim_pid, 0, 0), True)[1]"),
    Probe("enter_session_directory", "reach another session's files through its working directory",
          "reads(f'/proc/{victim_pid}/cwd/file')"),
    Probe("enter_session_root", "reach another session's files through its root directory",
          "reads(f'/proc/{victim_pid}/root{victim_file}')"),
    Probe("signal_worker", "signal the worker", "os.kill(worker_pid, signal.SIGCONT)\nTrue", landlock=ABI.SCOPES),
    Probe("signal_zygote", "signal the zygote", "os.kill(zygote_pid, signal.SIGCONT)\nTrue", landlock=ABI.SCOPES),
    Probe("signal_session", "signal another session", "os.kill(victim_pid, signal.SIGCONT)\nTrue", landlock=ABI.SCOPES),
    Probe("signal_by_handle", "signal another session by a pidfd",
          "signal.pidfd_send_signal(os.pidfd_open(victim_pid), signal.SIGCONT)\nTrue", landlock=ABI.SCOPES),
    Probe("limit_worker", "change the worker's limits", "call('prlimit64', worker_pid, 4, 0, 0)\nTrue"),
    Probe("slow_worker", "lower the worker's priority",
          "os.setpriority(os.PRIO_PROCESS, worker_pid, os.getpriority(os.PRIO_PROCESS, worker_pid))\nTrue"),
    Probe("slow_all", "lower the priority of all processes of its user",
          "call('setpriority', os.PRIO_USER, os.getuid(), os.getpriority(os.PRIO_PROCESS, 0)) == 0",
          {Tier.USERNS: "it reaches the session's own processes only", Tier.STRICT: "each session is a user of its own"}),
    Probe("bind_worker", "bind the worker to one processor",
          "os.sched_setaffinity(worker_pid, os.sched_getaffinity(worker_pid))\nTrue"),
    Probe("dump_core", "have core files written",
          "libc.setrlimit(4, (ctypes.c_ulong * 2)(1, 1)) == 0"),
    Probe("gain_privileges", "execute set-user-ID programs with their privileges", "libc.prctl(39, 0, 0, 0, 0) == 0"),
    Probe("use_capabilities", "use root's capabilities",
          "'CapEff:\\t0000000000000000' not in open('/proc/self/status').read()", as_root=True),
    Probe("see_processes", "see the processes of others, and what they are called", "reads(f'/proc/{victim_pid}/stat')",
          in_basic(_VISIBLE)),
    Probe("worker_arguments", "read the worker's command line", "reads(f'/proc/{worker_pid}/cmdline')",
          in_basic(_VISIBLE)),
    Probe("trace_own_child", "trace an own child", "in_child(lambda: libc.ptrace(0, 0, 0, 0) == 0)",
          in_every_tier("it is the session's own; debuggers need it")),
    Probe("first_arguments", "read the command line of the first process that it sees", "reads('/proc/1/cmdline')",
          in_basic(_VISIBLE)),
]  # fmt: skip

SHARED_MEMORY = [
    Probe("system_v_memory", "attach System V memory of another session", "call('shmget', key, 1, 0) >= 0"),
    Probe("system_v_semaphore", "use a System V semaphore of another session", "call('semget', key, 1, 0) >= 0"),
    Probe("system_v_queue", "read a System V message queue of another session", "call('msgget', key, 0) >= 0"),
    Probe("posix_queue", "open a POSIX message queue", "reaches('mq_open', ctypes.c_char_p(b'none'), 0, 0, 0)"),
    Probe("list_shared_memory", "list the names of shared memory", "bool(os.listdir('/dev/shm'))"),
    Probe("named_shared_memory", "open another session's shared memory by its name",
          "reads(f'/dev/shm/{memory_name}')", in_basic(_NAMED)),
]  # fmt: skip
