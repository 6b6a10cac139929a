// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Prints the totals as one `totals` record in JSON.
 *
 * This file is compiled twice, as sources.bpf.c is: with XDPWHO_FRONT_PIN the totals are in the
 * front table, and the map `totals` is only what the iterator walks over.
 */
#include "iterator.h"
#include "xdpwho.h"

#ifdef XDPWHO_FRONT_PIN
#include "front.h"
#endif

/* Not inlined, because the type of the parameter is then in the object's BTF. */
static __noinline void write_totals(struct seq_file *seq, const struct totals *sum)
{
	write_text(seq, "{\"type\":\"totals\",\"interface\":\"");
	write_interface(seq);
	if (direction_sent)
		write_text(seq, "\",\"direction\":\"sent");
	write_number(seq, "\",\"packets\":", sum->ipv4 + sum->ipv6 + sum->other + sum->malformed);
	write_number(seq, ",\"bytes\":", sum->bytes);
	write_number(seq, ",\"ipv4\":", sum->ipv4);
	write_number(seq, ",\"ipv6\":", sum->ipv6);
	write_number(seq, ",\"other\":", sum->other);
	write_number(seq, ",\"malformed\":", sum->malformed);
	write_text(seq, "}\n");
}

static __always_inline void add_totals(struct totals *sum, const struct totals *value)
{
	sum->bytes += value->bytes;
	sum->ipv4 += value->ipv4;
	sum->ipv6 += value->ipv6;
	sum->other += value->other;
	sum->malformed += value->malformed;
}

SEC("iter/bpf_map_elem")
int totals(struct bpf_iter__bpf_map_elem *ctx)
{
	/* Read once, because the verifier does not apply a test of ctx->value to a second read. */
	struct totals *values = ctx->value;
	struct totals sum = {};
	__u32 cpus = possible_cpus;

	if (!values)
		return 0;

#pragma clang loop unroll(disable)
	for (__u32 cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (cpu >= cpus)
			break;
#ifdef XDPWHO_FRONT_PIN
		/* A copy, because the verifier forgets the number of a variable whose address is
		 * taken. */
		__u32 index = cpu;
		const struct totals *value = bpf_map_lookup_elem(&front, &index);

		if (value)
			add_totals(&sum, value);
#else
		add_totals(&sum, &values[cpu]);
#endif
	}
	write_totals(ctx->meta->seq, &sum);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
