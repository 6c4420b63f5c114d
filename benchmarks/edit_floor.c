/* The floor of an edit: the reads and writes of a node, with nothing between them.
 *
 *     edit_floor EDITORS ACK_BYTES BROADCAST_BYTES RECORD_BYTES PAUSE_MS FILE
 *
 * Connections look at a document each, EDITORS of one document after the other. An OP is written to FILE with
 * those of the same pause, in one write() and one fdatasync(); then its author is sent an OP_ACK, and each other
 * one of its document an OP_BROADCAST, padded to these payloads. Nothing is checked, transformed or kept. */
#include "floor.h"
#include <fcntl.h>
#include <time.h>

enum { WAITING_MAX = 65536 };
static struct { int fd; unsigned long number; } waiting[WAITING_MAX];
static int place[CONNECTIONS_MAX], at_place[CONNECTIONS_MAX], versions[CONNECTIONS_MAX];
static int places, count, file;
static size_t editors, ack_bytes, broadcast_bytes, record_bytes;
static double pause_ms, due_ms;

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void hung_up(int fd) { at_place[place[fd]] = 0; }

static void answer(int fd, const char *text, size_t bytes) {
    unsigned char frame[BUFFER_BYTES];
    size_t size = strlen(text), whole = size > bytes ? size : bytes, start = head(frame, whole);
    memset(frame + start, ' ', whole);
    memcpy(frame + start, text, size);
    send_whole(fd, frame, start + whole);
}

static void frame_came(int fd, unsigned char *payload, size_t size) {
    payload[size] = 0;
    char *text = (char *)payload, *id = strstr(text, "\"id\":\"e");
    if (strstr(text, "\"AUTH\"")) answer(fd, "{\"type\":\"AUTH_ACK\"}", 0);
    else if (strstr(text, "\"SUBSCRIBE\"")) {
        place[fd] = places;
        at_place[places++] = fd;
        answer(fd, "{\"type\":\"SUBSCRIBE_ACK\",\"payload\":{}}", 0);
    } else if (id && count < WAITING_MAX) {
        waiting[count].fd = fd;
        waiting[count++].number = strtoul(id + 7, NULL, 10);
    }
}

static void committed(int author, unsigned long number) {
    char text[256];
    int first = place[author] / (int)editors * (int)editors, version = ++versions[first];
    for (int i = first; i < first + (int)editors; i++) {
        const char *ours = "{\"type\":\"OP_ACK\",\"id\":\"e%lu\",\"payload\":{\"version\":%d}}";
        const char *theirs = "{\"type\":\"OP_BROADCAST\",\"payload\":{\"number\":%lu,\"version\":%d}}";
        int fd = at_place[i];
        snprintf(text, sizeof text, fd == author ? ours : theirs, number, version);
        if (fd) answer(fd, text, fd == author ? ack_bytes : broadcast_bytes);
    }
}

static int commit(void) {
    static char records[1 << 24];
    double now = now_ms();
    if (!count) return -1;
    if (now < due_ms) return (int)(due_ms - now) + 1;
    if (write(file, records, count * record_bytes) < 0 || fdatasync(file)) { perror("write"); exit(1); }
    for (int i = 0; i < count; i++) committed(waiting[i].fd, waiting[i].number);
    count = 0;
    due_ms = now + pause_ms;
    return -1;
}

int main(int number, char **given) {
    if (number != 7) return 2;
    editors = atoi(given[1]); ack_bytes = atoi(given[2]); broadcast_bytes = atoi(given[3]);
    record_bytes = atoi(given[4]); pause_ms = atof(given[5]);
    file = open(given[6], O_WRONLY | O_CREAT | O_APPEND, 0600);
    serve(commit);
}
