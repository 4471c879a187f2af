"""Tiers `userns` and `strict`: each session has namespaces of its own, and sees no file and process of others.

`sandbox.py` is the tier: what the zygote prepares, and what each fork does. `root_directory.py` builds the file system
that all sessions of a worker share, `session_mounts.py` adds a session's own parts to it; `pid_namespaces.py`,
`network.py` and `user_ids.py` are about one kind of namespace or identity each.

Imports `sandbox.kernel`, `sandbox.policy`, `sandbox.file_access` and `sandbox.denied_calls`.
"""
