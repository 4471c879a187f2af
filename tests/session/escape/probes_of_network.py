"""Probes at the network, and at everything that Redis could listen on."""

from skep_workers.sandbox.kernel.landlock import ABI

from .probe import Probe, in_basic, with_namespaces

NETWORK = [
    Probe("redis_tcp", "reach Redis by TCP",
          "socket.create_connection(('127.0.0.1', tcp_port), 5).close()\nTrue"),
    Probe("redis_udp", "send a datagram to a port of this machine",
          "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp_port)) == 1"),
    Probe("redis_abstract", "reach Redis by an abstract unix socket",
          "socket.socket(socket.AF_UNIX).connect(abstract_name)\nTrue", landlock=ABI.SCOPES),
    Probe("redis_path", "reach Redis by a unix socket with a path",
          "socket.socket(socket.AF_UNIX).connect(socket_path)\nTrue",
          in_basic("the kernel checks only file permissions, and the user is the same: keep such a socket away from "
                   "the worker's user, or use TCP")),
    Probe("session_socket", "reach another session by a unix socket with a path, such as multiprocessing's forkserver",
          "socket.socket(socket.AF_UNIX).connect(victim_socket)\nTrue",
          in_basic("as above; its random name can be seen in /proc/net/unix")),
    Probe("list_sockets", "list the paths of the machine's unix sockets",
          "socket_path in open('/proc/net/unix').read()",
          in_basic("processes and sockets of others are visible in this tier")),
    Probe("list_session_sockets", "list the paths of other sessions' unix sockets",
          "victim_socket in open('/proc/net/unix').read()",
          in_basic("processes and sockets of others are visible in this tier")
          | with_namespaces("all sessions of a worker are in one network namespace; the sockets can't be reached")),
    Probe("metadata_address", "connect to the cloud's metadata address",
          "s = socket.socket()\ns.setblocking(False)\ns.connect_ex(('169.254.169.254', 80)) not in REFUSALS"),
    Probe("listen", "listen on a port", "socket.create_server(('127.0.0.1', 0)).close()\nTrue"),
    Probe("mptcp", "make a multipath TCP socket, which Landlock's TCP rules don't cover",
          "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).close()\nTrue"),
    Probe("netlink", "ask the kernel about the network by netlink",
          "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close()\nTrue"),
    Probe("raw_socket", "make a raw socket",
          "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close()\nTrue", as_root=True),
    Probe("packet_socket", "read packets of the network interface",
          "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()\nTrue", as_root=True),
]  # fmt: skip
