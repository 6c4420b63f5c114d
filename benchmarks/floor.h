/* What the floors of the benchmarks share: what epoll, recv and send cost with nothing around them.
 *
 * Speaks just enough WebSocket for the drivers: answers any request with 101 (Sec-WebSocket-Accept is not
 * computed), and takes text frames of up to 64 KiB. A frame must arrive in one piece, as the drivers' do. Who
 * includes this has `frame_came` and `hung_up`. `serve` prints its port. */
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
static char upgraded[CONNECTIONS_MAX];
static int highest;

/* `out` has a whole frame of the server's, its payload from `payload` on, so that it can be echoed. */
static void frame_came(int fd, unsigned char *payload, size_t size);
static void hung_up(int fd);

static size_t head(unsigned char *to, size_t size) {
    to[0] = 0x81;
    if (size < 126) { to[1] = size; return 2; }
    to[1] = 126; to[2] = size >> 8; to[3] = size & 255;
    return 4;
}

static void send_whole(int fd, const void *data, size_t size) {
    if (send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size) { perror("send"); exit(1); }
}

static void frames(int fd, size_t got) {
    for (size_t at = 0; at < got;) {
        const unsigned char *frame = in + at;
        size_t size = frame[1] & 127, mask = 2;
        if (size == 126) { size = frame[2] << 8 | frame[3]; mask = 4; }
        if (got - at < mask + 4 + size) exit(2);
        size_t start = head(out, size);
        for (size_t i = 0; i < size; i++) out[start + i] = frame[mask + 4 + i] ^ frame[mask + (i & 3)];
        at += mask + 4 + size;
        frame_came(fd, out + start, size);
    }
}

static void readable(int fd) {
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: none\r\n\r\n";
    ssize_t got = recv(fd, in, sizeof in, MSG_DONTWAIT);
    if (got <= 0) { upgraded[fd] = 0; hung_up(fd); close(fd); return; }
    if (upgraded[fd]) { frames(fd, got); return; }
    send_whole(fd, answer, sizeof answer - 1);
    upgraded[fd] = 1;
}

static int listening(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) { perror("listen"); exit(1); }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

/* Serves for ever. `after` is called after each look at the sockets, and says in how many ms at most the next
 * one is to be; -1: when something comes. */
static void serve(int (*after)(void)) {
    int listener = listening(), epoll = epoll_create1(0), wait_ms = -1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll, events, EVENTS, wait_ms);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) { readable(fd); continue; }
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0 && fd < CONNECTIONS_MAX) {
                event.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
                if (fd > highest) highest = fd;
            }
        }
        wait_ms = after();
    }
}
