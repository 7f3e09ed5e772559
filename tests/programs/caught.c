/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * caught PID LIBRARY SECONDS COMMAND...: stops the main thread of PID, and no other, where its next instruction lies in
 * LIBRARY (a part of the file's name); runs COMMAND and waits SECONDS more, in which the other threads go on; then
 * lets it go on too. Exit 1 when it is not found there within 10 s.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_S 10

static uintptr_t from, to;

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

/* The executable part of the library. */
static void range_find(const char *pid, const char *library)
{
	char path[64], line[1024];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/maps", pid);
	f = fopen(path, "r");
	if (f == NULL)
		die(path);
	while (to == 0 && fgets(line, sizeof(line), f) != NULL) {
		if (strstr(line, library) != NULL && strstr(line, " r-xp ") != NULL)
			(void)sscanf(line, "%lx-%lx", &from, &to);
	}
	fclose(f);
	if (to == 0) {
		fprintf(stderr, "caught: %s has no %s\n", pid, library);
		exit(1);
	}
}

/* Stops it; true: inside. */
static int stopped_inside(pid_t pid)
{
	struct user_regs_struct regs;
	int status;

	if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) != 0 || waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
		die("stop");
	if (ptrace(PTRACE_GETREGS, pid, 0, &regs) != 0)
		die("registers");
	return regs.rip >= from && regs.rip < to;
}

int main(int argc, char **argv)
{
	const struct timespec moment = {.tv_nsec = 20000};
	pid_t pid, child;
	time_t end = time(NULL) + LOOK_S;

	if (argc < 5)
		return 2;
	pid = atoi(argv[1]);
	range_find(argv[1], argv[2]);
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
		die("seize");
	while (!stopped_inside(pid)) {
		if (time(NULL) > end) {
			fprintf(stderr, "caught: %d was never in %s\n", pid, argv[2]);
			return 1;
		}
		ptrace(PTRACE_CONT, pid, 0, 0);
		nanosleep(&moment, NULL);
	}
	child = fork();
	if (child == 0) {
		execvp(argv[4], argv + 4);
		die(argv[4]);
	}
	waitpid(child, NULL, 0);
	sleep((unsigned)atoi(argv[3]));
	if (ptrace(PTRACE_DETACH, pid, 0, 0) != 0)
		die("detach");
	return 0;
}
