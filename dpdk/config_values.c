/* SPDX-License-Identifier: BSD-3-Clause */
/* What stands behind a key: numbers with units, words, names, addresses; and the line that says what is wrong with one. */
#include "dpdk/config_priv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/base/addr.h"

int config_fail(struct parser *p, const char *fmt, ...)
{
	char what[CONFIG_ERROR_BYTES - 200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (p->line > 0)
		snprintf(p->error, CONFIG_ERROR_BYTES, "%.180s:%d: %s", p->path, p->line, what);
	else
		snprintf(p->error, CONFIG_ERROR_BYTES, "%.180s: %s", p->path, what);
	return -1;
}

char *config_trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

int config_number(struct parser *p, const char *key, const char *value, uint64_t min, uint64_t max,
	uint64_t *out)
{
	char *end;
	unsigned long long v;
	unsigned shift = 0;

	errno = 0;
	v = strtoull(value, &end, 10);
	if (*end == 'K')
		shift = 10;
	else if (*end == 'M')
		shift = 20;
	else if (*end == 'G')
		shift = 30;
	if (shift != 0)
		end++;
	if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0 ||
		v > (UINT64_MAX >> shift) || (v << shift) < min || (v << shift) > max)
		return config_fail(p, "%s=%s: must be a number from %llu to %llu", key, value,
			(unsigned long long)min, (unsigned long long)max);
	*out = v << shift;
	return 0;
}

/* One of the words a|b|c; its index. */
int config_word(struct parser *p, const char *key, const char *value, const char *words)
{
	const char *w = words;

	for (int i = 0; w != NULL; i++) {
		size_t n = strcspn(w, "|");
		if (n == strlen(value) && memcmp(w, value, n) == 0)
			return i;
		w = w[n] == '|' ? w + n + 1 : NULL;
	}
	return config_fail(p, "%s=%s: must be %s", key, value, words);
}

int config_name_check(struct parser *p, const char *what, const char *value)
{
	size_t n = strlen(value);

	if (n == 0 || n > 31 || value[0] == '.' || value[0] == '-' ||
		strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != n)
		return config_fail(p, "%s \"%s\": must be 1 to 31 letters, digits, '_', '-' or '.'", what, value);
	return 0;
}

int config_address(struct parser *p, const char *key, const char *value, bool v6, bool with_prefix,
	struct config_address *a)
{
	char text[64];
	uint64_t prefix = v6 ? 128 : 32;
	char *slash;

	snprintf(text, sizeof(text), "%s", value);
	slash = strchr(text, '/');
	if (slash != NULL)
		*slash++ = '\0';
	memset(a, 0, sizeof(*a));
	a->addr[10] = a->addr[11] = 0xff;
	if (strlen(value) >= sizeof(text) || (slash != NULL) != with_prefix ||
		inet_pton(v6 ? AF_INET6 : AF_INET, text, v6 ? a->addr : a->addr + 12) != 1)
		return config_fail(p, "%s=%s: must be %s", key, value,
			v6 ? (with_prefix ? "an IPv6 address with prefix, as fd00::1/64" :
						  "an IPv6 address, as fd00::1") :
			     (with_prefix ? "an IPv4 address with prefix, as 10.0.0.1/24" :
						  "an IPv4 address, as 10.0.0.1"));
	if (slash != NULL && config_number(p, key, slash, 1, prefix, &prefix) != 0)
		return -1;
	if (v6 ? (addr_is_multicast(a->addr) || addr_is_any(a->addr) || addr_is_loopback(a->addr) ||
			 addr_is_v4(a->addr)) :
		 (a->addr[12] == 0 || a->addr[12] == 127 || a->addr[12] >= 224))
		return config_fail(p, "%s=%s: must be a unicast address that is not loopback", key, value);
	a->prefix = (uint8_t)prefix;
	a->set = true;
	return 0;
}

bool config_same_net(const struct config_address *a, const struct config_address *b, bool v6,
	unsigned prefix)
{
	unsigned bits = v6 ? prefix : prefix + 96;

	for (unsigned i = 0; i < bits; i++)
		if (((a->addr[i / 8] ^ b->addr[i / 8]) >> (7 - i % 8)) & 1)
			return false;
	return true;
}
