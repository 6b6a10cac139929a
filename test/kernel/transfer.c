// SPDX-License-Identifier: GPL-2.0-only OR MIT
/*
 * Traffic of the kernel's own stack, with the offloads of its segmentation:
 *
 *   transfer sink PORT                     takes one TCP connection, prints its bytes and their sum
 *   transfer tcp HOST PORT BYTES           sends that much, prints the same two numbers
 *   transfer take PORT                     takes datagrams until it is killed
 *   transfer udp HOST PORT COUNT SIZE [SEGMENT]
 *                                          sends COUNT datagrams, or with SEGMENT, buffers of SIZE
 *                                          bytes that are cut into datagrams of SEGMENT bytes
 *
 * The window of TCP is small, so that no more packets are under way than a veth's ring takes.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static unsigned char buffer[1 << 16];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static socklen_t parse(const char *host, int port, struct sockaddr_storage *to)
{
	struct sockaddr_in6 *ipv6 = (void *)to;
	struct sockaddr_in *ipv4 = (void *)to;

	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, host, &ipv4->sin_addr) == 1) {
		ipv4->sin_family = AF_INET;
		ipv4->sin_port = htons(port);
		return sizeof(*ipv4);
	}
	if (inet_pton(AF_INET6, host, &ipv6->sin6_addr) != 1)
		fail(host);
	ipv6->sin6_family = AF_INET6;
	ipv6->sin6_port = htons(port);
	return sizeof(*ipv6);
}

static void report(uint64_t bytes, uint64_t sum)
{
	printf("%llu %llu\n", (unsigned long long)bytes, (unsigned long long)sum);
}

static uint64_t add(uint64_t sum, const unsigned char *from, ssize_t length)
{
	for (ssize_t i = 0; i < length; i++)
		sum = sum * 31 + from[i];
	return sum;
}

static void set(int fd, int name, int value)
{
	if (setsockopt(fd, SOL_SOCKET, name, &value, sizeof(value)))
		fail("setsockopt");
}

static void sink(int port)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int listener = socket(AF_INET6, SOCK_STREAM, 0), fd;
	uint64_t bytes = 0, sum = 0;
	ssize_t got;

	if (listener < 0)
		fail("socket");
	set(listener, SO_REUSEADDR, 1);
	set(listener, SO_RCVBUF, 60000);
	if (bind(listener, (void *)&own, sizeof(own)) || listen(listener, 1))
		fail("bind");
	printf("ready\n");
	fflush(stdout);
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		fail("accept");
	while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
		sum = add(sum, buffer, got);
		bytes += got;
	}
	if (got < 0)
		fail("read");
	report(bytes, sum);
}

static void tcp(const char *host, int port, uint64_t bytes)
{
	struct sockaddr_storage to;
	socklen_t length = parse(host, port, &to);
	int fd = socket(to.ss_family, SOCK_STREAM, 0);
	uint64_t sent = 0, sum = 0;

	if (fd < 0 || connect(fd, (void *)&to, length))
		fail("connect");
	while (sent < bytes) {
		size_t part = bytes - sent < sizeof(buffer) ? bytes - sent : sizeof(buffer);
		ssize_t done;

		for (size_t i = 0; i < part; i++)
			buffer[i] = (sent + i) * 2654435761u >> 24;
		done = write(fd, buffer, part);
		if (done < 0)
			fail("write");
		sum = add(sum, buffer, done);
		sent += done;
	}
	close(fd);
	report(sent, sum);
}

static void udp(const char *host, int port, int count, int size, int segment)
{
	struct sockaddr_storage to;
	socklen_t length = parse(host, port, &to);
	int fd = socket(to.ss_family, SOCK_DGRAM, 0);

	if (fd < 0)
		fail("socket");
	if (segment && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)))
		fail("UDP_SEGMENT");
	for (int i = 0; i < count; i++) {
		if (sendto(fd, buffer, size, 0, (void *)&to, length) != size)
			fail("send");
		/* Lets the ring of the other end be emptied. */
		if (segment)
			usleep(1000);
	}
}

static void take(int port)
{
	struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	if (fd < 0 || bind(fd, (void *)&own, sizeof(own)))
		fail("bind");
	printf("ready\n");
	fflush(stdout);
	while (read(fd, buffer, sizeof(buffer)) >= 0)
		;
	fail("read");
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "sink"))
		sink(atoi(argv[2]));
	else if (argc == 3 && !strcmp(argv[1], "take"))
		take(atoi(argv[2]));
	else if (argc == 5 && !strcmp(argv[1], "tcp"))
		tcp(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10));
	else if (argc >= 6 && !strcmp(argv[1], "udp"))
		udp(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]),
		    argc > 6 ? atoi(argv[6]) : 0);
	else
		return 2;
	return 0;
}
