/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * exec and posix_spawn: a new program finds the sockets that it inherits.
 *
 * The old program names them in its environment, by the inode of each one's shadow (descriptors may be
 * moved on the way, by posix_spawn's actions for example), and leaves the control connection open
 * over exec; the new one attaches to the engine with it (stack/api/control.h) and looks which of the
 * inodes it has. A program that is not preloaded gets nothing: what only the old one held then ends.
 *
 * Owns: the exec family. Called by: the program, process.c; libc's own system() and popen() start their shell past
 * us, which inherits descriptors without connections behind them.
 * Invariant: a control connection that is another process's, or open over exec, is there under the lock only: what is
 * forked beside it would hold it, too, and its end be no end.
 */
#include "shim/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/env.h"
#include "shim/family.h"
#include "shim/inline.h"
#include "shim/lane.h"
#include "shim/memory.h"
#include "shim/pass.h"
#include "shim/real.h"
#include "shim/sigio.h"
#include "shim/sock.h"
#include "shim/stream.h"

#define INHERIT "CULVERT_INHERIT"
#define LIBRARY "libculvert"
#define PRELOAD_FILE "/etc/ld.so.preload"
#define TEXT_BYTES 131072u /* what Linux allows one string of the environment (execve(2)) */
#define ENTRY_BYTES 64u
#define ARGS_MAX 4096u /* of execl and its kin */
#define RETAIN_MAX (CV_REQUEST_TEXT / sizeof(uint32_t))

extern char **environ;

/* --- the old program ---------------------------------------------------------------------------- */

struct heirloom {
	char *text; /* NULL: nothing is inherited */
	size_t used;
	char **env;
	size_t env_bytes;
	bool full;
};

static void name_file(int fd, struct file *f, void *arg)
{
	struct heirloom *h = arg;
	int flags = real_fcntl(fd, F_GETFD);
	struct stat st;

	if (!f->mux.rec || flags < 0 || (flags & FD_CLOEXEC) || sock_is_dead(f))
		return;
	if (h->used + ENTRY_BYTES > TEXT_BYTES) {
		h->full = true;
		return;
	}
	pass_own_shadow(f);
	if (real_fstat(fd, &st) == 0)
		h->used += (size_t)snprintf(h->text + h->used, TEXT_BYTES - h->used,
			";%llu:%x:%d:%d", (unsigned long long)st.st_ino, f->mux.handle, f->family, f->type);
}

/* ld.so(8): the file that names libraries for all programs. */
static bool is_preloaded_for_all(void)
{
	char text[4096];
	int fd = (int)real_syscall(SYS_openat, AT_FDCWD, PRELOAD_FILE, O_RDONLY | O_CLOEXEC, 0);
	ssize_t n;

	if (fd < 0)
		return false;
	n = quiet_pread(fd, text, sizeof(text), 0);
	quiet_close(fd);
	return n > 0 && memmem(text, (size_t)n, LIBRARY, strlen(LIBRARY)) != NULL;
}

static bool is_named(char *const envp[])
{
	for (size_t i = 0; envp && envp[i]; i++) {
		if (strncmp(envp[i], "LD_PRELOAD=", 11) == 0 && strstr(envp[i], LIBRARY))
			return true;
	}
	return false;
}

/* Whether exec is ld.so(8)'s secure execution whatever the file: of a server that keeps root for later. */
static bool is_secure(void)
{
	return getuid() != geteuid() || getgid() != getegid();
}

static void say_without(void)
{
	bool asked = link_now() || inline_wanted() || env_get("CULVERT_ENGINE");
	static bool said;

	if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
		link_say(asked ? LINK_WARN : LINK_INFO,
			"exec: the new program's sockets go to the kernel: the effective user or group "
			"is not the real one, for which ld.so ignores LD_PRELOAD; " PRELOAD_FILE
			" it does not ignore");
}

/* Whether a program with that environment will have the library; says so if not, though it was meant to. */
static bool is_preloaded(char *const envp[], bool secure)
{
	bool named = is_named(envp);

	if ((named && !secure) || is_preloaded_for_all())
		return true;
	if (named)
		say_without();
	return false;
}

/* envp with our line instead of an older one of the same variable. */
static bool env_make(struct heirloom *h, char *const envp[])
{
	size_t n = 0, at = 0, name = (size_t)(strchr(h->text, '=') - h->text) + 1;

	while (envp && envp[n]) /* NULL is an empty one */
		n++;
	h->env_bytes = (n + 2) * sizeof(char *);
	h->env = memory_get(h->env_bytes);
	if (!h->env)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strncmp(envp[i], h->text, name) != 0)
			h->env[at++] = envp[i];
	}
	h->env[at] = h->text;
	return true;
}

static void heirloom_free(struct heirloom *h)
{
	memory_put(h->text, TEXT_BYTES);
	memory_put(h->env, h->env_bytes);
	*h = (struct heirloom){0};
}

static void name_files(struct heirloom *h, int control)
{
	h->used = (size_t)snprintf(h->text, TEXT_BYTES, INHERIT "=%d", control);
	fd_each(name_file, h);
	if (h->full)
		link_say(LINK_WARN, "exec: more sockets are inherited than can be named: the rest ends");
}

/* Names what the new program inherits: the connection to the engine, also when no socket comes with it, since what its
 * relatives pass it then is its own group's; or, where there is none yet, the family. False: nothing, the environment
 * stays as it is. */
static bool heirloom_make(struct heirloom *h, int control, char *const envp[], bool secure)
{
	*h = (struct heirloom){0};
	if (!is_preloaded(envp, secure) || (control < 0 && !family_name()))
		return false;
	h->text = memory_get(TEXT_BYTES);
	if (!h->text)
		return false;
	if (control >= 0)
		name_files(h, control);
	else
		snprintf(h->text, TEXT_BYTES, FAMILY_ENV "=%.*s", CV_FAMILY_BYTES, family_name());
	if (env_make(h, envp))
		return true;
	heirloom_free(h);
	return false;
}

static uint32_t leaving;   /* the lock */
static bool fork_has_lock; /* under the lock */

void exec_fork_prepare(void)
{
	if (thread_lock(&leaving))
		fork_has_lock = true;
}

void exec_fork_done(void)
{
	if (!fork_has_lock)
		return;
	fork_has_lock = false;
	thread_unlock(&leaving);
}

static void keep_over_exec(int fd, bool yes)
{
	real_fcntl(fd, F_SETFD, yes ? 0 : FD_CLOEXEC);
}

/* The exec call that is under way. */
struct exec {
	enum { EXEC_PATH, EXEC_SEARCH, EXEC_FD, EXEC_AT } kind;
	const char *path;
	int fd;
	int flags; /* of EXEC_AT */
	char *const *argv;
};

static int exec_real(const struct exec *x, char *const envp[])
{
	switch (x->kind) {
	case EXEC_PATH:
		return real_execve(x->path, x->argv, envp);
	case EXEC_SEARCH:
		return real_execvpe(x->path, x->argv, envp);
	case EXEC_AT: /* libc's function is younger than the call */
		return (int)real_syscall(SYS_execveat, x->fd, x->path, x->argv, envp, x->flags);
	case EXEC_FD:
		break;
	}
	return real_fexecve(x->fd, x->argv, envp);
}

static int exec_any(const struct exec *x, char *const envp[])
{
	struct link *l = link_now();
	int control = l ? l->wait.control_fd : -1, saved;
	struct heirloom h;
	bool locked;

	inline_exec();
	if (!heirloom_make(&h, control, envp, is_secure()))
		return exec_real(x, envp);
	locked = thread_lock(&leaving);
	keep_over_exec(control, true);
	exec_real(x, h.env);
	/* Still here: it failed. */
	saved = errno;
	keep_over_exec(control, false);
	if (locked)
		thread_unlock(&leaving);
	heirloom_free(&h);
	errno = saved;
	return -1;
}

int shim_execve(const char *path, char *const argv[], char *const envp[])
{
	struct exec x = {.kind = EXEC_PATH, .path = path, .argv = argv};

	return exec_any(&x, envp);
}

int shim_execv(const char *path, char *const argv[])
{
	return shim_execve(path, argv, environ);
}

int shim_execvpe(const char *file, char *const argv[], char *const envp[])
{
	struct exec x = {.kind = EXEC_SEARCH, .path = file, .argv = argv};

	return exec_any(&x, envp);
}

int shim_execvp(const char *file, char *const argv[])
{
	return shim_execvpe(file, argv, environ);
}

int shim_fexecve(int fd, char *const argv[], char *const envp[])
{
	struct exec x = {.kind = EXEC_FD, .fd = fd, .argv = argv};

	return exec_any(&x, envp);
}

int shim_execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	struct exec x = {.kind = EXEC_AT, .path = path, .fd = dirfd, .flags = flags, .argv = argv};

	return exec_any(&x, envp);
}

/* The arguments of execl and its kin, up to the NULL. False: too many. */
static bool args_take(char *argv[ARGS_MAX], const char *first, va_list list)
{
	size_t n = 0;

	argv[n++] = (char *)(uintptr_t)first;
	while (argv[n - 1] != NULL) {
		if (n == ARGS_MAX) {
			errno = E2BIG;
			return false;
		}
		argv[n++] = va_arg(list, char *);
	}
	return true;
}

int shim_execl(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX];
	va_list list;
	bool fits;

	va_start(list, arg);
	fits = args_take(argv, arg, list);
	va_end(list);
	return fits ? shim_execv(path, argv) : -1;
}

int shim_execlp(const char *file, const char *arg, ...)
{
	char *argv[ARGS_MAX];
	va_list list;
	bool fits;

	va_start(list, arg);
	fits = args_take(argv, arg, list);
	va_end(list);
	return fits ? shim_execvp(file, argv) : -1;
}

int shim_execle(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX], *const *envp = NULL;
	va_list list;
	bool fits;

	va_start(list, arg);
	fits = args_take(argv, arg, list);
	if (fits)
		envp = va_arg(list, char *const *);
	va_end(list);
	return fits ? shim_execve(path, argv, envp) : -1;
}

/* --- posix_spawn ------------------------------------------------------------------------------- */

typedef int spawn_fn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const argv[], char *const envp[]);

static bool spawn_is_secure(const posix_spawnattr_t *attr)
{
	short flags;

	return !(attr && posix_spawnattr_getflags(attr, &flags) == 0 && (flags & POSIX_SPAWN_RESETIDS)) && is_secure();
}

static int spawn_unlinked(spawn_fn *real, pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct heirloom h;
	int result;

	if (!heirloom_make(&h, -1, envp, spawn_is_secure(attr)))
		return real(pid, path, actions, attr, argv, envp);
	result = real(pid, path, actions, attr, argv, h.env);
	heirloom_free(&h);
	return result;
}

/* The child is a process of its own, as fork's is: its control connection is made first. */
static int spawn_any(spawn_fn *real, pid_t *pid, const char *path,
	const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr,
	char *const argv[], char *const envp[])
{
	char *const *env = envp ? envp : environ;
	struct link *l = link_now();
	struct heirloom h;
	uint32_t proc;
	int control, result, cancel;
	bool locked;

	if (!l)
		return spawn_unlinked(real, pid, path, actions, attr, argv, envp);
	if (!is_preloaded(env, spawn_is_secure(attr)))
		return real(pid, path, actions, attr, argv, envp);
	pthread_setcancelstate(
		PTHREAD_CANCEL_DISABLE, &cancel); /* it is no cancellation point, what link_child() calls is */
	locked = thread_lock(&leaving);
	control = link_child(l, &proc);
	if (!heirloom_make(&h, control, env, spawn_is_secure(attr))) {
		result = real(pid, path, actions, attr, argv, envp);
	} else {
		keep_over_exec(control, true);
		result = real(pid, path, actions, attr, argv, h.env);
		heirloom_free(&h);
	}
	mux_internal_close(control);
	if (locked)
		thread_unlock(&leaving);
	pthread_setcancelstate(cancel, NULL);
	return result;
}

int shim_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return spawn_any(real_posix_spawn, pid, path, actions, attr, argv, envp);
}

int shim_posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	return spawn_any(real_posix_spawnp, pid, file, actions, attr, argv, envp);
}

/* --- the new program --------------------------------------------------------------------------- */

struct entry {
	unsigned long long ino;
	uint32_t handle;
	int family, type;
	struct file *file; /* once a descriptor was found */
};

static size_t entries_read(const char *text, struct entry *entries, size_t max)
{
	size_t n = 0;

	while (n < max && (text = strchr(text, ';')) != NULL) {
		struct entry e = {0};

		if (sscanf(++text, "%llu:%x:%d:%d", &e.ino, &e.handle, &e.family, &e.type) == 4)
			entries[n++] = e;
	}
	return n;
}

static void fd_claim(struct link *l, int fd, struct entry *e)
{
	struct file content = {.family = e->family, .type = e->type, .bound = true};

	if (e->file) {
		fd_alias(fd, e->file);
		return;
	}
	sock_attach(&content, l, e->handle);
	pass_half(fd, &content);
	e->file = fd_add(fd, &content);
	if (e->file)
		sigio_came(e->file);
}

/* Looks at every descriptor that the program was started with. */
static void fds_claim(struct link *l, struct entry *entries, size_t n)
{
	int last = (int)sysconf(_SC_OPEN_MAX);

	for (int fd = 0; fd < last && fd < 65536; fd++) {
		struct stat st;

		if (fd_is_internal(fd) || real_fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
			continue;
		for (size_t i = 0; i < n; i++) {
			if (entries[i].ino == (unsigned long long)st.st_ino) {
				fd_claim(l, fd, &entries[i]);
				break;
			}
		}
	}
}

static void retain(struct link *l, const struct entry *entries, size_t n)
{
	struct cv_request request = {.op = CV_CTL_RETAIN};

	for (size_t i = 0; i < n; i++) {
		if (!entries[i].file)
			continue;
		memcpy(request.text + request.text_len, &entries[i].handle, sizeof(uint32_t));
		request.text_len += (uint32_t)sizeof(uint32_t);
		if (++request.arg == RETAIN_MAX) {
			link_request(l, &request, -1);
			request.arg = request.text_len = 0;
		}
	}
	if (request.arg > 0)
		link_request(l, &request, -1);
	request.arg = request.text_len = 0;
	link_request(l, &request, -1);
}

/* Before main: a program that inherits nothing pays one look at its environment. */
__attribute__((constructor)) static void inherit(void)
{
	const char *text = env_get(INHERIT);
	struct entry *entries;
	struct link *l;
	size_t n;
	int control;

	if (!text)
		return;
	control = atoi(text);
	l = control > 2 ? link_attach(control) : NULL;
	entries = l ? memory_get(TEXT_BYTES) : NULL;
	if (entries) {
		n = entries_read(text, entries, TEXT_BYTES / sizeof(*entries));
		fds_claim(l, entries, n);
		retain(l, entries, n);
		stream_standard();
		memory_put(entries, TEXT_BYTES);
	}
	unsetenv(INHERIT);
}
