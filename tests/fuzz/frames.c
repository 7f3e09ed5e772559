/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames off a wire into an engine that has a listener and a datagram socket: [length, 2 bytes][frame] and again. The
 * first 14 bytes of each are made ours often, so that more than Ethernet is met. */
#include <string.h>

#include "stack/tcp/tcp.h"
#include "tests/fuzz/fuzz.h"
#include "tests/world/world.h"

#define FRAME_MAX 1514

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	world_eal_init("fuzz_frames");
	world_tcp_max = 64;
	return 0;
}

static struct sock *opened(struct world *w, uint8_t type, uint16_t port)
{
	struct cv_endpoint at = world_endpoint(0, port);
	struct sock *sk;

	if (sock_open(w->host[0].e, CV_AF_INET, type, &sk) != 0)
		return NULL;
	sk->user = w;
	(void)sock_bind(sk, &at);
	if (type == CV_STREAM)
		(void)sock_listen(sk, 4);
	return sk;
}

static void frame_put(struct world *w, struct fuzz_input *in)
{
	static const uint8_t to_us[14] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 0x08, 0x00};
	uint8_t frame[FRAME_MAX];
	uint16_t n = fuzz_u16(in);
	uint8_t shape = fuzz_u8(in);
	size_t got;
	const uint8_t *from = fuzz_bytes(in, n % FRAME_MAX, &got);

	if (got == 0)
		return;
	memcpy(frame, from, got);
	if ((shape & 3) != 0 && got >= sizeof(to_us)) {
		memcpy(frame, to_us, sizeof(to_us));
		if ((shape & 3) == 2) {
			frame[12] = 0x86;
			frame[13] = 0xdd;
		} else if ((shape & 3) == 3) {
			frame[13] = 0x06;
		}
	}
	world_inject(w, 0, frame, (uint16_t)got);
	world_run(w, (shape >> 2) * MS, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct world_link link = {.delay_ns = 0};
	struct fuzz_input in = {data, size};
	struct world *w = world_new(1, &link);
	struct sock *stream = opened(w, CV_STREAM, 80), *dgram = opened(w, CV_DGRAM, 53);

	w->host[0].port.trusted = true; /* a fuzzer does not guess checksums */
	while (in.left > 0)
		frame_put(w, &in);
	sock_close(stream, true);
	sock_close(dgram, true);
	world_run(w, 600 * SEC, NULL, NULL);
	world_free(w);
	return 0;
}
