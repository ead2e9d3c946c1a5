/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Finding out with another process what works across the memory. */
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

static struct place place;
static struct shmr_segment segment;

static void make(void)
{
	place_make(&place);
	segment = place_segment(&place, "litmus", SHMR_KIND_LITMUS,
				shmr_litmus_len());
}

TEST(nobody_answers_and_nothing_is_known)
{
	struct shmr_verdict verdict = { { 9, 9, 9 }, { 9, 9, 9 } };

	make();
	OK(shmr_litmus_ask(&segment, NULL, &verdict));
	SAME(verdict.read_modify_write.state, SHMR_UNKNOWN);
	SAME(verdict.fences.state, SHMR_UNKNOWN);
	SAME(verdict.fences.of, 0);
}

TEST(nobody_asks_and_nothing_is_answered)
{
	struct shmr_verdict verdict;

	make();
	SAYS(shmr_litmus_answer(&segment, NULL, &verdict), SHMR_EMPTY);
}

TEST(a_segment_that_is_too_short_is_no_litmus)
{
	struct shmr_verdict verdict;
	struct shmr_segment rest;

	make();
	OK(shmr_segment_at(&rest, segment.base, shmr_litmus_len() - 8));
	SAYS(shmr_litmus_ask(&rest, NULL, &verdict), SHMR_TOO_SHORT);
	SAYS(shmr_litmus_answer(&rest, NULL, &verdict), SHMR_TOO_SHORT);
}

TEST(two_processes_find_nothing_that_is_broken)
{
	struct shmr_verdict verdict;
	struct shmr_wait wait;
	int status;
	pid_t child;

	make();
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		static struct place own;

		place_join(&own, &place);
		OK(shmr_registry_lookup(&own.registry, segment.id, &segment));
		OK(shmr_wait_spin(&wait, 20000));
		while (shmr_litmus_answer(&segment, &wait, &verdict) != SHMR_OK)
			usleep(100);
		CHECK(verdict.read_modify_write.state != SHMR_BROKEN);
		CHECK(verdict.fences.state != SHMR_BROKEN);
		_exit(0);
	}
	OK(shmr_wait_spin(&wait, 20000));
	OK(shmr_litmus_ask(&segment, &wait, &verdict));
	/* Whether they ran at the same time is the machine's affair. */
	CHECK(verdict.read_modify_write.state != SHMR_BROKEN);
	CHECK(verdict.fences.state != SHMR_BROKEN);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
