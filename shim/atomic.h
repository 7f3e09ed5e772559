/* SPDX-License-Identifier: BSD-3-Clause */
/* Words that the engine, other threads and other processes read and write: short names for what the compiler offers. */
#ifndef CULVERT_SHIM_ATOMIC_H
#define CULVERT_SHIM_ATOMIC_H

#define LOAD(p) __atomic_load_n(&(p), __ATOMIC_RELAXED)
#define LOAD_ACQUIRE(p) __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELAXED)
#define STORE_RELEASE(p, v) __atomic_store_n(&(p), v, __ATOMIC_RELEASE)
#define FENCE() __atomic_thread_fence(__ATOMIC_SEQ_CST)

#endif
