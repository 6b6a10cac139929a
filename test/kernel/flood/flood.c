// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Sends a frame many times, as fast as one CPU can, and prints how many were sent. For tests only.
 *
 * Usage: flood OBJECT FRAME IFINDEX SOURCE-OFFSET SOURCES SHORTENED COUNT [RANKS]
 *
 * The frames do not go through the stack: the kernel runs an XDP program on them (since 5.18:
 * BPF_F_TEST_XDP_LIVE_FRAMES), which redirects them into one end of a veth. The other end takes
 * them only if it has an XDP program in native mode, or GRO. Its NAPI runs on this CPU after each
 * batch, and a batch fits into its ring, so that none is dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include "flood.h"

#define BATCH	  64
#define MAX_FRAME 2048

static int fail(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	return 1;
}

int main(int argc, char **argv)
{
	struct xdp_md context = {};
	struct flood flood = {};
	static struct zipf zipf;
	unsigned char frame[MAX_FRAME];
	struct bpf_program *program;
	struct bpf_object *object;
	struct bpf_map *constants;
	unsigned int zero = 0;
	unsigned int source;
	size_t size, constant_size;
	int map, fd;
	FILE *file;

	if (argc != 8 && argc != 9) {
		fprintf(stderr,
			"usage: flood OBJECT FRAME IFINDEX OFFSET SOURCES SHORTENED COUNT [RANKS]\n");
		return 2;
	}
	file = fopen(argv[2], "rb");
	if (!file)
		return fail(argv[2]);
	size = fread(frame, 1, sizeof(frame), file);
	flood.ifindex = strtoul(argv[3], NULL, 10);
	flood.source_offset = strtoul(argv[4], NULL, 10);
	flood.sources = strtoul(argv[5], NULL, 10);
	flood.shortened = strtoul(argv[6], NULL, 10);
	if (flood.source_offset + 4 > size)
		return fail("no source in the frame");
	source = (unsigned int)frame[flood.source_offset] << 24 |
		 frame[flood.source_offset + 1] << 16 | frame[flood.source_offset + 2] << 8 |
		 frame[flood.source_offset + 3];

	object = bpf_object__open_file(argv[1], NULL);
	if (!object)
		return fail(argv[1]);
	constants = bpf_object__find_map_by_name(object, ".rodata");
	if (!constants)
		return fail("constants");
	memcpy((void *)bpf_map__initial_value(constants, &constant_size), &source, sizeof(source));
	if (bpf_object__load(object))
		return fail("load");
	program = bpf_object__next_program(object, NULL);
	map = bpf_map__fd(bpf_object__find_map_by_name(object, "floods"));
	if (argc == 9) {
		file = fopen(argv[8], "rb");
		if (!file || fread(zipf.ranks, sizeof(zipf.ranks), 1, file) != 1)
			return fail(argv[8]);
		if (bpf_map_update_elem(bpf_map__fd(bpf_object__find_map_by_name(object, "zipfs")),
					&zero, &zipf, BPF_ANY))
			return fail("ranks");
	}
	if (!program || bpf_map_update_elem(map, &zero, &flood, BPF_ANY))
		return fail("map");
	fd = bpf_program__fd(program);

	context.data_end = size;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = size,
		    .ctx_in = &context, .ctx_size_in = sizeof(context),
		    .repeat = strtoul(argv[7], NULL, 10), .batch_size = BATCH,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
	if (bpf_prog_test_run_opts(fd, &options))
		return fail("run");
	if (bpf_map_lookup_elem(map, &zero, &flood))
		return fail("map");
	printf("%llu\n", (unsigned long long)flood.sent);
	return 0;
}
