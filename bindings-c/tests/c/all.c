/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "all.h"

#include <string.h>

struct all all;
static struct fixture fixture;

static uint64_t no_time(void *context)
{
	(void)context;
	return 0;
}

int take_all(void *context, const void *at, size_t len)
{
	(void)context;
	(void)at;
	(void)len;
	return 1;
}

static void open_locks(void)
{
	OK(shmr_bakery_open(&all.shmr_bakery, &all.shmr_segment, all.incarnation, 8));
	OK(shmr_barrier_open(&all.shmr_barrier, &all.shmr_segment, all.incarnation, 2,
			     NULL));
	OK(shmr_mutex_open(&all.shmr_mutex, &all.shmr_segment, all.incarnation,
			   NULL));
	OK(shmr_rwlock_open(&all.shmr_rwlock, &all.shmr_segment, all.incarnation,
			    NULL));
	OK(shmr_semaphore_open(&all.shmr_semaphore, &all.shmr_segment,
			       all.incarnation, NULL));
}

static void open_data(void)
{
	OK(shmr_producer_open(&all.shmr_producer, &all.ring, all.incarnation));
	OK(shmr_consumer_open(&all.shmr_consumer, &all.ring, all.incarnation,
			      SHMR_KEEP));
	OK(shmr_producer_push(&all.shmr_producer, "record", 6));
	OK(shmr_snapshot_reader_open(&all.shmr_snapshot_reader,
				     &all.shmr_segment));
	OK(shmr_snapshot_writer_open(&all.shmr_snapshot_writer,
				     &all.shmr_segment));
}

static void open_channels(void)
{
	all.shmr_platform = shmr_platform_same_kernel();
	all.shmr_session_options.partition = 5;
	OK(shmr_session_join(&all.shmr_session,
			     shmr_mapping_base(&fixture.mapping), FIXTURE_LEN,
			     &all.shmr_session_options, &all.shmr_platform));
	OK(shmr_client_open(&all.shmr_client, &all.shmr_session, "channel",
			    NULL));
	OK(shmr_server_open(&all.shmr_server, &all.shmr_session, "channel",
			    &all.shmr_channel_options));
	OK(shmr_sender_open(&all.shmr_sender, &all.shmr_session, "single",
			    1024));
	OK(shmr_receiver_open(&all.shmr_receiver, &all.shmr_session, "single",
			      1024, SHMR_KEEP));
	OK(shmr_client_start_call(&all.shmr_client, "call", 4, &all.shmr_call,
				  0));
}

void make_all(void)
{
	memset(&all, 0, sizeof(all));
	fixture_make(&fixture);
	OK(shmr_region_attach(&all.shmr_region,
			      shmr_mapping_base(&fixture.mapping), FIXTURE_LEN));
	OK(shmr_registry_attach(&all.shmr_registry, &all.shmr_region));
	OK(shmr_map_memfd(&all.shmr_mapping, "all", 4096));
	OK(shmr_partition_attach(&all.shmr_attachment, &fixture.registry, 4,
				 NULL));
	all.incarnation = shmr_attachment_incarnation(&all.shmr_attachment);
	all.shmr_clock.now_us = no_time;
	OK(shmr_heartbeats_watch(&all.shmr_heartbeats, &fixture.registry, 0,
				 &all.shmr_clock));
	OK(shmr_processes_watch(&all.shmr_processes, &fixture.registry));
	all.shmr_segment = fixture_segment(&fixture, "locks", SHMR_KIND_MUTEX,
					   8192);
	all.ring = fixture_segment(&fixture, "ring", SHMR_KIND_RING,
				   shmr_ring_len(1024));
	open_locks();
	open_data();
	open_channels();
	all.shmr_request.name = "request";
	all.shmr_request.len = 8;
	all.shmr_geometry.segments = 2;
	all.shmr_geometry.partitions = 2;
	all.shmr_geometry.block_size = 128;
	all.shmr_slice.base = "slice";
	all.shmr_slice.len = 5;
	OK(shmr_wait_spin_checks(&all.shmr_wait, 2));
}

/* Handles that the test has closed fail to close again. */
void end_all(void)
{
	(void)shmr_client_close(&all.shmr_client);
	(void)shmr_server_close(&all.shmr_server);
	(void)shmr_sender_close(&all.shmr_sender);
	(void)shmr_receiver_close(&all.shmr_receiver);
	(void)shmr_session_leave(&all.shmr_session);
	(void)shmr_processes_close(&all.shmr_processes);
	(void)shmr_unmap(&all.shmr_mapping);
	fixture_end(&fixture);
}

/* Room for a handle of any type. */
struct room {
	struct shmr_heartbeats longest;
} __attribute__((aligned(128)));

void *not_open(int which)
{
	static struct room room;

	memset(&room, which == GARBAGE ? 0xa5 : 0, sizeof(room));
	if (which == OTHER_TYPE)
		OK(shmr_segment_from_memory((struct shmr_segment *)(void *)&room,
				   all.shmr_segment.base, 8192));
	return &room;
}

void *copy_of(const void *handle, size_t len)
{
	static struct room room;

	return memcpy(&room, handle, len);
}

void *to_be_opened(void)
{
	static struct room room;

	return memset(&room, 0, sizeof(room));
}

void *misaligned(void)
{
	return (char *)not_open(ZEROES) + 1;
}
