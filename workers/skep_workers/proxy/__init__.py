"""The proxy: the only way out for sessions whose network is an allow-list; a process of its own, one for each worker.

`server.py` takes a connection and decides, `request_head.py` parses what it asks for, `permissions.py` knows the
sessions and their hosts, `outside.py` resolves names and connects to addresses that it has checked, `relay.py` passes
bytes on. `control.py` is the socket to the worker. `socket_supply.py` makes the sockets of sessions whose sandbox has
no network namespace. `python -m skep_workers.proxy FD` runs it; skep_workers.host.network.proxy_process starts it.

It holds no secret of the worker: its environment is an allow-list, and credentials of sessions are stored as digests.
It imports the standard library, msgpack, the tables of skep_shared and the system calls of the sandbox.
"""
