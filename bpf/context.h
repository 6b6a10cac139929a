/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The context that the kernel gives an iterator over the elements of a map. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <linux/types.h>

/* The most CPUs that a kernel can have on any architecture (CONFIG_NR_CPUS). */
#define MAX_CPUS 8192

struct seq_file;
struct bpf_map;

/* These structs are in include/linux/bpf.h of the kernel, and are part of its stable interface. */
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

#endif
