// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Work of the kind that the program does: it reads a frame, counts in a per-CPU array, asks for the
 * time, and counts in a per-CPU hash. How many times an empty program that costs differs from
 * machine to machine, and tells what to expect of the program there. Changed, it is no yardstick:
 * `npm run bench:baseline` then has to measure everything anew.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key {
	__u32 words[4];
};

struct value {
	__u64 packets;
	__u64 bytes;
	__u64 last_seen;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct value);
	__uint(max_entries, 1);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_PERCPU_HASH);
	__type(key, struct key);
	__type(value, struct value);
	__uint(max_entries, 65536);
} hash SEC(".maps");

SEC("xdp")
int yardstick(struct xdp_md *ctx)
{
	void *end = (void *)(long)ctx->data_end;
	__u32 *words = (void *)(long)ctx->data;
	struct key key = {};
	struct value *value;
	__u32 zero = 0;
	__u64 bytes = ctx->data_end - ctx->data;

	if ((void *)(words + 8) > end)
		return XDP_PASS;
	key.words[0] = words[6];
	key.words[3] = words[7];

	value = bpf_map_lookup_elem(&array, &zero);
	if (!value)
		return XDP_PASS;
	value->packets++;
	value->bytes += bytes;

	value = bpf_map_lookup_elem(&hash, &key);
	if (value) {
		value->packets++;
		value->bytes += bytes;
		value->last_seen = bpf_jiffies64();
	} else {
		struct value first = {.packets = 1, .bytes = bytes};

		bpf_map_update_elem(&hash, &key, &first, BPF_NOEXIST);
	}
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
