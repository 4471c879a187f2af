"""The worker host: talks to Redis and owns session processes; never runs user code, never unpickles."""
