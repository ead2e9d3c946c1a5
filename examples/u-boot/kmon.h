/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * KMON in U-Boot: declarations for all its files
 *
 * wire.c      fields of records, whose length is not trusted
 * link.c      KMON's side of an instance's region
 * event.c     records from an instance
 * instance.c  the instances, their states, and KMON's heartbeat
 * memory.c    finds and maps the memory of regions
 * attach.c    kmattach, kmdetach
 * list.c      kmlist
 * filter.c    finds the escape key and kmexitconsole in typed bytes
 * modes.c     the terminal modes that a console's output sets
 * console.c   kmconsole, kmexitconsole
 * stats.c     readings of an instance's statistics
 * monitor.c   kmmonitorall
 * exec.c      kmexec
 * stubs.c     functions that the library needs
 *
 * Everything that an instance wrote is copied, then checked, then used.
 *
 * Lines that a program at U-Boot's console may wait for; N is a number:
 *
 * Instance N (NAME) at WHERE: formatted
 * Instance N (NAME) at WHERE: attached, KMON's incarnation N
 * Instance N (NAME) is attached already
 * No instances; kmattach finds some
 * ## #kmconsole done, cmd_redirection=N## #
 * [kmon: guestd was restarted (incarnation N): a new shell]
 * [kmon: commands from before a restart that were not run: N]
 * [kmon: N bytes of output were not read in time and are lost]
 * [kmon: instance N does not answer: its heartbeat stands still; ^] leaves]
 * [kmon: instance N runs again]
 * [kmon: instance N has ended]
 * [kmon: instance N is lost: WHY]
 * kmexec: instance N: exit status N
 * kmexec: instance N: killed by signal N
 * COMMAND: instance N is not running (STATE); WHAT TO DO
 * COMMAND: WHAT IS WRONG; WHAT TO DO
 */

#ifndef KMON_H
#define KMON_H

#include <linux/types.h>
#include "shmr.h"
#include "kmon_protocol.h"

/* The most instances. */
#define KM_INSTANCES		8
/* Bytes of output that are saved for the next console of an instance. */
#define KM_SAVED_LEN		1024
/* Milliseconds between two readings of an instance. */
#define KM_PERIOD_MS		1000
/* Records read at once, so that a flood leaves time for other work. */
#define KM_BATCH		64

/**
 * struct km_bytes - bytes that are left to read
 * @at:  the next one
 * @len: how many
 * @bad: they ended too early, or hold something that the protocol does not define
 */
struct km_bytes {
	const u8 *at;
	size_t len;
	bool bad;
};

/**
 * struct km_text - bytes that are a text, unless the instance is hostile
 * @at:  the first one
 * @len: how many
 */
struct km_text {
	const u8 *at;
	size_t len;
};

u16 km_take_u16(struct km_bytes *bytes);
u32 km_take_u32(struct km_bytes *bytes);
u64 km_take_u64(struct km_bytes *bytes);
struct km_text km_take_text(struct km_bytes *bytes);
struct km_text km_take_rest(struct km_bytes *bytes);
void km_copy_text(char *to, size_t size, struct km_text text);
void km_copy_record(void *to, const void *from, size_t len);

/** enum km_place - what kind of memory a region is in */
enum km_place {
	KM_PLACE_ADDRESS,
	KM_PLACE_PCI,
	KM_PLACE_RESERVED,
	KM_PLACE_FILE,
};

/**
 * struct km_memory - memory that a region is in, or is to be in
 * @place:   what kind of memory
 * @base:    where it is mapped
 * @address: its physical address; 0 for a file
 * @len:     bytes
 * @name:    of the device, the node or the file; empty if there is none
 */
struct km_memory {
	enum km_place place;
	void *base;
	u64 address;
	u64 len;
	char name[40];
};

/** enum km_state - the state of an instance */
enum km_state {
	/** Its daemon has never attached. */
	KM_WAITING,
	/** Its heartbeat moves. */
	KM_RUNNING,
	/** Its heartbeat stands still, and its daemon has not left. */
	KM_SILENT,
	/** Its daemon has left. */
	KM_GONE,
	/** It broke its region: @trouble has the reason. */
	KM_CORRUPT,
	/** Another KMON has attached to its region. */
	KM_REPLACED,
};

/**
 * struct km_instance - an instance, and KMON's side of its region
 * @number:      its partition number; 0: this slot is free
 * @ready:       the handles below are open
 * @memory:      where its region is
 * @name:        its name
 * @trouble:     what is wrong with its region, in words
 * @corrupt:     it broke its region; this is permanent
 * @replaced:    another KMON has attached
 * @beat:        its last heartbeat that KMON read
 * @beat_at:     when that changed last, in ms
 * @moved:       it has changed since KMON attached
 * @incarnation: the incarnation of its daemon that sent the last HELLO; 0: none
 *               since KMON attached, or since a restart
 * @last_incarnation: the last incarnation that sent a HELLO
 * @goodbye:     the daemon has announced its end
 * @dropped:     bytes of output that it had to drop
 * @discarded:   commands that it did not run because of a restart
 * @execs:       commands of kmexec so far
 * @saved:       output that the next console shows first: output that was not
 *               shown, or the line at whose end the last console was left
 * @saved_len:   bytes of it
 * @unsaved:     bytes of output that were neither shown nor saved
 * @seen:        the saved output was shown
 * @shown:       bytes of the ring's next record that a console has shown
 * @shown_at:    where in the ring that record is
 * @modes:       terminal modes that its programs have changed
 */
struct km_instance {
	u8 number;
	bool ready;
	struct km_memory memory;
	char name[KMON_SETTINGS_NAME_LEN + 1];
	char trouble[96];

	struct shmr_session session;
	struct shmr_registry registry;
	struct shmr_sender commands;
	struct shmr_receiver events;
	struct shmr_snapshot_reader stats;

	bool corrupt;
	bool replaced;
	u32 beat;
	ulong beat_at;
	bool moved;

	u32 incarnation;
	u32 last_incarnation;
	bool goodbye;
	u64 dropped;
	u32 discarded;
	u16 execs;

	char saved[KM_SAVED_LEN];
	u32 saved_len;
	u64 unsaved;
	bool seen;
	u32 shown;
	u32 shown_at;
	u32 modes;
};

/* instance.c */
struct km_instance *km_free_slot(void);
struct km_instance *km_find(unsigned int number);
struct km_instance *km_next(struct km_instance *after);
struct km_instance *km_argument(const char *command, const char *text);
enum km_state km_get_state(struct km_instance *k, u32 *incarnation);
ulong km_silent_ms(const struct km_instance *k);
bool km_wait_running(struct km_instance *k);
int km_require_running(const char *command, struct km_instance *k);
void km_print_state(const struct km_instance *k, enum km_state state);
bool km_beat(struct km_instance *k);
void km_beat_all(void);
void km_start_beating(void);
void km_stop_beating(void);
void km_yield(void);

/* link.c */
int km_format(struct km_instance *k);
int km_recognise(struct km_instance *k);
int km_attach(struct km_instance *k, bool settings);
void km_close(struct km_instance *k);
void km_set_trouble(struct km_instance *k, const char *what,
		    const struct shmr_error *error);

/** enum km_sent - result of an attempt to send */
enum km_sent {
	KM_SENT,
	/** There is no room now. */
	KM_FULL,
	/** It can never be sent. */
	KM_UNSENT,
};

enum km_sent km_send(struct km_instance *k, u32 incarnation, u16 kind, u32 stream,
		     const void *body, size_t len);

/* In addition to those of the protocol: the instance's daemon was restarted. */
#define KM_EVENT_RESTARTED	0

/**
 * struct km_event - an event from an instance
 * @kind:   KMON_EVENT_... or KM_EVENT_RESTARTED
 * @stream: which command of kmexec
 * @bytes:  output, or the reason of KMON_EVENT_NOT_STARTED
 * @how:    of KMON_EVENT_ENDED
 * @value:  the other field: a code, a signal, an incarnation, a count
 * @fresh:  of KMON_EVENT_HELLO: another incarnation than the last one
 */
struct km_event {
	u16 kind;
	u32 stream;
	struct km_text bytes;
	u32 how;
	u64 value;
	bool fresh;
};

/**
 * typedef km_handler - handles an event
 *
 * Return: false to keep the record, which is then handled again later
 */
typedef bool (*km_handler)(struct km_instance *k, const struct km_event *event,
			   void *context);

/* event.c */
int km_receive(struct km_instance *k, km_handler handle, void *context);
void km_save_output(struct km_instance *k, struct km_text output);

/* modes.c */
#define KM_ALTERNATE	0x7	/* any of these: a full-screen program */

/**
 * struct km_modes - how far a sequence in the output is read
 * @state:  0 text, 1 after ESC, 2 after ESC [, 3 in a private sequence
 * @number: the parameter being read
 * @bits:   bits of the known modes among the parameters before it
 */
struct km_modes {
	u8 state;
	u16 number;
	u32 bits;
};

void km_follow_modes(struct km_modes *modes, u32 *changed, u8 byte);
void km_put_modes(u32 changed, bool undo);

/* filter.c */
#define KM_ESCAPE		0x1d	/* ^] */
#define KM_ESCAPE_MS		400
#define KM_LINE			128

/**
 * struct km_filter - the state between two typed bytes
 * @escaping: an escape key was typed, and the next byte decides
 * @held:     bytes of kmexitconsole that were typed and are held; -1: @sent is
 *            the line; -2: the line is not known
 * @len:      bytes of @sent
 * @sequence: bytes of an escape sequence that were typed: 0, 1, 2 or more
 * @before:   @held before the sequence
 * @sent:     the line, if all its characters are plain
 */
struct km_filter {
	bool escaping;
	int held;
	int before;
	u8 len;
	u8 sequence;
	u8 sent[KM_LINE];
};

/**
 * struct km_typed - what to do with a typed byte
 * @erase:    first erase this many characters
 * @echo:     then show this many characters of @shown
 * @shown:    those
 * @send:     then send this many bytes to the instance
 * @bytes:    those
 * @leave:    then leave the console
 */
struct km_typed {
	u8 erase;
	u8 echo;
	char shown[2];
	u8 send;
	u8 bytes[16];
	bool leave;
};

void km_filter_begin(struct km_filter *filter);
void km_filter_new_line(struct km_filter *filter);
void km_filter_byte(struct km_filter *filter, u8 byte, bool alternate,
		    struct km_typed *typed);
void km_filter_pause(struct km_filter *filter, struct km_typed *typed);

/* memory.c */

/**
 * typedef km_memory_handler - gets memory that was found
 *
 * Return: a number that km_find_memory() adds up
 */
typedef int (*km_memory_handler)(struct km_memory *memory, void *context);

int km_find_memory(km_memory_handler handle, void *context);
int km_map_address(const char *command, u64 address, u64 len,
		   struct km_memory *memory);
int km_map_file(const char *command, const char *path,
		struct km_memory *memory);
void km_unmap(struct km_memory *memory);

/* stats.c */

/** struct km_cpu - time that a processor has spent, in ticks since boot */
struct km_cpu {
	u64 busy;
	u64 total;
};

/** struct km_interface - counters of a network interface */
struct km_interface {
	struct km_text name;
	u64 rx_bytes, rx_packets, tx_bytes, tx_packets;
};

/**
 * struct km_reading - one reading of an instance's statistics
 * @rest: the bytes of the processors and interfaces, which are complete
 */
struct km_reading {
	u64 taken_ns, uptime_ms;
	u32 load[3];
	u64 total_kb, free_kb, available_kb, dropped_bytes;
	struct km_cpu cpu;
	u16 cpus, interfaces;
	struct km_bytes rest;
};

int km_read_stats(struct km_instance *k, u8 *buffer, size_t *len);
int km_parse_stats(struct km_reading *reading, const u8 *bytes, size_t len);
struct km_cpu km_take_cpu(struct km_bytes *bytes);
struct km_interface km_take_interface(struct km_bytes *bytes);

#endif /* KMON_H */
