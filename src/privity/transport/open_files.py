"""How many files a process may have open, and so how many connections."""

import resource

MAX_CONNECTIONS = 4096
"""Of one listener. Each costs some 40 kB in each role that its requests pass through."""

WANTED_FILES = 8 * MAX_CONNECTIONS
"""Open files that a program asks for; the usual limit of 1024 is there for what can't count further."""

FILES_PER_CONNECTION = 6
"""Open files that an app's connection takes in a `privity up`, all of whose roles are one process: one towards the app
and one towards the engine, and both ends of two between roles."""


def raise_limit() -> None:
    """Let this process open as many files as it wants, so far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def max_connections() -> int:
    """Return how many connections a listener of this process can have so that requests over all of them can go on."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft == resource.RLIM_INFINITY else min(MAX_CONNECTIONS, soft // FILES_PER_CONNECTION)
