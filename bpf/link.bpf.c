// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Makes a bpf_link, for `bpftool prog run`: bpftool has no command that does. A program of this
 * type may call bpf(), since kernel 5.18 to make links too (kernel/bpf/syscall.c). It runs in
 * bpftool's own process: with the descriptors and in the network namespace of that process, and the
 * link's descriptor stays open there. Returns the descriptor, or a negative errno.
 *
 * What it needs comes as constants, which user space writes into the object. A context would be
 * simpler, but bpftool then asks for the context back, and the kernel refuses that for this type
 * (net/bpf/test_run.c, bpf_prog_test_run_syscall).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* In the process that runs it. */
const volatile __u32 program_fd = 0;
/* In the network namespace of that process. */
const volatile __u32 target_ifindex = 0;
/* enum bpf_attach_type */
const volatile __u32 attach_type = 0;
/* For BPF_XDP, one of XDP_FLAGS_MODES (linux/if_link.h). */
const volatile __u32 link_flags = 0;

SEC("syscall")
int make_link(void *ctx)
{
	union bpf_attr attr = {};

	attr.link_create.prog_fd = program_fd;
	attr.link_create.target_ifindex = target_ifindex;
	attr.link_create.attach_type = attach_type;
	attr.link_create.flags = link_flags;
	return bpf_sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
