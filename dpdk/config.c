/* SPDX-License-Identifier: BSD-3-Clause */
/* The configuration file: a scan for line numbers and form, rte_cfgfile for the values, its sections one by one
 * (config_keys.c, config_routes.c), then what they say together (config_check.c). */
#include "dpdk/config_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <rte_cfgfile.h>

#define LINES_MAX 512
#define KEYS_PER_SECTION 300

struct scan {
	FILE *copy; /* what rte_cfgfile reads: the file without lines of # comments */
	int copy_fd;
	int sections;
	int section_line[LINES_MAX];
	int first[LINES_MAX]; /* index of the section's first key */
	int keys;
	int key_line[LINES_MAX];
};

static int scan_line(struct parser *p, struct scan *s, char *text)
{
	char *t, *comment = strchr(text, ';');

	if (comment != NULL)
		*comment = '\0';
	t = config_trim(text);
	if (*t == '\0' || *t == '#')
		return fprintf(s->copy, "\n") < 0 ? config_fail(p, "%s", strerror(errno)) : 0;
	if (s->sections == LINES_MAX || s->keys == LINES_MAX)
		return config_fail(p, "too many lines; at most %d keys", LINES_MAX);
	if (*t == '[') {
		if (t[strlen(t) - 1] != ']')
			return config_fail(p, "a section is written [engine], [port NAME], [routes], [rule], [tcp] or [limits]");
		s->section_line[s->sections] = p->line;
		s->first[s->sections++] = s->keys;
	} else if (strchr(t, '=') == NULL || *t == '=') {
		return config_fail(p, "\"%s\" is neither [section] nor key=value", t);
	} else if (s->sections == 0) {
		return config_fail(p, "\"%s\" stands before the first section", t);
	} else if (strlen(t) >= CFG_VALUE_LEN) {
		return config_fail(p, "the line is longer than %d characters", CFG_VALUE_LEN - 1);
	} else {
		s->key_line[s->keys++] = p->line;
	}
	fprintf(s->copy, "%s\n", t);
	return 0;
}

static int scan_file(struct parser *p, struct scan *s)
{
	char *text = NULL;
	size_t size = 0;
	int status = 0;
	FILE *f = fopen(p->path, "re");

	if (f == NULL)
		return config_fail(p, "cannot be read: %s", strerror(errno));
	s->copy_fd = memfd_create("culvert-config", MFD_CLOEXEC);
	s->copy = s->copy_fd < 0 ? NULL : fdopen(s->copy_fd, "w");
	if (s->copy == NULL) {
		fclose(f);
		return config_fail(p, "memfd_create: %s", strerror(errno));
	}
	while (status == 0 && getline(&text, &size, f) >= 0) {
		p->line++;
		status = scan_line(p, s, text);
	}
	if (status == 0 && !feof(f)) {
		p->line = 0;
		status = config_fail(p, "cannot be read: %s", strerror(errno));
	}
	free(text);
	fclose(f);
	if (status == 0 && fflush(s->copy) != 0)
		status = config_fail(p, "%s", strerror(errno));
	return status;
}

/* --- sections -------------------------------------------------------------------------------- */

typedef int (*key_fn)(struct parser *p, const char *key, const char *value);

static key_fn section_begin(struct parser *p, const char *name)
{
	struct config *c = p->c;
	char port[64];

	if (strcmp(name, "engine") == 0)
		return config_engine_key;
	if (strcmp(name, "routes") == 0)
		return config_routes_key;
	if (strcmp(name, "rule") == 0)
		return config_rule_key;
	if (strcmp(name, "tcp") == 0)
		return config_tcp_key;
	if (strcmp(name, "limits") == 0)
		return config_limits_key;
	if (strncmp(name, "port ", 5) != 0) {
		config_fail(p, "unknown section [%s]; known are [engine], [port NAME], [routes], [rule], [tcp], [limits]", name);
		return NULL;
	}
	snprintf(port, sizeof(port), "%.63s", name + 5);
	if (config_name_check(p, "port", config_trim(port)) != 0)
		return NULL;
	for (int i = 0; i < c->ports_n; i++)
		if (strcmp(c->ports[i].name, config_trim(port)) == 0) {
			config_fail(p, "[port %s] is there already, in line %d", config_trim(port), c->ports[i].line);
			return NULL;
		}
	if (c->ports_n == CONFIG_SECTIONS_MAX) {
		config_fail(p, "more than %d ports", CONFIG_SECTIONS_MAX);
		return NULL;
	}
	p->port = &c->ports[c->ports_n++];
	memset(p->port, 0, sizeof(*p->port));
	snprintf(p->port->name, sizeof(p->port->name), "%.31s", config_trim(port));
	p->port->line = p->line;
	p->port->mtu = 1500;
	p->port->tso_max = CONFIG_TSO_MAX;
	return config_port_key;
}

static int section_read(struct parser *p, struct scan *s, struct rte_cfgfile *f, int index)
{
	struct rte_cfgfile_entry entries[KEYS_PER_SECTION];
	char name[CFG_NAME_LEN];
	key_fn set;
	int n = rte_cfgfile_section_entries_by_index(f, index, name, entries, KEYS_PER_SECTION);

	p->line = s->section_line[index];
	if (n < 0)
		return config_fail(p, "the section cannot be read");
	for (int i = 0; i < index && strncmp(name, "port ", 5) != 0; i++) {
		struct rte_cfgfile_entry ignored[KEYS_PER_SECTION];
		char other[CFG_NAME_LEN];
		rte_cfgfile_section_entries_by_index(f, i, other, ignored, KEYS_PER_SECTION);
		if (strcmp(other, name) == 0)
			return config_fail(p, "[%s] is there already, in line %d", name, s->section_line[i]);
	}
	set = section_begin(p, name);
	if (set == NULL)
		return -1;
	for (int i = 0; i < n; i++) {
		p->line = s->key_line[s->first[index] + i];
		for (int j = 0; j < i; j++)
			if (strcmp(entries[j].name, entries[i].name) == 0 && set != config_routes_key)
				return config_fail(p, "%s= is there already, in line %d", entries[i].name,
					s->key_line[s->first[index] + j]);
		if (entries[i].value[0] == '\0')
			return config_fail(p, "%s= has no value", entries[i].name);
		if (set(p, entries[i].name, entries[i].value) != 0)
			return -1;
	}
	return 0;
}

void config_init(struct config *c)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->name, sizeof(c->name), "culvert");
	c->workers = 1;
	c->spin_us = 50;
	c->control_group = CONFIG_NO_GROUP;
#define X(key, field, min, max, def, unit) c->limits.field = def;
#include "dpdk/limits.def"
#undef X
#define X(key, min, max, def, text) c->tcp.key = def;
#include "stack/core/tcp_config.def"
#undef X
}

int config_load(struct config *c, const char *path, char error[CONFIG_ERROR_BYTES])
{
	struct parser p = {.c = c, .path = path, .error = error};
	struct scan s = {.copy_fd = -1};
	struct rte_cfgfile *f = NULL;
	char copy[64];
	int status;

	config_init(c);
	snprintf(c->path, sizeof(c->path), "%s", path);
	status = scan_file(&p, &s);
	if (status == 0) {
		snprintf(copy, sizeof(copy), "/proc/self/fd/%d", s.copy_fd);
		f = rte_cfgfile_load(copy, CFG_FLAG_EMPTY_VALUES);
		p.line = 0;
		if (f == NULL)
			status = config_fail(&p, "cannot be parsed");
	}
	for (int i = 0; status == 0 && i < s.sections; i++)
		status = section_read(&p, &s, f, i);
	if (status == 0)
		status = config_check(&p);
	if (f != NULL)
		rte_cfgfile_close(f);
	if (s.copy != NULL)
		fclose(s.copy);
	return status;
}
