"""File descriptors: as many for this process as its clients may need, as far as the system lets it.

The numbers of the configuration enter; what is still missing leaves. Many systems give a process 1,024 at first, which
is enough for 500 clients, and more for the asking.
"""

import resource

__all__ = ["make_room"]

# The ledger, what is listened at, readers of large texts, cancels on their way.
_BESIDE = 128


def make_room(clients: int, logins: int, callers: int) -> int:
    """Raise our own limit if it is too low, and return how many descriptors are missing even so; 0 if none.

    A client holds two, since each has a session of its own upstream; one that logs in may hold two as well. Callers
    speak HTTP, and hold one.
    """
    needed = 2 * (clients + logins) + callers + _BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _enough(soft, needed):
        return 0
    raised = needed if _enough(hard, needed) else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    return needed - raised


def _enough(limit: int, needed: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= needed
