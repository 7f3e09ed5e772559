/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the configuration's parser share: the state of the parse, values, and the keys of each section. All return
 * 0 or more, or -1 with the error's line filled in. */
#ifndef CULVERT_DPDK_CONFIG_PRIV_H
#define CULVERT_DPDK_CONFIG_PRIV_H

#include "dpdk/config.h"

struct parser {
	struct config *c;
	const char *path;
	char *error;
	int line;
	struct config_port *port; /* in a [port] section */
};

/* config_values.c: says what is wrong, with the file and the line. */
__attribute__((format(printf, 2, 3))) int config_fail(struct parser *p, const char *fmt, ...);
/* Cuts blanks off both ends of s, in place. */
char *config_trim(char *s);
/* With K, M or G behind it. */
int config_number(struct parser *p, const char *key, const char *value, uint64_t min, uint64_t max, uint64_t *out);
/* One of the words a|b|c; its index. */
int config_word(struct parser *p, const char *key, const char *value, const char *words);
int config_name_check(struct parser *p, const char *what, const char *value);
int config_address(struct parser *p, const char *key, const char *value, bool v6, bool with_prefix,
	struct config_address *a);
bool config_same_net(const struct config_address *a, const struct config_address *b, bool v6, unsigned prefix);

/* config_keys.c, config_routes.c: one key of a section. */
int config_port_key(struct parser *p, const char *key, const char *value);
int config_engine_key(struct parser *p, const char *key, const char *value);
int config_limits_key(struct parser *p, const char *key, const char *value);
int config_tcp_key(struct parser *p, const char *key, const char *value);
int config_rule_key(struct parser *p, const char *key, const char *value);
int config_routes_key(struct parser *p, const char *key, const char *value);

/* config_check.c: the whole, when all has been read. */
int config_check(struct parser *p);

#endif
