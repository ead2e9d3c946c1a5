/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* all.h - a valid argument for every parameter, for calls in which one argument is invalid */

#ifndef ALL_H
#define ALL_H

#include "fixture.h"

struct all {
	struct shmr_bakery shmr_bakery;
	struct shmr_barrier shmr_barrier;
	struct shmr_client shmr_client;
	struct shmr_consumer shmr_consumer;
	struct shmr_heartbeats shmr_heartbeats;
	struct shmr_mapping shmr_mapping;
	struct shmr_mutex shmr_mutex;
	struct shmr_attachment shmr_attachment;
	struct shmr_processes shmr_processes;
	struct shmr_producer shmr_producer;
	struct shmr_receiver shmr_receiver;
	struct shmr_region shmr_region;
	struct shmr_registry shmr_registry;
	struct shmr_rwlock shmr_rwlock;
	struct shmr_semaphore shmr_semaphore;
	struct shmr_sender shmr_sender;
	struct shmr_server shmr_server;
	struct shmr_session shmr_session;
	struct shmr_snapshot_reader shmr_snapshot_reader;
	struct shmr_snapshot_writer shmr_snapshot_writer;

	struct shmr_arrival shmr_arrival;
	struct shmr_call shmr_call;
	struct shmr_channel_options shmr_channel_options;
	struct shmr_clock shmr_clock;
	struct shmr_doorbell shmr_doorbell;
	struct shmr_geometry shmr_geometry;
	struct shmr_liveness shmr_liveness;
	struct shmr_lock_view shmr_lock_view;
	struct shmr_partition shmr_partition;
	struct shmr_platform shmr_platform;
	struct shmr_process shmr_process;
	struct shmr_request shmr_request;
	struct shmr_ring_view shmr_ring_view;
	struct shmr_session_options shmr_session_options;
	struct shmr_slice shmr_slice;
	struct shmr_wait shmr_wait;
	struct shmr_verdict shmr_verdict;

	/* A mutex's segment, long enough for every lock. */
	struct shmr_segment shmr_segment;
	struct shmr_segment ring;

	uint32_t incarnation;
	uint32_t word;
	size_t size;
	void *at;
	const void *const_at;
	char bytes[64];
};

extern struct all all;

/* Starts again with a new region. */
void make_all(void);
void end_all(void);

int take_all(void *context, const void *at, size_t len);

/*
 * Returns a handle that is not open: zeroes, garbage, or the contents of another type.
 */
#define ZEROES 0
#define GARBAGE 1
#define OTHER_TYPE 2
void *not_open(int which);

/* Returns a copy of an open handle, which is not open. */
void *copy_of(const void *handle, size_t len);

/* Returns zeroes instead of an open handle. */
void *to_be_opened(void);

/* Returns a misaligned pointer. */
void *misaligned(void);

#endif /* ALL_H */
