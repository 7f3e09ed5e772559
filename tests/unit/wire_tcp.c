/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP headers on the wire: RFC9293:3.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "stack/wire/tcp.h"

static void syn__with_all_options__is_what_linux_sends(void **state)
{
	/* The option bytes of a Linux SYN: mss 1460, sackOK, TS, nop, wscale 7. */
	const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
	struct wire_tcp h = {.sport = 1, .dport = 2, .seq = 3, .flags = TCP_SYN, .wnd = 64240,
		.has_mss = true, .mss = 1460, .sack_ok = true, .has_ts = true, .tsval = 1,
		.has_wscale = true, .wscale = 7};
	uint8_t out[WIRE_TCP_BYTES_MAX];

	(void)state;
	assert_int_equal(wire_tcp_emit_bytes(&h), 40);
	assert_int_equal(wire_tcp_emit(&h, out), 40);
	assert_memory_equal(out + 20, options, sizeof(options));
}

static void emit_then_parse__every_combination_of_options__gives_the_same(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 16 * 5; bits++) {
		struct wire_tcp h = {.sport = 80, .dport = 40000, .seq = 0xfffffff0, .ack = 7,
			.flags = TCP_ACK | TCP_PSH, .wnd = 1000, .urg = 5}, got;
		uint8_t out[WIRE_TCP_BYTES_MAX + 8];
		size_t n, room;

		h.has_mss = bits & 1;
		h.mss = h.has_mss ? 1400 : 0;
		h.has_ts = bits & 2;
		h.tsval = h.has_ts ? 11 : 0;
		h.tsecr = h.has_ts ? 12 : 0;
		h.sack_ok = bits & 4;
		h.has_wscale = bits & 8;
		h.wscale = h.has_wscale ? 9 : 0;
		h.sacks_n = (uint8_t)(bits / 16);
		for (unsigned i = 0; i < h.sacks_n; i++)
			h.sacks[i] = (struct range){i * 100, i * 100 + 50};
		n = wire_tcp_emit(&h, out);
		assert_int_equal(n, wire_tcp_emit_bytes(&h));
		assert_true(n % 4 == 0 && n <= WIRE_TCP_BYTES_MAX);
		assert_true(wire_tcp_parse(&got, out, n));
		assert_int_equal(got.header_bytes, n);
		h.header_bytes = (uint8_t)n;
		room = 40u - 4u - 4u * h.has_mss - 4u * h.has_wscale - (h.has_ts ? 12u : 4u * h.sack_ok);
		if (h.sacks_n > room / 8)
			h.sacks_n = (uint8_t)(room / 8); /* the others had no room */
		assert_int_equal(got.sacks_n, h.sacks_n);
		assert_memory_equal(got.sacks, h.sacks, h.sacks_n * sizeof(h.sacks[0]));
		assert_true(got.sport == h.sport && got.dport == h.dport && got.seq == h.seq &&
			got.ack == h.ack && got.flags == h.flags && got.wnd == h.wnd &&
			got.urg == h.urg && got.mss == h.mss && got.tsval == h.tsval &&
			got.tsecr == h.tsecr && got.wscale == h.wscale &&
			got.sack_ok == h.sack_ok && got.has_ts == h.has_ts);
	}
}

static void malformed_options__end_the_options_and_nothing_else(void **state)
{
	/* Each is 4 option bytes behind a 24-byte header. */
	static const uint8_t bad[][4] = {{8, 0, 0, 0}, {8, 1, 0, 0}, {2, 40, 5, 5}, {5, 3, 0, 0},
		{1, 1, 1, 2}, {254, 255, 1, 1}, {2, 3, 1, 0}};
	uint8_t data[24] = {0};
	struct wire_tcp h;

	(void)state;
	data[12] = 6 << 4;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(data + 20, bad[i], 4);
		assert_true(wire_tcp_parse(&h, data, sizeof(data)));
		assert_true(!h.has_mss && !h.has_ts && !h.has_wscale && !h.sacks_n);
	}
}

/* RFC9293: MUST-4, 5, 6, 64. What is known is found behind an unknown option, wherever it begins, whatever the flags. */
static void unknown_options__in_any_segment_at_any_place__are_skipped(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		for (unsigned nops = 0; nops < 4; nops++) {
			for (uint8_t length = 2; length <= 12; length++) {
				uint8_t data[20 + 20] = {[12] = 10 << 4, [13] = (uint8_t)flags}, *at = data + 20;
				struct wire_tcp h;

				for (unsigned i = 0; i < nops; i++)
					*at++ = 1;
				at[0] = 253;
				at[1] = length;
				at += length;
				memcpy(at, (const uint8_t[]){2, 4, 0x12, 0x34}, 4);
				assert_true(wire_tcp_parse(&h, data, sizeof(data)));
				assert_true(h.has_mss);
				assert_int_equal(h.mss, 0x1234);
			}
		}
	}
}

static void header__truncated_or_with_a_wrong_offset__is_refused(void **state)
{
	uint8_t data[60] = {0};
	struct wire_tcp h;

	(void)state;
	for (unsigned offset = 0; offset < 16; offset++) {
		data[12] = (uint8_t)(offset << 4);
		for (size_t len = 0; len <= sizeof(data); len++)
			assert_int_equal(wire_tcp_parse(&h, data, len),
				offset >= 5 && len >= offset * 4);
	}
}

static void random_bytes__parse__within_bounds(void **state)
{
	unsigned seed = 7;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)rand_r(&seed) % 64;
		uint8_t *data = malloc(len ? len : 1); /* exact, so that a sanitizer sees a step beyond */
		struct wire_tcp h;

		for (size_t j = 0; j < len; j++)
			data[j] = (uint8_t)rand_r(&seed);
		if (wire_tcp_parse(&h, data, len))
			assert_true(h.header_bytes <= len && h.sacks_n <= WIRE_TCP_SACK_MAX);
		free(data);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syn__with_all_options__is_what_linux_sends),
		cmocka_unit_test(emit_then_parse__every_combination_of_options__gives_the_same),
		cmocka_unit_test(malformed_options__end_the_options_and_nothing_else),
		cmocka_unit_test(unknown_options__in_any_segment_at_any_place__are_skipped),
		cmocka_unit_test(header__truncated_or_with_a_wrong_offset__is_refused),
		cmocka_unit_test(random_bytes__parse__within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
