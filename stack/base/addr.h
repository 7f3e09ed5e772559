/* SPDX-License-Identifier: BSD-3-Clause */
/* The 16-byte addresses of struct cv_endpoint: network order, IPv4 as ::ffff:a.b.c.d. */
#ifndef CULVERT_BASE_ADDR_H
#define CULVERT_BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define ADDR_BYTES 16

static inline bool addr_equal(const uint8_t a[ADDR_BYTES], const uint8_t b[ADDR_BYTES])
{
	return memcmp(a, b, ADDR_BYTES) == 0;
}

static inline bool addr_is_v4(const uint8_t a[ADDR_BYTES])
{
	static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

	return memcmp(a, mapped, sizeof(mapped)) == 0;
}

/* v4 in network order, 4 bytes. */
static inline void addr_from_v4(uint8_t a[ADDR_BYTES], const void *v4)
{
	memset(a, 0, 10);
	a[10] = 0xff;
	a[11] = 0xff;
	memcpy(a + 12, v4, 4);
}

/* ::, and 0.0.0.0 mapped. */
static inline bool addr_is_any(const uint8_t a[ADDR_BYTES])
{
	static const uint8_t zero[ADDR_BYTES];

	return memcmp(a, zero, 10) == 0 && memcmp(a + 12, zero, 4) == 0 &&
		((a[10] == 0 && a[11] == 0) || (a[10] == 0xff && a[11] == 0xff));
}

static inline bool addr_is_loopback(const uint8_t a[ADDR_BYTES])
{
	static const uint8_t one[ADDR_BYTES] = {[15] = 1};

	return addr_is_v4(a) ? a[12] == 127 : addr_equal(a, one);
}

static inline bool addr_is_multicast(const uint8_t a[ADDR_BYTES])
{
	return addr_is_v4(a) ? (a[12] & 0xf0) == 0xe0 : a[0] == 0xff;
}

static inline bool addr_is_broadcast(const uint8_t a[ADDR_BYTES])
{
	static const uint8_t all[4] = {0xff, 0xff, 0xff, 0xff};

	return addr_is_v4(a) && memcmp(a + 12, all, 4) == 0;
}

static inline bool addr_is_link_local(const uint8_t a[ADDR_BYTES])
{
	return addr_is_v4(a) ? a[12] == 169 && a[13] == 254 : a[0] == 0xfe && (a[1] & 0xc0) == 0x80;
}

/* IPv6 addresses that mean something on one link only (RFC4007): link-local ones, and groups of that scope. Inside the
 * engine the number of the interface stands in bytes 2 and 3, which are zero on the wire, so that the same address
 * on two links is two addresses wherever addresses are compared. */
static inline bool addr_is_scoped(const uint8_t a[ADDR_BYTES])
{
	return (a[0] == 0xfe && (a[1] & 0xc0) == 0x80) || (a[0] == 0xff && ((a[1] & 0xf) == 1 || (a[1] & 0xf) == 2));
}

static inline uint16_t addr_scope(const uint8_t a[ADDR_BYTES])
{
	return (uint16_t)(a[2] << 8 | a[3]);
}

static inline void addr_scope_set(uint8_t a[ADDR_BYTES], uint16_t ifindex)
{
	a[2] = (uint8_t)(ifindex >> 8);
	a[3] = (uint8_t)ifindex;
}

/* As it stands on the wire. */
static inline void addr_to_wire(uint8_t to[ADDR_BYTES], const uint8_t a[ADDR_BYTES])
{
	memcpy(to, a, ADDR_BYTES);
	if (addr_is_scoped(a))
		addr_scope_set(to, 0);
}

/* The first `bits` bits (0 to 128; IPv4's /n is 96 + n) are the same. */
static inline bool addr_in_prefix(
	const uint8_t a[ADDR_BYTES], const uint8_t prefix[ADDR_BYTES], unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (memcmp(a, prefix, whole) != 0)
		return false;
	return rest == 0 || ((a[whole] ^ prefix[whole]) >> (8 - rest)) == 0;
}

#endif
