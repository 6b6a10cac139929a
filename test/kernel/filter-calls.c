// SPDX-License-Identifier: MIT
/*
 * filter-calls ERRNO NUMBERS PROGRAM [ARGUMENT...]: runs a program that may make only the listed
 * system calls, as under SystemCallFilter= of a systemd unit. Any other one gets ERRNO, or ends the
 * program where ERRNO is 0. NUMBERS are apart by commas. Calls of another architecture end it too
 * (SystemCallArchitectures=native).
 */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__x86_64__)
#define NATIVE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE AUDIT_ARCH_AARCH64
#else
#error "the number of this architecture is not known here"
#endif

static struct sock_filter code[BPF_MAXINSNS];
static unsigned short length;

static void add(struct sock_filter instruction)
{
	if (length == BPF_MAXINSNS)
		exit(120);
	code[length++] = instruction;
}

static void load(size_t offset)
{
	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned int)offset));
}

static void return_if_equal(unsigned int value, unsigned int action)
{
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

int main(int argc, char **argv)
{
	struct sock_fprog program = {.filter = code};
	unsigned int error;
	char *next;

	if (argc < 4)
		return 121;
	error = (unsigned int)strtoul(argv[1], NULL, 10);
	load(offsetof(struct seccomp_data, arch));
	add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE, 1, 0));
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
	load(offsetof(struct seccomp_data, nr));
	for (next = argv[2]; *next != '\0'; next += *next == ',')
		return_if_equal((unsigned int)strtoul(next, &next, 10), SECCOMP_RET_ALLOW);
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, error == 0 ? SECCOMP_RET_KILL_PROCESS
								     : SECCOMP_RET_ERRNO | error));
	program.len = length;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return 122;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return 123;
	execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 124;
}
