/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file (dpdk/config.h): what is read, and what is said of each mistake: the file, the
 * line, and what would be right. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dpdk/config.h"

#define PORT "[port p]\ndevice=net_tap0,iface=cv0\n"
#define GOOD PORT "address=10.0.0.2/24\n" /* lines 1 to 3 */

static char path[32];
static char error[CONFIG_ERROR_BYTES];
static struct config config;

static int file_make(void **state)
{
	int fd;

	(void)state;
	strcpy(path, "/tmp/unit-config-XXXXXX");
	fd = mkstemp(path);
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int file_remove(void **state)
{
	(void)state;
	return unlink(path);
}

static int load_bytes(const char *text, size_t len)
{
	FILE *f = fopen(path, "we");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	error[0] = '\0';
	return config_load(&config, path, error);
}

static int load(const char *text)
{
	return load_bytes(text, strlen(text));
}

/* The error begins with FILE:LINE: (FILE: for line 0), is one line, and has the words. */
static void refused(const char *text, int line, const char *words)
{
	char head[64];

	if (load(text) != -1)
		fail_msg("is taken: %s", text);
	if (line > 0)
		snprintf(head, sizeof(head), "%s:%d: ", path, line);
	else
		snprintf(head, sizeof(head), "%s: ", path);
	if (strncmp(error, head, strlen(head)) != 0)
		fail_msg("\"%s\" is said of line %d of: %s", error, line, text);
	if (!strstr(error + strlen(head), words))
		fail_msg("\"%s\" does not say \"%s\" of: %s", error, words, text);
	assert_null(strchr(error, '\n'));
}

static void taken(const char *text)
{
	if (load(text) != 0)
		fail_msg("\"%s\" is said of: %s", error, text);
}

static void addr4_is(const struct config_address *a, const char *bytes, uint8_t prefix)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	assert_true(a->set);
	assert_memory_equal(a->addr, mapped, 12);
	assert_memory_equal(a->addr + 12, bytes, 4);
	assert_int_equal(a->prefix, prefix);
}

/* --- what is read ------------------------------------------------------------------------------ */

static void least__has_defaults(void **state)
{
	(void)state;
	taken(GOOD);
	assert_string_equal(config.name, "culvert");
	assert_string_equal(config.control, "/run/culvert/culvert.sock");
	assert_int_equal(config.workers, 1);
	assert_int_equal(config.hugepages, HUGEPAGES_AUTO);
	assert_false(config.loopback);
	assert_int_equal(config.idle, IDLE_MODE_ADAPTIVE);
	assert_int_equal(config.ports_n, 1);
	assert_string_equal(config.ports[0].name, "p");
	assert_string_equal(config.ports[0].device, "net_tap0,iface=cv0");
	assert_false(config.ports[0].pci);
	assert_int_equal(config.ports[0].mtu, 1500);
	assert_int_equal(config.ports[0].vlan, 0);
	assert_int_equal(config.ports[0].checksum, CHECKSUM_AUTO);
	assert_int_equal(config.ports[0].tso, TSO_AUTO);
	assert_int_equal(config.ports[0].tso_max, 65535);
	assert_false(config.ports[0].gateway.set);
	addr4_is(&config.ports[0].address, "\x0a\x00\x00\x02", 24);
#define X(key, field, min, max, def, unit) assert_int_equal(config.limits.field, def);
#include "dpdk/limits.def"
#undef X
}

static void every_key__arrives(void **state)
{
	(void)state;
	taken("# a comment\n"
	      "[engine]\nname=web-1\nworkers=3\ncores=0,2-3\nhugepages=yes\nidle=poll\nspin=7\n"
	      "control_mode=0620\ncontrol_group=4711\n"
	      "control=/srv/x.sock ; another\n\n"
	      "[port out]\ndevice = 0000:01:00.0\naddress=192.0.2.2/25\naddress6=2001:db8::2/64\n"
	      "gateway=192.0.2.1\ngateway6=2001:db8::1\nmtu=9000\nvlan=4094\nchecksum=trusted-link\n"
	      "tso=off\ntso_max=32K\n"
	      "[port host]\ndevice=net_tap1\naddress=10.0.0.2/8\nhost_address=10.0.0.1/8\nchecksum=software\n"
	      "[port peer]\ndevice=net_memif0,role=server\naddress=172.16.0.1/30\nmtu=65535\ntso=trusted-link\n"
	      "[rule]\nloopback=culvert\n"
	      "[limits]\nsockets=1K\nreceive_memory=2G\n");
	assert_string_equal(config.name, "web-1");
	assert_string_equal(config.cores, "0,2-3");
	assert_int_equal(config.hugepages, HUGEPAGES_YES);
	assert_int_equal(config.idle, IDLE_MODE_POLL);
	assert_int_equal(config.spin_us, 7);
	assert_int_equal(config.control_mode, 0620);
	assert_int_equal(config.control_group, 4711);
	assert_string_equal(config.control, "/srv/x.sock");
	assert_int_equal(config.ports_n, 3);
	assert_true(config.ports[0].pci);
	assert_string_equal(config.ports[0].device, "0000:01:00.0");
	addr4_is(&config.ports[0].gateway, "\xc0\x00\x02\x01", 32);
	assert_int_equal(config.ports[0].address6.prefix, 64);
	assert_memory_equal(config.ports[0].gateway6.addr, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_int_equal(config.ports[0].mtu, 9000);
	assert_int_equal(config.ports[0].vlan, 4094);
	assert_int_equal(config.ports[0].checksum, CHECKSUM_TRUSTED);
	addr4_is(&config.ports[1].host_address, "\x0a\x00\x00\x01", 8);
	assert_int_equal(config.ports[1].checksum, CHECKSUM_SOFTWARE);
	assert_int_equal(config.ports[0].tso, TSO_OFF);
	assert_int_equal(config.ports[0].tso_max, 32768);
	assert_int_equal(config.ports[1].tso, TSO_AUTO);
	assert_int_equal(config.ports[2].mtu, 65535);
	assert_int_equal(config.ports[2].tso, TSO_TRUSTED);
	assert_true(config.loopback);
	assert_int_equal(config.limits.sockets, 1024);
	assert_int_equal(config.limits.receive_memory, 2147483648u);
}

static void name__gives_the_socket(void **state)
{
	(void)state;
	taken("[engine]\nname=blue\n" GOOD);
	assert_string_equal(config.control, "/run/culvert/blue.sock");
}

static void loopback_alone__needs_no_port(void **state)
{
	(void)state;
	taken("[rule]\nloopback=culvert\n");
	assert_int_equal(config.ports_n, 0);
}

/* --- the form ---------------------------------------------------------------------------------- */

static void form__line_is_named(void **state)
{
	(void)state;
	refused("", 0, "[port NAME]");
	refused("[engine]\nname=x\n", 0, "device=");
	refused("name=x\n" GOOD, 1, "before the first section");
	refused("[engine\n" GOOD, 1, "[engine], [port NAME], [routes], [rule], [tcp] or [limits]");
	refused("[engine]\n\n# x\nhugepages\n" GOOD, 4, "key=value");
	refused("[engine]\n=x\n" GOOD, 2, "key=value");
	refused("[engine]\nname=\n" GOOD, 2, "name= has no value");
	refused("[engine]\nname=a\nidle=poll\nname=b\n" GOOD, 4, "line 2");
	refused("[engine]\nname=a\n" GOOD "[engine]\nidle=poll\n", 6, "line 1");
	refused("[motor]\n" GOOD, 1, "[engine], [port NAME], [routes], [rule], [tcp], [limits]");
	refused("[port]\n", 1, "[port NAME]");
	refused(GOOD "[port a b]\n", 4, "letters, digits");
	refused(GOOD "[port p]\n", 4, "line 1");
}

static void missing_file__is_named(void **state)
{
	(void)state;
	assert_int_equal(config_load(&config, "/nonexistent/x.ini", error), -1);
	assert_string_equal(error, "/nonexistent/x.ini: cannot be read: No such file or directory");
}

static void long_lines__are_refused_with_their_number(void **state)
{
	char text[2048], *end;

	(void)state;
	end = text + sprintf(text, "%s", GOOD);
	end += sprintf(end, "gateway=");
	memset(end, '1', 300);
	strcpy(end + 300, "\n");
	refused(text, 4, "longer than");
}

static void long_comment__is_a_comment(void **state)
{
	char text[4096], *end;

	(void)state;
	end = text + sprintf(text, "# ");
	memset(end, 'x', 3000);
	strcpy(end + 3000, "\n" GOOD "mtu=1\n");
	refused(text, 5, "mtu=1");
}

static void directory__cannot_be_read(void **state)
{
	(void)state;
	assert_int_equal(config_load(&config, "/tmp", error), -1);
	assert_non_null(strstr(error, "cannot be read"));
}

/* --- values ------------------------------------------------------------------------------------ */

static void engine__says_what_would_be_right(void **state)
{
	(void)state;
	refused("[engine]\nnmae=x\n" GOOD, 2, "known are name, workers, cores, hugepages, idle");
	refused("[engine]\nname=a/b\n" GOOD, 2, "1 to 31 letters");
	refused("[engine]\nname=..\n" GOOD, 2, "1 to 31 letters");
	refused("[engine]\nname=0123456789012345678901234567890x\n" GOOD, 2, "1 to 31 letters");
	refused("[engine]\nworkers=0\n" GOOD, 2, "number from 1");
	refused("[engine]\nworkers=17\n" GOOD, 2, "to 16");
	refused("[engine]\ncores=all\n" GOOD, 2, "as 1 or 0,2-3");
	refused("[engine]\nhugepages=maybe\n" GOOD, 2, "auto|yes|no");
	refused("[engine]\nidle=never\n" GOOD, 2, "adaptive|poll");
	refused("[engine]\nspin=-1\n" GOOD, 2, "number from 0 to 1000000");
	refused("[engine]\ncontrol_mode=0777\n" GOOD, 2, "octal");
	refused("[engine]\ncontrol_mode=rw\n" GOOD, 2, "octal");
	refused("[engine]\ncontrol_group=no-such-group\n" GOOD, 2, "no such group");
	refused("[engine]\nspin=1 s\n" GOOD, 2, "number from 0 to 1000000");
	refused("[engine]\ncontrol=x.sock\n" GOOD, 2, "absolute path");
	refused(GOOD "[rule]\nloopback=yes\n", 5, "kernel|culvert");
	refused(GOOD "[rule]\nlop=yes\n", 5, "known is loopback");
}

static void port__says_what_would_be_right(void **state)
{
	(void)state;
	refused(GOOD "mtuu=1500\n", 4, "host_address, host_address6, mtu, vlan, autoconf6, dad, checksum, tso, tso_max");
	refused(GOOD "mtu=575\n", 4, "number from 576 to 65535");
	refused(GOOD "mtu=65536\n", 4, "number from 576 to 65535");
	refused(GOOD "mtu=0x600\n", 4, "number from 576 to 65535");
	refused(GOOD "vlan=0\n", 4, "number from 1 to 4094");
	refused(GOOD "vlan=4095\n", 4, "number from 1 to 4094");
	refused(GOOD "checksum=on\n", 4, "auto|offload|software|trusted-link");
	refused(GOOD "tso=on\n", 4, "auto|off|trusted-link");
	refused(GOOD "tso_max=2047\n", 4, "number from 2048 to 65535");
	refused("[port p]\ndevice=net_memif0\naddress=10.0.0.2/24\ngateway=10.0.0.1\ntso=trusted-link\n", 1, "a router passes on no frame larger than its MTU");
	refused(GOOD "mtu=1501\n", 1, "mtu= is at most 1500");
	refused(GOOD "tso=trusted-link\n", 1, "tso=trusted-link cannot be");
	refused("[port p]\naddress=10.0.0.2/24\n", 1, "needs device=");
	refused(PORT, 1, "needs address=, address6= or autoconf6=yes");
	refused("[port p]\ndevice=eth0\n", 2, "PCI address");
	refused("[port p]\ndevice=01:00\n", 2, "PCI address");
	refused(GOOD "[port q]\ndevice=net_tap0,iface=cv1\naddress=10.1.0.2/24\n", 5, "[port p] has it already");
}

static void address__says_what_would_be_right(void **state)
{
	static const char *const bad[] = {
		"10.0.0.2", "10.0.0.300/24", "10.0.0/24", "10.0.0.2/", "x/24", "fd00::1/64"};
	char text[128];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), PORT "address=%s\n", bad[i]);
		refused(text, 3, i == 3 ? "number from 1 to 32" : "with prefix, as 10.0.0.1/24");
	}
	refused(PORT "address=10.0.0.2/33\n", 3, "number from 1 to 32");
	refused(PORT "address=127.0.0.2/8\n", 3, "unicast");
	refused(PORT "address=0.0.0.0/8\n", 3, "unicast");
	refused(PORT "address=224.0.0.1/8\n", 3, "unicast");
	refused(PORT "address6=10.0.0.2/24\n", 3, "with prefix, as fd00::1/64");
	refused(PORT "address6=fd00::2/129\n", 3, "number from 1 to 128");
	refused(PORT "address6=ff02::1/64\n", 3, "unicast");
	refused(PORT "address6=::1/64\n", 3, "unicast");
	refused(PORT "address6=::ffff:10.0.0.1/128\n", 3, "unicast");
	refused(GOOD "gateway=10.0.0.1/24\n", 4, "an IPv4 address, as 10.0.0.1");
}

static void limits__are_held_to_their_range(void **state)
{
	char text[160];

	(void)state;
	refused(GOOD "[limits]\nsocks=5\n", 5, "sockets");
	refused(GOOD "[limits]\nsockets=18446744073709551616\n", 5, "number from");
	refused(GOOD "[limits]\nsockets=18014398509481985K\n", 5, "number from");
	refused(GOOD "[limits]\nsockets=1T\n", 5, "number from");
#define X(key, field, min, max, def, unit)                                                           \
	snprintf(text, sizeof(text), GOOD "[limits]\n" #key "=%llu\n", (unsigned long long)(max) + 1);  \
	refused(text, 5, #key "=");                                                                    \
	snprintf(text, sizeof(text), GOOD "[limits]\n" #key "=%llu\n", (unsigned long long)(min)-1);    \
	refused(text, 5, #key "=");                                                                    \
	snprintf(text, sizeof(text), GOOD "[limits]\n" #key "=%llu\n", (unsigned long long)(max));      \
	taken(text);                                                                                   \
	assert_int_equal(config.limits.field, max);
#include "dpdk/limits.def"
#undef X
}

static void tcp__settings_have_linux_names_and_defaults(void **state)
{
	char text[160];

	(void)state;
	taken(GOOD);
	assert_int_equal(config.tcp.syncookies, 1);
#define X(key, min, max, def, what)                                                                  \
	snprintf(text, sizeof(text), GOOD "[tcp]\n" #key "=%llu\n", (max) + 1ull);                      \
	refused(text, 5, #key "=");                                                                  \
	snprintf(text, sizeof(text), GOOD "[tcp]\n" #key "=%llu\n", max + 0ull);                       \
	if (strcmp(#key, "local_port_first") == 0)                                                   \
		strcat(text, "local_port_last=65535\n");                                                      \
	taken(text);                                                                                 \
	assert_int_equal(config.tcp.key, max);
#include "stack/core/tcp_config.def"
#undef X
	refused(GOOD "[tcp]\nlocal_port_first=2000\nlocal_port_last=1999\n", 0, "behind");
	refused(GOOD "[tcp]\nsyncookie=1\n", 5, "syncookies");
	assert_int_equal(config.tcp.congestion_control, 0);
	taken(GOOD "[tcp]\ncongestion_control=reno\n");
	assert_int_equal(config.tcp.congestion_control, 1);
	refused(GOOD "[tcp]\ncongestion_control=vegas\n", 5, "must be cubic|reno|dctcp");
}

/* --- keys together ----------------------------------------------------------------------------- */

static void together__is_checked(void **state)
{
	(void)state;
	refused(GOOD "gateway=10.0.1.1\n", 1, "in the network of address=");
	refused(GOOD "gateway=10.0.0.2\n", 1, "another address");
	refused(GOOD "gateway6=fd00::1\n", 1, "gateway6= needs address6=");
	refused(GOOD "host_address=10.0.1.1/24\n", 1, "in the network of address=");
	refused(PORT "mtu=1279\naddress6=fd00::1/64\n", 1, "1280");
	refused("[port p]\ndevice=net_memif0\naddress=10.0.0.2/24\nhost_address=10.0.0.1/24\n", 1, "net_tap");
	refused(GOOD "[port q]\ndevice=net_tap1\naddress=10.0.0.9/16\n", 4, "overlap");
	taken(GOOD "[port q]\ndevice=net_tap1\naddress=10.0.1.2/24\n");
}

static void ports__end_somewhere(void **state)
{
	char text[1024], *end = text;

	(void)state;
	for (int i = 0; i < CONFIG_PORTS_MAX; i++)
		end += sprintf(end, "[port p%d]\ndevice=net_tap%d\naddress=10.0.%d.2/24\n", i, i, i);
	taken(text);
	sprintf(end, "[port q]\ndevice=net_tap9\naddress=10.1.0.2/24\n");
	refused(text, 0, "more than 8 ports");
}

/* Whatever stands in the file: an answer, and a line that says why not. */
static void damage__has_an_answer(void **state)
{
	static const char good[] =
		"[engine]\nname=web-1\ncores=0,2-3\nidle=poll\ncontrol=/srv/x.sock\n" GOOD
		"gateway=10.0.0.1\nmtu=1400\n[limits]\nsockets=1K\n";
	static const char marks[] = "[]=;#/:.\n\\ \t\0\xff" "K9";
	char text[sizeof(good)];
	uint32_t seed = 1;

	(void)state;
	for (int i = 0; i < 3000; i++) {
		memcpy(text, good, sizeof(good));
		for (int n = 0; n < 1 + i % 4; n++) {
			seed = seed * 1664525 + 1013904223;
			text[(seed >> 8) % (sizeof(good) - 1)] = marks[(seed >> 24) % (sizeof(marks) - 1)];
		}
		if (load_bytes(text, sizeof(good) - 1) == 0)
			continue;
		assert_memory_equal(error, path, strlen(path));
		assert_true(strlen(error) > strlen(path) + 4);
	}
}

static void addresses__several_of_a_port__are_kept(void **state)
{
	const struct config_port *o = &config.ports[0];

	(void)state;
	taken("[port p]\ndevice=net_tap0\naddress=10.0.0.2/24, 10.0.0.3/24,192.0.2.1/25\naddress6=2001:db8::1/64,fd00::1/48\n"
	      "gateway=192.0.2.7\ngateway6=fe80::1\nautoconf6=yes\ndad=yes\n");
	assert_int_equal(o->more_n, 5);
	addr4_is(&o->address, "\x0a\0\0\2", 24);
	addr4_is(&o->more[0], "\x0a\0\0\2", 24);
	addr4_is(&o->more[2], "\xc0\0\2\1", 25);
	assert_false(o->more_v6[2]);
	assert_true(o->more_v6[4]);
	assert_int_equal(o->more[4].prefix, 48);
	assert_true(o->autoconf6);
	assert_int_equal(o->dad, DAD_YES);
	taken("[port p]\ndevice=net_tap0\nautoconf6=yes\n");
	assert_int_equal(o->dad, DAD_AUTO);
	refused("[port p]\ndevice=net_tap0\n", 1, "autoconf6=yes");
	refused("[port p]\ndevice=net_tap0\naddress=10.0.0.2/24,\n", 3, "IPv4 address");
	refused("[port p]\ndevice=net_tap0\naddress=10.0.0.2/24,10.0.0.2/24\n", 3, "twice");
	refused("[port p]\ndevice=net_tap0\naddress=10.0.0.2/24,10.1.0.2/24\ngateway=10.1.0.2\n", 1, "gateway=");
	refused(GOOD "autoconf6=maybe\n", 4, "no|yes");
	refused(GOOD "dad=1\n", 4, "auto|yes|no");
	refused("[port a]\ndevice=net_tap0\naddress=10.0.0.2/24,10.1.0.2/24\n"
		"[port b]\ndevice=net_tap1\naddress=10.2.0.2/24,10.1.0.9/16\n", 4, "overlap");
}

static void vlans__lie_on_a_port(void **state)
{
	(void)state;
	taken("[port web]\nparent=p\nvlan=5\naddress=10.5.0.2/24\n" GOOD
	      "[port db]\nparent=p\nvlan=6\naddress=10.6.0.2/24\nmtu=1400\n");
	assert_int_equal(config.ports_n, 3);
	assert_ptr_equal(config.ports[0].parent_port, &config.ports[1]);
	assert_ptr_equal(config.ports[2].parent_port, &config.ports[1]);
	assert_int_equal(config.ports[2].mtu, 1400);
	refused(GOOD "[port web]\nparent=q\nvlan=5\naddress=10.5.0.2/24\n", 4, "parent=q");
	refused(GOOD "[port web]\nparent=p\naddress=10.5.0.2/24\n", 4, "needs vlan=");
	refused(GOOD "[port web]\nparent=p\nvlan=5\ndevice=net_tap1\naddress=10.5.0.2/24\n", 4, "only parent=");
	refused(GOOD "[port web]\nparent=p\nvlan=5\nmtu=1501\naddress=10.5.0.2/24\n", 4, "parent's 1500");
	refused(GOOD "[port web]\nparent=p\nvlan=5\ntso=off\naddress=10.5.0.2/24\n", 4, "the parent's");
	refused(GOOD "[port a]\nparent=p\nvlan=5\naddress=10.5.0.2/24\n[port b]\nparent=p\nvlan=5\naddress=10.6.0.2/24\n", 8,
		"[port a] has vlan=5");
	refused(GOOD "[port a]\nparent=p\nvlan=5\naddress=10.5.0.2/24\n[port b]\nparent=a\nvlan=6\naddress=10.6.0.2/24\n", 8,
		"parent=a");
	refused(GOOD "vlan=5\n[port a]\nparent=p\nvlan=5\naddress=10.5.0.2/24\n", 5, "[port p] has vlan=5");
}

static void routes__are_read(void **state)
{
	const struct config_route *r = config.routes;

	(void)state;
	taken(GOOD "address6=2001:db8::2/64\n[routes]\nroute=192.0.2.0/24 via 10.0.0.9 mtu 1400\nroute=default via 10.0.0.1\n"
		   "route=2001:db8:5::/48 via fe80::7 dev p\nroute=198.51.100.7 dev p\nroute=10.0.0.0/8 unreachable\n"
		   "route=fd00::/8 blackhole\nroute=0.0.0.0/1   prohibit\n");
	assert_int_equal(config.routes_n, 7);
	addr4_is(&r[0].to, "\xc0\0\2\0", 24);
	addr4_is(&r[0].gateway, "\x0a\0\0\x09", 32);
	assert_int_equal(r[0].mtu, 1400);
	assert_ptr_equal(r[0].port, &config.ports[0]);
	addr4_is(&r[1].to, "\0\0\0\0", 0);
	assert_true(r[2].v6);
	assert_int_equal(r[2].to.prefix, 48);
	assert_int_equal(r[3].to.prefix, 32);
	assert_false(r[3].gateway.set);
	assert_int_equal(r[4].kind, ROUTE_UNREACHABLE);
	assert_int_equal(r[5].kind, ROUTE_BLACKHOLE);
	assert_int_equal(r[6].kind, ROUTE_PROHIBIT);
}

static void routes__mistakes_are_named(void **state)
{
	static const char *const bad[][2] = {{"10.1.0.0/16", "must be PREFIX via"}, {"10.1.0.0/33 via 10.0.0.9", "0 to 32"},
		{"10.1.0.0/16 via", "must be PREFIX via"}, {"10.1.0.0/16 via 10.9.0.9", "no port's network"},
		{"10.1.0.0/16 via 10.0.0.2", "no port's network"}, {"10.1.0.0/16 via fe80::1 dev p", "other family"},
		{"fd00::/8 via fe80::1", "needs dev"}, {"10.1.0.0/16 dev q", "no such port"},
		{"10.1.0.0/16 via 10.0.0.9 unreachable", "must be PREFIX via"}, {"10.1.0.0/16 via 10.0.0.9 mtu 5", "576"},
		{"x/16 via 10.0.0.9", "must be PREFIX via"}, {"10.1.0.0/16 by 10.0.0.9", "must be PREFIX via"},
		{"10.1.0.0/16 unreachable dev p", "must be PREFIX via"}};
	char text[512];

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(text, sizeof(text), GOOD "[routes]\nroute=%s\n", bad[i][0]);
		refused(text, 5, bad[i][1]);
	}
	refused(GOOD "[routes]\nvia=x\n", 5, "known is route");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(least__has_defaults),
		cmocka_unit_test(every_key__arrives),
		cmocka_unit_test(name__gives_the_socket),
		cmocka_unit_test(loopback_alone__needs_no_port),
		cmocka_unit_test(form__line_is_named),
		cmocka_unit_test(missing_file__is_named),
		cmocka_unit_test(long_lines__are_refused_with_their_number),
		cmocka_unit_test(long_comment__is_a_comment),
		cmocka_unit_test(directory__cannot_be_read),
		cmocka_unit_test(engine__says_what_would_be_right),
		cmocka_unit_test(port__says_what_would_be_right),
		cmocka_unit_test(address__says_what_would_be_right),
		cmocka_unit_test(limits__are_held_to_their_range),
		cmocka_unit_test(tcp__settings_have_linux_names_and_defaults),
		cmocka_unit_test(together__is_checked),
		cmocka_unit_test(ports__end_somewhere),
		cmocka_unit_test(addresses__several_of_a_port__are_kept),
		cmocka_unit_test(vlans__lie_on_a_port),
		cmocka_unit_test(routes__are_read),
		cmocka_unit_test(routes__mistakes_are_named),
		cmocka_unit_test(damage__has_an_answer),
	};

	return cmocka_run_group_tests(tests, file_make, file_remove);
}
