/* The floor of the benchmarks: what epoll, recv and send cost with nothing around them.
 *
 * Speaks just enough WebSocket for the driver: answers any request with 101 (Sec-WebSocket-Accept is not
 * computed), echoes text frames of up to 64 KiB, and on "!all SIZE" sends one SIZE-byte message to every
 * other connection, one send() each. A connection's frame must arrive in one piece, as the driver's do.
 * Prints its port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 65536, BUFFER_BYTES = 1 << 17, EVENTS = 256 };

static unsigned char in[BUFFER_BYTES], out[BUFFER_BYTES];
static char open_fds[CONNECTIONS_MAX], upgraded[CONNECTIONS_MAX];
static int highest;

static size_t head(unsigned char *to, size_t size) {
    to[0] = 0x81;
    if (size < 126) { to[1] = size; return 2; }
    to[1] = 126; to[2] = size >> 8; to[3] = size & 255;
    return 4;
}

static void send_whole(int fd, const void *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) { perror("send"); exit(1); }
}

static void send_all(int author, size_t size) {
    size_t start = head(out, size);
    memset(out + start, 'x', size);
    for (int fd = 0; fd <= highest; fd++)
        if (upgraded[fd] && fd != author) send_whole(fd, out, start + size);
    start = head(out, 2);
    memcpy(out + start, "ok", 2);
    send_whole(author, out, start + 2);
}

static size_t unmasked(const unsigned char *frame, size_t got, size_t *used) {
    size_t size = frame[1] & 127, at = 2;
    if (size == 126) { size = frame[2] << 8 | frame[3]; at = 4; }
    if (got < at + 4 + size) exit(2);
    size_t start = head(out, size);
    for (size_t i = 0; i < size; i++) out[start + i] = frame[at + 4 + i] ^ frame[at + (i & 3)];
    *used = at + 4 + size;
    return start;
}

static void frames(int fd, size_t got) {
    for (size_t at = 0, used; at < got; at += used) {
        size_t start = unmasked(in + at, got - at, &used);
        size_t size = (out[1] & 127) == 126 ? (size_t)(out[2] << 8 | out[3]) : out[1] & 127;
        if (size > 5 && !memcmp(out + start, "!all ", 5)) send_all(fd, strtoul((char *)out + start + 5, NULL, 10));
        else send_whole(fd, out, start + size);
    }
}

static void readable(int fd) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: none\r\n\r\n";
    ssize_t got = recv(fd, in, sizeof in, MSG_DONTWAIT);
    if (got <= 0) { open_fds[fd] = upgraded[fd] = 0; close(fd); return; }
    if (upgraded[fd]) { frames(fd, got); return; }
    send_whole(fd, answer, sizeof answer - 1);
    upgraded[fd] = 1;
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0), on = 1;
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) { perror("listen"); return 1; }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) { readable(fd); continue; }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0 && fd < CONNECTIONS_MAX) {
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                open_fds[fd] = 1;
                if (fd > highest) highest = fd;
            }
        }
    }
}
