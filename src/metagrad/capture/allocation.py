"""Large blocks of memory that stay with the process."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of malloc.h
_NEVER = 2**31 - 1
_LARGEST = 2**30


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory of this process for its next allocation; whether it could be told so.

    A compiled graph allocates its intermediate tensors anew at each call. glibc hands those above 32 MiB back to the
    system when they are freed, and the system clears each page again on its next use: half of the time of an outer
    gradient on 75 images of 84×84. The price is that the process keeps the memory of its largest moment.

    It is for the whole process, so nothing in the library calls it; the command line does where it captures. On other
    C libraries nothing happens, and blocks above 1 GiB are handed back as before.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, no such library, no library without a name
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _NEVER))
