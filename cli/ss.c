/* SPDX-License-Identifier: BSD-3-Clause */
/* culvert ss: an engine's sockets, as ss(8) shows the kernel's. */
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const char usage[] =
	"Usage: culvert ss [-t|-u|-S|-l|-a|-n|-p|-i] [--json] [--engine NAME|SOCKET]\n"
	"\n"
	"Shows an engine's sockets: connections, unless options say otherwise.\n"
	"\n"
	"  -t, --tcp         TCP only\n"
	"  -u, --udp         UDP only\n"
	"  -S, --sctp        SCTP only\n"
	"  -l, --listening   those that listen (UDP: that have no peer)\n"
	"  -a, --all         both\n"
	"  -n, --numeric     port numbers, not names\n"
	"  -p, --processes   who holds them\n"
	"  -i, --info        what TCP knows of the path\n"
	"      --json        as JSON\n"
	"  -e, --engine NAME|SOCKET   the engine; default: CULVERT_ENGINE, then `culvert`\n"
	"  -h, --help        print this\n";

struct options {
	const char *engine;
	bool tcp, udp, sctp, listening, all, numeric, processes, info, json;
};

static int options_read(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {
		{"tcp", no_argument, NULL, 't'}, {"udp", no_argument, NULL, 'u'},
		{"sctp", no_argument, NULL, 'S'}, {"listening", no_argument, NULL, 'l'},
		{"all", no_argument, NULL, 'a'}, {"numeric", no_argument, NULL, 'n'},
		{"processes", no_argument, NULL, 'p'}, {"info", no_argument, NULL, 'i'},
		{"json", no_argument, NULL, 'j'}, {"engine", required_argument, NULL, 'e'},
		{"help", no_argument, NULL, 'h'}, {0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "tuSlanpije:h", names, NULL)) != -1) {
		bool *flag = c == 't' ? &o->tcp : c == 'u' ? &o->udp : c == 'S' ? &o->sctp :
			c == 'l' ? &o->listening : c == 'a' ? &o->all : c == 'n' ? &o->numeric :
			c == 'p' ? &o->processes : c == 'i' ? &o->info : c == 'j' ? &o->json : NULL;

		if (flag != NULL) {
			*flag = true;
		} else if (c == 'e') {
			o->engine = optarg;
		} else if (c == 'h') {
			fputs(usage, stdout);
			return EXIT_OK;
		} else {
			return usage_error("ss", "that cannot be");
		}
	}
	if (optind < argc)
		return usage_error("ss", "`%s` is not an option", argv[optind]);
	return -1;
}

static const char *text_of(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s != NULL ? s : "";
}

static json_int_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static bool is_wanted(const struct options *o, const json_t *row)
{
	const char *proto = text_of(row, "proto"), *state = text_of(row, "state");
	bool listens = strcmp(state, "LISTEN") == 0 || strcmp(state, "UNCONN") == 0;
	bool any = !o->tcp && !o->udp && !o->sctp;

	if (!any && !(o->tcp && strcmp(proto, "tcp") == 0) &&
		!(o->udp && strcmp(proto, "udp") == 0) && !(o->sctp && strcmp(proto, "sctp") == 0))
		return false;
	return o->all || o->listening == listens;
}

static void address_print(const struct options *o, const json_t *row, const char *host,
	const char *port, int width)
{
	char text[128], service[32];
	json_int_t number = number_of(row, port);
	const char *address = text_of(row, host);
	const struct servent *known = NULL;
	bool any = strcmp(address, "0.0.0.0") == 0 || strcmp(address, "::") == 0;

	if (!o->numeric && number != 0)
		known = getservbyport(htons((uint16_t)number), text_of(row, "proto"));
	if (number == 0)
		snprintf(service, sizeof(service), "*");
	else if (known != NULL)
		snprintf(service, sizeof(service), "%s", known->s_name);
	else
		snprintf(service, sizeof(service), "%d", (int)number);
	if (any && number == 0)
		address = strchr(address, ':') ? "[::]" : "0.0.0.0";
	snprintf(text, sizeof(text), strchr(address, ':') && address[0] != '[' ? "[%s]:%s" : "%s:%s",
		address, service);
	printf(" %*s", width, text);
}

static void process_print(const json_t *row)
{
	json_int_t pid = number_of(row, "pid");
	char path[64], name[64] = "?";
	FILE *f;

	if (pid == 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	f = fopen(path, "re");
	if (f != NULL) {
		if (fgets(name, sizeof(name), f) != NULL)
			name[strcspn(name, "\n")] = '\0';
		fclose(f);
	}
	printf(" users:((\"%s\",pid=%d))", name, (int)pid);
}

static void info_print(const json_t *row)
{
	const json_t *i = json_object_get(row, "info"), *t = json_object_get(row, "timer");

	if (i == NULL)
		return;
	printf("\n\t worker:%d rtt:%.3f/%.3f mss:%d cwnd:%d", (int)number_of(row, "worker"), (double)number_of(i, "rtt_us") / 1000,
		(double)number_of(i, "rttvar_us") / 1000, (int)number_of(i, "mss"),
		(int)number_of(i, "cwnd"));
	if (number_of(i, "ssthresh") != 0)
		printf(" ssthresh:%d", (int)number_of(i, "ssthresh"));
	printf(" bytes_acked:%lld bytes_received:%lld", (long long)number_of(i, "bytes_acked"),
		(long long)number_of(i, "bytes_received"));
	if (number_of(i, "retransmitted") != 0)
		printf(" retrans:%d", (int)number_of(i, "retransmitted"));
	if (t != NULL)
		printf(" timer:(%s,%dms,%d)", text_of(t, "name"), (int)number_of(t, "ms"),
			(int)number_of(t, "retransmits"));
}

static void row_print(const struct options *o, const json_t *row)
{
	printf("%-5s %-10s %6lld %6lld", text_of(row, "proto"), text_of(row, "state"),
		(long long)number_of(row, "rx_queued"), (long long)number_of(row, "tx_queued"));
	address_print(o, row, "local", "local_port", 26);
	address_print(o, row, "peer", "peer_port", 26);
	if (o->processes)
		process_print(row);
	if (o->info)
		info_print(row);
	putchar('\n');
}

int cli_ss(int argc, char **argv)
{
	struct options o = {0};
	json_t *all, *wanted, *row;
	size_t i;
	int code = options_read(&o, argc, argv);

	if (code >= 0)
		return code;
	all = engine_query(engine_choose(o.engine), "ss");
	if (all == NULL)
		return EXIT_FAILED;
	wanted = json_array();
	json_array_foreach(all, i, row) {
		if (is_wanted(&o, row))
			json_array_append(wanted, row);
	}
	if (o.json) {
		json_dumpf(wanted, stdout, JSON_INDENT(1));
		putchar('\n');
	} else {
		printf("%-5s %-10s %6s %6s %26s %26s%s\n", "Netid", "State", "Recv-Q", "Send-Q",
			"Local Address:Port", "Peer Address:Port", o.processes ? " Process" : "");
		json_array_foreach(wanted, i, row)
			row_print(&o, row);
	}
	json_decref(wanted);
	json_decref(all);
	return EXIT_OK;
}
