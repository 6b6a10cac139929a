// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Holds an XDP program on an interface by a bpf_link, as most loaders do today and bpftool cannot.
 * For tests only.
 *
 * Usage: hold-link PIN IFINDEX
 *
 * Prints "held", and lets go when its standard input ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <bpf/bpf.h>

int main(int argc, char **argv)
{
	int program, link;
	char end;

	if (argc != 3)
		return 2;
	program = bpf_obj_get(argv[1]);
	if (program < 0) {
		perror(argv[1]);
		return 1;
	}
	link = bpf_link_create(program, atoi(argv[2]), BPF_XDP, NULL);
	if (link < 0) {
		perror("bpf_link_create");
		return 1;
	}
	puts("held");
	fflush(stdout);
	while (read(STDIN_FILENO, &end, 1) > 0)
		;
	return 0;
}
