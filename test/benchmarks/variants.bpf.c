// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Other ways to keep the table of sources, for `npm run bench:variants`: the same parsing and the
 * same totals, and the map alone is another.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "../../bpf/parsing.h"
#include "../../bpf/xdpwho.h"

#define ENTRIES 65536

struct ipv4_key {
	__u32 address;
};

/* The CPU is part of the key: no per-CPU values, and no atomics. */
struct cpu_key {
	struct source_key source;
	__u64 cpu;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__type(key, __u32);
	__type(value, struct totals);
	__uint(max_entries, 1);
} totals SEC(".maps");

#define TABLE(name, map_type, key_type, flags)                                                     \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__type(key, key_type);                                                             \
		__type(value, struct source_value);                                                \
		__uint(max_entries, ENTRIES);                                                      \
		__uint(map_flags, flags);                                                          \
	} name SEC(".maps")

TABLE(lru_percpu, BPF_MAP_TYPE_LRU_PERCPU_HASH, struct source_key, 0);
TABLE(lru_percpu_own, BPF_MAP_TYPE_LRU_PERCPU_HASH, struct source_key, BPF_F_NO_COMMON_LRU);
TABLE(percpu, BPF_MAP_TYPE_PERCPU_HASH, struct source_key, 0);
TABLE(lru, BPF_MAP_TYPE_LRU_HASH, struct source_key, 0);
TABLE(plain, BPF_MAP_TYPE_HASH, struct source_key, 0);
TABLE(lru_cpu_key, BPF_MAP_TYPE_LRU_HASH, struct cpu_key, 0);
TABLE(lru_ipv4, BPF_MAP_TYPE_LRU_PERCPU_HASH, struct ipv4_key, 0);

static __always_inline int find_source(struct xdp_md *ctx, struct source_key *key, __u64 *bytes)
{
	void *cursor = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct totals *total;
	__u32 zero = 0;
	int type;

	*bytes = ctx->data_end - ctx->data;
	type = parse_ethernet(&cursor, end, 0);
	total = bpf_map_lookup_elem(&totals, &zero);
	if (!total)
		return -1;
	total->bytes += *bytes;
	if (type == bpf_htons(ETH_P_IP)) {
		total->ipv4++;
		return parse_ipv4(cursor, end, key, 0);
	}
	if (type == bpf_htons(ETH_P_IPV6)) {
		total->ipv6++;
		return parse_ipv6(cursor, end, key, 0);
	}
	total->other++;
	return -1;
}

#define ADD(value, bytes)                                                                          \
	({                                                                                         \
		(value)->packets++;                                                                \
		(value)->bytes += (bytes);                                                         \
	})

#define ADD_ATOMICALLY(value, count)                                                               \
	({                                                                                         \
		__sync_fetch_and_add(&(value)->packets, 1);                                        \
		__sync_fetch_and_add(&(value)->bytes, (count));                                    \
	})

#define COUNT(table, key, bytes, add)                                                              \
	({                                                                                         \
		struct source_value *___value = bpf_map_lookup_elem(&(table), (key));              \
		if (___value) {                                                                    \
			add(___value, bytes);                                                      \
			___value->last_seen = bpf_jiffies64();                                     \
		} else {                                                                           \
			struct source_value ___first = {.packets = 1, .bytes = (bytes)};           \
			bpf_map_update_elem(&(table), (key), &___first, BPF_NOEXIST);              \
		}                                                                                  \
		XDP_PASS;                                                                          \
	})

#define VARIANT(name, table, add)                                                                  \
	SEC("xdp") int name(struct xdp_md *ctx)                                                    \
	{                                                                                          \
		struct source_key key = {};                                                        \
		__u64 bytes;                                                                       \
		if (find_source(ctx, &key, &bytes) < 0)                                            \
			return XDP_PASS;                                                           \
		return COUNT(table, &key, bytes, add);                                             \
	}

VARIANT(v_lru_percpu, lru_percpu, ADD)
VARIANT(v_lru_own, lru_percpu_own, ADD)
VARIANT(v_percpu, percpu, ADD)
VARIANT(v_lru_shared, lru, ADD_ATOMICALLY)
VARIANT(v_lru_racing, lru, ADD)
VARIANT(v_hash_shared, plain, ADD_ATOMICALLY)

SEC("xdp") int v_lru_cpu_key(struct xdp_md *ctx)
{
	struct cpu_key key = {};
	__u64 bytes;

	if (find_source(ctx, &key.source, &bytes) < 0)
		return XDP_PASS;
	key.cpu = bpf_get_smp_processor_id();
	return COUNT(lru_cpu_key, &key, bytes, ADD);
}

SEC("xdp") int v_lru_ipv4(struct xdp_md *ctx)
{
	struct source_key source = {};
	struct ipv4_key key;
	__u64 bytes;

	if (find_source(ctx, &source, &bytes) < 0)
		return XDP_PASS;
	key.address = source.address[3];
	return COUNT(lru_ipv4, &key, bytes, ADD);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
