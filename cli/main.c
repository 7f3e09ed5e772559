/* SPDX-License-Identifier: BSD-3-Clause */
/* culvert: picks the subcommand. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char usage[] =
	"Usage: culvert COMMAND [OPTIONS]\n"
	"\n"
	"  run      run a program, unmodified, with its sockets on a Culvert engine\n"
	"  ss       show an engine's sockets\n"
	"  stat     show an engine's counters and buffers\n"
	"  doctor   look whether everything that Culvert needs is there\n"
	"\n"
	"  --help, --version; `culvert COMMAND --help` tells the options.\n"
	"\n"
	"The engine is the one of --engine NAME|SOCKET, of CULVERT_ENGINE, or `culvert`.\n";

int usage_error(const char *command, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "culvert %s: ", command);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry `culvert %s --help`.\n", command);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} commands[] = {
		{"run", cli_run}, {"ss", cli_ss}, {"stat", cli_stat}, {"doctor", cli_doctor}};

	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		fputs(usage, stdout);
		return EXIT_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("culvert " CULVERT_VERSION);
		return EXIT_OK;
	}
	fprintf(stderr, "culvert: there is no command `%s`.\nTry `culvert --help`.\n", argv[1]);
	return EXIT_USAGE;
}
