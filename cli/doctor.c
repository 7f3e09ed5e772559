/* SPDX-License-Identifier: BSD-3-Clause */
/* culvert doctor: is all there that Culvert needs, and what would make it faster? */
#include <getopt.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cli/cli.h"
#include "stack/api/control.h"

static const char usage[] =
	"Usage: culvert doctor [--json] [--engine NAME|SOCKET]\n"
	"\n"
	"Looks whether everything that Culvert needs is there. `fail`: it will not work; `warn`: it\n"
	"will, and could do better. Exit code 1 when something fails.\n";

enum verdict { GOOD, WARN, FAIL };

struct report {
	json_t *list;
	bool json, failed;
};

static void say(struct report *r, enum verdict v, const char *what, const char *text)
{
	static const char *const words[] = {"ok", "warn", "fail"};

	r->failed |= v == FAIL;
	if (r->json)
		json_array_append_new(r->list, json_pack("{s:s, s:s, s:s}", "check", what, "result",
							words[v], "text", text));
	else
		printf("%-5s %-12s %s\n", words[v], what, text);
}

static void check_parts(struct report *r)
{
	const char *library = path_library(), *culvertd = path_culvertd();

	say(r, library ? GOOD : FAIL, "library", library ? library : "libculvert.so is not to be found");
	say(r, culvertd ? GOOD : FAIL, "culvertd", culvertd ? culvertd : "it is not to be found");
}

static void check_rights(struct report *r)
{
	bool root = geteuid() == 0, tun = access("/dev/net/tun", R_OK | W_OK) == 0;

	say(r, root ? GOOD : WARN, "root",
		root ? "yes" : "an engine needs CAP_NET_ADMIN for a TAP; programs need no rights");
	say(r, tun ? GOOD : WARN, "tap",
		tun ? "/dev/net/tun can be used"
		    : "/dev/net/tun cannot be used: net_tap ports will not start");
}

static void check_driver(struct report *r)
{
	glob_t g = {0};
	bool found = glob("/usr/lib/*/dpdk/pmds-*/librte_net_tap.so*", 0, NULL, &g) == 0 ||
		glob("/usr/lib/*/librte_net_tap.so*", 0, NULL, &g) == 0;

	say(r, found ? GOOD : WARN, "dpdk",
		found ? "its drivers are installed" : "no DPDK driver is found: install the package dpdk");
	globfree(&g);
}

static void check_hugepages(struct report *r)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "re");
	int n = 0;

	if (f != NULL && fscanf(f, "%d", &n) != 1)
		n = 0;
	if (f != NULL)
		fclose(f);
	say(r, n > 0 ? GOOD : WARN, "hugepages",
		n > 0 ? "there are some; an engine uses them when enough are free"
		      : "there are none: it works without, and is slower (vm.nr_hugepages)");
}

static void check_machine(struct report *r)
{
	struct rlimit files;
	char text[96];

	snprintf(text, sizeof(text), "%d cores; an engine polls on one", get_nprocs());
	say(r, get_nprocs() > 1 ? GOOD : WARN, "cores", text);
	getrlimit(RLIMIT_NOFILE, &files);
	snprintf(text, sizeof(text), "%llu descriptors for a program (ulimit -n)",
		(unsigned long long)files.rlim_cur);
	say(r, files.rlim_cur >= 1024 ? GOOD : WARN, "descriptors", text);
}

static void check_engine(struct report *r, const char *name)
{
	char text[160];
	int fd = engine_connect(name);

	snprintf(text, sizeof(text),
		fd >= 0 ? "%.64s answers" : "%.64s is not running; `culvert run` starts a private one", name);
	say(r, fd >= 0 ? GOOD : WARN, "engine", text);
	if (fd >= 0)
		close(fd);
}

int cli_doctor(int argc, char **argv)
{
	static const struct option names[] = {
		{"json", no_argument, NULL, 'j'},
		{"engine", required_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct report r = {.list = json_array()};
	const char *engine = NULL;
	int c;

	while ((c = getopt_long(argc, argv, "je:h", names, NULL)) != -1) {
		if (c == 'j') {
			r.json = true;
		} else if (c == 'e') {
			engine = optarg;
		} else if (c == 'h') {
			fputs(usage, stdout);
			return EXIT_OK;
		} else {
			return usage_error("doctor", "that cannot be");
		}
	}
	if (optind < argc)
		return usage_error("doctor", "`%s` is not an option", argv[optind]);
	check_parts(&r);
	check_driver(&r);
	check_rights(&r);
	check_hugepages(&r);
	check_machine(&r);
	check_engine(&r, engine_choose(engine));
	if (r.json) {
		json_dumpf(r.list, stdout, JSON_INDENT(1));
		putchar('\n');
	}
	json_decref(r.list);
	return r.failed ? EXIT_FAILED : EXIT_OK;
}
