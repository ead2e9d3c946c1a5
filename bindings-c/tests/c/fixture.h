/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* fixture.h - a region with a registry and two attached partitions */

#ifndef FIXTURE_H
#define FIXTURE_H

#include "check.h"

#define FIXTURE_LEN ((size_t)256 * 1024)
#define FIXTURE_SEGMENTS 16
#define FIXTURE_PARTITIONS 8

/**
 * struct fixture - a region with two attached partitions
 * @one: an incarnation of partition 1
 * @two: an incarnation of partition 2
 *
 * A forked child that will be killed maps the region by fixture_join(): it inherits no mapping.
 */
struct fixture {
	struct shmr_mapping mapping;
	struct shmr_region region;
	struct shmr_registry registry;
	struct shmr_attachment first;
	struct shmr_attachment second;
	uint32_t one;
	uint32_t two;
};

/* The incarnation after this one. */
#define NEXT(incarnation) ((incarnation) + 0x100)

void fixture_make(struct fixture *fixture);
void fixture_end(struct fixture *fixture);

/* Maps the parent's region in a child process, without attaching a partition. */
void fixture_join(struct fixture *fixture, const struct fixture *parents);

/* Creates a segment. */
struct shmr_segment fixture_segment(struct fixture *fixture, const char *name,
				    uint32_t kind, size_t len);

/* The little-endian word at an offset from @base. */
uint32_t word_at(const void *base, size_t offset);
void set_word(void *base, size_t offset, uint32_t value);

/*
 * Runs @die as an incarnation of partition @number in a child process, with its own mapping of
 * the region and of @segment, and kills it while it holds what @die took.
 * Return: that incarnation.
 */
uint32_t fixture_death(struct fixture *fixture, uint8_t number,
		       void (*die)(struct fixture *fixture, uint32_t incarnation,
				   const struct shmr_segment *segment),
		       const struct shmr_segment *segment);

#endif /* FIXTURE_H */
