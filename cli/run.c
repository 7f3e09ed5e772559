/* SPDX-License-Identifier: BSD-3-Clause */
/* culvert run: finds or starts the engine, then becomes the program with the library preloaded. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "stack/api/control.h"

static const char usage[] =
	"Usage: culvert run [--engine NAME|SOCKET] [--config FILE] -- PROGRAM [ARGS...]\n"
	"       culvert run --inline [--config FILE] -- PROGRAM [ARGS...]\n"
	"\n"
	"Runs PROGRAM with its TCP and UDP sockets on a Culvert engine. When no engine of that name\n"
	"runs, a private one is started, with FILE or else with the default configuration (a TAP\n"
	"device: the engine is 10.88.0.2, this machine 10.88.0.1), and ends with its last program.\n"
	"\n"
	"With --inline the engine is a part of PROGRAM's own process, started with FILE or the default\n"
	"configuration at its first internet socket: the lowest latency, for one process at a time.\n"
	"\n"
	"  -e, --engine NAME|SOCKET   the engine; default: CULVERT_ENGINE, then `culvert`\n"
	"  -c, --config FILE          the configuration of a private engine\n"
	"  -i, --inline               the engine runs inside the program\n"
	"  -h, --help                 print this\n"
	"\n"
	"Environment of the program: CULVERT_LOG=off|warn|info|debug, CULVERT_SPIN_US=MICROSECONDS; with --inline\n"
	"CULVERT_EXIT_MS=MILLISECONDS that the program's end waits for what it sent to be acknowledged.\n"
	"Exit code: the program's; 1 the engine cannot run, 2 wrong usage, 126 or 127 as a shell's.\n";

/* Of an engine that answers and does not serve. */
#define LOOK_SECONDS 5
#define LOOK_US 50000
#define START_TRIES 3

struct options {
	const char *engine, *config;
	bool inside;
};

/* -1: go on; else the exit code. */
static int options_read(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{"engine", required_argument, NULL, 'e'},
		{"config", required_argument, NULL, 'c'},
		{"inline", no_argument, NULL, 'i'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "+e:c:ih", names, NULL)) != -1) {
		switch (c) {
		case 'e':
			o->engine = optarg;
			break;
		case 'c':
			o->config = optarg;
			break;
		case 'i':
			o->inside = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_OK;
		default:
			return usage_error("run", "that cannot be");
		}
	}
	if (o->inside && o->engine != NULL)
		return usage_error("run", "either --inline or --engine");
	if (optind == argc)
		return usage_error("run", "which program?");
	return -1;
}

static bool engine_answers(const char *name)
{
	int fd = engine_connect(name);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Whether an engine serves programs; an exit code. One that is just ending answers a little longer than it serves. */
static int engine_look(const char *name, bool *serves)
{
	time_t end = time(NULL) + LOOK_SECONDS;

	while (time(NULL) <= end && engine_answers(name)) {
		int result = engine_serves(name);

		*serves = result > 0;
		if (result != 0)
			return result > 0 ? EXIT_OK : EXIT_FAILED;
		usleep(LOOK_US);
	}
	*serves = false;
	if (!engine_answers(name))
		return EXIT_OK;
	fprintf(stderr, "culvert run: engine %s gives no answer\n", name);
	return EXIT_FAILED;
}

/* Runs culvertd; its exit code, what it printed on stdout into text (when not NULL). */
static int culvertd_run(const char *culvertd, char *const argv[], char *text, size_t size)
{
	int out[2] = {-1, -1}, status = 0;
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		fprintf(stderr, "culvert run: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	if (pid == 0) {
		if (text != NULL)
			dup2(out[1], STDOUT_FILENO);
		execv(culvertd, argv);
		fprintf(stderr, "culvert run: %s: %s\n", culvertd, strerror(errno));
		_exit(EXIT_FAILED);
	}
	close(out[1]);
	while (text != NULL && n + 1 < size && (got = read(out[0], text + n, size - 1 - n)) > 0)
		n += (size_t)got;
	if (text != NULL)
		text[n] = '\0';
	close(out[0]);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

/* The control socket that an engine of this configuration has. */
static int config_socket(const char *culvertd, const char *config, char *path, size_t size)
{
	char *argv[] = {"culvertd", "--config", (char *)(uintptr_t)config, "--check", NULL};
	int code = culvertd_run(culvertd, argv, path, size);

	path[strcspn(path, "\n")] = '\0';
	return code;
}

/* A private engine: option is "--config" or "--default", with its file or name. If another program's was first, that one
 * serves us, unless it ends just now. */
static int engine_start(const char *culvertd, const char *name, const char *option, const char *value)
{
	char pid[32];
	char *argv[] = {"culvertd", (char *)(uintptr_t)option, (char *)(uintptr_t)value, "--until-idle", pid, NULL};
	int code = EXIT_OK;
	bool serves = false;

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	for (int i = 0; i < START_TRIES && code == EXIT_OK && !serves; i++) {
		code = culvertd_run(culvertd, argv, NULL, 0);
		if (code == EXIT_OK)
			code = engine_look(name, &serves);
	}
	if (code != EXIT_OK || serves)
		return code;
	fprintf(stderr, "culvert run: engine %s ends at once\n", name);
	return EXIT_FAILED;
}

static int engine_start_default(const char *culvertd, const char *name)
{
	if (strchr(name, '/') == NULL)
		return engine_start(culvertd, name, "--default", name);
	fprintf(stderr, "culvert run: no engine answers at %s, and only one with a name can be started\n", name);
	return EXIT_FAILED;
}

/* Sees to it that an engine runs; its name or socket in *name. */
static int engine_ready(const struct options *o, const char **name)
{
	static char socket_path[256];
	const char *culvertd = path_culvertd();
	bool serves = false;
	int code;

	*name = engine_choose(o->engine);
	code = o->config == NULL ? engine_look(*name, &serves) : EXIT_OK;
	if (code != EXIT_OK || serves)
		return code;
	if (culvertd == NULL) {
		fprintf(stderr, "culvert run: engine %s is not running, and culvertd is not to be found\n",
			*name);
		return EXIT_FAILED;
	}
	if (o->config == NULL)
		return engine_start_default(culvertd, *name);
	code = config_socket(culvertd, o->config, socket_path, sizeof(socket_path));
	if (code != EXIT_OK)
		return code;
	*name = socket_path;
	code = engine_look(*name, &serves);
	return code != EXIT_OK || serves ? code : engine_start(culvertd, *name, "--config", o->config);
}

/* The program starts its engine itself; a mistake in its configuration is told now. */
static int inline_ready(const struct options *o)
{
	char ignored[256], path[PATH_MAX];
	const char *culvertd = path_culvertd();
	int code;

	setenv("CULVERT_MODE", "inline", 1);
	unsetenv("CULVERT_ENGINE");
	unsetenv("CULVERT_CONFIG");
	if (o->config == NULL)
		return EXIT_OK;
	if (realpath(o->config, path) == NULL) {
		fprintf(stderr, "culvert run: %s: %s\n", o->config, strerror(errno));
		return EXIT_USAGE;
	}
	code = culvertd != NULL ? config_socket(culvertd, path, ignored, sizeof(ignored)) : EXIT_OK;
	setenv("CULVERT_CONFIG", path, 1);
	return code;
}

static int service_ready(const struct options *o)
{
	const char *name;
	int code = engine_ready(o, &name);

	unsetenv("CULVERT_MODE");
	if (code != EXIT_OK)
		return code;
	setenv("CULVERT_ENGINE", name, 1);
	engine_hold(name); /* another program's private one: it may end before our program has its first socket */
	return code;
}

static void preload_set(const char *library)
{
	const char *before = getenv("LD_PRELOAD");
	char *value = NULL;

	if (before != NULL && strstr(before, library) != NULL)
		return;
	if (before != NULL && before[0] != '\0') {
		if (asprintf(&value, "%s:%s", library, before) < 0)
			return;
		setenv("LD_PRELOAD", value, 1);
		free(value);
	} else {
		setenv("LD_PRELOAD", library, 1);
	}
}

int cli_run(int argc, char **argv)
{
	struct options o = {0};
	const char *library = path_library();
	int code = options_read(&o, argc, argv);

	if (code >= 0)
		return code;
	if (library == NULL) {
		fputs("culvert run: libculvert.so is not to be found\n", stderr);
		return EXIT_FAILED;
	}
	code = o.inside ? inline_ready(&o) : service_ready(&o);
	if (code != EXIT_OK)
		return code;
	preload_set(library);
	execvp(argv[optind], argv + optind);
	code = errno == ENOENT ? 127 : 126;
	fprintf(stderr, "culvert run: %s: %s\n", argv[optind], strerror(errno));
	return code;
}
