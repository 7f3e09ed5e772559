/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What DPDK asks for and gets another answer to: drivers of EAL, EAL of libc.
 *
 * Callbacks: what callbacks.c does not take goes on to EAL. Descriptors of packet memory: the memif
 * driver closes what it was given when its peer is gone, and asks again when it is back; it gets
 * one of its own each time, for EAL's would be another file by then. Sleep: where the processor does not tell the rate
 * of its time stamp counter, EAL measures it for 0.1 s, longer than all else that a start takes; a tenth of that gives
 * the same rate, which EAL rounds to 10 MHz.
 *
 * culvertd defines the names before EAL's library does; in the module for programs, where EAL is
 * linked in statically, the linker brings the calls here (--wrap in dpdk/meson.build).
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <rte_memory.h>

#include "dpdk/callbacks.h"
#include "dpdk/driver_calls.h"

#define EAL_MEASURE_NS 100000000 /* get_tsc_freq() in eal_timer.c */

#ifdef CULVERT_MODULE
#define HERE(name) __wrap_##name
#define EAL(name) __real_##name
int __real_rte_intr_callback_register(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __real_rte_intr_callback_unregister(
	const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __real_rte_intr_callback_unregister_pending(const struct rte_intr_handle *,
	rte_intr_callback_fn, void *, rte_intr_unregister_callback_fn);
int __real_rte_memseg_get_fd(const struct rte_memseg *);
int __wrap_rte_intr_callback_register(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __wrap_rte_intr_callback_unregister(
	const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __wrap_rte_intr_callback_unregister_pending(const struct rte_intr_handle *,
	rte_intr_callback_fn, void *, rte_intr_unregister_callback_fn);
int __wrap_rte_memseg_get_fd(const struct rte_memseg *);
int __real_nanosleep(const struct timespec *, struct timespec *);
int __wrap_nanosleep(const struct timespec *, struct timespec *);
#else
#define HERE(name) __attribute__((visibility("default"))) name
#define EAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#endif

int HERE(rte_intr_callback_register)(
	const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	int status = callbacks_register(handle, fn, arg);

	return status == -ENOTSUP ? EAL(rte_intr_callback_register)(handle, fn, arg) : status;
}

int HERE(rte_intr_callback_unregister)(
	const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	int status = callbacks_unregister(handle, fn, arg);

	return status == -ENOTSUP ? EAL(rte_intr_callback_unregister)(handle, fn, arg) : status;
}

int HERE(rte_intr_callback_unregister_pending)(const struct rte_intr_handle *handle,
	rte_intr_callback_fn fn, void *arg, rte_intr_unregister_callback_fn ended)
{
	int status = callbacks_unregister_pending(handle, fn, arg, ended);

	return status == -ENOTSUP
		       ? EAL(rte_intr_callback_unregister_pending)(handle, fn, arg, ended)
		       : status;
}

int HERE(rte_memseg_get_fd)(const struct rte_memseg *ms)
{
	int fd = EAL(rte_memseg_get_fd)(ms);

	return fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static bool measures;

void driver_calls_begin(void)
{
	measures = true;
}

int HERE(nanosleep)(const struct timespec *time, struct timespec *left)
{
	static const struct timespec enough = {0, EAL_MEASURE_NS / 10};

	if (measures && left == NULL && time->tv_sec == 0 && time->tv_nsec == EAL_MEASURE_NS) {
		measures = false;
		time = &enough;
	}
	return EAL(nanosleep)(time, left);
}
