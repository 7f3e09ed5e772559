/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The names by which drivers ask EAL for callbacks: what callbacks.c does not take goes on to EAL.
 *
 * culvertd defines them before EAL's library does; in the module for programs, where EAL is linked in statically,
 * the linker brings the calls here (--wrap in dpdk/meson.build).
 */
#include <dlfcn.h>
#include <errno.h>

#include "dpdk/callbacks.h"

#ifdef CULVERT_MODULE
#define HERE(name) __wrap_##name
#define EAL(name) __real_##name
int __real_rte_intr_callback_register(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __real_rte_intr_callback_unregister(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __real_rte_intr_callback_unregister_pending(
	const struct rte_intr_handle *, rte_intr_callback_fn, void *, rte_intr_unregister_callback_fn);
int __wrap_rte_intr_callback_register(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __wrap_rte_intr_callback_unregister(const struct rte_intr_handle *, rte_intr_callback_fn, void *);
int __wrap_rte_intr_callback_unregister_pending(
	const struct rte_intr_handle *, rte_intr_callback_fn, void *, rte_intr_unregister_callback_fn);
#else
#define HERE(name) __attribute__((visibility("default"))) name
#define EAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#endif

int HERE(rte_intr_callback_register)(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	int status = callbacks_register(handle, fn, arg);

	return status == -ENOTSUP ? EAL(rte_intr_callback_register)(handle, fn, arg) : status;
}

int HERE(rte_intr_callback_unregister)(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg)
{
	int status = callbacks_unregister(handle, fn, arg);

	return status == -ENOTSUP ? EAL(rte_intr_callback_unregister)(handle, fn, arg) : status;
}

int HERE(rte_intr_callback_unregister_pending)(const struct rte_intr_handle *handle, rte_intr_callback_fn fn, void *arg,
	rte_intr_unregister_callback_fn ended)
{
	int status = callbacks_unregister_pending(handle, fn, arg, ended);

	return status == -ENOTSUP ? EAL(rte_intr_callback_unregister_pending)(handle, fn, arg, ended) : status;
}
