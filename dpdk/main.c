/* SPDX-License-Identifier: BSD-3-Clause */
/* culvertd: the engine as a service. Exit codes: 0 ended in good order, 1 could not run, 2 wrong usage or
 * configuration. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <rte_eal.h>

#include "dpdk/log.h"
#include "dpdk/service.h"

#define OOM_SCORE_ADJ "-900"

static const char usage[] =
	"Usage: culvertd --config FILE|--default NAME [--foreground]\n"
	"\n"
	"Runs an engine: a TCP and UDP stack on the ports that FILE names, for the programs that\n"
	"`culvert run` starts.\n"
	"\n"
	"  -c, --config FILE   the configuration (docs/configuration.md)\n"
	"      --default NAME  a TAP: engine NAME is 10.88.0.2, this machine 10.88.0.1\n"
	"  -f, --foreground    stay in the foreground, messages on standard error; else it returns\n"
	"                      when the engine is ready, and messages go to syslog\n"
	"      --check         check FILE, print the control socket that it names, and end\n"
	"      --until-idle PID   end when process PID has ended and no program is left\n"
	"  -v, --verbose       DPDK's own messages, too\n"
	"  -V, --version       print the version\n"
	"  -h, --help          print this\n"
	"\n"
	"Exit code: 0 ended by SIGTERM, SIGINT or SIGHUP, 1 cannot run, 2 wrong usage or configuration.\n";

struct options {
	const char *config, *name;
	bool foreground, check, verbose;
	int until_idle; /* a pid; 0: run on */
};

static bool pid_read(const char *text, int *pid)
{
	char *end;
	long n;

	errno = 0;
	n = strtol(text, &end, 10);
	*pid = (int)n;
	return errno == 0 && end != text && *end == '\0' && n > 0 && n <= INT_MAX;
}

/* -1: go on; else the exit code. */
static int options_read(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{"config", required_argument, NULL, 'c'},
		{"default", required_argument, NULL, 'd'},
		{"foreground", no_argument, NULL, 'f'},
		{"check", no_argument, NULL, 'k'},
		{"until-idle", required_argument, NULL, 'u'},
		{"verbose", no_argument, NULL, 'v'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:fvVh", names, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			break;
		case 'd':
			o->name = optarg;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'k':
			o->check = true;
			break;
		case 'u':
			if (!pid_read(optarg, &o->until_idle)) {
				fprintf(stderr, "culvertd: --until-idle: `%s` is no process's number\nTry `culvertd --help`.\n", optarg);
				return 2;
			}
			break;
		case 'v':
			o->verbose = true;
			break;
		case 'V':
			puts("culvertd " CULVERT_VERSION);
			return 0;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs("Try `culvertd --help`.\n", stderr);
			return 2;
		}
	}
	if (optind < argc || !o->config == !o->name) {
		fprintf(stderr, "culvertd: %s\nTry `culvertd --help`.\n",
			optind < argc ? "there are no arguments besides options"
				      : "either --config FILE or --default NAME is needed");
		return 2;
	}
	return -1;
}

/* Signals go to the control thread's signalfd: blocked before any thread is there. */
static void signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* When the kernel needs memory it ends a program rather than what serves all of them. What somebody has chosen (systemd's
 * OOMScoreAdjust=) stays, and who may not lower it goes on without. */
static void memory_last(void)
{
	int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char now[16] = "";

	if (fd < 0)
		return;
	if (read(fd, now, sizeof(now) - 1) > 0 && strcmp(now, "0\n") == 0) {
		ssize_t done = pwrite(fd, OOM_SCORE_ADJ, strlen(OOM_SCORE_ADJ), 0);

		(void)done;
	}
	close(fd);
}

/* The parent waits until the engine is ready and returns its word. In the child: where to say it. A session is a scheduling
 * group, too, where autogroups are on, so the engine of one program stays in the program's. */
static int background(bool session)
{
	int ready[2];
	char word = 1;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		fprintf(stderr, "culvertd: %s\n", strerror(errno));
		exit(1);
	}
	if (pid > 0) {
		close(ready[1]);
		if (read(ready[0], &word, 1) != 1)
			word = 1;
		if (word != 0)
			waitpid(pid, NULL, 0);
		exit(word);
	}
	close(ready[0]);
	if (session)
		setsid();
	else
		setpgid(0, 0); /* the terminal's signals are not for it */
	return ready[1];
}

static void say_ready(int fd, char word)
{
	if (fd < 0)
		return;
	if (write(fd, &word, 1) != 1)
		log_line(LOG_DEBUG, "nobody waited for the engine to be ready");
	close(fd);
}

/* A daemon's session is a scheduling group of its own then, and sched_yield() gives the core to no other group. */
static void autogroups_mention(void)
{
	char on = '0';
	int fd = open("/proc/sys/kernel/sched_autogroup_enabled", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, &on, 1) == 1 && on == '1')
		log_line(LOG_NOTICE, "programs of other sessions that share the engine's core have half of it: "
				     "kernel.sched_autogroup_enabled=0 or cores= help (operations.md)");
	close(fd);
}

/* Two programs that want a private engine at the same time start two, of which one has the name: it serves both. */
static bool other_was_first(const struct service *s)
{
	return s->until_idle != 0 && s->control_fd < 0 && control_answers(s->config.control);
}

static void become_daemon(void)
{
	int null = open("/dev/null", O_RDWR);

	log_to_syslog();
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (chdir("/") != 0)
		log_line(LOG_DEBUG, "chdir: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	static struct service s = {.control_fd = -1};
	struct options o = {0};
	char error[CONFIG_ERROR_BYTES] = "";
	int ready = -1, code = options_read(&o, argc, argv);

	if (code >= 0)
		return code;
	config_init(&s.config);
	code = o.config ? config_load(&s.config, o.config, error)
			: config_load_default(&s.config, o.name, error);
	if (code != 0) {
		fprintf(stderr, "culvertd: %s\n", error);
		return 2;
	}
	if (o.check) {
		puts(s.config.control);
		return 0;
	}
	s.until_idle = o.until_idle;
	if (!o.foreground)
		ready = background(o.until_idle == 0);
	signals_block();
	code = service_start(&s, o.verbose, error);
	if (code != 0 && other_was_first(&s)) {
		say_ready(ready, 0);
		return 0;
	}
	if (code != 0) {
		log_line(LOG_ERR, "%s", error);
		if (s.control_fd >= 0 && s.worker[0].engine)
			unlink(s.config.control);
		say_ready(ready, (char)code);
		return code;
	}
	memory_last();
	worker_settle(&s.worker[0]);
	if (!atomic_load(&s.stop))
		log_line(LOG_NOTICE, "engine %s is ready", s.config.name);
	if (!o.foreground) {
		if (o.until_idle == 0)
			autogroups_mention();
		become_daemon();
	}
	say_ready(ready, 0);
	worker_run(&s.worker[0]);
	control_stop(&s);
	workers_end(&s);
	ports_close(&s.ports);
	rte_eal_cleanup();
	return 0;
}
