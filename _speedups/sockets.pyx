# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What is done to many sockets at once: one kind of system call in a row keeps its code in the caches."""

from libc.errno cimport EAGAIN, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport strerror

cdef extern from "<sys/socket.h>" nogil:
    cdef struct sockaddr:
        unsigned short sa_family
    ctypedef unsigned int socklen_t
    int accept4(int fd, sockaddr *address, socklen_t *size, int flags)
    int SOCK_NONBLOCK
    int SOCK_CLOEXEC
    int AF_INET6

cdef extern from "<arpa/inet.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr
    const char *inet_ntop(int family, const void *source, char *text, socklen_t size)
    uint16_t ntohs(uint16_t port)

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)


def accept(int listener, int most):
    """Accept at most so many TCP connections, non-blocking and closed on exec: [(fd, "host:port"), ...].

    Raises OSError as accept(2) does, where it was the first one; later ones wait for the next call.
    """
    cdef char address[80]
    cdef int fd
    cdef list accepted = []
    while len(accepted) < most:
        fd = accept_connection(listener, address, sizeof(address))
        if fd >= 0:
            accepted.append((fd, address.decode()))
        elif accepted or errno == EAGAIN:
            break
        else:
            raise OSError(errno, strerror(errno).decode())
    return accepted


def close(list fds not None):
    """Close all these descriptors."""
    cdef int fd
    for fd in fds:
        c_close(fd)


cdef int accept_connection(int listener, char *text, size_t size) noexcept nogil:
    """Accept, non-blocking and closed on exec, and write the peer's "host:port"; -1 and errno otherwise."""
    cdef sockaddr_in6 address
    cdef sockaddr_in *old = <sockaddr_in *>&address
    cdef socklen_t length = sizeof(address)
    cdef char host[64]
    cdef int fd = accept4(listener, <sockaddr *>&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if fd < 0:
        return fd
    if (<sockaddr *>&address).sa_family == AF_INET6:
        inet_ntop(AF_INET6, &address.sin6_addr, host, sizeof(host))
        snprintf(text, size, b"[%s]:%d", host, <int>ntohs(address.sin6_port))
    else:
        inet_ntop((<sockaddr *>&address).sa_family, &old.sin_addr, host, sizeof(host))
        snprintf(text, size, b"%s:%d", host, <int>ntohs(old.sin_port))
    return fd
