/* SPDX-License-Identifier: BSD-3-Clause */
/* What the cases of every area need: addresses, connected pairs, bounded waits, patterns, children.
 * See diff.h for what each promises. */
#include "tests/diff/diff.h"

#include <sys/syscall.h>

bool
diff_on_culvert(void)
{
	const char *kind = getenv("DIFF_KIND");
	return kind != NULL && strcmp(kind, "culvert") == 0;
}

int
diff_workers(void)
{
	const char *text = getenv("DIFF_WORKERS");
	return text != NULL ? atoi(text) : 1;
}

struct sockaddr_in
diff_addr(uint16_t port)
{
	const char *text = getenv("DIFF_ADDR");
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};

	if (inet_pton(AF_INET, text != NULL ? text : "127.0.0.1", &address.sin_addr) != 1)
		diff_fail(__FILE__, __LINE__, "DIFF_ADDR is no IPv4 address: %s", text);
	return address;
}

struct sockaddr_in6
diff_addr6(uint16_t port)
{
	const char *text = getenv("DIFF_ADDR6");
	struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	if (inet_pton(AF_INET6, text != NULL ? text : "::1", &address.sin6_addr) != 1)
		diff_fail(__FILE__, __LINE__, "DIFF_ADDR6 is no IPv6 address: %s", text);
	return address;
}

int
diff_listen(int type_flags, uint16_t port, int backlog)
{
	struct sockaddr_in address = diff_addr(port);
	int fd = (int)works(socket(AF_INET, SOCK_STREAM | type_flags, 0));

	diff_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	works(bind(fd, SA(address), sizeof(address)));
	works(listen(fd, backlog));
	return fd;
}

int
diff_connect(int listener)
{
	struct sockaddr_in address = diff_addr(diff_port(listener));
	int fd = (int)works(socket(AF_INET, SOCK_STREAM, 0));

	works(connect(fd, SA(address), sizeof(address)));
	return fd;
}

void
diff_pair(int *client, int *server)
{
	int listener = diff_listen(0, 0, 1);

	*client = diff_connect(listener);
	*server = (int)works(accept(listener, NULL, NULL));
	works(close(listener));
}

int
diff_udp(void)
{
	struct sockaddr_in address = diff_addr(0);
	int fd = (int)works(socket(AF_INET, SOCK_DGRAM, 0));

	works(bind(fd, SA(address), sizeof(address)));
	return fd;
}

void
diff_udp_pair(int *a, int *b)
{
	*a = diff_udp();
	*b = diff_udp();
	struct sockaddr_in to_a = diff_addr(diff_port(*a)), to_b = diff_addr(diff_port(*b));
	works(connect(*a, SA(to_b), sizeof(to_b)));
	works(connect(*b, SA(to_a), sizeof(to_a)));
}

uint16_t
diff_port(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	works(getsockname(fd, SA(address), &length));
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void diff_arrived(int fd, int n)
{
	uint64_t end = diff_now_ms() + 3000;
	int have = 0;

	do {
		works(ioctl(fd, FIONREAD, &have));
		if (have >= n)
			return;
		poll(NULL, 0, 1);
	} while (diff_now_ms() < end);
	diff_fail(__FILE__, __LINE__, "only %d of %d bytes came", have, n);
}

short
diff_poll(int fd, short events, int timeout_ms)
{
	struct pollfd entry = {.fd = fd, .events = events};
	int n;

	do
		n = poll(&entry, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	works(n);
	return n == 0 ? 0 : entry.revents;
}

bool
diff_readable(int fd, int timeout_ms)
{
	return (diff_poll(fd, POLLIN, timeout_ms) & (POLLIN | POLLHUP | POLLERR)) != 0;
}

bool
diff_writable(int fd, int timeout_ms)
{
	return (diff_poll(fd, POLLOUT, timeout_ms) & (POLLOUT | POLLHUP | POLLERR)) != 0;
}

void
diff_nonblock(int fd)
{
	int flags = (int)works(fcntl(fd, F_GETFL));

	works(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int
diff_int_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);

	if (getsockopt(fd, level, option, &value, &length) != 0)
		diff_fail(__FILE__, __LINE__, "getsockopt(%d, %d) failed with %s", level, option,
			strerrorname_np(errno));
	return value;
}

void
diff_set_int(int fd, int level, int option, int value)
{
	if (setsockopt(fd, level, option, &value, sizeof(value)) != 0)
		diff_fail(__FILE__, __LINE__, "setsockopt(%d, %d, %d) failed with %s", level, option,
			value, strerrorname_np(errno));
}

void
diff_write_all(int fd, const void *data, size_t n)
{
	const char *at = data;

	while (n > 0) {
		ssize_t done = send(fd, at, n, MSG_NOSIGNAL);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			diff_writable(fd, 5000);
			continue;
		}
		works(done);
		at += done;
		n -= (size_t)done;
	}
}

void
diff_read_all(int fd, void *data, size_t n)
{
	char *at = data;

	while (n > 0) {
		ssize_t done = recv(fd, at, n, 0);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EAGAIN) {
			diff_readable(fd, 5000);
			continue;
		}
		works(done);
		if (done == 0)
			diff_fail(__FILE__, __LINE__, "end of stream with %zu bytes missing", n);
		at += done;
		n -= (size_t)done;
	}
}

/* splitmix64 of the eight-byte word's number: any position can be made without the ones before. */
static uint64_t
pattern_word(uint64_t seed, uint64_t word)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15u + word * 0xbf58476d1ce4e5b9u;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

void diff_ping(int from, int to)
{
	char byte = 0;

	same(write(from, "p", 1), 1);
	same(read(to, &byte, 1), 1);
	same(byte, 'p');
}

void diff_ended(int fd)
{
	char byte;

	same(diff_poll(fd, POLLIN, 3000) & POLLIN, POLLIN);
	same(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
}

void diff_not_ended(int fd)
{
	same(diff_poll(fd, POLLIN | POLLRDHUP, 30), 0);
}

void diff_pass(int channel, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte = 'f';
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(int));
	same(sendmsg(channel, &message, 0), 1);
}

int diff_take(int channel, int flags)
{
	char control[CMSG_SPACE(sizeof(int))] = {0}, byte;
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	int fd;

	same(recvmsg(channel, &message, flags), 1);
	is(CMSG_FIRSTHDR(&message) != NULL);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

void
diff_pattern(void *data, size_t n, uint64_t seed, uint64_t at)
{
	uint8_t *out = data;

	while (n > 0) {
		uint64_t word = pattern_word(seed, at / 8);
		size_t skip = at % 8, take = 8 - skip < n ? 8 - skip : n;

		memcpy(out, (uint8_t *)&word + skip, take);
		out += take;
		at += take;
		n -= take;
	}
}

void
diff_send_pattern(int fd, size_t total, uint64_t seed)
{
	static __thread uint8_t chunk[50021];

	for (size_t at = 0; at < total;) {
		size_t n = total - at < sizeof(chunk) ? total - at : sizeof(chunk);

		diff_pattern(chunk, n, seed, at);
		diff_write_all(fd, chunk, n);
		at += n;
	}
}

void
diff_expect_pattern(int fd, size_t total, uint64_t seed)
{
	static __thread uint8_t chunk[40009], wanted[40009];

	for (size_t at = 0; at < total;) {
		size_t n = total - at < sizeof(chunk) ? total - at : sizeof(chunk);

		diff_read_all(fd, chunk, n);
		diff_pattern(wanted, n, seed, at);
		for (size_t i = 0; i < n; i++)
			if (chunk[i] != wanted[i])
				diff_fail(__FILE__, __LINE__, "byte %zu of stream %llu is wrong",
					at + i, (unsigned long long)seed);
		at += n;
	}
}

uint64_t
diff_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

pid_t
diff_child(void (*run)(void *), void *arg)
{
	pid_t child = (pid_t)works(fork());

	if (child == 0) {
		run(arg);
		exit(0);
	}
	return child;
}

void
diff_join(pid_t child)
{
	int status;
	pid_t got;

	do
		got = waitpid(child, &status, 0);
	while (got < 0 && errno == EINTR);
	same(got, child);
	if (WIFSIGNALED(status))
		diff_fail(__FILE__, __LINE__, "a child ended by SIG%s", sigabbrev_np(WTERMSIG(status)));
	if (WEXITSTATUS(status) != 0)
		diff_fail(__FILE__, __LINE__, "a child ended with exit code %d", WEXITSTATUS(status));
}

pthread_t
diff_thread(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	same(pthread_create(&thread, NULL, run, arg), 0);
	return thread;
}

static bool
thread_sleeps(void *arg)
{
	char path[64], text[256] = "";

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", *(pid_t *)arg);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = 0;
	/* The state follows the name, which is in brackets and may hold anything. */
	const char *state = strrchr(text, ')');
	return state != NULL && state[1] == ' ' && state[2] == 'S';
}

void
diff_wait_blocked(pid_t tid)
{
	if (!diff_until(thread_sleeps, &tid, 5000))
		diff_fail(__FILE__, __LINE__, "thread %d never slept", (int)tid);
}

bool
diff_until(bool (*condition)(void *), void *arg, unsigned timeout_ms)
{
	uint64_t end = diff_now_ms() + timeout_ms;

	while (!condition(arg)) {
		if (diff_now_ms() >= end)
			return false;
		struct timespec pause = {.tv_nsec = 1000000};
		nanosleep(&pause, NULL);
	}
	return true;
}
