# cython: language_level=3
"""A socket's queue of frames in C, and the system calls that write it; nothing here needs the GIL."""

from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, ENOBUFS, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "<sys/socket.h>" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    cdef struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    ssize_t c_send "send"(int fd, const void *data, size_t size, int flags)
    int MSG_DONTWAIT
    int MSG_NOSIGNAL

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *now)
    int CLOCK_MONOTONIC

cdef enum:
    IOVECS_MAX = 64


cdef struct Item:
    # One queued frame; its pointers are read without the GIL, its reference is owned by the queue.
    PyObject *frame
    const char *data
    size_t size


cdef struct Slot:
    Item *queue
    uint64_t mark        # the publish that has a substitute for this slot, and which one
    size_t bytes         # in the queue
    size_t written       # after a write: bytes of queue[sent] that are out
    uint32_t substitute
    uint32_t count
    uint32_t room
    uint32_t sent        # after a write: whole items that are out
    uint32_t generation
    int fd               # of a free slot: the next free one
    int error
    uint8_t state
    uint8_t form
    uint8_t dirty


cdef struct Form:
    Item *items
    uint32_t count


cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline ssize_t write_items(int fd, Item *items, size_t count, size_t skip) noexcept nogil:
    """One system call for at most 64 items, less the first `skip` bytes; the bytes taken, or -1 and errno."""
    cdef iovec vectors[IOVECS_MAX]
    cdef msghdr message
    cdef size_t i
    cdef ssize_t got
    if count > IOVECS_MAX:
        count = IOVECS_MAX
    if count > 1:
        for i in range(count):
            vectors[i].iov_base = <void *>items[i].data
            vectors[i].iov_len = items[i].size
        vectors[0].iov_base = <char *>vectors[0].iov_base + skip
        vectors[0].iov_len -= skip
        memset(&message, 0, sizeof(message))
        message.msg_iov = vectors
        message.msg_iovlen = count
    while True:
        if count == 1:
            got = c_send(fd, items[0].data + skip, items[0].size - skip, MSG_DONTWAIT | MSG_NOSIGNAL)
        else:
            got = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if got >= 0 or errno != EINTR:
            return got


cdef inline bint advance(Slot *slot, size_t got) noexcept nogil:
    """Count `got` bytes as written; true when they end with a whole item."""
    slot.written += got
    while slot.sent < slot.count and slot.written >= slot.queue[slot.sent].size:
        slot.written -= slot.queue[slot.sent].size
        slot.sent += 1
    return slot.written == 0


cdef inline void write_slot(Slot *slot) noexcept nogil:
    """Write the slot's queue until it is empty or the kernel takes less than it was given."""
    cdef ssize_t got
    cdef uint32_t offered
    slot.error = 0
    while slot.sent < slot.count:
        offered = slot.sent + IOVECS_MAX
        got = write_items(slot.fd, slot.queue + slot.sent, slot.count - slot.sent, slot.written)
        if got < 0:
            if errno != EAGAIN and errno != ENOBUFS:
                slot.error = errno
            return
        if not advance(slot, got) or (slot.sent < slot.count and slot.sent < offered):
            return
