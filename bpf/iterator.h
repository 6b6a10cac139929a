/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the iterators that print JSON share: the constants that user space writes into the object,
 * and the writing of text. Text is made here and goes out by bpf_seq_write, which takes
 * about half the time of bpf_seq_printf; and `%pI6c` is not RFC 5952.
 *
 * What does not fit into the reader's buffer makes the kernel run the program again for the same
 * element, with the buffer as it was: so no error is checked here, and no state is kept.
 */
#ifndef ITERATOR_H
#define ITERATOR_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "context.h"

/* 15 bytes, each at most \u00XX, and a NUL, rounded up. */
#define INTERFACE_JSON_SIZE 96

/* The members of /sys/devices/system/cpu/possible: with fewer, counts are missing. */
const volatile __u32 possible_cpus = 1;
/* The interface's name as it stands between the quotes of a JSON string. */
const volatile char interface_json[INTERFACE_JSON_SIZE] = "";

/* Not a string literal in place: libbpf before 0.6 knows no .rodata.str1.1. */
#define write_text(seq, text)                                                                      \
	({                                                                                         \
		static const char ___text[] = text;                                                \
		bpf_seq_write(seq, ___text, sizeof(___text) - 1);                                  \
	})

/* The name is constant, so the verifier walks this loop once. */
static __always_inline void write_interface(struct seq_file *seq)
{
	__u32 length = 0;

#pragma clang loop unroll(disable)
	while (length < INTERFACE_JSON_SIZE - 1 && interface_json[length])
		length++;
	bpf_seq_write(seq, (const void *)interface_json, length);
}

/* Up to eight characters as a number: the first one is the lowest byte, and goes out first. */
static __always_inline __u64 text_bytes(__u64 text)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return text;
#else
	return __builtin_bswap64(text);
#endif
}

/*
 * The eight decimal digits of a number below 10^8, one a byte, the first in the lowest. All digits
 * are split at once, by multiplication: BPF has no cheap division.
 */
static __always_inline __u64 eight_digits(__u64 number)
{
	__u64 high = number * 3518437209 >> 45; /* / 10^4 */
	__u64 fours = high | (number - high * 10000) << 32;
	__u64 tens = (fours * 10486 >> 20) & 0x0000007f0000007f; /* each / 100 */
	__u64 twos = tens | (fours - tens * 100) << 16;
	__u64 ones = (twos * 103 >> 10) & 0x000f000f000f000f; /* each / 10 */

	return ones | (twos - ones * 10) << 8;
}

/* How many of the eight digits are left without leading zeros; of 0, one is. */
static __always_inline __u64 count_digits(__u64 digits)
{
	/* Every byte from the first digit that counts on becomes 1. */
	__u64 counts = digits | 1ull << 56;

	counts |= counts << 8;
	counts |= counts << 16;
	counts |= counts << 32;
	counts = (counts + 0x7f7f7f7f7f7f7f7f) >> 7 & 0x0101010101010101;
	return counts * 0x0101010101010101 >> 56;
}

static __always_inline __u64 digit_characters(__u64 digits)
{
	return digits | 0x3030303030303030;
}

/* Eight digits of a number that has more before them. */
static __always_inline void write_eight(struct seq_file *seq, __u64 number)
{
	__u64 text = text_bytes(digit_characters(eight_digits(number)));

	bpf_seq_write(seq, &text, sizeof(text));
}

/*
 * A label and the first digits behind it, to go out at once: a call of the kernel's costs more than
 * the digits. The label ends, and the digits begin, where a word does, since the stack is written
 * in aligned words only.
 */
#define LABEL_SIZE 16

/* The label, and a number below 10^8. */
static __always_inline void write_first(struct seq_file *seq, const char *label, __u64 label_length,
					__u64 *place, __u64 number)
{
	__u64 digits = eight_digits(number);
	__u64 length = count_digits(digits) & 15;

	*place = text_bytes(digit_characters(digits) >> 8 * (8 - length));
	bpf_seq_write(seq, label, label_length + length);
}

/* The label must end at `place`, which the first digits are put into. Not inlined: for its size. */
static __noinline void write_labelled(struct seq_file *seq, const char *label, __u64 label_length,
				      __u64 *place, __u64 number)
{
	const __u64 e8 = 100000000;

	if (number < e8) {
		write_first(seq, label, label_length, place, number);
	} else if (number < e8 * e8) {
		write_first(seq, label, label_length, place, number / e8);
		write_eight(seq, number % e8);
	} else {
		write_first(seq, label, label_length, place, number / (e8 * e8));
		write_eight(seq, number / e8 % e8);
		write_eight(seq, number % e8);
	}
}

/* Writes a label of up to LABEL_SIZE characters and a number. */
#define write_number(seq, name, number)                                                            \
	({                                                                                         \
		struct {                                                                           \
			char padding[LABEL_SIZE + 1 - sizeof(name)];                               \
			char label[sizeof(name) - 1];                                              \
			/* The second is for the verifier's idea of a length. */                   \
			__u64 digits[2];                                                           \
		} __attribute__((aligned(8))) ___text = {.label = name};                           \
		write_labelled(seq, ___text.label, sizeof(name) - 1, ___text.digits, number);      \
	})

#endif
