/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * shmr.h - lock-free IPC over shared memory between partitions
 *
 * Generated from bindings-c/src by `cargo xtask header`: do not edit. docs/c-api.md has a
 * complete program; docs/layout.md what is in the memory.
 *
 * A handle (struct shmr_region and so on) is memory of the caller's, static if it likes, in
 * place for as long as it is open, used by one thread at a time. What is in it is nobody's
 * business but `error`, which says why the last call on it failed. Memory that holds a region
 * stays mapped until the last handle over it is closed, or used for the last time if it needs no
 * closing.
 *
 * A call that is given a NULL, a misaligned pointer or a handle that is not open says
 * SHMR_EINVAL and does nothing. Not open are zeroes, a handle that was closed, that failed to
 * open or that is a copy of an open one, and memory in which no handle was opened at that
 * address. What nobody can tell: memory in which a handle of the same type was opened at the same
 * address, and neither closed nor overwritten since, as the next call of a function finds its
 * local variables. Begin a local handle with { 0 }.
 *
 * A handle that has a call to close it is closed before it is opened again: else SHMR_OPEN.
 *
 * After fork() only the parent has the region: a child whose memory it was mapped into by this
 * library faults at the first touch, and it can use, close or leave nothing that it inherited.
 * It maps the region itself, into handles of its own, as by shmr_map_fd() of the descriptor that
 * it inherited, and attaches under a number of its own.
 */

#ifndef SHMR_H
#define SHMR_H


#if defined(SHMR_TYPES_HEADER)
#include SHMR_TYPES_HEADER
#elif defined(__UBOOT__)
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#endif

/* Mapping, futexes and processes: not for bootloaders, whose library has none of it. */
#if defined(__linux__) && !defined(__UBOOT__) && !defined(SHMR_BARE)
#define SHMR_LINUX
#endif

/* Define SHMR_NONCOHERENT for a library that was built with that feature. */

#define SHMR_ALIGNED(bytes) __attribute__((aligned(bytes)))


/**
 * Records from before a restart of either end are kept: results.
 */
#define SHMR_KEEP 0

/**
 * They are discarded, and counted: commands, which no new incarnation is to obey.
 */
#define SHMR_DISCARD 1

/**
 * No owner died inside, or what it left was repaired.
 */
#define SHMR_WHOLE 0

/**
 * An owner died inside.
 */
#define SHMR_SUSPECT 1

/**
 * Nobody repaired what a dead owner left: the lock is poisoned.
 */
#define SHMR_SPOILT 2

/**
 * The other party did not answer, or the two hardly ran at the same time: ask again.
 */
#define SHMR_UNKNOWN 0

/**
 * Both parties did it at the same time, often, and nothing went wrong.
 */
#define SHMR_WORKS 1

/**
 * It went wrong: do without, or change the machine (docs/memory-model.md).
 */
#define SHMR_BROKEN 2

/**
 * The limit that notices silence within 100 ms, of partitions that beat every 10 ms.
 */
#define SHMR_HEARTBEAT_LIMIT_MS 60

/**
 * How often partitions beat to be safe with that limit.
 */
#define SHMR_BEAT_MS 10

/**
 * To `wake`: there are records for the peer.
 */
#define SHMR_RECORDS 0

/**
 * To `wake`: there is room for the peer's records.
 */
#define SHMR_ROOM 1

/**
 * To `wake`: a lock that the peer waits for was released.
 */
#define SHMR_LOCK 2

/**
 * Bytes of the application's own making.
 */
#define SHMR_KIND_RAW 0

/**
 * A ring.
 */
#define SHMR_KIND_RING 1

/**
 * A snapshot.
 */
#define SHMR_KIND_SNAPSHOT 2

/**
 * A mutex.
 */
#define SHMR_KIND_MUTEX 3

/**
 * A mutex that needs no read-modify-write.
 */
#define SHMR_KIND_BAKERY 4

/**
 * A semaphore.
 */
#define SHMR_KIND_SEMAPHORE 5

/**
 * A reader-writer lock.
 */
#define SHMR_KIND_RWLOCK 6

/**
 * A barrier.
 */
#define SHMR_KIND_BARRIER 7

/**
 * Where two partitions find out what works across the memory.
 */
#define SHMR_KIND_LITMUS 8

/**
 * The segment's kind: a channel's call line.
 */
#define SHMR_KIND_CALL_LINE 10

/**
 * The first number that applications may give meaning to.
 */
#define SHMR_KIND_APPLICATION 65536

/**
 * Changes whenever a program that was compiled against an earlier header could
 * not use this library.
 */
#define SHMR_ABI_VERSION 1

/**
 * From `pause`: it spent a moment awake; check again.
 */
#define SHMR_AGAIN 0

/**
 * From `pause`: it would rather sleep; `sleep` is called after one more check.
 */
#define SHMR_SLEEP 1

/**
 * From `pause`: give up; the call says SHMR_TIMED_OUT after one more check.
 */
#define SHMR_GIVE_UP 2

/**
 * No deadline, and no limit.
 */
#define SHMR_FOREVER 18446744073709551615ull

/**
 * enum shmr_status - what a call says
 *
 * 0 is success, what is above it is no failure, what is below it is one.
 * `struct shmr_error` says what `value` is with each.
 */
enum shmr_status {
        /**
         * Done.
         */
        SHMR_OK = 0,
        /**
         * Nothing is there now.
         */
        SHMR_EMPTY = 1,
        /**
         * No room now.
         */
        SHMR_FULL = 2,
        /**
         * Somebody else has it, and this call does not wait.
         */
        SHMR_BUSY = 3,
        /**
         * The wait gave up first. Of a lock or barrier `value` is the incarnation that is waited
         * for if that is silent, else 0.
         */
        SHMR_TIMED_OUT = 4,
        /**
         * The other end of the ring or channel was restarted. Reported once; nothing was moved.
         */
        SHMR_RESTARTED = 5,
        /**
         * The lock is had, but its last owner died inside: repair, then make consistent.
         */
        SHMR_OWNER_DIED = 6,
        /**
         * A party of the barrier is gone; `value` is its incarnation.
         */
        SHMR_PARTY_DIED = 7,
        /**
         * Others changed the table, or formatted the region, under every attempt: try again;
         * of the table, reap if that does not help.
         */
        SHMR_CONTENDED = 8,
        /**
         * The other end of the channel is gone, or has left it. Whether it has done what it was
         * sent is not known.
         */
        SHMR_PEER_GONE = 9,
        /**
         * The client that made this call was restarted since: the answer was not sent.
         */
        SHMR_CALLER_RESTARTED = 10,
        /**
         * A message that is no answer is next: receive it, then wait for the answer again.
         */
        SHMR_MESSAGE_FIRST = 11,
        /**
         * A pointer is null or misaligned, a handle is not open, a number out of range;
         * `word` says which argument.
         */
        SHMR_EINVAL = -1,
        /**
         * The peer broke the protocol: `word` is the word, `value` what it held.
         */
        SHMR_CORRUPT = -2,
        /**
         * Longer than there is room for, ever. `value` is the limit of what was to be written
         * or sent, and the length of what was to be read.
         */
        SHMR_TOO_LONG = -3,
        /**
         * The memory, or the mapping's file, is too short; `value` is its length.
         */
        SHMR_TOO_SHORT = -4,
        /**
         * The memory is no region; `value` is its first word.
         */
        SHMR_NOT_A_REGION = -5,
        /**
         * Another layout version; `value` is the region's.
         */
        SHMR_VERSION = -6,
        /**
         * Features that this library does not know; `value` is their bits.
         */
        SHMR_FEATURES = -7,
        /**
         * Another length than expected; `value` is the one found.
         */
        SHMR_LENGTH = -8,
        /**
         * The region has no registry.
         */
        SHMR_NOT_FORMATTED = -9,
        /**
         * The region has a registry already.
         */
        SHMR_EXISTS = -10,
        /**
         * No segment has the identifier, or the mapping's file was removed.
         */
        SHMR_NOT_FOUND = -11,
        /**
         * The segment holds something else; `value` is what.
         */
        SHMR_KIND = -12,
        /**
         * Another name has the same identifier.
         */
        SHMR_COLLISION = -13,
        /**
         * Every row of the registry is in use; `value` is how many there are.
         */
        SHMR_TABLE_FULL = -14,
        /**
         * No run of free blocks is long enough; `value` is the length asked for.
         */
        SHMR_OUT_OF_SPACE = -15,
        /**
         * The segment was removed before, or the mapping's file replaced.
         */
        SHMR_STALE = -16,
        /**
         * There is no place for a partition of this number; `value` is how many there are.
         */
        SHMR_NO_SUCH_PARTITION = -17,
        /**
         * An incarnation of this number is attached and has not left; `value` is that incarnation.
         */
        SHMR_ATTACHED = -18,
        /**
         * This incarnation was declared gone while it lived, and others have what it held.
         */
        SHMR_EVICTED = -19,
        /**
         * Another incarnation has this end of the ring; `value` is that incarnation.
         */
        SHMR_CLAIMED = -20,
        /**
         * Nobody repaired what a dead owner left. For good.
         */
        SHMR_POISONED = -21,
        /**
         * Given back by one who does not hold it; `value` is the incarnation that does, or 0.
         */
        SHMR_NOT_HELD = -22,
        /**
         * More permits than there is room for; `value` is the room.
         */
        SHMR_OVERFLOW = -23,
        /**
         * The system refused; `value` is its errno.
         */
        SHMR_SYSTEM = -24,
        /**
         * It needs compare-and-swap, which the handle is to do without.
         */
        SHMR_NO_RMW = -25,
        /**
         * The region was formatted again since the handle was opened.
         */
        SHMR_REFORMATTED = -26,
        /**
         * The handle is open and has to be closed first; it stays as it was. Of a session that
         * is to be left, `value` is how many handles on it are open.
         */
        SHMR_OPEN = -27,
        /**
         * The next message, or the answer, is longer than the buffer; `value` is its length. A
         * message stays where it is; an answer is given up.
         */
        SHMR_BUFFER_TOO_SHORT = -28,
        /**
         * The peer broke the rules of calls, and what it sent was passed over; the channel goes
         * on. `word` says how: "answered twice" and "never called", where `value` is the number
         * of the call, or "not a message", where it is the record's length.
         */
        SHMR_BAD_MESSAGE = -29,
};

/**
 * enum shmr_partition_state - what is known of a partition's incarnation
 * @SHMR_ALIVE:  nothing says otherwise
 * @SHMR_SILENT: it has shown no sign of life for longer than a limit, and may come back
 * @SHMR_GONE:   it is over for certain: no store of it can arrive any more
 */
enum shmr_partition_state {
        SHMR_ALIVE = 0,
        SHMR_SILENT = 1,
        SHMR_GONE = 2,
};

/**
 * struct shmr_error - why the last call on a handle failed
 * @status: what that call said
 * @value:  the value, length or incarnation that goes with the status; else 0
 * @word:   the word that a corrupt peer wrote, as docs/layout.md names it, the
 *          argument that is invalid, or how a peer broke the rules of calls; else empty
 *
 * Every handle begins with one. It is written by calls that fail, also by those that
 * were to open the handle, and by nothing else.
 */
struct shmr_error {
        enum shmr_status status;
        uint64_t value;
        char word[32];
};

/**
 * struct shmr_bakery - a mutex that needs only loads, stores and fences
 * @error: why the last call on it failed
 *
 * It is held by an incarnation, not by a thread: threads of one partition exclude each other by
 * other means. Up to 64 partitions; survives its owner. Needs no closing.
 */
struct shmr_bakery {
        struct shmr_error error;
        uint64_t opaque[16];
};

/**
 * struct shmr_segment - a segment that was found or created
 * @base:   its first byte
 * @len:    bytes
 * @offset: where it starts, from the region's start
 * @id:     its identifier; 0 if it is in no registry
 * @kind:   what it holds
 * @name:   its name, whatever its creator stored; empty if it has none
 *
 * A copy, not a handle. The bytes are there as long as nobody removes the segment.
 */
struct shmr_segment {
        void *base;
        size_t len;
        uint64_t offset;
        uint64_t id;
        uint32_t kind;
        char name[36];
        uint64_t opaque[20];
};

/**
 * struct shmr_liveness - knows which partitions are alive, silent or gone
 * @state:   an enum shmr_partition_state: what is known of @incarnation now. SHMR_GONE is a
 *           promise, since what @incarnation held is given to others; any other number than
 *           the three counts as SHMR_ALIVE
 * @context: passed to it
 *
 * A NULL in its place takes everybody for alive. shmr_heartbeats_liveness() and
 * shmr_processes_liveness() make one.
 */
struct shmr_liveness {
        int (*state)(void *context, uint32_t incarnation);
        void *context;
};

/**
 * struct shmr_wait - how a call waits, and for how long
 * @pause:   called between two checks; returns SHMR_AGAIN, SHMR_SLEEP or SHMR_GIVE_UP
 *           (anything else gives up). This is where a bootloader looks for Ctrl-C
 * @sleep:   sleeps until *@rings, as the memory has it, is no longer @seen, until rung in
 *           some other way, or for a while; may return at any time. May be NULL if @pause
 *           never says SHMR_SLEEP
 * @context: the caller's
 *
 * Fill it in, or let shmr_wait_checks(), shmr_wait_futex() or shmr_wait_poll() do it. One
 * value serves one wait. A NULL in its place is one check.
 */
struct shmr_wait {
        int (*pause)(struct shmr_wait *wait);
        void (*sleep)(struct shmr_wait *wait, const uint32_t *rings, uint32_t seen);
        void *context;
        uint64_t opaque[10];
};

/**
 * struct shmr_barrier - where partitions wait for each other
 * @error: why the last call on it failed
 *
 * Needs no closing.
 */
struct shmr_barrier {
        struct shmr_error error;
        uint64_t opaque[12];
};

/**
 * struct shmr_doorbell - wakes a peer: a futex, an eventfd, a hypercall, an interrupt
 * @ring:    wakes one who sleeps on @rings, or all if @all is not 0; too often is harmless
 * @context: passed to it
 *
 * A NULL in its place, or a NULL @ring, is no doorbell: the peer polls.
 */
struct shmr_doorbell {
        void (*ring)(void *context, const uint32_t *rings, int all);
        void *context;
};

/**
 * struct shmr_arrival - that all parties have arrived
 * @phase:  how often that was, modulo 2^32
 * @leader: so for one of them
 */
struct shmr_arrival {
        uint32_t phase;
        bool leader;
};

/**
 * struct shmr_client - the end of a channel that sends commands and receives results
 * @error: why the last call on it failed
 */
struct SHMR_ALIGNED(128) shmr_client {
        struct shmr_error error;
        uint64_t opaque[172];
};

/**
 * struct shmr_session - one partition's membership of a region
 * @error: why the last call on it failed
 *
 * What is opened through it points to it: it stays where it is until that is closed. Calls
 * on what was opened are refused with SHMR_EINVAL and the word "session" if the session is
 * no longer there. Several threads may open clients, servers, senders and receivers on one
 * session and use them, while another one beats; calls on the session itself are made by
 * one thread at a time.
 */
struct shmr_session {
        struct shmr_error error;
        uint64_t opaque[48];
};

/**
 * struct shmr_channel_options - the capacities of a channel's rings
 * @command_capacity: bytes of the ring from the client to the server, a power of two from
 *                    64; the longest command is somewhat shorter than half of it. 0 is
 *                    16 KiB
 * @result_capacity:  bytes of the ring from the server to the client; 0 is 16 KiB
 *
 * Both ends say the same.
 */
struct shmr_channel_options {
        size_t command_capacity;
        size_t result_capacity;
};

/**
 * struct shmr_call - a call that is to be finished, or to be answered
 * @number: its number, from 1; 0 is no call
 * @peer:   which epoch of the other end it was sent to, or is from
 *
 * A value, not a handle. Zeroed by the call that finishes or answers it, which refuses it
 * with SHMR_EINVAL and the word "call" the next time.
 */
struct shmr_call {
        uint32_t number;
        uint32_t peer;
};

/**
 * struct shmr_consumer - the end of a ring that pops
 * @error: why the last call on it failed
 *
 * Used by one thread at a time. Aligned, so that the two ends of a ring in one program do
 * not share a cache line.
 */
struct SHMR_ALIGNED(128) shmr_consumer {
        struct shmr_error error;
        uint64_t opaque[58];
};

/**
 * struct shmr_ring_view - what a ring's words say
 * @error:     the first thing wrong with it; SHMR_OK if nothing is
 * @capacity:  bytes of its data
 * @records:   records that are not released, counted up to the limit
 * @bytes:     bytes that they take
 * @producer:  the incarnation that has the producing end, or had it last; 0 is nobody yet
 * @producing: whether it did not give it back
 * @consumer:  the same of the consuming end
 * @consuming: the same of the consuming end
 * @discarded: records that consumers discarded, modulo 2^32
 */
struct shmr_ring_view {
        struct shmr_error error;
        size_t capacity;
        size_t records;
        uint32_t bytes;
        uint32_t producer;
        bool producing;
        uint32_t consumer;
        bool consuming;
        uint32_t discarded;
};

/**
 * struct shmr_lock_view - what a lock's words say
 * @error:   the first thing wrong with it; SHMR_OK if nothing is
 * @owner:   the incarnation that has it (of a reader-writer lock, the writer's); 0 is nobody
 * @health:  SHMR_WHOLE, SHMR_SUSPECT or SHMR_SPOILT
 * @waiting: whether somebody may sleep for it
 */
struct shmr_lock_view {
        struct shmr_error error;
        uint32_t owner;
        uint32_t health;
        bool waiting;
};

/**
 * struct shmr_finding - whether something works across the memory
 * @state: SHMR_UNKNOWN, SHMR_WORKS or SHMR_BROKEN
 * @wrong: how often it went wrong, if it is broken; else 0
 * @of:    of how many; else 0
 */
struct shmr_finding {
        uint32_t state;
        uint32_t wrong;
        uint32_t of;
};

/**
 * struct shmr_verdict - what two parties have found out about their memory
 * @read_modify_write: creating and removing segments, mutexes, semaphores and
 *                     reader-writer locks need it
 * @fences:            locks, barriers, and sleeping until rung need them
 */
struct shmr_verdict {
        struct shmr_finding read_modify_write;
        struct shmr_finding fences;
};

/**
 * struct shmr_heartbeats - takes a partition for silent whose heartbeat stands still
 * @error: why the last call on it failed
 *
 * For partitions on different kernels. Gone is one that left, or after which another incarnation
 * of its number has attached; silence is not the end of one, unless
 * shmr_heartbeats_presume_gone_after() says so. Needs no closing.
 */
struct shmr_heartbeats {
        struct shmr_error error;
        uint64_t opaque[550];
};

/**
 * struct shmr_registry - the table from identifier to segment in a region
 * @error: why the last call on it failed
 *
 * Needs no closing. Several handles on one registry may be open.
 */
struct shmr_registry {
        struct shmr_error error;
        uint64_t opaque[18];
};

/**
 * struct shmr_clock - the time
 * @now_us:  microseconds since some fixed moment, in all 64 bits. After a step back, so
 *           also where a counter of fewer bits wraps, everybody has the whole limit anew
 * @context: passed to it
 */
struct shmr_clock {
        uint64_t (*now_us)(void *context);
        void *context;
};

#if defined(SHMR_LINUX)
/**
 * struct shmr_processes - takes a partition for gone whose process has ended
 * @error: why the last call on it failed
 *
 * For partitions that are processes of one kernel and attached with shmr_process_this().
 */
struct shmr_processes {
        struct shmr_error error;
        uint64_t opaque[530];
};
#endif

#if defined(SHMR_LINUX)
/**
 * struct shmr_mapping - shared memory that this process has mapped
 * @error: why the last call on it failed
 *
 * Children that it forks do not have it: their access to it faults (SIGSEGV). They map the
 * memory themselves, or shmr_mapping_inherit() was called before.
 */
struct shmr_mapping {
        struct shmr_error error;
        uint64_t opaque[14];
};
#endif

/**
 * struct shmr_mutex - a mutex that survives its owner
 * @error: why the last call on it failed
 *
 * It is held by an incarnation, not by a thread: threads of one partition exclude each other by
 * other means. Needs compare-and-swap on this memory, and no closing.
 */
struct shmr_mutex {
        struct shmr_error error;
        uint64_t opaque[12];
};

/**
 * struct shmr_attachment - a partition's own attachment in a region
 * @error: why the last call on it failed
 */
struct shmr_attachment {
        struct shmr_error error;
        uint64_t opaque[11];
};

/**
 * struct shmr_process - how the kernel of a partition knows it
 * @space:  tells kernels and process namespaces apart; 0 is unknown
 * @number: the process's number there
 * @start:  when it started, low 32 bits
 * @image:  tells the programs that it runs one after the other apart; 0 is unknown
 */
struct shmr_process {
        uint32_t space;
        uint32_t number;
        uint32_t start;
        uint32_t image;
};

/**
 * struct shmr_partition - what a partition's slot says of it
 * @incarnation:      its incarnation, or its last one; 0 if it never attached
 * @attached:  whether it has not left. One that was killed did not leave
 * @heartbeat: moves while it lives; only a difference means anything
 * @process:   how its kernel knows it
 */
struct shmr_partition {
        uint32_t incarnation;
        bool attached;
        uint32_t heartbeat;
        struct shmr_process process;
};

/**
 * struct shmr_platform - the clock, the sleep, the doorbell and the knowledge of ends
 * @now:     nanoseconds since some fixed moment; never goes back. Not NULL
 * @sleep:   sleeps until a peer wakes this partition, @longest nanoseconds at most; may
 *           return at any time. A sleep by futex or WFE begins only while *@rings, as the
 *           memory has it, is @seen. NULL: the processor looks again and again
 * @wake:    wakes the peer that sleeps on @rings, after everything that was stored before:
 *           an interrupt, a hypercall, a futex. @reason is SHMR_RECORDS, SHMR_ROOM or
 *           SHMR_LOCK. NULL: peers poll
 * @state:   an enum shmr_partition_state: what is known of the incarnation @incarnation, whose
 *           slot says that it is attached, and what @process it is. SHMR_GONE is a
 *           promise: what @incarnation held is given to others. Any other number than the three
 *           counts as SHMR_ALIVE. NULL: what its slot says, so that a partition that was
 *           killed counts as alive until its next incarnation attaches
 * @interrupted: whether every wait is to end now, as if its time were over: an operator's
 *           Ctrl-C, a shutdown; asked before each sleep. NULL: never
 * @context: passed to all of them
 * @process: how peers on the same kernel can know this partition: shmr_process_this(), or
 *           zeroes
 *
 * The functions are called by whatever thread calls on a session or on what was opened
 * through it. They call nothing on those.
 */
struct shmr_platform {
        uint64_t (*now)(void *context);
        void (*sleep)(void *context, const uint32_t *rings, uint32_t seen, uint64_t longest);
        void (*wake)(void *context, const uint32_t *rings, int reason);
        int (*state)(void *context, uint32_t incarnation, const struct shmr_process *process);
        bool (*interrupted)(void *context);
        void *context;
        struct shmr_process process;
};

/**
 * struct shmr_producer - the end of a ring that pushes
 * @error: why the last call on it failed
 *
 * Used by one thread at a time. Aligned, so that the two ends of a ring in one program do
 * not share a cache line.
 */
struct SHMR_ALIGNED(128) shmr_producer {
        struct shmr_error error;
        uint64_t opaque[58];
};

/**
 * struct shmr_slice - bytes to read
 * @base: the first one, outside the region
 * @len:  how many
 */
struct shmr_slice {
        const void *base;
        size_t len;
};

/**
 * struct shmr_receiver - the receiving end of one ring
 * @error: why the last call on it failed
 *
 * Every record that is received wakes the sender, if that waits for room.
 */
struct SHMR_ALIGNED(128) shmr_receiver {
        struct shmr_error error;
        uint64_t opaque[76];
};

/**
 * struct shmr_region - memory with a header that says what it is
 * @error: why the last call on it failed
 *
 * Needs no closing; the memory stays mapped for as long as anything in it is used.
 */
struct shmr_region {
        struct shmr_error error;
        uint64_t opaque[8];
};

/**
 * struct shmr_geometry - the sizes of a registry
 * @segments:   rows, a power of two from 2 to 2^16
 * @partitions: slots, 1 to 128: the numbers that partitions may have
 * @block:      bytes of the unit of allocation, a power of two from 128 to 2^20
 */
struct shmr_geometry {
        size_t segments;
        size_t partitions;
        size_t block;
};

/**
 * struct shmr_rwlock - a reader-writer lock that survives its holders
 * @error: why the last call on it failed
 *
 * Writers go first. Needs compare-and-swap on this memory, and no closing.
 */
struct shmr_rwlock {
        struct shmr_error error;
        uint64_t opaque[18];
};

/**
 * struct shmr_semaphore - a counting semaphore whose permits come back from the dead
 * @error: why the last call on it failed
 *
 * Needs compare-and-swap on this memory, and no closing.
 */
struct shmr_semaphore {
        struct shmr_error error;
        uint64_t opaque[10];
};

/**
 * struct shmr_sender - the sending end of one ring
 * @error: why the last call on it failed
 *
 * Every record that is sent wakes the receiver, if that sleeps.
 */
struct SHMR_ALIGNED(128) shmr_sender {
        struct shmr_error error;
        uint64_t opaque[76];
};

/**
 * struct shmr_server - the end of a channel that receives commands and sends results
 * @error: why the last call on it failed
 */
struct SHMR_ALIGNED(128) shmr_server {
        struct shmr_error error;
        uint64_t opaque[172];
};

/**
 * struct shmr_session_options - how a partition joins a region
 * @partition:           its number, from 1, which is its own by agreement
 * @without_rmw:         whether compare-and-swap does not work on this memory: nothing is
 *                       created, every segment has to be there already
 * @take_over:           an incarnation of this partition that the caller knows to be gone,
 *                       as it ended it itself or an operator said so; if it is alive, it is
 *                       evicted. 0 for none
 * @patience:            nanoseconds to wait until an earlier incarnation of this partition
 *                       is known to be gone; 0: it has to be known at once
 * @presume_gone_after:  nanoseconds after which an earlier incarnation whose heartbeat stands
 *                       still during the wait is taken for gone: where nothing else tells,
 *                       and there is one partition of this number by construction. One that
 *                       was only slow is evicted by this. 0 for never
 * @geometry:            what shmr_session_create() gives the registry, or NULL for 64
 *                       segments, 64 partitions and blocks of 128 bytes
 *
 * Begin with zeroes and set @partition.
 */
struct shmr_session_options {
        uint8_t partition;
        bool without_rmw;
        uint32_t take_over;
        uint64_t patience;
        uint64_t presume_gone_after;
        const struct shmr_geometry *geometry;
};

/**
 * struct shmr_request - what is asked of a registry
 * @name:  1 to 32 bytes, or NULL; its identifier is shmr_id_from_name()
 * @id:    the identifier if there is no name, not 0
 * @kind:  SHMR_KIND_RING and so on
 * @len:   bytes, as shmr_ring_len() and the like say
 * @align: a power of two, or 0 for the least there is, which is 128
 */
struct shmr_request {
        const char *name;
        uint64_t id;
        uint32_t kind;
        size_t len;
        size_t align;
};

/**
 * struct shmr_snapshot_writer - the side of a snapshot that writes
 * @error: why the last call on it failed
 *
 * There is one. Needs no closing.
 */
struct shmr_snapshot_writer {
        struct shmr_error error;
        uint64_t opaque[7];
};

/**
 * struct shmr_snapshot_reader - a side of a snapshot that reads
 * @error: why the last call on it failed
 *
 * There may be any number. Needs no closing.
 */
struct shmr_snapshot_reader {
        struct shmr_error error;
        uint64_t opaque[7];
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * shmr_bakery_len() - bytes of a segment for a mutex
 * @data: bytes that it protects
 *
 * Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
 */
size_t shmr_bakery_len(size_t data);

/**
 * shmr_bakery_open() - a mutex in a segment
 * @bakery:   to be opened
 * @segment:  its segment; zeroed, it is free
 * @incarnation:     the caller's
 * @limit:    partitions 1 to @limit take part, 64 at the most. All must say the same; the
 *            fewer, the sooner it is had
 *
 * No other handle of @incarnation on this mutex is used from now on, as two let each other in.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_NO_SUCH_PARTITION, this one's number
 *         is larger than @limit.
 */
enum shmr_status shmr_bakery_open(struct shmr_bakery *bakery,
                                  const struct shmr_segment *segment,
                                  uint32_t incarnation,
                                  uint8_t limit);

/**
 * shmr_bakery_data() - the protected bytes
 * @segment: a mutex's segment
 *
 * Return: the caller's alone while it has the mutex; NULL if @segment is too short.
 */
void *shmr_bakery_data(const struct shmr_segment *segment);

/**
 * shmr_bakery_try_lock() - take the mutex if nobody alive is inside, or its owner is dead
 * @bakery:   a mutex
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: as shmr_bakery_lock(), but SHMR_BUSY instead of waiting.
 */
enum shmr_status shmr_bakery_try_lock(struct shmr_bakery *bakery,
                                      const struct shmr_liveness *liveness);

/**
 * shmr_bakery_lock() - take the mutex, and wait for it
 * @bakery:   a mutex
 * @wait:     how to wait, and for how long
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: SHMR_OK; SHMR_OWNER_DIED, it is had, but what it protects may be half-changed:
 *         repair it, then shmr_bakery_make_consistent(), or unlocking poisons it for
 *         good; SHMR_TIMED_OUT, and the error's value is the incarnation that is waited for if
 *         that is silent; SHMR_EVICTED, a later incarnation of this partition has attached;
 *         SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
 */
enum shmr_status shmr_bakery_lock(struct shmr_bakery *bakery,
                                  struct shmr_wait *wait,
                                  const struct shmr_liveness *liveness);

/**
 * shmr_bakery_make_consistent() - say that what a dead owner left is repaired
 * @bakery: a mutex that the caller has
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
 */
enum shmr_status shmr_bakery_make_consistent(struct shmr_bakery *bakery);

/**
 * shmr_bakery_unlock() - give the mutex back
 * @bakery: a mutex that the caller has
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD, this incarnation was said to be gone, or never had
 *         it.
 */
enum shmr_status shmr_bakery_unlock(struct shmr_bakery *bakery);

/**
 * shmr_bakery_owner() - which incarnation has the mutex now
 * @bakery: a mutex
 *
 * Return: for inspection, as it may have changed since; 0 is nobody, or not known.
 */
uint32_t shmr_bakery_owner(const struct shmr_bakery *bakery);

/**
 * shmr_barrier_len() - bytes of a segment for a barrier
 * @partitions: the largest number of a party
 *
 * Return: the number for struct shmr_request.
 */
size_t shmr_barrier_len(uint8_t partitions);

/**
 * shmr_barrier_open() - a barrier in a segment
 * @barrier:  to be opened
 * @segment:  its segment; zeroed, nobody has passed it
 * @incarnation:     the caller's
 * @parties:  how many meet
 * @doorbell: what wakes those that wait, copied; or NULL
 *
 * No other handle of @incarnation on this barrier is used from now on, as two let the others pass
 * early.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NO_SUCH_PARTITION, the segment has no entry for this
 *         one's number.
 */
enum shmr_status shmr_barrier_open(struct shmr_barrier *barrier,
                                   const struct shmr_segment *segment,
                                   uint32_t incarnation,
                                   size_t parties,
                                   const struct shmr_doorbell *doorbell);

/**
 * shmr_barrier_try_wait() - arrive, if that is still to be done, and see who is there
 * @barrier:  a barrier
 * @liveness: who knows which partitions are gone, or NULL
 * @arrival:  what became of it
 *
 * Return: as shmr_barrier_wait(), but SHMR_BUSY instead of waiting: call again.
 */
enum shmr_status shmr_barrier_try_wait(struct shmr_barrier *barrier,
                                       const struct shmr_liveness *liveness,
                                       struct shmr_arrival *arrival);

/**
 * shmr_barrier_wait() - arrive, and wait for the others
 * @barrier:  a barrier
 * @wait:     how to wait, and for how long
 * @liveness: who knows which partitions are gone, or NULL
 * @arrival:  what became of it
 *
 * Whatever it says, the caller has arrived: the next call waits on.
 *
 * Return: SHMR_OK; SHMR_PARTY_DIED, and the error's value is its incarnation: wait again if it
 *         restarts, without @liveness; SHMR_TIMED_OUT, and the value is the incarnation of a party
 *         that is missing if one is silent; SHMR_EVICTED, a later incarnation of this partition
 *         takes part; SHMR_EINVAL; SHMR_CORRUPT.
 */
enum shmr_status shmr_barrier_wait(struct shmr_barrier *barrier,
                                   struct shmr_wait *wait,
                                   const struct shmr_liveness *liveness,
                                   struct shmr_arrival *arrival);

#if defined(SHMR_NONCOHERENT)
/**
 * shmr_cache_maintain() - make every access to shared memory maintain the data cache
 * @clean:      writes lines that hold any of these bytes back to memory, and returns when
 *              they are there
 * @invalidate: forgets lines that hold any of these bytes; with several threads that use
 *              shared memory, it writes dirty ones back first (arm64: dc civac)
 *
 * For memory that nothing keeps coherent and that cannot be mapped uncached, in a library
 * that was built for it (feature `noncoherent`). Once, before the first region is attached.
 * Serves rings, snapshots, partitions and lookup, with waits that poll, and the creation of
 * segments by one side before the other attaches; docs/memory-model.md says under which
 * conditions. Locks do not work on such memory.
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_cache_maintain(void (*clean)(const void *at, size_t len),
                                     void (*invalidate)(const void *at, size_t len));
#endif

/**
 * shmr_client_open() - open the end of a channel that sends commands
 * @client:  to be opened
 * @session: the session, which stays where it is until @client is closed
 * @name:    the channel's, 1 to 24 bytes
 * @options: capacities, or NULL for 16 KiB each way
 *
 * Whoever comes first, client or server, creates the channel.
 *
 * Return: SHMR_OK; SHMR_EINVAL, also for a name or a capacity that no channel has;
 *         SHMR_LENGTH, the channel is there with another capacity; SHMR_KIND or
 *         SHMR_COLLISION, its name is used for something else; SHMR_TABLE_FULL;
 *         SHMR_OUT_OF_SPACE; SHMR_CONTENDED; SHMR_NO_RMW; SHMR_CLAIMED, a partition that
 *         is not known to be gone has this end, and the error's value is that one;
 *         SHMR_EVICTED; SHMR_REFORMATTED; SHMR_CORRUPT.
 */
enum shmr_status shmr_client_open(struct shmr_client *client,
                                  const struct shmr_session *session,
                                  const char *name,
                                  const struct shmr_channel_options *options);

/**
 * shmr_client_max_len() - bytes of the longest command
 * @client: a client
 *
 * Return: 0 if @client is not open.
 */
size_t shmr_client_max_len(const struct shmr_client *client);

/**
 * shmr_client_discarded() - messages that this end never received
 * @client: a client
 *
 * Return: those of a server that was restarted, and answers to calls that were given up;
 *         counts on modulo 2^32. 0 if @client is not open.
 */
uint32_t shmr_client_discarded(const struct shmr_client *client);

/**
 * shmr_client_server_is_gone() - whether the server is gone, or has left the channel
 * @client: a client
 *
 * Return: true after this client has heard of a server, and that one is gone or has left;
 *         else false.
 */
bool shmr_client_server_is_gone(const struct shmr_client *client);

/**
 * shmr_client_send() - send a command that is not answered
 * @client:  a client
 * @command: its bytes, outside the region
 * @len:     how many, at most shmr_client_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * A command that is sent before there is a server waits for the first one.
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT, there was no room; SHMR_RESTARTED, the server was
 *         restarted and nothing was sent: reported once, the next command is for its new
 *         incarnation; SHMR_PEER_GONE, nobody is left to make room; SHMR_EINVAL;
 *         SHMR_TOO_LONG; SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_client_send(struct shmr_client *client,
                                  const void *command,
                                  size_t len,
                                  uint64_t timeout);

/**
 * shmr_client_recv() - receive a message of the server that is no answer
 * @client:  a client
 * @buffer:  where its bytes go
 * @size:    room there
 * @len:     bytes of the message
 * @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * Answers to calls that were not finished are passed over.
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT; SHMR_RESTARTED, the server was restarted, and what
 *         follows is from its new incarnation: reported once; SHMR_EINVAL;
 *         SHMR_BUFFER_TOO_SHORT, the message stays; SHMR_BAD_MESSAGE; SHMR_EVICTED,
 *         SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_client_recv(struct shmr_client *client,
                                  void *buffer,
                                  size_t size,
                                  size_t *len,
                                  uint64_t timeout);

/**
 * shmr_client_call() - send a command and wait for its answer
 * @client:      a client
 * @command:     its bytes, outside the region
 * @command_len: how many, at most shmr_client_max_len(); may be 0
 * @answer:      where the answer goes; may be where @command is
 * @size:        room there
 * @len:         bytes of the answer
 * @timeout:     nanoseconds for all of it; SHMR_FOREVER is no limit
 *
 * A call ends as soon as it is known that its server is gone. How soon that is, the
 * session's platform decides.
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT and SHMR_PEER_GONE, the command may have been carried out
 *         or not; SHMR_RESTARTED, the server was restarted, and there will be no answer;
 *         SHMR_MESSAGE_FIRST, the answer is passed over when it comes: to have both, use
 *         shmr_client_start_call(); SHMR_EINVAL; SHMR_TOO_LONG, the command can never be
 *         sent; SHMR_BUFFER_TOO_SHORT, the answer is given up; SHMR_BAD_MESSAGE;
 *         SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_client_call(struct shmr_client *client,
                                  const void *command,
                                  size_t command_len,
                                  void *answer,
                                  size_t size,
                                  size_t *len,
                                  uint64_t timeout);

/**
 * shmr_client_start_call() - send a command without waiting for its answer
 * @client:  a client
 * @command: its bytes, outside the region
 * @len:     how many, at most shmr_client_max_len(); may be 0
 * @call:    what to finish: shmr_client_finish_call()
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Up to 64 calls may wait for their answers at the same time.
 *
 * Return: as shmr_client_send().
 */
enum shmr_status shmr_client_start_call(struct shmr_client *client,
                                        const void *command,
                                        size_t len,
                                        struct shmr_call *call,
                                        uint64_t timeout);

/**
 * shmr_client_finish_call() - wait for the answer to a call
 * @client:  the client that started it
 * @call:    the call; zeroed when there is nothing more to wait for
 * @answer:  where the answer goes
 * @size:    room there
 * @len:     bytes of the answer
 * @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * Calls whose answers the server gave before this one and that are not finished are given
 * up: their answers are passed over.
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT, the call can be finished later; SHMR_MESSAGE_FIRST,
 *         after shmr_client_recv() the call can be finished; SHMR_PEER_GONE or
 *         SHMR_RESTARTED, there will be no answer; SHMR_EINVAL; SHMR_BUFFER_TOO_SHORT, the
 *         answer is given up; SHMR_BAD_MESSAGE, the call can be finished later;
 *         SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_client_finish_call(struct shmr_client *client,
                                         struct shmr_call *call,
                                         void *answer,
                                         size_t size,
                                         size_t *len,
                                         uint64_t timeout);

/**
 * shmr_client_close() - give this end of the channel back
 * @client: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_client_close(struct shmr_client *client);

/**
 * shmr_consumer_open() - claim the consuming end of a ring
 * @consumer: to be opened
 * @ring:     the ring's segment; zeroed, it is an empty ring
 * @incarnation:     the caller's
 * @unread:   SHMR_KEEP or SHMR_DISCARD
 *
 * Goes on where a consumer before it stopped.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_LENGTH, the segment is no ring; SHMR_CLAIMED, another
 *         has this end: if that incarnation is gone, shmr_consumer_take_over(); SHMR_CORRUPT.
 */
enum shmr_status shmr_consumer_open(struct shmr_consumer *consumer,
                                    const struct shmr_segment *ring,
                                    uint32_t incarnation,
                                    uint32_t unread);

/**
 * shmr_consumer_take_over() - claim the consuming end in place of an incarnation that is over
 * @consumer: to be opened
 * @ring:     the ring's segment
 * @incarnation:     the caller's
 * @unread:   SHMR_KEEP or SHMR_DISCARD
 *
 * One that is not over is told SHMR_EVICTED at its next call, but not an earlier handle of
 * the same incarnation: that one must not be used again.
 *
 * Return: as shmr_consumer_open(), without SHMR_CLAIMED.
 */
enum shmr_status shmr_consumer_take_over(struct shmr_consumer *consumer,
                                         const struct shmr_segment *ring,
                                         uint32_t incarnation,
                                         uint32_t unread);

/**
 * shmr_consumer_pop() - copy the next record and release it
 * @consumer: a consumer
 * @record:   where its bytes go
 * @size:     room there
 * @len:      bytes of the record
 *
 * Never waits, rings no bell (shmr_consumer_notify()). Discards 64 records at the most, then
 * says SHMR_EMPTY although there may be more: shmr_consumer_wait() does not sleep then.
 *
 * Return: SHMR_OK; SHMR_EMPTY; SHMR_RESTARTED, what follows is from a new incarnation of the
 *         producer: said once; SHMR_EINVAL; SHMR_TOO_LONG, it does not fit and stays,
 *         and the error's value is its length; SHMR_CORRUPT, the producer broke the
 *         protocol: for good; SHMR_EVICTED, another has taken this end over, and what is
 *         in @record is that one's: for good.
 */
enum shmr_status shmr_consumer_pop(struct shmr_consumer *consumer,
                                   void *record,
                                   size_t size,
                                   size_t *len);

/**
 * shmr_consumer_peek() - find the next record in place
 * @consumer: a consumer
 * @at:       its first byte, in the region, a multiple of 8
 * @len:      its bytes
 *
 * It stays the next until shmr_consumer_release(). A hostile producer may change it while
 * it is read: copy, then check the copy.
 *
 * Return: as shmr_consumer_pop(), without SHMR_TOO_LONG.
 */
enum shmr_status shmr_consumer_peek(struct shmr_consumer *consumer,
                                    const void **at,
                                    size_t *len);

/**
 * shmr_consumer_release() - give the record that was peeked last back to the producer
 * @consumer: a consumer
 *
 * Does nothing if none was.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over and gets the
 *         record, too: for good.
 */
enum shmr_status shmr_consumer_release(struct shmr_consumer *consumer);

/**
 * shmr_consumer_drain() - hand records to a function and release them together
 * @consumer: a consumer
 * @limit:    the most records
 * @handle:   gets each, in place; one for which it returns 0 stays the next and ends it.
 *            Calls nothing on @consumer
 * @context:  passed to it
 * @count:    how many were released, or NULL
 *
 * Return: SHMR_OK, also for none; SHMR_EINVAL; SHMR_RESTARTED or SHMR_CORRUPT, by a call
 *         that finds no record before it; SHMR_EVICTED, another has taken this end over and
 *         gets all records of this call.
 */
enum shmr_status shmr_consumer_drain(struct shmr_consumer *consumer,
                                     size_t limit,
                                     int (*handle)(void *context, const void *at, size_t len),
                                     void *context,
                                     size_t *count);

/**
 * shmr_consumer_wait() - wait until there is a record, or something to say
 * @consumer: a consumer
 * @wait:     how to wait, and for how long
 *
 * Return: SHMR_OK, look; SHMR_TIMED_OUT; SHMR_EINVAL.
 */
enum shmr_status shmr_consumer_wait(struct shmr_consumer *consumer, struct shmr_wait *wait);

/**
 * shmr_consumer_notify() - give back what was released, and ring the producer if it sleeps
 * @consumer: a consumer
 * @doorbell: what wakes it, or NULL
 *
 * After releasing records. Without it the producer learns of space when there is an eighth
 * of the ring, and of all of it when a call finds no record. With SHMR_OK the next holder of
 * this end starts after them.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over: for good.
 */
enum shmr_status shmr_consumer_notify(struct shmr_consumer *consumer,
                                      const struct shmr_doorbell *doorbell);

/**
 * shmr_consumer_position() - where the next record is, or will be
 * @consumer: a consumer
 *
 * Return: a position that counts on modulo 2^32, and the one at which a later incarnation
 *         goes on; 0 if @consumer is not open.
 */
uint32_t shmr_consumer_position(const struct shmr_consumer *consumer);

/**
 * shmr_consumer_discarded() - records that consumers of this ring discarded
 * @consumer: a consumer
 *
 * Return: of this one and those before it; counts on modulo 2^32. Never too few: a consumer
 *         that dies at it leaves a record to be counted once more.
 */
uint32_t shmr_consumer_discarded(const struct shmr_consumer *consumer);

/**
 * shmr_consumer_close() - give the consuming end back
 * @consumer: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_consumer_close(struct shmr_consumer *consumer);

#if defined(SHMR_LINUX)
/**
 * shmr_doorbell_futex() - the doorbell of peers that wait by shmr_wait_futex()
 */
struct shmr_doorbell shmr_doorbell_futex(void);
#endif

/**
 * shmr_ring_inspect() - look at a ring, whatever is in it
 * @segment: the ring's segment
 * @limit:   the most records to count
 * @view:    where it goes
 *
 * Only loads. A ring in use moves meanwhile.
 *
 * Return: SHMR_OK, also for a damaged one, of which @view says what is wrong;
 *         SHMR_EINVAL; SHMR_LENGTH.
 */
enum shmr_status shmr_ring_inspect(const struct shmr_segment *segment,
                                   size_t limit,
                                   struct shmr_ring_view *view);

/**
 * shmr_lock_inspect() - look at a mutex, a bakery mutex or a reader-writer lock
 * @segment: its segment, from a registry: its kind says which it is
 * @view:    where it goes
 *
 * Only loads.
 *
 * Return: SHMR_OK, also for a damaged one, of which @view says what is wrong;
 *         SHMR_EINVAL; SHMR_KIND, the segment is none of these; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_lock_inspect(const struct shmr_segment *segment,
                                   struct shmr_lock_view *view);

/**
 * shmr_litmus_len() - bytes of a segment for a litmus
 *
 * Return: the number for struct shmr_request.
 */
size_t shmr_litmus_len(void);

/**
 * shmr_litmus_ask() - find out with another partition what works across the memory
 * @segment: where; zeroed is ready, and what earlier sessions left is no obstacle
 * @wait:    how long the other one has, to answer and to come to the end; better one that
 *           looks than one that sleeps
 * @verdict: what came of it
 *
 * One partition asks, one answers. It takes some milliseconds if both run. A hostile other
 * one can make it say anything.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_litmus_ask(const struct shmr_segment *segment,
                                 struct shmr_wait *wait,
                                 struct shmr_verdict *verdict);

/**
 * shmr_litmus_answer() - answer one that asks, if there is one
 * @segment: where
 * @wait:    how long the other one has to come to the end
 * @verdict: what came of it
 *
 * Call it now and then, more often than the other one's wait takes. Each asking is
 * answered once.
 *
 * Return: SHMR_OK; SHMR_EMPTY, nobody asks; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_litmus_answer(const struct shmr_segment *segment,
                                    struct shmr_wait *wait,
                                    struct shmr_verdict *verdict);

/**
 * shmr_heartbeats_watch() - watch the heartbeats of a registry's partitions
 * @heartbeats: to be opened
 * @registry:   the registry
 * @limit_ms:   how long a heartbeat stands still before its partition is silent; 0 is
 *              SHMR_HEARTBEAT_LIMIT_MS
 * @clock:      the caller's clock, copied
 *
 * The limit starts when anybody is first asked about. Ask several times in a limit: a watcher
 * that did not for more than half of one was away itself, and gives everybody the whole limit
 * anew.
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_heartbeats_watch(struct shmr_heartbeats *heartbeats,
                                       const struct shmr_registry *registry,
                                       uint32_t limit_ms,
                                       const struct shmr_clock *clock);

/**
 * shmr_heartbeats_presume_gone_after() - take partitions for gone that are silent for long
 * @heartbeats: heartbeats that are watched
 * @limit_ms:   how long a heartbeat stands still before its partition is gone, at least the
 *              limit of shmr_heartbeats_watch()
 *
 * For platforms that have no other way to know, and that would rather go on. A partition that
 * was only slow is robbed by this: when it goes on, the step that it was in can still change
 * memory that is others' by then; it is told SHMR_EVICTED at its next call. Choose a limit
 * longer than any pause of a partition that comes back: of a debugger, of a snapshot, of a
 * machine that was suspended.
 *
 * Return: SHMR_OK; SHMR_EINVAL, also for a limit of 0.
 */
enum shmr_status shmr_heartbeats_presume_gone_after(struct shmr_heartbeats *heartbeats,
                                                    uint32_t limit_ms);

/**
 * shmr_heartbeats_liveness() - what heartbeats know, for calls that ask
 * @heartbeats: used by one thread at a time, and in place for as long as this is used
 */
struct shmr_liveness shmr_heartbeats_liveness(struct shmr_heartbeats *heartbeats);

#if defined(SHMR_LINUX)
/**
 * shmr_processes_watch() - watch the processes that attached to a registry
 * @processes: to be opened
 * @registry:  the registry
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_processes_watch(struct shmr_processes *processes,
                                      const struct shmr_registry *registry);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_processes_liveness() - what the kernel knows, for calls that ask
 * @processes: used by one thread at a time, and in place for as long as this is used
 */
struct shmr_liveness shmr_processes_liveness(struct shmr_processes *processes);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_processes_close() - give back what watching takes
 * @processes: nothing asks it any more
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_processes_close(struct shmr_processes *processes);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_memfd() - map new zeroed memory without a name
 * @mapping: to be opened
 * @name:    for /proc alone
 * @len:     bytes
 *
 * Peers get it by its descriptor, shmr_mapping_fd(). Nobody can shrink it.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_memfd(struct shmr_mapping *mapping, const char *name, size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_fd() - map all of the memory behind a descriptor
 * @mapping: to be opened
 * @fd:      stays the caller's
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_fd(struct shmr_mapping *mapping, int fd);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_shm() - map POSIX shared memory
 * @mapping: to be opened
 * @name:    as in "/name"
 * @len:     bytes to make it with if it does not exist; 0 is not to make it
 *
 * Bytes that it is made with are reserved. Another length than @len is an error (EEXIST).
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_shm(struct shmr_mapping *mapping, const char *name, size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_unlink_shm() - remove the name of POSIX shared memory
 * @name: as in "/name"; mappings stay
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_unlink_shm(const char *name);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_file() - map a file
 * @mapping: to be opened
 * @path:    of QEMU's memory-backend-file, for example
 * @len:     bytes to make it with if it does not exist; 0 is not to make it
 *
 * Bytes that it is made with are reserved. Another length than @len is an error (EEXIST).
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_file(struct shmr_mapping *mapping, const char *path, size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_physical() - map reserved physical memory through /dev/mem
 * @mapping: to be opened
 * @base:    physical address, a multiple of the page size
 * @len:     bytes
 *
 * As root; the kernel must have /dev/mem and leave that memory alone (memmap=, mem=,
 * or reserved-memory in the device tree).
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_physical(struct shmr_mapping *mapping, uint64_t base, size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_pci() - map a PCI device's memory
 * @mapping: to be opened
 * @path:    its resource file, as in /sys/bus/pci/devices/0000:00:04.0/resource2
 *
 * The device must be enabled.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_pci(struct shmr_mapping *mapping, const char *path);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_fixed() - map the same memory once more, at a fixed address
 * @mapping: to be opened
 * @of:      a mapping
 * @address: where; nothing may be mapped there
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_map_fixed(struct shmr_mapping *mapping,
                                const struct shmr_mapping *of,
                                size_t address);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_base() - the first byte
 * @mapping: a mapping
 *
 * Return: page-aligned; NULL if @mapping is not open.
 */
void *shmr_mapping_base(const struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_len() - bytes that are mapped
 * @mapping: a mapping
 *
 * Return: their number, rounded down to a multiple of 8; 0 if @mapping is not open.
 */
size_t shmr_mapping_len(const struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_fd() - the descriptor behind a mapping
 * @mapping: a mapping
 *
 * Return: the mapping's own, not to be closed; -1 if @mapping is not open.
 */
int shmr_mapping_fd(const struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_check() - whether others still get this memory by its name
 * @mapping: a mapping
 *
 * A file that is removed, or made again, is other memory, of which nothing shows in this one.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_FOUND, the file was removed; SHMR_STALE, the name is
 *         another file's; SHMR_TOO_SHORT, it was cut: accesses beyond its end fault (SIGBUS).
 */
enum shmr_status shmr_mapping_check(struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_inherit() - let children that are forked from now on have a mapping
 * @mapping: a mapping
 *
 * For a child that goes on in its parent's place. Handles are there twice then, and the
 * memory cannot tell them apart: where both processes push or lock, records are lost and
 * locks are held twice. One of them uses none any more.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_SYSTEM.
 */
enum shmr_status shmr_mapping_inherit(struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_unmap() - end a mapping
 * @mapping: nothing in its memory is used any more, and no handle over it is open
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_unmap(struct shmr_mapping *mapping);
#endif

/**
 * shmr_mutex_len() - bytes of a segment for a mutex
 * @data: bytes that it protects
 *
 * Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
 */
size_t shmr_mutex_len(size_t data);

/**
 * shmr_mutex_open() - a mutex in a segment
 * @mutex:    to be opened
 * @segment:  its segment; zeroed, it is free
 * @incarnation:     the caller's
 * @doorbell: what wakes those that wait, copied; or NULL
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_mutex_open(struct shmr_mutex *mutex,
                                 const struct shmr_segment *segment,
                                 uint32_t incarnation,
                                 const struct shmr_doorbell *doorbell);

/**
 * shmr_mutex_data() - the protected bytes
 * @segment: a mutex's segment
 *
 * Return: the caller's alone while it has the mutex; NULL if @segment is too short.
 */
void *shmr_mutex_data(const struct shmr_segment *segment);

/**
 * shmr_mutex_try_lock() - take the mutex if it is free, or its owner is dead
 * @mutex:    a mutex
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: as shmr_mutex_lock(), but SHMR_BUSY instead of waiting.
 */
enum shmr_status shmr_mutex_try_lock(struct shmr_mutex *mutex,
                                     const struct shmr_liveness *liveness);

/**
 * shmr_mutex_lock() - take the mutex, and wait for it
 * @mutex:    a mutex
 * @wait:     how to wait, and for how long
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: SHMR_OK; SHMR_OWNER_DIED, it is had, but what it protects may be half-changed:
 *         repair it, then shmr_mutex_make_consistent(), or unlocking poisons it for
 *         good; SHMR_TIMED_OUT, and the error's value is its owner's incarnation if that is
 *         silent; SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
 */
enum shmr_status shmr_mutex_lock(struct shmr_mutex *mutex,
                                 struct shmr_wait *wait,
                                 const struct shmr_liveness *liveness);

/**
 * shmr_mutex_make_consistent() - say that what a dead owner left is repaired
 * @mutex: a mutex that the caller has
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
 */
enum shmr_status shmr_mutex_make_consistent(struct shmr_mutex *mutex);

/**
 * shmr_mutex_unlock() - give the mutex back
 * @mutex: a mutex that the caller has
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD, this incarnation was said to be gone, or never had
 *         it.
 */
enum shmr_status shmr_mutex_unlock(struct shmr_mutex *mutex);

/**
 * shmr_mutex_owner() - which incarnation has the mutex now
 * @mutex: a mutex
 *
 * Return: for inspection, as it may have changed since; 0 is nobody, or not known.
 */
uint32_t shmr_mutex_owner(const struct shmr_mutex *mutex);

/**
 * shmr_partition_attach() - announce a partition to the others, as a new incarnation of it
 * @attachment: to be opened
 * @registry: the registry
 * @number:   the partition's, from 1
 * @process:  shmr_process_this(), or NULL
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NO_SUCH_PARTITION; SHMR_ATTACHED, an earlier incarnation has
 *         not left: it lives, or it was killed, which
 *         shmr_partition_attach_or_take_over() finds out; SHMR_CORRUPT.
 */
enum shmr_status shmr_partition_attach(struct shmr_attachment *attachment,
                                       const struct shmr_registry *registry,
                                       uint8_t number,
                                       const struct shmr_process *process);

/**
 * shmr_partition_attach_after() - announce the incarnation that follows one which is gone
 * @attachment: to be opened
 * @registry: the registry
 * @earlier:  that incarnation
 * @process:  shmr_process_this(), or NULL
 *
 * Return: as shmr_partition_attach(), if another incarnation than @earlier is attached.
 */
enum shmr_status shmr_partition_attach_after(struct shmr_attachment *attachment,
                                             const struct shmr_registry *registry,
                                             uint32_t earlier,
                                             const struct shmr_process *process);

/**
 * shmr_partition_attach_or_take_over() - announce a partition, and wait until an earlier
 *                                     incarnation of it that has not left is known to be gone
 * @attachment: to be opened
 * @registry: the registry
 * @number:   the partition's, from 1
 * @process:  shmr_process_this(), or NULL
 * @wait:     how to wait, and for how long
 * @liveness: who knows which partitions are gone; one that is silent is waited for
 *
 * Return: as shmr_partition_attach(); SHMR_ATTACHED if the earlier incarnation is still alive when
 *         @wait gives up.
 */
enum shmr_status shmr_partition_attach_or_take_over(struct shmr_attachment *attachment,
                                                    const struct shmr_registry *registry,
                                                    uint8_t number,
                                                    const struct shmr_process *process,
                                                    struct shmr_wait *wait,
                                                    const struct shmr_liveness *liveness);

/**
 * shmr_attachment_incarnation() - which incarnation of which partition this is
 * @attachment: an attachment
 *
 * Return: one word, as all calls have incarnations: bits 0 to 7 the partition's number, bits 8 to
 *         30 its incarnation; 0 if @attachment is not open.
 */
uint32_t shmr_attachment_incarnation(const struct shmr_attachment *attachment);

/**
 * shmr_attachment_beat() - show that the partition lives
 * @attachment: an attachment
 *
 * Several times in the time after which peers take it for silent.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_REFORMATTED; SHMR_EVICTED, another has attached with this
 * number: what this incarnation held is others', and nothing was stored.
 */
enum shmr_status shmr_attachment_beat(struct shmr_attachment *attachment);

/**
 * shmr_attachment_leave() - leave the region
 * @attachment: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_attachment_leave(struct shmr_attachment *attachment);

/**
 * shmr_partition_look() - see what is known of a partition
 * @registry:  the registry
 * @number:    the partition's
 * @partition: where it goes
 *
 * Only loads.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NO_SUCH_PARTITION; SHMR_CORRUPT, its slot holds no
 * incarnation of it.
 */
enum shmr_status shmr_partition_look(struct shmr_registry *registry,
                                     uint8_t number,
                                     struct shmr_partition *partition);

#if defined(SHMR_LINUX)
/**
 * shmr_process_this() - this process, as peers on the same kernel know it
 *
 * Return: all 0 where /proc is not there.
 */
struct shmr_process shmr_process_this(void);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_platform_same_kernel() - the platform of processes of one kernel
 *
 * They sleep on a futex, and the kernel (5.3 or later) says which of them have ended. A
 * process in another PID or time namespace counts as alive until its next incarnation
 * attaches. Call it in the process that joins, not before a fork.
 */
struct shmr_platform shmr_platform_same_kernel(void);
#endif

/**
 * shmr_ring_len() - bytes of a segment for a ring
 * @capacity: bytes of its data, a power of two from 64 to 2^30
 *
 * Return: the number for struct shmr_request; 0 if no ring has that capacity.
 */
size_t shmr_ring_len(size_t capacity);

/**
 * shmr_producer_open() - claim the producing end of a ring
 * @producer: to be opened
 * @ring:     the ring's segment; zeroed, it is an empty ring
 * @incarnation:     the caller's
 *
 * Goes on where a producer before it stopped.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_LENGTH, the segment is no ring; SHMR_CLAIMED, another
 *         has this end: if that incarnation is gone, shmr_producer_take_over(); SHMR_CORRUPT.
 */
enum shmr_status shmr_producer_open(struct shmr_producer *producer,
                                    const struct shmr_segment *ring,
                                    uint32_t incarnation);

/**
 * shmr_producer_take_over() - claim the producing end in place of an incarnation that is over
 * @producer: to be opened
 * @ring:     the ring's segment
 * @incarnation:     the caller's
 *
 * One that is not over is told SHMR_EVICTED at its next call, but not an earlier handle of
 * the same incarnation: that one must not be used again.
 *
 * Return: as shmr_producer_open(), without SHMR_CLAIMED.
 */
enum shmr_status shmr_producer_take_over(struct shmr_producer *producer,
                                         const struct shmr_segment *ring,
                                         uint32_t incarnation);

/**
 * shmr_producer_max_record() - bytes of the longest record
 * @producer: a producer
 *
 * Return: 0 if @producer is not open.
 */
size_t shmr_producer_max_record(const struct shmr_producer *producer);

/**
 * shmr_producer_push() - copy one record into the ring and publish it
 * @producer: a producer
 * @record:   bytes to copy, outside the region
 * @len:      how many, at most shmr_producer_max_record(); may be 0
 *
 * Never waits, rings no bell (shmr_producer_notify()).
 *
 * Return: SHMR_OK; SHMR_FULL, again later; SHMR_RESTARTED, the consumer was restarted and
 *         nothing was pushed: said once, the next push is for its new incarnation; SHMR_EINVAL;
 *         SHMR_TOO_LONG; SHMR_CORRUPT, the consumer broke the protocol: for good;
 *         SHMR_EVICTED, another has taken this end over: for good. Everything answered
 *         SHMR_OK before stays; the record of the call that says so first is there or not.
 */
enum shmr_status shmr_producer_push(struct shmr_producer *producer,
                                    const void *record,
                                    size_t len);

/**
 * shmr_producer_push_all() - copy records into the ring and publish them by one store
 * @producer: a producer
 * @records:  the records
 * @count:    how many there are
 * @pushed:   how many of them, from the first on, were pushed; or NULL
 *
 * Return: as shmr_producer_push(), of the first one that was not pushed.
 */
enum shmr_status shmr_producer_push_all(struct shmr_producer *producer,
                                        const struct shmr_slice *records,
                                        size_t count,
                                        size_t *pushed);

/**
 * shmr_producer_reserve() - make room for a record that is written in place
 * @producer: a producer
 * @len:      the most bytes that it will have
 * @at:       where its first byte goes, in the region, a multiple of 8
 *
 * The bytes are the caller's until shmr_producer_commit(), if the consumer is honest. A
 * second call before that, or a push, forgets the first.
 *
 * Return: as shmr_producer_push().
 */
enum shmr_status shmr_producer_reserve(struct shmr_producer *producer, size_t len, void **at);

/**
 * shmr_producer_commit() - publish the record that was written in place
 * @producer: a producer
 * @len:      its bytes, at most what was reserved
 *
 * Return: as shmr_producer_push(); SHMR_EINVAL also if nothing is reserved, or less.
 *         SHMR_RESTARTED ends the reservation.
 */
enum shmr_status shmr_producer_commit(struct shmr_producer *producer, size_t len);

/**
 * shmr_producer_wait_for_space() - wait until a record fits
 * @producer: a producer
 * @len:      its bytes
 * @wait:     how to wait, and for how long
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT; otherwise as shmr_producer_push().
 */
enum shmr_status shmr_producer_wait_for_space(struct shmr_producer *producer,
                                              size_t len,
                                              struct shmr_wait *wait);

/**
 * shmr_producer_notify() - ring the consumer if it sleeps
 * @producer: a producer
 * @doorbell: what wakes it, or NULL
 *
 * After a push, a commit or a batch. With SHMR_OK the next holder of this end finds every
 * record that was pushed before.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over: for good.
 */
enum shmr_status shmr_producer_notify(struct shmr_producer *producer,
                                      const struct shmr_doorbell *doorbell);

/**
 * shmr_producer_close() - give the producing end back
 * @producer: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_producer_close(struct shmr_producer *producer);

/**
 * shmr_receiver_open() - open the receiving end of a ring
 * @receiver: to be opened
 * @session:  the session, which stays where it is until @receiver is closed
 * @name:     the ring's, 1 to 32 bytes
 * @capacity: bytes of its data, a power of two from 64 to 2^30; both ends say the same
 * @unread:   what becomes of records from before a restart of either end: SHMR_KEEP or
 *            SHMR_DISCARD
 *
 * Whoever comes first creates the ring.
 *
 * Return: as shmr_client_open().
 */
enum shmr_status shmr_receiver_open(struct shmr_receiver *receiver,
                                    const struct shmr_session *session,
                                    const char *name,
                                    size_t capacity,
                                    uint32_t unread);

/**
 * shmr_receiver_peer() - the partition that sends
 * @receiver: a receiver
 *
 * Return: its incarnation; 0 if there is none now, or @receiver is not open.
 */
uint32_t shmr_receiver_peer(const struct shmr_receiver *receiver);

/**
 * shmr_receiver_recv() - receive a record
 * @receiver: a receiver
 * @buffer:   where its bytes go
 * @size:     room there
 * @len:      bytes of the record
 * @timeout:  nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT; SHMR_RESTARTED, the sender was restarted, and what
 *         follows is from its new incarnation: reported once; SHMR_EINVAL;
 *         SHMR_BUFFER_TOO_SHORT, the record stays; SHMR_EVICTED, SHMR_REFORMATTED or
 *         SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_receiver_recv(struct shmr_receiver *receiver,
                                    void *buffer,
                                    size_t size,
                                    size_t *len,
                                    uint64_t timeout);

/**
 * shmr_receiver_wait() - wait until there is a record, or something to report
 * @receiver: a receiver
 * @timeout:  nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * Return: SHMR_OK, the next call finds it; SHMR_TIMED_OUT; SHMR_EINVAL; SHMR_REFORMATTED.
 */
enum shmr_status shmr_receiver_wait(struct shmr_receiver *receiver, uint64_t timeout);

/**
 * shmr_receiver_peek() - find the next record in place
 * @receiver: a receiver
 * @at:       its first byte, in the region, a multiple of 8
 * @len:      its bytes
 *
 * It stays the next until shmr_receiver_release(). A hostile sender may change it while it
 * is read: copy, then check the copy.
 *
 * Return: SHMR_OK; SHMR_EMPTY, no record now; SHMR_RESTARTED, as shmr_receiver_recv();
 *         SHMR_EINVAL; SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_receiver_peek(struct shmr_receiver *receiver,
                                    const void **at,
                                    size_t *len);

/**
 * shmr_receiver_release() - give the record that was peeked last back to the sender
 * @receiver: a receiver
 *
 * Does nothing if none was. It wakes the sender, if that waits for room.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED, another has taken this end over and gets the
 *         record, too; SHMR_REFORMATTED: for good.
 */
enum shmr_status shmr_receiver_release(struct shmr_receiver *receiver);

/**
 * shmr_receiver_position() - where the next record is, or will be
 * @receiver: a receiver
 *
 * Return: a number that counts on modulo 2^32 over all incarnations of both ends: one that
 *         notes it knows again, after its own death, what it had not received. 0 if
 *         @receiver is not open.
 */
uint32_t shmr_receiver_position(const struct shmr_receiver *receiver);

/**
 * shmr_receiver_discarded() - records that were discarded at restarts
 * @receiver: a receiver
 *
 * Return: by all incarnations of this end; counts on modulo 2^32. 0 if @receiver is not
 *         open.
 */
uint32_t shmr_receiver_discarded(const struct shmr_receiver *receiver);

/**
 * shmr_receiver_close() - give this end of the ring back
 * @receiver: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_receiver_close(struct shmr_receiver *receiver);

/**
 * shmr_region_format() - make memory a region
 * @region: to be opened
 * @base:   first byte, a multiple of 8
 * @len:    bytes
 *
 * Zeroes the memory, then writes its header. Nobody may be using it as the region
 * that it was before.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_region_format(struct shmr_region *region, void *base, size_t len);

/**
 * shmr_region_attach() - attach to a region that another partition formatted
 * @region: to be opened
 * @base:   first byte of the whole of it, a multiple of 8
 * @len:    bytes that are mapped; the region may be shorter
 *
 * Stores nothing in the memory.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_NOT_A_REGION, nobody formatted it
 *         yet, or it is another address; SHMR_VERSION; SHMR_FEATURES; SHMR_LENGTH, not
 *         all of it is mapped; SHMR_CONTENDED, it was being formatted.
 */
enum shmr_status shmr_region_attach(struct shmr_region *region, void *base, size_t len);

/**
 * shmr_region_generation() - how often this memory was formatted
 * @region: a region
 *
 * Return: from 1; 0 if @region is not open.
 */
uint32_t shmr_region_generation(const struct shmr_region *region);

/**
 * shmr_region_is_stale() - whether a region was formatted again
 * @region: a region
 *
 * Everything that was read from the region before the call is from before any later
 * format if this says no. Nothing else tells rings, snapshots and locks in it: whoever
 * stays attached while a region may be formatted again asks after each wait, and before
 * it stores.
 *
 * Return: SHMR_OK if it was not; SHMR_REFORMATTED; SHMR_EINVAL.
 */
enum shmr_status shmr_region_is_stale(struct shmr_region *region);

/**
 * shmr_registry_format() - make an empty registry in a region that was just formatted
 * @registry: to be opened
 * @region:   the region
 * @geometry: sizes, or NULL for 64 segments, 64 partitions and blocks of 128 bytes
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_EXISTS.
 */
enum shmr_status shmr_registry_format(struct shmr_registry *registry,
                                      const struct shmr_region *region,
                                      const struct shmr_geometry *geometry);

/**
 * shmr_registry_attach() - attach to the registry of a region
 * @registry: to be opened
 * @region:   the region
 *
 * Stores nothing in the region.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_FORMATTED; SHMR_TOO_SHORT; SHMR_CORRUPT.
 */
enum shmr_status shmr_registry_attach(struct shmr_registry *registry,
                                      const struct shmr_region *region);

/**
 * shmr_registry_without_rmw() - create, remove and reap nothing by this handle
 * @registry: the registry
 *
 * For memory on which compare-and-swap does not work, which shmr_litmus_ask() finds out.
 * Calls that need it say SHMR_NO_RMW from now on.
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_registry_without_rmw(struct shmr_registry *registry);

/**
 * shmr_registry_geometry() - the sizes that a registry was formatted with
 * @registry: the registry
 * @geometry: where they go
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_registry_geometry(const struct shmr_registry *registry,
                                        struct shmr_geometry *geometry);

/**
 * shmr_registry_free_len() - bytes that are free
 * @registry: the registry
 *
 * Return: in whole blocks, not necessarily in one piece; 0 if @registry is not open.
 */
size_t shmr_registry_free_len(const struct shmr_registry *registry);

/**
 * shmr_rwlock_len() - bytes of a segment for a reader-writer lock
 * @data: bytes that it protects
 *
 * Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
 */
size_t shmr_rwlock_len(size_t data);

/**
 * shmr_rwlock_open() - a reader-writer lock in a segment
 * @rwlock:   to be opened
 * @segment:  its segment; zeroed, it is free
 * @incarnation:     the caller's
 * @doorbell: what wakes those that wait, copied; or NULL
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_rwlock_open(struct shmr_rwlock *rwlock,
                                  const struct shmr_segment *segment,
                                  uint32_t incarnation,
                                  const struct shmr_doorbell *doorbell);

/**
 * shmr_rwlock_data() - the protected bytes
 * @segment: a reader-writer lock's segment
 *
 * Return: nobody changes them while the caller reads, they are its alone while it writes;
 *         NULL if @segment is too short.
 */
void *shmr_rwlock_data(const struct shmr_segment *segment);

/**
 * shmr_rwlock_try_read() - read if no writer is alive
 * @rwlock:   a reader-writer lock
 * @place:    for shmr_rwlock_end_read()
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: as shmr_rwlock_read(), but SHMR_BUSY instead of waiting.
 */
enum shmr_status shmr_rwlock_try_read(struct shmr_rwlock *rwlock,
                                      uint32_t *place,
                                      const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_read() - read, and wait for writers to leave
 * @rwlock:   a reader-writer lock
 * @place:    for shmr_rwlock_end_read()
 * @wait:     how to wait, and for how long
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: SHMR_OK; SHMR_OWNER_DIED, the caller reads, but a writer died inside and nobody
 *         has repaired it yet; SHMR_TIMED_OUT, and the error's value is the writer's incarnation
 *         if that is silent; SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
 */
enum shmr_status shmr_rwlock_read(struct shmr_rwlock *rwlock,
                                  uint32_t *place,
                                  struct shmr_wait *wait,
                                  const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_end_read() - end a reading
 * @rwlock: a reader-writer lock that the caller reads
 * @place:  what the call that began it said
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
 */
enum shmr_status shmr_rwlock_end_read(struct shmr_rwlock *rwlock, uint32_t place);

/**
 * shmr_rwlock_try_write() - write if nobody else alive reads or writes
 * @rwlock:   a reader-writer lock
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: as shmr_rwlock_write(), but SHMR_BUSY instead of waiting.
 */
enum shmr_status shmr_rwlock_try_write(struct shmr_rwlock *rwlock,
                                       const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_write() - write, and wait for all others to leave
 * @rwlock:   a reader-writer lock
 * @wait:     how to wait, and for how long
 * @liveness: who knows which partitions are gone, or NULL
 *
 * Return: SHMR_OK; SHMR_OWNER_DIED, the caller writes, but what is protected may be
 *         half-changed: repair it, then shmr_rwlock_make_consistent(), or ending poisons it
 *         for good; SHMR_TIMED_OUT, and the error's value is the incarnation that is waited for
 *         if that is silent; SHMR_EINVAL; SHMR_POISONED; SHMR_CORRUPT.
 */
enum shmr_status shmr_rwlock_write(struct shmr_rwlock *rwlock,
                                   struct shmr_wait *wait,
                                   const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_make_consistent() - say that what a dead writer left is repaired
 * @rwlock: a reader-writer lock that the caller writes
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
 */
enum shmr_status shmr_rwlock_make_consistent(struct shmr_rwlock *rwlock);

/**
 * shmr_rwlock_end_write() - end a writing
 * @rwlock: a reader-writer lock that the caller writes
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD, this incarnation was said to be gone, or never
 *         wrote.
 */
enum shmr_status shmr_rwlock_end_write(struct shmr_rwlock *rwlock);

/**
 * shmr_rwlock_writer() - which incarnation writes now, or waits to
 * @rwlock: a reader-writer lock
 *
 * Return: for inspection, as it may have changed since; 0 is nobody, or not known.
 */
uint32_t shmr_rwlock_writer(const struct shmr_rwlock *rwlock);

/**
 * shmr_segment_at() - take memory for a segment, where there is no registry
 * @segment: where it goes
 * @base:    first byte, a multiple of 128; zeroed before its first use
 * @len:     bytes, as shmr_ring_len() and the like say
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_segment_at(struct shmr_segment *segment, void *base, size_t len);

/**
 * shmr_id_from_name() - the identifier of a name
 * @name: a string
 *
 * Return: its 64-bit FNV-1a hash (1 for the name whose hash is 0); 0 if @name is NULL.
 */
uint64_t shmr_id_from_name(const char *name);

/**
 * shmr_semaphore_len() - bytes of a segment for a semaphore
 * @capacity: permits that there is room for, at most 1024
 *
 * Return: the number for struct shmr_request.
 */
size_t shmr_semaphore_len(size_t capacity);

/**
 * shmr_semaphore_open() - a semaphore in a segment
 * @semaphore: to be opened
 * @segment:   its segment; zeroed, it has no permits
 * @incarnation:      the caller's
 * @doorbell:  what wakes those that wait, copied; or NULL
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_semaphore_open(struct shmr_semaphore *semaphore,
                                     const struct shmr_segment *segment,
                                     uint32_t incarnation,
                                     const struct shmr_doorbell *doorbell);

/**
 * shmr_semaphore_add() - add permits that nobody holds yet
 * @semaphore: a semaphore
 * @permits:   how many: all of them, or none
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_OVERFLOW.
 */
enum shmr_status shmr_semaphore_add(struct shmr_semaphore *semaphore, size_t permits);

/**
 * shmr_semaphore_try_acquire() - take a permit that nobody alive holds
 * @semaphore: a semaphore
 * @liveness:  who knows which partitions are gone, or NULL
 *
 * Return: SHMR_OK; SHMR_BUSY; SHMR_EINVAL; SHMR_CORRUPT.
 */
enum shmr_status shmr_semaphore_try_acquire(struct shmr_semaphore *semaphore,
                                            const struct shmr_liveness *liveness);

/**
 * shmr_semaphore_acquire() - take a permit, and wait for one
 * @semaphore: a semaphore
 * @wait:      how to wait, and for how long
 * @liveness:  who knows which partitions are gone, or NULL
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT, and the error's value is the incarnation of a holder if one is
 *         silent; SHMR_EINVAL; SHMR_CORRUPT.
 */
enum shmr_status shmr_semaphore_acquire(struct shmr_semaphore *semaphore,
                                        struct shmr_wait *wait,
                                        const struct shmr_liveness *liveness);

/**
 * shmr_semaphore_release() - give back a permit that the caller's incarnation holds
 * @semaphore: a semaphore
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
 */
enum shmr_status shmr_semaphore_release(struct shmr_semaphore *semaphore);

/**
 * shmr_semaphore_consume() - end a permit that the caller's incarnation holds: there is one less
 * @semaphore: a semaphore
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_HELD.
 */
enum shmr_status shmr_semaphore_consume(struct shmr_semaphore *semaphore);

/**
 * shmr_semaphore_available() - permits that nobody holds
 * @semaphore: a semaphore
 *
 * Return: an indication, as they may change meanwhile; 0 if @semaphore is not open.
 */
size_t shmr_semaphore_available(const struct shmr_semaphore *semaphore);

/**
 * shmr_sender_open() - open the sending end of a ring
 * @sender:   to be opened
 * @session:  the session, which stays where it is until @sender is closed
 * @name:     the ring's, 1 to 32 bytes
 * @capacity: bytes of its data, a power of two from 64 to 2^30; both ends say the same
 *
 * Whoever comes first creates the ring.
 *
 * Return: as shmr_client_open().
 */
enum shmr_status shmr_sender_open(struct shmr_sender *sender,
                                  const struct shmr_session *session,
                                  const char *name,
                                  size_t capacity);

/**
 * shmr_sender_max_len() - bytes of the longest record
 * @sender: a sender
 *
 * Return: 0 if @sender is not open.
 */
size_t shmr_sender_max_len(const struct shmr_sender *sender);

/**
 * shmr_sender_peer() - the partition that receives
 * @sender: a sender
 *
 * Return: its incarnation; 0 if there is none now, or @sender is not open.
 */
uint32_t shmr_sender_peer(const struct shmr_sender *sender);

/**
 * shmr_sender_send() - send a record
 * @sender:  a sender
 * @record:  its bytes, outside the region
 * @len:     how many, at most shmr_sender_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT, there was no room; SHMR_RESTARTED, the receiver was
 *         restarted and nothing was sent: reported once, the next record is for its new
 *         incarnation; SHMR_PEER_GONE, nobody is left to make room; SHMR_EINVAL;
 *         SHMR_TOO_LONG; SHMR_EVICTED, SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_sender_send(struct shmr_sender *sender,
                                  const void *record,
                                  size_t len,
                                  uint64_t timeout);

/**
 * shmr_sender_try_send() - send a record if there is room now
 * @sender: a sender
 * @record: its bytes, outside the region
 * @len:    how many, at most shmr_sender_max_len(); may be 0
 *
 * Return: as shmr_sender_send(), but SHMR_FULL if there is no room.
 */
enum shmr_status shmr_sender_try_send(struct shmr_sender *sender,
                                      const void *record,
                                      size_t len);

/**
 * shmr_sender_close() - give this end of the ring back
 * @sender: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_sender_close(struct shmr_sender *sender);

/**
 * shmr_server_open() - open the end of a channel that answers commands
 * @server:  to be opened
 * @session: the session, which stays where it is until @server is closed
 * @name:    the channel's, 1 to 24 bytes
 * @options: capacities, or NULL for 16 KiB each way
 *
 * Commands that an earlier incarnation of this end has not received are discarded.
 *
 * Return: as shmr_client_open().
 */
enum shmr_status shmr_server_open(struct shmr_server *server,
                                  const struct shmr_session *session,
                                  const char *name,
                                  const struct shmr_channel_options *options);

/**
 * shmr_server_max_len() - bytes of the longest answer
 * @server: a server
 *
 * Return: 0 if @server is not open.
 */
size_t shmr_server_max_len(const struct shmr_server *server);

/**
 * shmr_server_discarded() - commands that this end never received
 * @server: a server
 *
 * Return: those that were discarded at restarts of either end; counts on modulo 2^32. 0 if
 *         @server is not open.
 */
uint32_t shmr_server_discarded(const struct shmr_server *server);

/**
 * shmr_server_client_is_gone() - whether the client is gone, or has left the channel
 * @server: a server
 *
 * Return: true after this server has heard of a client, and that one is gone or has left;
 *         else false.
 */
bool shmr_server_client_is_gone(const struct shmr_server *server);

/**
 * shmr_server_recv() - receive a command
 * @server:  a server
 * @buffer:  where its bytes go
 * @size:    room there
 * @len:     bytes of the command
 * @call:    what to answer: shmr_server_answer(). Its number is 0 if the command is a
 *           message that is not answered
 * @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * A command that was received is not received again by a later incarnation of this end.
 *
 * Return: SHMR_OK; SHMR_TIMED_OUT; SHMR_RESTARTED, the client was restarted, and what
 *         follows is from its new incarnation: reported once; SHMR_EINVAL;
 *         SHMR_BUFFER_TOO_SHORT, the command stays; SHMR_BAD_MESSAGE; SHMR_EVICTED,
 *         SHMR_REFORMATTED or SHMR_CORRUPT: for good.
 */
enum shmr_status shmr_server_recv(struct shmr_server *server,
                                  void *buffer,
                                  size_t size,
                                  size_t *len,
                                  struct shmr_call *call,
                                  uint64_t timeout);

/**
 * shmr_server_answer() - answer a call
 * @server:  the server that received it
 * @call:    the call; zeroed when it was answered, or cannot be any more
 * @answer:  its bytes, outside the region
 * @len:     how many, at most shmr_server_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Return: SHMR_OK; SHMR_CALLER_RESTARTED, the client that made the call was restarted
 *         since, and nothing was sent; otherwise as shmr_client_send().
 */
enum shmr_status shmr_server_answer(struct shmr_server *server,
                                    struct shmr_call *call,
                                    const void *answer,
                                    size_t len,
                                    uint64_t timeout);

/**
 * shmr_server_send() - send a message that is no answer
 * @server:  a server
 * @message: its bytes, outside the region
 * @len:     how many, at most shmr_server_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Return: as shmr_client_send().
 */
enum shmr_status shmr_server_send(struct shmr_server *server,
                                  const void *message,
                                  size_t len,
                                  uint64_t timeout);

/**
 * shmr_server_close() - give this end of the channel back
 * @server: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_server_close(struct shmr_server *server);

/**
 * shmr_session_create() - make memory a region with an empty registry, and join it
 * @session:  to be opened
 * @base:     first byte, a multiple of 8
 * @len:      bytes
 * @options:  who joins, and how
 * @platform: the caller's functions, copied
 *
 * Zeroes the memory. One partition does this, which the platform or the operator names;
 * whoever used the memory before and has not ended is told SHMR_REFORMATTED at its next
 * call.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT; SHMR_NO_SUCH_PARTITION, the geometry has no
 *         such partition; SHMR_REFORMATTED, another one did the same meanwhile.
 */
enum shmr_status shmr_session_create(struct shmr_session *session,
                                     void *base,
                                     size_t len,
                                     const struct shmr_session_options *options,
                                     const struct shmr_platform *platform);

/**
 * shmr_session_join() - join the region that another partition created
 * @session:  to be opened
 * @base:     first byte of the whole of it, a multiple of 8
 * @len:      bytes that are mapped; the region may be shorter
 * @options:  who joins, and how
 * @platform: the caller's functions, copied
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_A_REGION, SHMR_CONTENDED, SHMR_NOT_FORMATTED or
 *         SHMR_REFORMATTED, it is not there yet: shmr_session_is_early(); SHMR_TOO_SHORT,
 *         SHMR_LENGTH, SHMR_VERSION or SHMR_FEATURES, as shmr_region_attach();
 *         SHMR_NO_SUCH_PARTITION; SHMR_ATTACHED, an earlier incarnation of this partition
 *         is not known to be gone, and the error's value is that one; SHMR_CORRUPT.
 */
enum shmr_status shmr_session_join(struct shmr_session *session,
                                   void *base,
                                   size_t len,
                                   const struct shmr_session_options *options,
                                   const struct shmr_platform *platform);

/**
 * shmr_session_is_early() - whether joining failed only because it came too early
 * @status: what shmr_session_join() said
 *
 * Return: true if the region is not formatted yet, or not all of it: try again later.
 */
bool shmr_session_is_early(int status);

/**
 * shmr_session_beat() - show the others that this partition is alive
 * @session: a session
 *
 * Where others go by its heartbeat: several times in the time after which they take it for
 * silent.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_EVICTED or SHMR_REFORMATTED, nothing was stored, and
 *         nothing of the region is to be used any more: leave, and join again.
 */
enum shmr_status shmr_session_beat(struct shmr_session *session);

/**
 * shmr_session_check() - whether this partition still has its place in the region
 * @session: a session
 *
 * Only loads.
 *
 * Return: as shmr_session_beat().
 */
enum shmr_status shmr_session_check(struct shmr_session *session);

/**
 * shmr_session_incarnation() - which incarnation of which partition this is
 * @session: a session
 *
 * Return: one word, as shmr_attachment_incarnation(); 0 if @session is not open.
 */
uint32_t shmr_session_incarnation(const struct shmr_session *session);

/**
 * shmr_session_registry() - the region's registry, for calls that take one
 * @session:  a session
 * @registry: to be opened
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_session_registry(const struct shmr_session *session,
                                       struct shmr_registry *registry);

/**
 * shmr_session_open_or_create() - find a segment, or create it, zeroed
 * @session: a session
 * @request: what is wanted
 * @segment: where it goes
 *
 * For snapshots, locks and memory of the program's own; rings and channels have calls that
 * do it. A segment that is not there yet needs compare-and-swap on this memory.
 *
 * Return: as shmr_registry_open_or_create().
 */
enum shmr_status shmr_session_open_or_create(struct shmr_session *session,
                                             const struct shmr_request *request,
                                             struct shmr_segment *segment);

/**
 * shmr_session_remove() - remove a segment
 * @session: a session
 * @segment: what is removed
 *
 * Return: as shmr_registry_remove().
 */
enum shmr_status shmr_session_remove(struct shmr_session *session,
                                     const struct shmr_segment *segment);

/**
 * shmr_session_reap() - take back what partitions that are gone left half-made
 * @session: a session
 * @rows:    how many rows that were, or NULL
 *
 * Return: as shmr_registry_reap().
 */
enum shmr_status shmr_session_reap(struct shmr_session *session, size_t *rows);

/**
 * shmr_session_liveness() - what the session's platform knows, for calls on locks
 * @session: in place for as long as this is used
 */
struct shmr_liveness shmr_session_liveness(const struct shmr_session *session);

/**
 * shmr_session_wait() - wait as the session's platform does, for calls on locks
 * @session: in place for as long as @wait is used
 * @wait:    to be filled in
 * @timeout: nanoseconds from now; SHMR_FOREVER is no limit
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_session_wait(const struct shmr_session *session,
                                   struct shmr_wait *wait,
                                   uint64_t timeout);

/**
 * shmr_session_leave() - leave the region
 * @session: closed by this
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_OPEN, handles on it are open, and the error's value is
 *         how many: close them first.
 */
enum shmr_status shmr_session_leave(struct shmr_session *session);

/**
 * shmr_snapshot_len() - bytes of a segment for a snapshot
 * @max: bytes of the longest value
 *
 * Return: the number for struct shmr_request; 0 if that is more than 1 GiB.
 */
size_t shmr_snapshot_len(size_t max);

/**
 * shmr_snapshot_writer_open() - the writing side of a snapshot, which nobody else writes
 * @writer:   to be opened
 * @snapshot: the snapshot's segment; zeroed, it was never written
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_snapshot_writer_open(struct shmr_snapshot_writer *writer,
                                           const struct shmr_segment *snapshot);

/**
 * shmr_snapshot_write() - make a value the latest
 * @writer: a writer
 * @value:  its bytes, outside the region
 * @len:    how many
 *
 * Never waits.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_LONG.
 */
enum shmr_status shmr_snapshot_write(struct shmr_snapshot_writer *writer,
                                     const void *value,
                                     size_t len);

/**
 * shmr_snapshot_reader_open() - a reading side of a snapshot
 * @reader:   to be opened
 * @snapshot: the snapshot's segment
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_TOO_SHORT.
 */
enum shmr_status shmr_snapshot_reader_open(struct shmr_snapshot_reader *reader,
                                           const struct shmr_segment *snapshot);

/**
 * shmr_snapshot_read() - copy the latest value
 * @reader: a reader
 * @value:  where its bytes go
 * @size:   room there
 * @len:    bytes of the value
 *
 * Only loads; never waits.
 *
 * Return: SHMR_OK; SHMR_EMPTY, never written; SHMR_BUSY, the writer overtook every
 *         attempt; SHMR_EINVAL; SHMR_TOO_LONG, and the error's value is its length;
 *         SHMR_CORRUPT.
 */
enum shmr_status shmr_snapshot_read(struct shmr_snapshot_reader *reader,
                                    void *value,
                                    size_t size,
                                    size_t *len);

/**
 * shmr_snapshot_sequence() - a number that changes with each value
 * @reader: a reader
 *
 * Return: 0 if nothing was written yet, or @reader is not open.
 */
uint32_t shmr_snapshot_sequence(const struct shmr_snapshot_reader *reader);

/**
 * shmr_abi_version() - the version of the interface that this library has
 *
 * Compare it with SHMR_ABI_VERSION, the header's; shmr_header_matches() does.
 */
uint32_t shmr_abi_version(void);

/**
 * shmr_layout_version() - the version of docs/layout.md that this library speaks
 */
uint32_t shmr_layout_version(void);

/**
 * shmr_registry_open_or_create() - find a segment, or create it, zeroed
 * @registry: the registry
 * @attachment: the caller's; it beats while this takes long
 * @request:  what is wanted
 * @segment:  where it goes
 *
 * All partitions that ask for one identifier get one segment. Needs compare-and-swap
 * on this memory.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_KIND, SHMR_LENGTH or SHMR_COLLISION, there is
 *         another; SHMR_TABLE_FULL; SHMR_OUT_OF_SPACE; SHMR_CONTENDED; SHMR_EVICTED;
 *         SHMR_REFORMATTED;
 *         SHMR_NO_RMW; SHMR_CORRUPT. The region is as it was unless it is SHMR_OK.
 */
enum shmr_status shmr_registry_open_or_create(struct shmr_registry *registry,
                                              struct shmr_attachment *attachment,
                                              const struct shmr_request *request,
                                              struct shmr_segment *segment);

/**
 * shmr_registry_open() - find a segment of its kind and length
 * @registry: the registry
 * @request:  what is wanted
 * @segment:  where it goes
 *
 * Only loads.
 *
 * Return: as shmr_registry_open_or_create(), and SHMR_NOT_FOUND.
 */
enum shmr_status shmr_registry_open(struct shmr_registry *registry,
                                    const struct shmr_request *request,
                                    struct shmr_segment *segment);

/**
 * shmr_registry_lookup() - find a segment, whatever it holds
 * @registry: the registry
 * @id:       its identifier
 * @segment:  where it goes
 *
 * Only loads.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_NOT_FOUND; SHMR_CONTENDED; SHMR_CORRUPT.
 */
enum shmr_status shmr_registry_lookup(struct shmr_registry *registry,
                                      uint64_t id,
                                      struct shmr_segment *segment);

/**
 * shmr_registry_next() - list the segments
 * @registry: the registry
 * @cursor:   0 for the first; moved on by each call
 * @segment:  where it goes
 *
 * Only loads. Segments that are created or removed meanwhile may be missing.
 *
 * Return: SHMR_OK; SHMR_EMPTY, that was all; SHMR_EINVAL; SHMR_CONTENDED or
 *         SHMR_CORRUPT, of one row: the next call goes on after it.
 */
enum shmr_status shmr_registry_next(struct shmr_registry *registry,
                                    size_t *cursor,
                                    struct shmr_segment *segment);

/**
 * shmr_registry_remove() - remove a segment
 * @registry: the registry
 * @attachment: the caller's; it beats while this takes long
 * @segment:  what is removed
 *
 * Whoever still uses it must have let go, as its bytes go to others. Needs
 * compare-and-swap on this memory.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_STALE; SHMR_CONTENDED; SHMR_EVICTED;
 *         SHMR_REFORMATTED; SHMR_NO_RMW;
 *         SHMR_CORRUPT.
 */
enum shmr_status shmr_registry_remove(struct shmr_registry *registry,
                                      struct shmr_attachment *attachment,
                                      const struct shmr_segment *segment);

/**
 * shmr_registry_is_current() - whether a segment is still what its identifier names
 * @registry: the registry
 * @segment:  the segment
 *
 * Return: also false for arguments that cannot be used.
 */
bool shmr_registry_is_current(const struct shmr_registry *registry,
                              const struct shmr_segment *segment);

/**
 * shmr_registry_reap() - take back what partitions that are gone left half-made
 * @registry: the registry
 * @attachment: the caller's; it beats while this takes long
 * @liveness: who knows which partitions are gone
 * @rows:     how many rows that were, or NULL
 *
 * Nobody needs to wait for it: it gives back space. Needs compare-and-swap on this memory.
 *
 * Return: SHMR_OK; SHMR_EINVAL; SHMR_CONTENDED or SHMR_CORRUPT, the rest is left for
 *         the next time; SHMR_EVICTED; SHMR_REFORMATTED; SHMR_NO_RMW.
 */
enum shmr_status shmr_registry_reap(struct shmr_registry *registry,
                                    struct shmr_attachment *attachment,
                                    const struct shmr_liveness *liveness,
                                    size_t *rows);

/**
 * shmr_strerror() - a status in words
 * @status: any number, whether it is a status or not
 *
 * Return: a sentence without its full stop; never NULL, valid for ever.
 */
const char *shmr_strerror(int32_t status);

/**
 * shmr_wait_checks() - wait on the processor, for a number of checks
 * @wait:   to be filled in
 * @checks: how many; SHMR_FOREVER is no limit
 *
 * Needs neither a clock nor an operating system.
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_wait_checks(struct shmr_wait *wait, uint64_t checks);

#if defined(SHMR_LINUX)
/**
 * shmr_wait_futex() - wait asleep, for peers on the same kernel
 * @wait:       to be filled in
 * @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
 *
 * The peer rings shmr_doorbell_futex(). One that does not is noticed within 20 ms. On memory
 * that has no futex (/dev/mem, a PCI device's) it polls, as often.
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_wait_futex(struct shmr_wait *wait, uint64_t timeout_ms);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_wait_spin() - wait awake, and let others run between two checks
 * @wait:       to be filled in
 * @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_wait_spin(struct shmr_wait *wait, uint64_t timeout_ms);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_wait_poll() - look again and again, less and less often, for peers that cannot ring
 * @wait:       to be filled in
 * @timeout_ms: milliseconds from now
 * @limit_ms:   the longest sleep between two checks
 *
 * Return: SHMR_OK; SHMR_EINVAL.
 */
enum shmr_status shmr_wait_poll(struct shmr_wait *wait, uint64_t timeout_ms, uint64_t limit_ms);
#endif

#if !defined(SHMR_LINUX)
/**
 * The program's: says so and resets; does not return.
 */
extern void shmr_panic(void);
#endif

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/**
 * shmr_header_matches() - whether the library is of this header's interface
 */
static inline bool shmr_header_matches(void)
{
	return shmr_abi_version() == SHMR_ABI_VERSION;
}

#endif /* SHMR_H */
