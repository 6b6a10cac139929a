// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Prints each source in the table as one `source` record in JSON, or if the table is of sent
 * packets, each destination as one `destination` record.
 *
 * This file is compiled twice. With XDPWHO_FRONT_PIN it reads the front table too. `bpftool iter
 * pin` gives an iterator one map, so libbpf must find the front table by itself: it looks in
 * /sys/fs/bpf for a pin with the name of the map, which user space writes into the object.
 */
#include <bpf/bpf_endian.h>
#include "iterator.h"
#include "xdpwho.h"

#ifdef XDPWHO_FRONT_PIN
#include "front.h"
#endif

const volatile __u32 jiffies_per_second = 100;

/* An address has up to 39 characters: eight groups of four digits, and seven colons. */
#define ADDRESS_WORDS 5

/* A text that is made from its end. Each word has eight characters, in the order of text_bytes. */
struct text {
	__u64 word[ADDRESS_WORDS];
	__u64 length;
};

/* Puts 1 to 7 characters before the text. */
static __always_inline void prepend(struct text *text, __u64 characters, __u64 length)
{
#pragma unroll
	for (int i = ADDRESS_WORDS - 1; i > 0; i--)
		text->word[i] =
			text->word[i] << 8 * length | text->word[i - 1] >> (64 - 8 * length);
	text->word[0] = text->word[0] << 8 * length | characters;
	text->length += length;
}

/* Sums replace comparisons, because each branch doubles the paths that the verifier follows. */
static __always_inline void prepend_octet(struct text *text, __u64 octet, int last)
{
	__u64 hundreds = octet * 41 >> 12;
	__u64 rest = octet - hundreds * 100;
	__u64 tens = rest * 103 >> 10;
	__u64 digits = hundreds | tens << 8 | (rest - tens * 10) << 16 | 0x303030;
	__u64 skipped = 2 - ((octet + 246) >> 8) - ((octet + 156) >> 8);

	if (!last)
		digits |= '.' << 24;
	prepend(text, digits >> 8 * skipped, (last ? 3 : 4) - skipped);
}

static __always_inline void prepend_group(struct text *text, __u64 group, int last)
{
	__u64 digits =
		group >> 12 | (group & 0x0f00) | (group & 0x00f0) << 12 | (group & 0x000f) << 24;
	__u64 letters = (digits + 0x06060606) >> 4 & 0x01010101;
	__u64 skipped =
		3 - ((group + 0xfff0) >> 16) - ((group + 0xff00) >> 16) - ((group + 0xf000) >> 16);

	digits += 0x30303030 + letters * ('a' - '0' - 10);
	if (!last)
		digits |= (__u64)':' << 32;
	prepend(text, digits >> 8 * skipped, (last ? 4 : 5) - skipped);
}

/*
 * Returns the groups that `::` replaces, one bit for each: the longest run of at least two zero
 * groups, or the first of several (RFC 5952).
 */
static __always_inline __u64 compressed_groups(const __u64 *groups)
{
	__u64 runs = 0, first;
	int length = 1;

#pragma unroll
	for (int i = 0; i < 8; i++)
		runs |= (1 ^ (groups[i] + 0xffff) >> 16) << i;

		/* `runs` has the groups where a run of `length` zeros starts. */
#pragma unroll
	for (int i = 0; i < 7; i++) {
		__u64 longer = runs & runs >> 1;

		if (!longer)
			break;
		runs = longer;
		length++;
	}
	if (length == 1)
		return 0;
	first = runs & -runs;
	return (first << length) - first;
}

static __always_inline void ipv4_text(struct text *text, const struct source_key *key)
{
	__u32 address = bpf_ntohl(key->address[3]);

	prepend_octet(text, address & 0xff, 1);
	prepend_octet(text, address >> 8 & 0xff, 0);
	prepend_octet(text, address >> 16 & 0xff, 0);
	prepend_octet(text, address >> 24, 0);
}

static __always_inline void ipv6_text(struct text *text, const struct source_key *key)
{
	__u64 groups[8], compressed;

#pragma unroll
	for (int i = 0; i < 8; i++)
		groups[i] = bpf_ntohl(key->address[i / 2]) >> (i % 2 ? 0 : 16) & 0xffff;
	compressed = compressed_groups(groups);

#pragma unroll
	for (int i = 7; i >= 0; i--) {
		if (!(compressed >> i & 1))
			prepend_group(text, groups[i], i == 7);
		else if (i == 0)
			prepend(text, ':' | ':' << 8, 2);
		else if (!(compressed >> (i - 1) & 1))
			prepend(text, ':', 1);
	}
}

static __always_inline void write_address(struct seq_file *seq, const struct source_key *key)
{
	struct {
		char label[LABEL_SIZE];
		/* Eight words, because the verifier takes the length below to be up to 63. */
		__u64 word[8];
	} line = {.label = "    \",\"source\":\""};
	struct text text = {};

	if (!key->address[0] && !key->address[1] && key->address[2] == bpf_htonl(0xffff))
		ipv4_text(&text, key);
	else
		ipv6_text(&text, key);

#pragma unroll
	for (int i = 0; i < ADDRESS_WORDS; i++)
		line.word[i] = text_bytes(text.word[i]);
	if (direction_sent) {
		write_text(seq, "\",\"destination\":\"");
		bpf_seq_write(seq, line.word, text.length & 63);
	} else {
		bpf_seq_write(seq, line.label + 4, 12 + (text.length & 63));
	}
}

/*
 * Returns a difference if it is positive, else 0. Without a branch, because the verifier follows
 * each branch of the loop over the CPUs; the compiler would make one of a comparison.
 */
static __always_inline __u64 positive(__u64 difference)
{
	__s64 sign = (__s64)difference >> 63;

	barrier_var(sign);
	return difference & ~sign;
}

#ifdef XDPWHO_FRONT_PIN
/*
 * Returns 0, but only once `value` has been read: no CPU of an architecture with BPF reads from an
 * address before it has the number that is added to the address. So reads are kept in order without
 * a barrier, which kernels before 5.12 do not have.
 */
static __always_inline __u64 zero_after(__u64 value)
{
	asm volatile("%0 &= 0" : "+r"(value));
	return value;
}

/*
 * Adds what a line of the front table has of the source beyond `value`, which is what `sources` has
 * of it for the same CPU. As a difference, because a counter may pass 2^64.
 */
static __always_inline void add_line(struct source_value *sums, const struct source_value *value,
				     __u32 index, const struct source_key *source)
{
	const volatile struct front_line *line = bpf_map_lookup_elem(&front, &index);
	__u64 turn, other, packets, bytes, last_seen, ours;
	const volatile address_half *halves;

	if (!line)
		return;
	turn = line->turn;
	line = (const volatile void *)line + zero_after(turn);
	halves = (const volatile address_half *)line->source.address;
	other = (halves[0] ^ HALVES(source)[0]) | (halves[1] ^ HALVES(source)[1]);
	packets = line->figures.packets;
	bytes = line->figures.bytes;
	last_seen = line->figures.last_seen;
	/*
	 * Odd, or another number than before: the line changes hands. Then `sources` has the last
	 * figures of the source that had it, and the first of the one that takes it.
	 */
	line = (const volatile void *)line + zero_after(other | packets | bytes | last_seen);
	other |= (turn & 1) | (turn ^ line->turn);
	/* All bits if it is the line of this source, else none. */
	ours = ((other | -other) >> 63) - 1;
	sums->packets += positive(packets - value->packets) & ours;
	sums->bytes += positive(bytes - value->bytes) & ours;
	sums->last_seen += positive(last_seen - sums->last_seen) & ours;
}
#endif

SEC("iter/bpf_map_elem")
int sources(struct bpf_iter__bpf_map_elem *ctx)
{
	/* Read once, because the verifier does not apply a test of ctx->key to a second read. */
	struct source_key *key = ctx->key;
	struct source_value *values = ctx->value;
	struct seq_file *seq = ctx->meta->seq;
	struct source_value sums = {};
	__u32 cpus = possible_cpus;
	__u64 idle;
#ifdef XDPWHO_FRONT_PIN
	__u64 hash;
#endif

	if (!key || !values)
		return 0;
#ifdef XDPWHO_FRONT_PIN
	hash = front_hash(key);
#endif

#pragma clang loop unroll(disable)
	for (__u32 cpu = 0; cpu < MAX_CPUS; cpu++) {
		if (cpu >= cpus)
			break;
		sums.packets += values[cpu].packets;
		sums.bytes += values[cpu].bytes;
		sums.last_seen += positive(values[cpu].last_seen - sums.last_seen);
#ifdef XDPWHO_FRONT_PIN
		add_line(&sums, &values[cpu], first_line(hash, cpu), key);
		add_line(&sums, &values[cpu], second_line(hash, cpu), key);
#endif
	}

	/* Another CPU may have seen a packet after this CPU read the clock. */
	idle = bpf_jiffies64() - sums.last_seen;
	if ((__s64)idle < 0)
		idle = 0;

	if (direction_sent)
		write_text(seq, "{\"type\":\"destination\",\"interface\":\"");
	else
		write_text(seq, "{\"type\":\"source\",\"interface\":\"");
	write_interface(seq);
	write_address(seq, key);
	write_number(seq, "\",\"packets\":", sums.packets);
	write_number(seq, ",\"bytes\":", sums.bytes);
	write_number(seq, ",\"idle_ms\":", idle * 1000 / jiffies_per_second);
	write_text(seq, "}\n");
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
