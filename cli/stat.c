/* SPDX-License-Identifier: BSD-3-Clause */
/* culvert stat: an engine's counters, buffers and programs. */
#include <getopt.h>
#include <stdio.h>

#include "cli/cli.h"

static const char usage[] =
	"Usage: culvert stat [--all] [--json] [--engine NAME|SOCKET]\n"
	"\n"
	"Shows what an engine holds and has counted.\n"
	"\n"
	"  -a, --all         counters that are zero too\n"
	"      --json        as JSON\n"
	"  -e, --engine NAME|SOCKET   the engine; default: CULVERT_ENGINE, then `culvert`\n"
	"  -h, --help        print this\n";

struct options {
	const char *engine;
	bool all, json;
};

static int options_read(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{"all", no_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'},
		{"engine", required_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "aje:h", names, NULL)) != -1) {
		switch (c) {
		case 'a':
			o->all = true;
			break;
		case 'j':
			o->json = true;
			break;
		case 'e':
			o->engine = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_OK;
		default:
			return usage_error("stat", "that cannot be");
		}
	}
	if (optind < argc)
		return usage_error("stat", "`%s` is not an option", argv[optind]);
	return -1;
}

static long long number_of(const json_t *o, const char *key)
{
	return (long long)json_integer_value(json_object_get(o, key));
}

static void pair_print(const json_t *all, const char *key, const char *title)
{
	const json_t *o = json_object_get(all, key);

	printf("%-10s %lld of %lld in use\n", title, number_of(o, "used"), number_of(o, "total"));
}

/* Each worker's share, when there are several. */
static void workers_print(const json_t *all)
{
	json_t *list = json_object_get(all, "worker"), *w;
	size_t i;

	if (json_array_size(list) < 2)
		return;
	json_array_foreach(list, i, w)
		printf("worker %-3lld core %lld: %lld connections, %lld packets in, %lld out, %lld handed over,"
		       " %lld dropped there\n",
			number_of(w, "worker"), number_of(w, "core"), number_of(w, "connections"),
			number_of(w, "rx_packets"), number_of(w, "tx_packets"), number_of(w, "handed_over"),
			number_of(w, "drop_handover"));
}

static void programs_print(const json_t *all)
{
	json_t *g;
	size_t i;

	json_array_foreach(json_object_get(all, "programs"), i, g)
		printf("program    pid %lld: %lld processes, %lld sockets, %lld lanes, %lld sets,"
		       " receive %lld bytes, send %lld bytes in %lld buffers\n",
			number_of(g, "pid"), number_of(g, "processes"), number_of(g, "sockets"),
			number_of(g, "lanes"), number_of(g, "sets"), number_of(g, "receive_bytes"),
			number_of(g, "send_bytes"), number_of(g, "send_buffers"));
}

static void stat_print(const struct options *o, json_t *all)
{
	const json_t *tcp = json_object_get(all, "tcp");
	const char *key;
	json_t *p, *v;
	size_t i;

	printf("engine     %s, pid %lld\n", json_string_value(json_object_get(all, "name")),
		number_of(all, "pid"));
	workers_print(all);
	json_array_foreach(json_object_get(all, "ports"), i, p)
		printf("port       %s (%s), %s, mtu %lld\n",
			json_string_value(json_object_get(p, "name")),
			json_string_value(json_object_get(p, "driver")),
			json_is_true(json_object_get(p, "up")) ? "up" : "down", number_of(p, "mtu"));
	printf("tcp        %lld connections, %lld listeners, %lld in TIME-WAIT\n",
		number_of(tcp, "connections"), number_of(tcp, "listeners"),
		number_of(tcp, "time_wait"));
	printf("udp        %lld sockets\n", number_of(json_object_get(all, "udp"), "sockets"));
	pair_print(all, "buffers", "buffers");
	pair_print(all, "packets", "packets");
	programs_print(all);
	json_object_foreach(json_object_get(all, "counters"), key, v) {
		if (o->all || json_integer_value(v) != 0)
			printf("%-22s %lld\n", key, (long long)json_integer_value(v));
	}
}

int cli_stat(int argc, char **argv)
{
	struct options o = {0};
	json_t *all;
	int code = options_read(&o, argc, argv);

	if (code >= 0)
		return code;
	all = engine_query(engine_choose(o.engine), "stat");
	if (all == NULL)
		return EXIT_FAILED;
	if (o.json) {
		json_dumpf(all, stdout, JSON_INDENT(1));
		putchar('\n');
	} else {
		stat_print(&o, all);
	}
	json_decref(all);
	return EXIT_OK;
}
