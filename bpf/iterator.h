/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The common part of the iterators that print JSON: the constants that user space writes into the
 * object, and functions that write text. They make the text themselves and write it with
 * bpf_seq_write, because bpf_seq_printf takes about twice the time, and its `%pI6c` does not print
 * IPv6 addresses as in RFC 5952.
 *
 * If the output does not fit into the reader's buffer, the kernel discards it and runs the program
 * again for the same element. So the functions check no errors and keep no state.
 */
#ifndef ITERATOR_H
#define ITERATOR_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "context.h"

/* A name has up to 15 bytes; each takes up to 6 characters (\u00XX). With a NUL, rounded up. */
#define INTERFACE_JSON_SIZE 96

/* The number of CPUs in /sys/devices/system/cpu/possible. If it is too low, counts are missing. */
const volatile __u32 possible_cpus = 1;
/* Whether what was counted are sent packets, by their destinations. */
const volatile __u32 direction_sent = 0;
/* The name of the interface, escaped for a JSON string, without the quotes. */
const volatile char interface_json[INTERFACE_JSON_SIZE] = "";

/* A string literal would be in the section .rodata.str1.1, which libbpf before 0.6 does not know.
 */
#define write_text(seq, text)                                                                      \
	({                                                                                         \
		static const char ___text[] = text;                                                \
		bpf_seq_write(seq, ___text, sizeof(___text) - 1);                                  \
	})

/* The name is a constant, so the verifier follows only one path through this loop. */
static __always_inline void write_interface(struct seq_file *seq)
{
	__u32 length = 0;

#pragma clang loop unroll(disable)
	while (length < INTERFACE_JSON_SIZE - 1 && interface_json[length])
		length++;
	bpf_seq_write(seq, (const void *)interface_json, length);
}

/* Converts eight characters in a number, the first in the lowest byte, to the byte order of the
 * CPU. */
static __always_inline __u64 text_bytes(__u64 text)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return text;
#else
	return __builtin_bswap64(text);
#endif
}

/*
 * Returns the eight decimal digits of a number below 10^8, one for each byte, the first in the
 * lowest byte. It splits all digits at once with multiplications, because a division is slow.
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

/* Returns the number of digits without leading zeros; it is 1 for the number 0. */
static __always_inline __u64 count_digits(__u64 digits)
{
	/* Each byte from the first digit that is not a leading zero on becomes 1. */
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

/* Writes the next eight digits of a number, with leading zeros. */
static __always_inline void write_eight(struct seq_file *seq, __u64 number)
{
	__u64 text = text_bytes(digit_characters(eight_digits(number)));

	bpf_seq_write(seq, &text, sizeof(text));
}

/*
 * A label and the first digits after it are written with one call, because a call of a kernel
 * function costs more than computing the digits. The digits begin at a multiple of 8 bytes, because
 * the program must write words to its stack aligned.
 */
#define LABEL_SIZE 16

/* Writes the label and a number below 10^8. */
static __always_inline void write_first(struct seq_file *seq, const char *label, __u64 label_length,
					__u64 *place, __u64 number)
{
	__u64 digits = eight_digits(number);
	__u64 length = count_digits(digits) & 15;

	*place = text_bytes(digit_characters(digits) >> 8 * (8 - length));
	bpf_seq_write(seq, label, label_length + length);
}

/* The label must end at `place`, where the first digits go. Not inlined, to keep the program small.
 */
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
			/* The second word: the verifier takes the length to be up to 15. */       \
			__u64 digits[2];                                                           \
		} __attribute__((aligned(8))) ___text = {.label = name};                           \
		write_labelled(seq, ___text.label, sizeof(name) - 1, ___text.digits, number);      \
	})

#endif
