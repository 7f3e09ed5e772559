/* SPDX-License-Identifier: BSD-3-Clause */
/* The differential harness: see diff.h. This file owns the runner; helpers.c owns the helpers. */
#include "tests/diff/diff.h"

#include <stdarg.h>
#include <sys/prctl.h>

#define CASES_MAX 512
#define EXIT_SKIP 77

static struct diff_case {
	const char *name;
	void (*run)(void);
	unsigned limit_s;
} cases[CASES_MAX];
static unsigned cases_n;

/* Where a case writes why it ended; a pipe to the runner. */
static int message_fd = -1;

void
diff_register(const char *name, void (*run)(void), unsigned limit_s)
{
	if (cases_n == CASES_MAX) {
		fprintf(stderr, "diff: more than %d cases\n", CASES_MAX);
		abort();
	}
	cases[cases_n++] = (struct diff_case){.name = name, .run = run, .limit_s = limit_s};
}

static void
message_send(const char *text)
{
	size_t left = strlen(text);
	while (message_fd >= 0 && left > 0) {
		ssize_t n = write(message_fd, text, left);
		if (n <= 0)
			break;
		text += n;
		left -= (size_t)n;
	}
}

_Noreturn void
diff_fail(const char *file, int line, const char *format, ...)
{
	char text[512], full[640];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	const char *base = strrchr(file, '/');
	snprintf(full, sizeof(full), "%s:%d: %s", base != NULL ? base + 1 : file, line, text);
	message_send(full);
	if (message_fd < 0)
		fprintf(stderr, "%s\n", full);
	_exit(1);
}

_Noreturn void
diff_skip(const char *reason)
{
	message_send(reason);
	_exit(EXIT_SKIP);
}

void
diff_same(const char *file, int line, const char *what, long long actual, long long expected)
{
	if (actual != expected)
		diff_fail(file, line, "%s is %lld, not %lld (errno %s)", what, actual, expected,
			strerrorname_np(errno));
}

long long
diff_works(const char *file, int line, const char *what, long long value)
{
	if (value == -1)
		diff_fail(file, line, "%s failed with %s", what, strerrorname_np(errno));
	return value;
}

void
diff_fails(const char *file, int line, const char *what, long long value, int error, int wanted)
{
	if (value != -1)
		diff_fail(file, line, "%s returned %lld, not %s", what, value,
			strerrorname_np(wanted));
	if (error != wanted)
		diff_fail(file, line, "%s failed with %s, not %s", what, strerrorname_np(error),
			strerrorname_np(wanted));
}

/* The child leads its own process group, so that whatever it started ends with it. */
static pid_t
case_start(const struct diff_case *test, int message_pipe[2])
{
	fflush(NULL);
	pid_t child = fork();
	if (child < 0) {
		perror("diff: fork");
		exit(2);
	}
	if (child == 0) {
		sigset_t none;

		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		close(message_pipe[0]);
		message_fd = message_pipe[1];
		test->run();
		/* exit, not _exit: a library's exit handlers are part of what is tested. */
		exit(0);
	}
	setpgid(child, child);
	close(message_pipe[1]);
	return child;
}

/* Waits for the child; on timeout ends its whole group. SIGCHLD is blocked in the runner. Returns
 * whether the time was enough. */
static bool
case_wait(pid_t child, unsigned limit_s, int *status)
{
	sigset_t chld;
	uint64_t end = diff_now_ms() + limit_s * 1000ull;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (;;) {
		pid_t got = waitpid(child, status, WNOHANG);
		if (got == child)
			return true;
		uint64_t now = diff_now_ms();
		if (now >= end)
			break;
		struct timespec left = {
			.tv_sec = (time_t)((end - now) / 1000),
			.tv_nsec = (long)((end - now) % 1000) * 1000000,
		};
		sigtimedwait(&chld, NULL, &left);
	}
	const char *hook = getenv("DIFF_ON_TIMEOUT");
	if (hook != NULL && hook[0] != 0) {
		char line[512];

		snprintf(line, sizeof(line), "%s %d", hook, (int)child);
		if (system(line) != 0)
			fprintf(stderr, "diff: '%s' failed\n", line);
	}
	kill(-child, SIGKILL);
	waitpid(child, status, 0);
	return false;
}

enum outcome { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_SKIPPED };

static enum outcome
case_report(const struct diff_case *test, bool in_time, int status, const char *message,
	uint64_t took_ms)
{
	unsigned long long ms = took_ms;

	if (!in_time) {
		printf("not ok %s: not finished after %u s\n", test->name, test->limit_s);
		return OUTCOME_FAILED;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && message[0] == 0) {
		printf("ok %s (%llu ms)\n", test->name, ms);
		return OUTCOME_OK;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP) {
		printf("skip %s: %s\n", test->name, message);
		return OUTCOME_SKIPPED;
	}
	if (WIFSIGNALED(status))
		printf("not ok %s: ended by SIG%s %s\n", test->name,
			sigabbrev_np(WTERMSIG(status)), message);
	else
		printf("not ok %s: %s (exit code %d)\n", test->name, message, WEXITSTATUS(status));
	return OUTCOME_FAILED;
}

static enum outcome
case_run(const struct diff_case *test)
{
	int message_pipe[2];
	char message[1024];
	int status = 0;
	uint64_t start = diff_now_ms();

	if (pipe2(message_pipe, O_CLOEXEC) != 0) {
		perror("diff: pipe");
		exit(2);
	}
	pid_t child = case_start(test, message_pipe);
	bool in_time = case_wait(child, test->limit_s, &status);
	/* What the case left running must not disturb the next one. */
	kill(-child, SIGKILL);
	works(fcntl(message_pipe[0], F_SETFL, O_NONBLOCK));
	ssize_t n = read(message_pipe[0], message, sizeof(message) - 1);
	message[n > 0 ? n : 0] = 0;
	close(message_pipe[0]);
	enum outcome outcome = case_report(test, in_time, status, message, diff_now_ms() - start);
	fflush(stdout);
	return outcome;
}

static bool
case_wanted(const struct diff_case *test, int names_n, char **names)
{
	for (int i = 0; i < names_n; i++)
		if (strstr(test->name, names[i]) != NULL)
			return true;
	return names_n == 0;
}

int
main(int argc, char **argv)
{
	unsigned count[3] = {0};
	sigset_t chld;

	if (argc > 1 && strcmp(argv[1], "--list") == 0) {
		for (unsigned i = 0; i < cases_n; i++)
			puts(cases[i].name);
		return 0;
	}
	if (argc > 2 && strcmp(argv[1], "--nofork") == 0) {
		for (unsigned i = 0; i < cases_n; i++)
			if (strcmp(cases[i].name, argv[2]) == 0) {
				cases[i].run();
				return 0;
			}
		fprintf(stderr, "diff: no case '%s'\n", argv[2]);
		return 2;
	}
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	for (unsigned i = 0; i < cases_n; i++)
		if (case_wanted(&cases[i], argc - 1, argv + 1))
			count[case_run(&cases[i])]++;
	printf("# %u ok, %u not ok, %u skipped\n", count[OUTCOME_OK], count[OUTCOME_FAILED],
		count[OUTCOME_SKIPPED]);
	/* No case at all is no success. */
	return count[OUTCOME_FAILED] != 0 || count[OUTCOME_OK] + count[OUTCOME_SKIPPED] == 0;
}
