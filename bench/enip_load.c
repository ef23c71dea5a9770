/* Drives an EtherNet/IP target with Read Tag requests and checks every reply.
 *
 *     enip_load HOST PORT CONNECTIONS DEPTH SECONDS LINK MIXED
 *
 * Each request reads one random element of `A`, a DINT[1000] whose elements hold their own index, in
 * an Unconnected Send along route path 1/LINK (LINK -1: without one). A connection keeps DEPTH
 * requests outstanding. Replies must come in order: the sender context counts up. MIXED 1 names
 * elements below 256 by 8 bits, so that frames differ in length.
 *
 * Prints "rate p50_us p99_us errors"; an error is a reply out of order, with another value or status.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 256, ELEMENTS = 1000, BUFFER = 1 << 17, SAMPLES = 1 << 21 };

struct peer {
    int fd;
    uint32_t session;
    uint64_t first, next; /* serials of the oldest that is out, of the next */
    uint64_t since[MOST];
    uint16_t element[MOST];
    uint8_t buffer[BUFFER];
    size_t filled;
};

static int route, mixed;
static uint32_t samples[SAMPLES];
static size_t sampled;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void put16(uint8_t *at, unsigned value) { at[0] = value; at[1] = value >> 8; }
static unsigned get16(const uint8_t *at) { return at[0] | at[1] << 8; }
static uint32_t get32(const uint8_t *at) { return get16(at) | (uint32_t)get16(at + 2) << 16; }

/* One request's frame; its length. */
static size_t request(uint8_t *out, const struct peer *peer, uint64_t serial, unsigned element) {
    uint8_t cip[32] = {0x4c, 0, 0x91, 1, 'A', 0};
    size_t size = 6;
    if (mixed && element < 256) {
        cip[size++] = 0x28;
        cip[size++] = element;
    } else {
        cip[size++] = 0x29;
        cip[size++] = 0;
        put16(cip + size, element);
        size += 2;
    }
    cip[1] = (size - 2) / 2;
    put16(cip + size, 1);
    size += 2;
    uint8_t *message = out + 40;
    size_t length = size;
    if (route >= 0) {
        const uint8_t head[] = {0x52, 2, 0x20, 6, 0x24, 1, 5, 157};
        memcpy(message, head, 8);
        put16(message + 8, size);
        memcpy(message + 10, cip, size);
        const uint8_t path[] = {1, 0, 1, route};
        memcpy(message + 10 + size, path, 4);
        length = 14 + size;
    } else {
        memcpy(message, cip, size);
    }
    memset(out, 0, 40);
    put16(out, 0x6f);
    put16(out + 2, 16 + length);
    memcpy(out + 4, &peer->session, 4);
    memcpy(out + 12, &serial, 8);
    put16(out + 28, 5);
    put16(out + 30, 2);
    put16(out + 36, 0xb2);
    put16(out + 38, length);
    return 40 + length;
}

static void send_some(struct peer *peer, unsigned count) {
    static uint8_t out[MOST * 96];
    size_t size = 0, sent = 0;
    uint64_t now = now_ns();
    while (count--) {
        unsigned element = rand() % ELEMENTS;
        peer->element[peer->next % MOST] = element;
        peer->since[peer->next % MOST] = now;
        size += request(out + size, peer, peer->next++, element);
    }
    while (sent < size) {
        ssize_t taken = write(peer->fd, out + sent, size - sent);
        if (taken > 0) sent += taken;
    }
}

/* Takes the replies that are whole; how many. */
static unsigned take(struct peer *peer, uint64_t *errors) {
    size_t at = 0;
    unsigned count = 0;
    uint64_t now = now_ns();
    while (peer->filled - at >= 24) {
        const uint8_t *frame = peer->buffer + at;
        size_t total = 24 + get16(frame + 2);
        if (peer->filled - at < total) break;
        unsigned slot = peer->first % MOST;
        int right = total == 50 && !memcmp(frame + 12, &peer->first, 8) && frame[40] == 0xcc &&
                    !frame[42] && get32(frame + 46) == peer->element[slot];
        *errors += !right;
        if (sampled < SAMPLES) samples[sampled++] = (now - peer->since[slot]) / 1000;
        peer->first++;
        count++;
        at += total;
    }
    memmove(peer->buffer, peer->buffer + at, peer->filled - at);
    peer->filled -= at;
    return count;
}

static void connect_to(struct peer *peer, const char *host, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    uint8_t frame[28] = {0x65, 0, 4};
    int one = 1;
    size_t filled = 0;
    inet_pton(AF_INET, host, &address.sin_addr);
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    frame[24] = 1;
    if (connect(peer->fd, (void *)&address, sizeof address) || write(peer->fd, frame, 28) != 28) {
        perror("connect");
        exit(2);
    }
    while (filled < 28) {
        ssize_t got = read(peer->fd, frame + filled, 28 - filled);
        if (got <= 0) exit(2);
        filled += got;
    }
    peer->session = get32(frame + 4);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(peer->fd, F_SETFL, O_NONBLOCK);
}

static int by_size(const void *a, const void *b) {
    uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;
    return one < two ? -1 : one > two;
}

int main(int argc, char **argv) {
    if (argc != 8) return 2;
    int peers = atoi(argv[3]), depth = atoi(argv[4]), poll = epoll_create1(0);
    double seconds = atof(argv[5]);
    route = atoi(argv[6]);
    mixed = atoi(argv[7]);
    struct peer *all = calloc(peers, sizeof *all);
    for (int i = 0; i < peers; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        connect_to(all + i, argv[1], atoi(argv[2]));
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9), last = begin;
    uint64_t replies = 0, errors = 0, out = (uint64_t)peers * depth;
    for (int i = 0; i < peers; i++) send_some(all + i, depth);
    while (out) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, 12000);
        if (ready <= 0) {
            errors += out; /* nobody answers any more */
            break;
        }
        for (int i = 0; i < ready; i++) {
            struct peer *peer = all + events[i].data.u32;
            ssize_t got = read(peer->fd, peer->buffer + peer->filled, BUFFER - peer->filled);
            if (got == 0) {
                out -= peer->next - peer->first;
                errors += peer->next - peer->first;
                epoll_ctl(poll, EPOLL_CTL_DEL, peer->fd, 0);
            }
            if (got <= 0) continue;
            peer->filled += got;
            unsigned count = take(peer, &errors);
            replies += count;
            out -= count;
            last = now_ns();
            if (last < end && count) {
                send_some(peer, count);
                out += count;
            }
        }
    }
    qsort(samples, sampled, 4, by_size);
    printf("%.0f %u %u %lu\n", replies ? replies / ((last - begin) / 1e9) : 0.0, samples[sampled / 2],
           samples[(size_t)(sampled * 0.99)], (unsigned long)errors);
    return 0;
}
