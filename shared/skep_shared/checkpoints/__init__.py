"""Checkpoints for clients, workers and session processes alike: ids, the manifest, the cut into chunks.

Imports nothing that talks to Redis, so that session processes stay small. How all this is stored is in `chunks`.
"""
