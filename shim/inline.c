/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine inside this process: see inline.h. */
#include "shim/inline.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "shim/env.h"
#include "shim/link.h"
#include "shim/real.h"
#include "shim/stream.h"

#define EXIT_MS_DEFAULT 2000u
#define EXIT_MS_MAX 600000u

static struct cv_inline_engine engine;
static bool tried, hosting, forked;
static pthread_t ends;
bool inline_ending;

static void say(int level, const char *text)
{
	char line[CV_INLINE_ERROR_BYTES + 32];

	snprintf(line, sizeof(line), "engine: %s", text);
	link_say(level <= LOG_WARNING ? LINK_WARN : level <= LOG_INFO ? LINK_INFO : LINK_DEBUG, line);
}

static const struct cv_inline_host host = {
	.internal_fd = mux_internal_fd,
	.internal_close = mux_internal_close,
	.libc = real_find,
	.say = say};

bool inline_wanted(void)
{
	const char *mode = env_get("CULVERT_MODE");

	return mode && strcmp(mode, "inline") == 0;
}

/* Beside this library when it was installed, else in its build tree. */
static void *module_open(char *error, size_t size)
{
	static const char *const where[] = {"/" CV_INLINE_MODULE, "/../dpdk/" CV_INLINE_MODULE, NULL};
	char path[4096] = CV_INLINE_MODULE;
	void *module;
	Dl_info self;

	for (int i = 0; dladdr((void *)(uintptr_t)inline_start, &self) && where[i]; i++) {
		const char *slash = strrchr(self.dli_fname, '/');

		if (!slash)
			break;
		snprintf(path, sizeof(path), "%.*s%s", (int)(slash - self.dli_fname), self.dli_fname, where[i]);
		if (access(path, R_OK) == 0)
			break;
	}
	module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!module)
		snprintf(error, size, "%s", dlerror());
	return module;
}

static int module_start(char error[CV_INLINE_ERROR_BYTES])
{
	void *module = module_open(error, CV_INLINE_ERROR_BYTES);
	cv_inline_start *entry;

	if (!module)
		return -1;
	*(void **)(void *)&entry = dlsym(module, CV_INLINE_ENTRY);
	if (!entry) {
		snprintf(error, CV_INLINE_ERROR_BYTES, "%s", dlerror());
		return -1;
	}
	return entry(&host, env_get("CULVERT_CONFIG"), &engine, error);
}

/* Somebody else's engine may be gone at the next call: then it is our turn. Our own starts once, or not at all. */
const char *inline_start(void)
{
	char error[CV_INLINE_ERROR_BYTES] = "", line[CV_INLINE_ERROR_BYTES + 64];
	int result;

	if (tried)
		return engine.version ? engine.control : NULL;
	result = module_start(error);
	if (result > 0) {
		snprintf(line, sizeof(line), "an engine answers at %s: this program is served by it", engine.control);
		link_say(LINK_INFO, line);
		return engine.control;
	}
	tried = true;
	if (result == 0 && engine.version == CV_API_VERSION) {
		__atomic_store_n(&hosting, true, __ATOMIC_RELEASE);
		return engine.control;
	}
	if (result == 0)
		snprintf(error, sizeof(error), "the program's libculvert.so speaks version %u, " CV_INLINE_MODULE " %u",
			CV_API_VERSION, engine.version);
	engine.version = 0;
	snprintf(line, sizeof(line), "no engine inside this program: %s: sockets go to the kernel", error);
	link_say(LINK_WARN, line);
	return NULL;
}

const struct cv_inline_engine *inline_engine(void)
{
	return __atomic_load_n(&hosting, __ATOMIC_ACQUIRE) ? &engine : NULL;
}

void inline_fork_prepare(void)
{
	char line[160];

	if (!hosting || __atomic_exchange_n(&forked, true, __ATOMIC_RELAXED))
		return;
	snprintf(line, sizeof(line), "the engine stays in process %d: its children are served by it as long as that runs",
		(int)getpid());
	link_say(LINK_WARN, line);
}

void inline_fork_child(void)
{
	if (!hosting)
		return;
	hosting = false;
	engine.forked();
}

void inline_exec(void)
{
	static bool said;

	if (hosting && __atomic_load_n(&forked, __ATOMIC_RELAXED) &&
		!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
		link_say(LINK_WARN, "exec: the engine inside this program ends with it: its children are without one");
}

/* The kernel closes a process's sockets when no thread of it runs any more: none sees them end. */
void inline_park(void)
{
	while (!pthread_equal(pthread_self(), ends))
		pause();
}

void inline_end(void)
{
	unsigned long ms = EXIT_MS_DEFAULT;
	const char *text = env_get("CULVERT_EXIT_MS");
	char *end;

	if (!hosting)
		return;
	if (text && *text) {
		ms = strtoul(text, &end, 10);
		if (*end != 0 || ms > EXIT_MS_MAX)
			ms = EXIT_MS_DEFAULT;
	}
	ends = pthread_self();
	__atomic_store_n(&inline_ending, true, __ATOMIC_RELEASE);
	link_end();
	hosting = false;
	engine.finish((uint64_t)ms * 1000000u);
}

__attribute__((destructor)) static void at_end(void)
{
	if (hosting)
		stream_flush();
	inline_end();
}
