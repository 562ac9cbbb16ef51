/* The floor: one thread, one epoll, rooms, and one write for each delivery.
 * No history, no limits, no timeouts. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAXFD 70000
#define MAXROOM 4096
#define MAXFRAME (80 << 10)
#define READ (256 << 10)

struct room { char name[64]; int *fds, n, cap; };
struct conn { struct room *room; int at; char *rest; int left; };

static struct room rooms[MAXROOM];
static int nrooms;
static struct conn conns[MAXFD];
static int ep;

static struct room *find(const char *name, size_t len) {
	for (int i = 0; i < nrooms; i++)
		if (strlen(rooms[i].name) == len && !memcmp(rooms[i].name, name, len)) return &rooms[i];
	if (nrooms == MAXROOM || len >= sizeof rooms[0].name) return NULL;
	memcpy(rooms[nrooms].name, name, len);
	return &rooms[nrooms++];
}

static void leave(int fd) {
	struct conn *c = &conns[fd];
	if (c->room) {
		int last = c->room->fds[--c->room->n];
		c->room->fds[c->at] = last;
		conns[last].at = c->at;
	}
	free(c->rest);
	memset(c, 0, sizeof *c);
	close(fd);
}

static void put(int fd, const char *b, size_t n) {
	while (n) {
		ssize_t w = write(fd, b, n);
		if (w < 0) {
			if (errno != EAGAIN) return;
			struct pollfd p = {fd, POLLOUT, 0};
			poll(&p, 1, 1000);
			continue;
		}
		b += w, n -= w;
	}
}

static void broadcast(struct room *r, uint8_t op, const char *data, size_t n) {
	static char b[MAXFRAME + 10];
	size_t h = 2;
	b[0] = 0x80 | op;
	if (n <= 125) b[1] = n;
	else if (n <= 0xffff) b[1] = 126, b[2] = n >> 8, b[3] = n, h = 4;
	else { b[1] = 127; for (int i = 0; i < 8; i++) b[2 + i] = (uint64_t)n >> (56 - 8 * i); h = 10; }
	memcpy(b + h, data, n);
	for (int i = 0; i < r->n; i++) put(r->fds[i], b, h + n);
}

static int join(int fd, char *b, int n) {
	char *end = memmem(b, n, "\r\n\r\n", 4), *path, *stop;
	if (!end || memcmp(b, "GET /", 5)) return -1;
	path = b + 5;
	stop = memchr(path, ' ', end - path);
	struct conn *c = &conns[fd];
	if (!stop || !(c->room = find(path, stop - path))) return -1;
	struct room *r = c->room;
	if (r->n == r->cap) r->fds = realloc(r->fds, (r->cap = r->cap ? 2 * r->cap : 8) * sizeof(int));
	c->at = r->n;
	r->fds[r->n++] = fd;
	/* The clients send one key, so there is one answer. */
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
		"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";
	put(fd, answer, sizeof answer - 1);
	return end + 4 - b;
}

/* frame takes one masked frame, and returns its size; 0: it is not all there. */
static int frame(int fd, uint8_t *b, int n) {
	if (n < 6) return 0;
	uint64_t size = b[1] & 127;
	int h = 2;
	if (size == 126) { if (n < 8) return 0; size = b[2] << 8 | b[3]; h = 4; }
	else if (size == 127) { if (n < 14) return 0; size = 0; for (int i = 0; i < 8; i++) size = size << 8 | b[2 + i]; h = 10; }
	if (!(b[1] & 128) || size > MAXFRAME) return -1;
	uint8_t *mask = b + h;
	h += 4;
	if ((uint64_t)n < h + size) return 0;
	for (uint64_t i = 0; i < size; i++) b[h + i] ^= mask[i & 3];
	if ((b[0] & 15) == 8) return -1;
	if ((b[0] & 15) < 3) broadcast(conns[fd].room, b[0] & 15, (char *)b + h, size);
	return h + size;
}

static void take(int fd) {
	static char b[READ + MAXFRAME];
	struct conn *c = &conns[fd];
	int had = c->left;
	if (had) memcpy(b, c->rest, had), free(c->rest), c->rest = NULL, c->left = 0;
	int n = read(fd, b + had, READ);
	if (n < 0 && errno == EAGAIN) n = 0;
	else if (n <= 0) { leave(fd); return; }
	n += had;
	int at = 0;
	while (at < n) {
		int used = c->room ? frame(fd, (uint8_t *)b + at, n - at) : join(fd, b + at, n - at);
		if (used < 0) { leave(fd); return; }
		if (!used) break;
		at += used;
	}
	if (at < n) {
		c->rest = malloc(c->left = n - at);
		memcpy(c->rest, b + at, n - at);
	}
}

int main(int argc, char **argv) {
	if (argc != 2) return 2;
	signal(SIGPIPE, SIG_IGN);
	struct rlimit lim;
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 4096)) { perror("listen"); return 1; }
	ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLIN, .data.fd = l}, got[512];
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	for (;;) {
		int n = epoll_wait(ep, got, 512, -1);
		for (int i = 0; i < n; i++) {
			if (got[i].data.fd != l) { take(got[i].data.fd); continue; }
			int fd;
			while ((fd = accept4(l, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
				if (fd >= MAXFD) { close(fd); continue; }
				setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
				e.data.fd = fd;
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
			}
		}
	}
}
