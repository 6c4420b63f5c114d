/* The floor of the transports' benchmarks: echoes text frames, and on "!all SIZE" sends one SIZE-byte message to
 * every other connection, one send() each, then "ok" to the author. */
#include "floor.h"

static void hung_up(int fd) { (void)fd; }

static void send_all(int author, size_t size) {
    size_t start = head(out, size);
    memset(out + start, 'x', size);
    for (int fd = 0; fd <= highest; fd++)
        if (upgraded[fd] && fd != author) send_whole(fd, out, start + size);
    start = head(out, 2);
    memcpy(out + start, "ok", 2);
    send_whole(author, out, start + 2);
}

static void frame_came(int fd, unsigned char *payload, size_t size) {
    if (size > 5 && !memcmp(payload, "!all ", 5)) send_all(fd, strtoul((char *)payload + 5, NULL, 10));
    else send_whole(fd, out, payload - out + size);
}

static int nothing(void) { return -1; }

int main(void) { serve(nothing); }
