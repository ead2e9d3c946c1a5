/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A program without a C library: it starts at _start, and defines four memory functions and
 * shmr_panic(). It passes messages, a value and a lock through its own region. It exits with
 * 0, or with the line number of the check that failed.
 */
#include "shmr.h"

#if defined(SHMR_LINUX)
#error "this is for the library without Linux"
#endif

void *memcpy(void *to, const void *from, size_t len)
{
	unsigned char *at = to;
	const unsigned char *byte = from;

	while (len--)
		*at++ = *byte++;
	return to;
}

void *memset(void *to, int value, size_t len)
{
	unsigned char *at = to;

	while (len--)
		*at++ = (unsigned char)value;
	return to;
}

int memcmp(const void *one, const void *other, size_t len)
{
	const unsigned char *a = one, *b = other;

	for (; len--; a++, b++)
		if (*a != *b)
			return *a < *b ? -1 : 1;
	return 0;
}

int bcmp(const void *one, const void *other, size_t len)
{
	return memcmp(one, other, len);
}

/* The counterpart of a bootloader's reset. */
static void leave(int status)
{
#if defined(__x86_64__)
	__asm__ volatile("syscall" : : "a"(231), "D"(status)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long number __asm__("x8") = 94;
	register long first __asm__("x0") = status;

	__asm__ volatile("svc 0" : : "r"(number), "r"(first) : "memory");
#else
#error "how does a process end here?"
#endif
	for (;;)
		;
}

void shmr_panic(void)
{
	leave(255);
}

#define MUST(holds)				\
	do {					\
		if (!(holds))			\
			leave(__LINE__ & 127);	\
	} while (0)

#define LEN 65536
static unsigned char memory[LEN] __attribute__((aligned(128)));

static struct shmr_region region;
static struct shmr_registry registry;
static struct shmr_attachment first, second;
static struct shmr_producer producer;
static struct shmr_consumer consumer;

static struct shmr_segment make(const char *name, uint32_t kind, size_t len)
{
	struct shmr_request request = { 0 };
	struct shmr_segment segment;

	request.name = name;
	request.kind = kind;
	request.len = len;
	MUST(shmr_registry_open_or_create(&registry, &first, &request,
					  &segment) == SHMR_OK);
	return segment;
}

static void pass_messages(void)
{
	struct shmr_segment ring = make("ring", SHMR_KIND_RING,
					shmr_ring_len(1024));
	char record[64];
	size_t len;
	int times;

	MUST(shmr_producer_open(&producer, &ring, shmr_attachment_incarnation(&first)) ==
	     SHMR_OK);
	MUST(shmr_consumer_open(&consumer, &ring, shmr_attachment_incarnation(&second),
				SHMR_DISCARD) == SHMR_OK);
	for (times = 0; times < 1000; times++) {
		MUST(shmr_producer_push(&producer, "hello", 5) == SHMR_OK);
		MUST(shmr_consumer_pop(&consumer, record, sizeof(record),
				       &len) == SHMR_OK);
		MUST(len == 5 && memcmp(record, "hello", 5) == 0);
	}
	MUST(shmr_consumer_pop(&consumer, record, sizeof(record), &len) ==
	     SHMR_EMPTY);
}

static void pass_a_value(void)
{
	struct shmr_segment snapshot = make("snapshot", SHMR_KIND_SNAPSHOT,
					    shmr_snapshot_len(64));
	struct shmr_snapshot_writer writer;
	struct shmr_snapshot_reader reader;
	char value[64];
	size_t len;

	MUST(shmr_snapshot_writer_open(&writer, &snapshot) == SHMR_OK);
	MUST(shmr_snapshot_reader_open(&reader, &snapshot) == SHMR_OK);
	MUST(shmr_snapshot_write(&writer, "value", 5) == SHMR_OK);
	MUST(shmr_snapshot_read(&reader, value, sizeof(value), &len) ==
	     SHMR_OK);
	MUST(len == 5 && memcmp(value, "value", 5) == 0);
}

static void take_turns(void)
{
	struct shmr_segment segment = make("mutex", SHMR_KIND_MUTEX,
					   shmr_mutex_len(0));
	struct shmr_mutex one, two;
	struct shmr_wait wait;

	MUST(shmr_mutex_open(&one, &segment, shmr_attachment_incarnation(&first),
			     (void *)0) == SHMR_OK);
	MUST(shmr_mutex_open(&two, &segment, shmr_attachment_incarnation(&second),
			     (void *)0) == SHMR_OK);
	MUST(shmr_mutex_try_lock(&one, (void *)0) == SHMR_OK);
	MUST(shmr_wait_spin_checks(&wait, 100) == SHMR_OK);
	MUST(shmr_mutex_lock(&two, &wait, (void *)0) == SHMR_TIMED_OUT);
	MUST(shmr_mutex_unlock(&one) == SHMR_OK);
	MUST(shmr_mutex_try_lock(&two, (void *)0) == SHMR_OK);
}

static uint64_t now(void *context)
{
	return ++*(uint64_t *)context;
}

static void make_calls(void)
{
	static unsigned char own[LEN] __attribute__((aligned(128)));
	static struct shmr_session session, other;
	static struct shmr_server server;
	static struct shmr_client client;
	static uint64_t time;
	struct shmr_session_options options = { 0 };
	struct shmr_platform platform = { 0 };
	struct shmr_call call, received;
	char text[8];
	size_t len;

	options.partition = 1;
	platform.now = now;
	platform.context = &time;
	MUST(shmr_session_create(&session, own, LEN, &options, &platform) ==
	     SHMR_OK);
	options.partition = 2;
	MUST(shmr_session_join(&other, own, LEN, &options, &platform) ==
	     SHMR_OK);
	MUST(shmr_server_open(&server, &session, "calls", (void *)0) ==
	     SHMR_OK);
	MUST(shmr_client_open(&client, &other, "calls", (void *)0) == SHMR_OK);
	MUST(shmr_client_start_call(&client, "ask", 3, &call, 0) == SHMR_OK);
	MUST(shmr_server_recv(&server, text, 8, &len, &received, 0) ==
	     SHMR_OK);
	MUST(shmr_server_answer(&server, &received, text, len, 0) == SHMR_OK);
	MUST(shmr_client_finish_call(&client, &call, text, 8, &len, 0) ==
	     SHMR_OK);
	MUST(len == 3 && memcmp(text, "ask", 3) == 0);
	MUST(shmr_client_recv(&client, text, 8, &len, 1000) == SHMR_TIMED_OUT);
	MUST(shmr_client_close(&client) == SHMR_OK);
	MUST(shmr_session_leave(&other) == SHMR_OK);
}

static __attribute__((used)) void work(void)
{
	MUST(shmr_header_matches());
	MUST(shmr_region_format(&region, memory, LEN) == SHMR_OK);
	MUST(shmr_registry_format(&registry, &region, (void *)0) == SHMR_OK);
	MUST(shmr_partition_attach(&first, &registry, 1, (void *)0) ==
	     SHMR_OK);
	MUST(shmr_partition_attach(&second, &registry, 2, (void *)0) ==
	     SHMR_OK);
	pass_messages();
	pass_a_value();
	take_turns();
	make_calls();
	MUST(shmr_attachment_leave(&second) == SHMR_OK);
	leave(0);
}

/* A function expects the stack alignment after a call, which the kernel does not provide. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\tcall work\n");
#else
__asm__(".globl _start\n_start:\n\tbl work\n");
#endif
