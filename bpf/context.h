/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The kernel's context of an iterator over the elements of a map. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <linux/types.h>

/* The kernel allows no more on any architecture (CONFIG_NR_CPUS). */
#define MAX_CPUS 8192

struct seq_file;
struct bpf_map;

/* include/linux/bpf.h in the kernel; part of what it promises to programs. */
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
