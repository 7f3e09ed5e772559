/* SPDX-License-Identifier: BSD-3-Clause */
#define ALLOW_EXPERIMENTAL_API
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "dpdk/callbacks.h"

/* A driver's end of a connection, and what its callback does. */
struct end {
	struct rte_intr_handle *handle;
	int fd, peer;
	unsigned calls, over;
	struct end *ends; /* unregistered by the callback: itself, or another */
};

static void on_ready(void *arg);

static void on_over(struct rte_intr_handle *handle, void *arg)
{
	struct end *x = arg;

	assert_ptr_equal(handle, x->handle);
	x->over++;
}

static void on_ready(void *arg)
{
	struct end *x = arg;
	char c;

	x->calls++;
	assert_int_equal(read(x->fd, &c, 1), 1);
	if (x->ends == x) {
		assert_int_equal(callbacks_unregister(x->handle, on_ready, x), -EAGAIN);
		assert_int_equal(callbacks_unregister_pending(x->handle, on_ready, x, on_over), 1);
		assert_int_equal(x->over, 0);
	} else if (x->ends != NULL) {
		assert_int_equal(callbacks_unregister(x->ends->handle, on_ready, x->ends), 1);
	}
}

static void open_on(struct end *x, int domain)
{
	int fds[2];

	memset(x, 0, sizeof(*x));
	if (domain == AF_UNIX)
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	else
		assert_int_equal(pipe(fds), 0);
	x->fd = fds[0];
	x->peer = fds[1];
	x->handle = rte_intr_instance_alloc(0);
	assert_non_null(x->handle);
	rte_intr_fd_set(x->handle, x->fd);
	rte_intr_type_set(x->handle, RTE_INTR_HANDLE_EXT);
}

static void close_end(struct end *x)
{
	close(x->fd);
	close(x->peer);
	rte_intr_instance_free(x->handle);
}

static bool due(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1;
}

static void unix_socket__is_called_when_we_look(void **state)
{
	int fd = callbacks_start();
	struct end x;

	(void)state;
	open_on(&x, AF_UNIX);
	assert_true(fd >= 0);
	assert_int_equal(callbacks_register(x.handle, on_ready, &x), 0);
	assert_int_equal(callbacks_run(), 0);
	assert_int_equal(write(x.peer, "1", 1), 1);
	assert_true(due(fd));
	assert_int_equal(x.calls, 0);
	assert_int_equal(callbacks_run(), 1);
	assert_int_equal(x.calls, 1);
	assert_false(due(fd));
	assert_int_equal(callbacks_unregister(x.handle, on_ready, &x), 1);
	assert_int_equal(write(x.peer, "1", 1), 1);
	assert_int_equal(callbacks_run(), 0);
	close_end(&x);
	callbacks_stop();
}

static void anything_else__is_eals(void **state)
{
	struct end x;

	(void)state;
	callbacks_start();
	open_on(&x, AF_UNSPEC);
	assert_int_equal(callbacks_register(x.handle, on_ready, &x), -ENOTSUP);
	assert_int_equal(callbacks_unregister(x.handle, on_ready, &x), -ENOTSUP);
	assert_int_equal(callbacks_unregister_pending(x.handle, on_ready, &x, on_over), -ENOTSUP);
	close_end(&x);
	callbacks_stop();
	/* Before an engine starts and after it, everything is. */
	open_on(&x, AF_UNIX);
	assert_int_equal(callbacks_register(x.handle, on_ready, &x), -ENOTSUP);
	close_end(&x);
}

static void in_its_own_callback__ends_behind_it(void **state)
{
	struct end x;

	(void)state;
	callbacks_start();
	open_on(&x, AF_UNIX);
	x.ends = &x;
	assert_int_equal(callbacks_register(x.handle, on_ready, &x), 0);
	assert_int_equal(callbacks_unregister_pending(x.handle, on_ready, &x, on_over), -EAGAIN);
	assert_int_equal(write(x.peer, "1", 1), 1);
	assert_int_equal(write(x.peer, "2", 1), 1);
	assert_int_equal(callbacks_run(), 1);
	assert_int_equal(x.over, 1);
	assert_int_equal(callbacks_unregister(x.handle, on_ready, &x), -ENOTSUP);
	close_end(&x);
	callbacks_stop();
}

static void one_that_ends_another__whose_event_is_due(void **state)
{
	struct end x, y;

	(void)state;
	callbacks_start();
	open_on(&x, AF_UNIX);
	open_on(&y, AF_UNIX);
	x.ends = &y;
	y.ends = &x;
	assert_int_equal(callbacks_register(x.handle, on_ready, &x), 0);
	assert_int_equal(callbacks_register(y.handle, on_ready, &y), 0);
	assert_int_equal(write(x.peer, "1", 1), 1);
	assert_int_equal(write(y.peer, "1", 1), 1);
	assert_int_equal(callbacks_run(), 1);
	assert_int_equal(x.calls + y.calls, 1);
	/* Whose any argument is meant. */
	assert_int_equal(
		callbacks_unregister(x.calls ? x.handle : y.handle, on_ready, (void *)-1), 1);
	close_end(&x);
	close_end(&y);
	callbacks_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unix_socket__is_called_when_we_look),
		cmocka_unit_test(anything_else__is_eals),
		cmocka_unit_test(in_its_own_callback__ends_behind_it),
		cmocka_unit_test(one_that_ends_another__whose_event_is_due),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
