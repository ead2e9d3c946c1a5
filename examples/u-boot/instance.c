// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * The instances, their states, and KMON's heartbeat
 *
 * If U-Boot has CYCLIC, KMON's heart beats whenever U-Boot waits, also at its
 * prompt; otherwise only during KMON's own commands.
 */

#include <common.h>
#include <console.h>
#include <cyclic.h>
#include <time.h>
#include <vsprintf.h>
#include <linux/kconfig.h>
#include <linux/delay.h>
#include "kmon.h"

/* Period of KMON's heartbeat and of the checks; at most a quarter of a limit. */
#define PERIOD_MS	25
/* How long to wait for an instance's first heartbeat; it beats every 200 ms. */
#define HEARTBEAT_WAIT_MS	800

static struct km_instance instances[KM_INSTANCES];
static struct cyclic_info *cyclic;

struct km_instance *km_free_slot(void)
{
	int i;

	for (i = 0; i < KM_INSTANCES; i++) {
		if (!instances[i].number) {
			memset(&instances[i], 0, sizeof(instances[i]));
			return &instances[i];
		}
	}

	return NULL;
}

struct km_instance *km_find(unsigned int number)
{
	int i;

	for (i = 0; number && i < KM_INSTANCES; i++) {
		if (instances[i].ready && instances[i].number == number)
			return &instances[i];
	}

	return NULL;
}

/**
 * km_next() - iterate over the instances by their numbers
 * @after: the last one, or NULL
 *
 * Return: the next one; NULL after the last
 */
struct km_instance *km_next(struct km_instance *after)
{
	struct km_instance *k, *next = NULL;

	for (k = instances; k < instances + KM_INSTANCES; k++) {
		if (k->ready && k->number > (after ? after->number : 0) &&
		    (!next || k->number < next->number))
			next = k;
	}

	return next;
}

/**
 * km_argument() - find the instance that an argument names
 * @command: the command, for its message
 * @text:    the argument
 *
 * Return: the instance; NULL, and a message is printed
 */
struct km_instance *km_argument(const char *command, const char *text)
{
	struct km_instance *k;
	char *end;
	ulong number = dectoul(text, &end);

	if (!*text || *end) {
		printf("%s: '%s' is not an instance number; kmlist shows them\n",
		       command, text);
		return NULL;
	}
	k = number <= KMON_LAST_PARTITION ? km_find(number) : NULL;
	if (!k)
		printf("%s: there is no instance %lu; kmlist shows those that are attached\n",
		       command, number);

	return k;
}

/**
 * km_get_state() - read the state of an instance
 * @k:           the instance
 * @incarnation: gets the incarnation of its daemon, 0 if it never attached; or
 *               NULL
 *
 * Return: its present state
 */
enum km_state km_get_state(struct km_instance *k, u32 *incarnation)
{
	struct shmr_partition slot;

	if (incarnation)
		*incarnation = 0;
	if (k->replaced)
		return KM_REPLACED;
	if (k->corrupt)
		return KM_CORRUPT;
	if (shmr_partition_read(&k->registry, k->number, &slot)) {
		km_set_trouble(k, "its slot", &k->registry.error);
		return KM_CORRUPT;
	}
	if (slot.heartbeat != k->beat) {
		k->beat = slot.heartbeat;
		k->beat_at = get_timer(0);
		k->moved = true;
	}
	/* Bits 8 to 30. */
	if (incarnation)
		*incarnation = slot.incarnation >> 8 & 0x7fffff;
	if (!slot.incarnation)
		return KM_WAITING;
	if (!slot.attached)
		return KM_GONE;

	return k->moved && km_silent_ms(k) <= KMON_SILENCE_LIMIT_MS ?
		KM_RUNNING : KM_SILENT;
}

/** km_silent_ms() - how long an instance's heartbeat has stood still */
ulong km_silent_ms(const struct km_instance *k)
{
	return get_timer(k->beat_at);
}

/**
 * km_wait_running() - wait until an instance runs, if its heartbeat is unknown
 * @k: the instance
 *
 * Return: true if it runs. Waits up to 800 ms for the first heartbeat that KMON
 *         sees
 */
bool km_wait_running(struct km_instance *k)
{
	enum km_state state = km_get_state(k, NULL);
	ulong start = get_timer(0);

	while (state == KM_SILENT && get_timer(start) < HEARTBEAT_WAIT_MS) {
		if (ctrlc())
			break;
		km_yield();
		udelay(1000);
		state = km_get_state(k, NULL);
	}

	return state == KM_RUNNING;
}

/**
 * km_print_state() - print the state of an instance, in a few words
 * @k:     the instance
 * @state: its state; another read could return that of another incarnation
 */
void km_print_state(const struct km_instance *k, enum km_state state)
{
	switch (state) {
	case KM_WAITING:
		puts("starting");
		break;
	case KM_RUNNING:
		puts("running");
		break;
	case KM_SILENT:
		printf("silent %lu s", km_silent_ms(k) / 1000);
		break;
	case KM_GONE:
		puts("gone");
		break;
	case KM_CORRUPT:
		printf("corrupt: %s", k->trouble);
		break;
	case KM_REPLACED:
		puts("another KMON uses it");
		break;
	}
}

/**
 * km_require_running() - print why an instance cannot be used, unless it runs
 * @command: the command, for its message
 * @k:       the instance
 *
 * Return: 0; else -ve, and a message is printed
 */
int km_require_running(const char *command, struct km_instance *k)
{
	enum km_state state;

	if (km_wait_running(k))
		return 0;
	state = km_get_state(k, NULL);
	/* It may have started meanwhile. */
	if (state == KM_RUNNING)
		return 0;
	printf("%s: instance %u is not running (", command, k->number);
	km_print_state(k, state);
	switch (state) {
	case KM_CORRUPT:
		puts("); kmattach -f formats its region again\n");
		break;
	case KM_REPLACED:
		printf("); kmdetach %u releases it\n", k->number);
		break;
	default:
		puts("); start guestd in it\n");
	}

	return -ENODEV;
}

/* KMON has lost its slot to another incarnation of KMON, or to garbage. */
static void mark_lost(struct km_instance *k, enum shmr_status status)
{
	if (status != SHMR_EVICTED && status != SHMR_REFORMATTED) {
		k->corrupt = true;
		km_set_trouble(k, "KMON's slot", &k->session.error);
		return;
	}
	k->replaced = true;
	strcpy(k->trouble, "another KMON has attached to its region");
}

/**
 * km_beat() - increment KMON's heartbeat in an instance's region
 * @k: the instance
 *
 * Return: false if KMON has lost its slot and must not write any more
 */
bool km_beat(struct km_instance *k)
{
	enum shmr_status status;

	if (!k->replaced && !k->corrupt) {
		status = shmr_session_beat(&k->session);
		if (status != SHMR_OK)
			mark_lost(k, status);
	}

	return !k->replaced && !k->corrupt;
}

/** km_beat_all() - beat in all regions, and update the instances' states */
void km_beat_all(void)
{
	int i;

	for (i = 0; i < KM_INSTANCES; i++) {
		if (instances[i].ready && km_beat(&instances[i]))
			km_get_state(&instances[i], NULL);
	}
}

static void beat_cyclic(void *context)
{
	km_beat_all();
}

/** km_start_beating() - start KMON's heartbeat */
void km_start_beating(void)
{
	if (!cyclic)
		cyclic = cyclic_register(beat_cyclic, PERIOD_MS * 1000, "kmon",
					 NULL);
}

/** km_stop_beating() - stop it if no instance is left */
void km_stop_beating(void)
{
	if (cyclic && !km_next(NULL)) {
		cyclic_unregister(cyclic);
		cyclic = NULL;
	}
}

/** km_yield() - run background work while a command waits */
void km_yield(void)
{
	static ulong last;

	schedule();
	if (!cyclic && get_timer(last) >= PERIOD_MS) {
		last = get_timer(0);
		km_beat_all();
	}
}
