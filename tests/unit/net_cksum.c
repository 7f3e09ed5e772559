/* SPDX-License-Identifier: BSD-3-Clause */
/* Internet checksums against a byte-by-byte reference (RFC1071). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/base/addr.h"
#include "stack/net/priv.h"

/* In network order, as the functions give it. */
static uint16_t reference(const uint8_t *p, size_t len, uint64_t sum)
{
	uint8_t out[2];
	uint16_t value;

	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint64_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	out[0] = (uint8_t)(sum >> 8);
	out[1] = (uint8_t)sum;
	memcpy(&value, out, 2);
	return value;
}

/* A buffer by hand: this test needs no EAL. */
static void piece(struct rte_mbuf *m, uint8_t *data, uint16_t len, struct rte_mbuf *next)
{
	memset(m, 0, sizeof(*m));
	m->buf_addr = data;
	m->data_len = len;
	m->next = next;
}

static void chains__cut_anywhere__sum_as_one(void **state)
{
	static uint8_t data[3000];
	unsigned seed = 1;

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		struct rte_mbuf m[8];
		uint16_t len[8], total = 0, off;

		for (int i = 0; i < 8; i++) {
			len[i] = (uint16_t)(rand_r(&seed) % (round % 2 ? 9 : 300));
			total = (uint16_t)(total + len[i]);
		}
		for (int i = 0; i < total; i++) /* many carries */
			data[i] = (uint8_t)(rand_r(&seed) % 3 ? 0xff : rand_r(&seed));
		off = total;
		for (int i = 7; i >= 0; i--) {
			off = (uint16_t)(off - len[i]);
			piece(&m[i], data + off, len[i], i < 7 ? &m[i + 1] : NULL);
		}
		off = (uint16_t)(total ? rand_r(&seed) % total : 0);
		assert_int_equal(
			mbuf_cksum(m, off, 0), reference(data + off, (size_t)(total - off), 0));
	}
}

static void pseudo_header__both_families(void **state)
{
	unsigned seed = 2;

	(void)state;
	for (unsigned round = 0; round < 10000; round++) {
		uint8_t src[16], dst[16], flat[40] = {0};
		uint32_t len = (uint32_t)rand_r(&seed) % 65536;
		uint8_t proto = (uint8_t)rand_r(&seed);
		bool v4 = round & 1;
		size_t n = v4 ? 4 : 16;

		for (int i = 0; i < 16; i++) {
			src[i] = (uint8_t)(rand_r(&seed) % 2 ? 0xff : rand_r(&seed));
			dst[i] = (uint8_t)(rand_r(&seed) % 2 ? 0xff : rand_r(&seed));
		}
		src[0] = dst[0] = 0x20; /* neither mapped nor with a scope (addr.h) */
		if (v4) {
			addr_from_v4(src, dst + 4);
			addr_from_v4(dst, (uint8_t[]){0xff, 0xff, dst[0], dst[1]});
		}
		memcpy(flat, src + 16 - n, n);
		memcpy(flat + n, dst + 16 - n, n);
		flat[2 * n] = (uint8_t)(len >> 8);
		flat[2 * n + 1] = (uint8_t)len;
		flat[2 * n + 3] = proto;
		assert_int_equal(pseudo_cksum(src, dst, proto, len), reference(flat, 2 * n + 4, 0));
	}
}

static void words__sum_as_bytes(void **state)
{
	uint8_t data[20];
	unsigned seed = 3;

	(void)state;
	for (unsigned round = 0; round < 10000; round++) {
		for (unsigned i = 0; i < sizeof(data); i++)
			data[i] = (uint8_t)(rand_r(&seed) % 2 ? 0xff : rand_r(&seed));
		assert_int_equal(cksum_words(data, 5), reference(data, sizeof(data), 0));
	}
	assert_int_equal(cksum_fold(UINT64_MAX), 0xffff);
	assert_int_equal(cksum_fold(0x1fffe), 0xffff);
	assert_int_equal(cksum_fold(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains__cut_anywhere__sum_as_one),
		cmocka_unit_test(pseudo_header__both_families),
		cmocka_unit_test(words__sum_as_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
