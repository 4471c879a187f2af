"""What the host exchanges with Redis and arq, except for a session's own events: lease, mailbox, activations, answers.

Only `dispatch` imports arq. Has no access to session processes.
"""
