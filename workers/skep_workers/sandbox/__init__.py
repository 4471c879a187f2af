"""The sandbox: what a session process may do to the machine, to its worker and to other sessions.

`policy.py` describes a sandbox, `basic.py` and `namespaced/` apply it, `making.py` makes the one that a policy names,
and `kernel/` makes the system calls. `probes/` finds out what this machine permits, and `tiers.py` decides from that
which tiers work here. `python -m skep_workers.sandbox` prints the findings; `skep doctor sandbox` is the same.

Imports the standard library, `skep_shared.errors` and `skep_shared.isolation` only: session processes import parts of
it.
"""
