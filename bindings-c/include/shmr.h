/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * shmr.h - lock-free IPC over shared memory between partitions
 *
 * Generated from bindings-c/src by `cargo xtask header`: do not edit. docs/c-api.md has complete
 * programs; docs/layout.md describes the memory.
 *
 * Handles. A handle (struct shmr_client and so on) is the caller's memory; it can be static. While
 * it is open, it must not move, and one thread at a time uses it. A program reads only its `error`,
 * which says why the last call on the handle failed. Memory that contains a region must stay mapped
 * until every handle that uses it is closed; for a handle that needs no closing, until the handle's
 * last use.
 *
 * A call with NULL (unless its comment allows NULL), with a misaligned pointer, or with a handle
 * that is not open returns SHMR_EINVAL and does nothing. A handle is not open if it is all zeroes,
 * if it was closed, if opening it failed, if it is a copy of an open handle, or if no handle was
 * opened at its address. One case cannot be detected: memory in which a handle of the same type was
 * open at the same address, and which was neither closed nor overwritten since. A function can find
 * such memory in its local variables when it is called again. So initialise a local handle with
 * { 0 }.
 *
 * If a handle has a call to close it, close it before it is opened again; otherwise the call that
 * opens it returns SHMR_OPEN.
 *
 * Statuses. The comment of each call lists the statuses that it returns, and what the caller does
 * then. A status that is listed without a comment means:
 *
 * SHMR_OK           The call has done what it describes.
 * SHMR_EINVAL       An argument is invalid, and nothing was done; error.word names it. Correct the
 *                   program.
 * SHMR_OPEN         The handle is already open, and is unchanged. Close it first.
 * SHMR_CORRUPT      A peer broke the protocol; error.word names the word in memory, and
 *                   error.value is its contents. Permanent for an end of a ring: close the handle.
 * SHMR_EVICTED      This incarnation was reported as gone while it ran, and another one has its
 *                   place. Permanent: close the handles, leave, then join or attach again.
 * SHMR_REFORMATTED  The region was formatted again. Permanent: as SHMR_EVICTED.
 *
 * fork(). Only the parent has the memory that this library mapped. The child faults at the first
 * access; it must not use, close or leave any handle that it inherited. It maps the region itself,
 * into its own handles, for example by shmr_map_fd() of the inherited descriptor, and attaches
 * under its own partition number.
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

/* Mapping, futexes and processes: the library for bootloaders does not have them. */
#if defined(__linux__) && !defined(__UBOOT__) && !defined(SHMR_BARE)
#define SHMR_LINUX
#endif

/* Define SHMR_NONCOHERENT for a library that was built with the feature `noncoherent`. */

#define SHMR_ALIGNED(bytes) __attribute__((aligned(bytes)))


/**
 * Keep records from before a restart of either end: for results.
 */
#define SHMR_KEEP 0

/**
 * Discard and count records from before a restart of either end: for commands, which a new
 * incarnation must not carry out.
 */
#define SHMR_DISCARD 1

/**
 * No owner died while it held the lock, or the protected bytes were repaired.
 */
#define SHMR_HEALTH_WHOLE 0

/**
 * An owner died while it held the lock, and the protected bytes are not repaired yet.
 */
#define SHMR_HEALTH_SUSPECT 1

/**
 * The bytes that a dead owner left were not repaired: the lock is poisoned.
 */
#define SHMR_HEALTH_POISONED 2

/**
 * Unknown: the other party did not answer, or the two rarely ran at the same time. Test again.
 */
#define SHMR_UNKNOWN 0

/**
 * Both parties tried the feature often at the same time, and it never failed.
 */
#define SHMR_WORKS 1

/**
 * The feature failed: do not use it, or change the machine (docs/memory-model.md).
 */
#define SHMR_BROKEN 2

/**
 * A limit that reports silence within 100 ms, if partitions beat every 10 ms.
 */
#define SHMR_HEARTBEAT_LIMIT_MS 60

/**
 * The longest time between two beats that is safe with SHMR_HEARTBEAT_LIMIT_MS.
 */
#define SHMR_BEAT_MS 10

/**
 * For `wake`: there are records for the peer.
 */
#define SHMR_RECORDS 0

/**
 * For `wake`: there is space for the peer's records.
 */
#define SHMR_SPACE 1

/**
 * For `wake`: a lock that the peer waits for was released.
 */
#define SHMR_LOCK 2

/**
 * The application's own bytes.
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
 * A bakery mutex, which needs no read-modify-write.
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
 * The words of a test of the memory (shmr_litmus_ask()).
 */
#define SHMR_KIND_LITMUS 8

/**
 * A channel's call line. (9 is a typed ring, which has no calls in C.)
 */
#define SHMR_KIND_CALL_LINE 10

/**
 * The first number that applications may use for their own kinds.
 */
#define SHMR_KIND_APPLICATION 65536

/**
 * The version of this interface. It increases when programs must be compiled again.
 */
#define SHMR_ABI_VERSION 1

/**
 * From `pause`: it waited a moment without sleeping; check again.
 */
#define SHMR_AGAIN 0

/**
 * From `pause`: call `sleep` after one more check.
 */
#define SHMR_SLEEP 1

/**
 * From `pause`: stop; the call returns SHMR_TIMED_OUT after one more check.
 */
#define SHMR_GIVE_UP 2

/**
 * No deadline, or no limit.
 */
#define SHMR_FOREVER 18446744073709551615ull

/**
 * enum shmr_status - what a call returns
 *
 * 0 is success. A positive status is not a failure; a negative one is. `value` and `word` are
 * those of `struct shmr_error`.
 */
enum shmr_status {
        /**
         * The call has done what it describes.
         */
        SHMR_OK = 0,
        /**
         * Nothing to read now.
         */
        SHMR_EMPTY = 1,
        /**
         * No room now.
         */
        SHMR_FULL = 2,
        /**
         * Not available now, and this call does not wait: try again.
         */
        SHMR_BUSY = 3,
        /**
         * The wait ended without success. For a lock or barrier: if the caller waits for an
         * incarnation that is silent, `value` is that incarnation; else 0.
         */
        SHMR_TIMED_OUT = 4,
        /**
         * The other end of the ring or channel was restarted. Reported once; nothing was sent or
         * received.
         */
        SHMR_RESTARTED = 5,
        /**
         * The caller has the lock, but its last owner died while it held it: repair the bytes,
         * then make the lock consistent.
         */
        SHMR_OWNER_DIED = 6,
        /**
         * A party of the barrier is gone; `value` is its incarnation.
         */
        SHMR_PARTY_DIED = 7,
        /**
         * Other partitions changed the registry, or formatted the region, in every attempt: try
         * again. For a registry: reap if that does not help.
         */
        SHMR_CONTENDED = 8,
        /**
         * The other end of the channel is gone, or has left it. After a call, it is unknown whether
         * the command was carried out. A message that waited for room was not sent.
         */
        SHMR_PEER_GONE = 9,
        /**
         * The client that made this call was restarted since: the answer was not sent.
         */
        SHMR_CALLER_RESTARTED = 10,
        /**
         * The next message is not an answer: receive it, then wait for the answer again.
         */
        SHMR_MESSAGE_FIRST = 11,
        /**
         * The server was restarted after the call was sent and before it answered. It is unknown
         * whether the command was carried out. This status reports the restart: SHMR_RESTARTED does
         * not report it again.
         */
        SHMR_ANSWER_LOST = 12,
        /**
         * A pointer is null or misaligned, a handle is not open, or a number is out of range;
         * `word` names the argument.
         */
        SHMR_EINVAL = -1,
        /**
         * A peer broke the protocol: `word` names the word in memory, and `value` is its contents.
         */
        SHMR_CORRUPT = -2,
        /**
         * What is to be written or sent is too long, and `value` is the limit; or, outside
         * sessions, what is to be read is longer than the buffer, and `value` is its length.
         */
        SHMR_TOO_LONG = -3,
        /**
         * The memory, or the mapping's file, is too short; `value` is its length.
         */
        SHMR_TOO_SHORT = -4,
        /**
         * The memory is not a region; `value` is its first word.
         */
        SHMR_NOT_A_REGION = -5,
        /**
         * The region has another layout version, which is `value`.
         */
        SHMR_OTHER_LAYOUT_VERSION = -6,
        /**
         * The region needs features that this library does not know; `value` is their bits.
         */
        SHMR_FEATURES = -7,
        /**
         * The length differs from the expected one; `value` is the length that was found.
         */
        SHMR_LENGTH = -8,
        /**
         * The region has no registry.
         */
        SHMR_NOT_FORMATTED = -9,
        /**
         * The region already has a registry.
         */
        SHMR_EXISTS = -10,
        /**
         * No segment has the identifier, or the mapping's file was removed.
         */
        SHMR_NOT_FOUND = -11,
        /**
         * The segment has another kind, which is `value`.
         */
        SHMR_KIND = -12,
        /**
         * Another name has the same identifier.
         */
        SHMR_COLLISION = -13,
        /**
         * Every row of the registry is in use; `value` is the number of rows.
         */
        SHMR_TABLE_FULL = -14,
        /**
         * No run of free blocks is long enough; `value` is the requested length.
         */
        SHMR_OUT_OF_SPACE = -15,
        /**
         * The segment was already removed, or the mapping's file was replaced.
         */
        SHMR_STALE = -16,
        /**
         * The region has no slot for a partition with this number; `value` is the number of slots.
         */
        SHMR_NO_SUCH_PARTITION = -17,
        /**
         * An incarnation of this partition is attached and has not left; it is `value`.
         */
        SHMR_ATTACHED = -18,
        /**
         * Another incarnation has taken the place of this one, which was reported as gone while it
         * ran.
         */
        SHMR_EVICTED = -19,
        /**
         * An incarnation holds this end of the ring, perhaps the caller's own by another handle; it is
         * `value`.
         */
        SHMR_CLAIMED = -20,
        /**
         * The bytes that a dead owner left were not repaired. Permanent.
         */
        SHMR_POISONED = -21,
        /**
         * The caller does not hold the lock or permit; `value` is the incarnation that does, or 0.
         */
        SHMR_NOT_HELD = -22,
        /**
         * There is no room for these permits; `value` is the number that fits.
         */
        SHMR_OVERFLOW = -23,
        /**
         * The kernel refused; `value` is its errno.
         */
        SHMR_SYSTEM = -24,
        /**
         * The call needs compare-and-swap, which was disabled for this handle.
         */
        SHMR_NO_RMW = -25,
        /**
         * The region was formatted again since the handle was opened.
         */
        SHMR_REFORMATTED = -26,
        /**
         * The handle is open and has to be closed first; it is unchanged. For a session to leave,
         * `value` is the number of open handles on it.
         */
        SHMR_OPEN = -27,
        /**
         * In sessions: the next message, or the answer, is longer than the buffer; `value` is its
         * length. A message stays; an answer is lost. Calls outside sessions return SHMR_TOO_LONG
         * for that.
         */
        SHMR_BUFFER_TOO_SHORT = -28,
        /**
         * The peer broke the rules of calls. What it sent was skipped, and the channel remains
         * usable. `word` is "answered twice" or "never called", and `value` the number of the
         * call; or `word` is "not a message", and `value` the record's length.
         */
        SHMR_BAD_MESSAGE = -29,
};

/**
 * enum shmr_partition_state - what is known about an incarnation of a partition
 * @SHMR_ALIVE:  it is not known to be silent or gone
 * @SHMR_SILENT: its heartbeat has stood still for longer than a limit; it may come back
 * @SHMR_GONE:   it has ended, or is presumed to have ended: others take over what it holds
 */
enum shmr_partition_state {
        SHMR_ALIVE = 0,
        SHMR_SILENT = 1,
        SHMR_GONE = 2,
};

/**
 * struct shmr_error - why the last call on a handle failed
 * @status: the status that the call returned
 * @value:  the value, length or incarnation that belongs to the status; else 0
 * @word:   the word in memory that a peer corrupted, as docs/layout.md names it; the invalid
 *          argument; or how a peer broke the rules of calls; else empty
 *
 * Every handle begins with one. Only calls that fail write it, including those that fail to open
 * the handle.
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
 * An incarnation holds it, not a thread: the threads of a partition exclude each other by other
 * means. For up to 64 partitions. Survives its owner. Needs no closing.
 */
struct shmr_bakery {
        struct shmr_error error;
        uint64_t opaque[16];
};

/**
 * struct shmr_segment - a segment that was found or created
 * @base:   its first byte
 * @len:    its bytes
 * @offset: its offset from the start of the region
 * @id:     its identifier; 0 if it is not in a registry
 * @kind:   what it contains
 * @name:   its name, as its creator stored it; empty if it has none
 *
 * A value, not a handle: it can be copied. The bytes stay valid until the segment is removed.
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
 * @state:   returns an enum shmr_partition_state: what is known about @incarnation now. SHMR_GONE
 *           is a promise: others then take over what @incarnation holds. Any number that is not a
 *           state counts as SHMR_ALIVE
 * @context: passed to @state
 *
 * A NULL pointer to this struct means: every partition counts as alive.
 * shmr_heartbeats_liveness(), shmr_processes_liveness() and shmr_session_liveness() return one.
 */
struct shmr_liveness {
        int (*state)(void *context, uint32_t incarnation);
        void *context;
};

/**
 * struct shmr_wait - how a call waits, and for how long
 * @pause:   called between two checks; returns SHMR_AGAIN, SHMR_SLEEP or SHMR_GIVE_UP. Any other
 *           number is SHMR_GIVE_UP. A bootloader checks for Ctrl-C here
 * @sleep:   sleeps until the word *@ring_count differs from @seen (compare the words as they are,
 *           without changing the byte order), until a peer rings in another way, or for a limited
 *           time; may return at any time. May be NULL if @pause never returns SHMR_SLEEP
 * @context: for the caller's functions
 *
 * Fill it in, or let shmr_wait_spin_checks(), shmr_wait_spin_yield(), shmr_wait_poll(),
 * shmr_wait_futex() or shmr_wait_session() do that. Fill in a new struct for each wait. A NULL
 * pointer to this struct means: check once.
 */
struct shmr_wait {
        int (*pause)(struct shmr_wait *wait);
        void (*sleep)(struct shmr_wait *wait, const uint32_t *ring_count, uint32_t seen);
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
 * struct shmr_doorbell - wakes a peer: by a futex, an eventfd, a hypercall or an interrupt
 * @ring:    wakes one partition that sleeps on @ring_count, or all of them if @all is not 0. An
 *           unnecessary call is harmless
 * @context: passed to @ring
 *
 * A NULL pointer to this struct, or a NULL @ring, means no doorbell: the peer polls.
 */
struct shmr_doorbell {
        void (*ring)(void *context, const uint32_t *ring_count, int all);
        void *context;
};

/**
 * struct shmr_arrival - all parties have arrived
 * @phase:  the number of the phase, from 1; 1 follows 2^32 - 1
 * @leader: true for exactly one of the parties
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
 * Handles that are opened through a session point to it: it must not move while any of them is
 * open. If it was moved or overwritten, calls on them return SHMR_EINVAL with the word "session".
 *
 * While one thread makes calls on the session (shmr_session_beat(), for example), others may open
 * clients, servers, senders and receivers on it and use them. Two threads must not make such calls
 * on the session at once.
 */
struct shmr_session {
        struct shmr_error error;
        uint64_t opaque[48];
};

/**
 * struct shmr_channel_options - the capacities of a channel's rings
 * @command_capacity: bytes of the ring from the client to the server, a power of two from 64; the
 *                    longest command is slightly shorter than half of it. 0 is 16 KiB
 * @result_capacity:  bytes of the ring from the server to the client; 0 is 16 KiB
 *
 * Both ends must give the same capacities.
 */
struct shmr_channel_options {
        size_t command_capacity;
        size_t result_capacity;
};

/**
 * struct shmr_call - a call to be finished, or to be answered
 * @number: its number, from 1; 0 is no call
 * @peer:   the epoch of the other end that it was sent to, or that it is from
 *
 * A value, not a handle. shmr_client_finish_call() and shmr_server_answer() zero it. Using it
 * after that returns SHMR_EINVAL with the word "call".
 */
struct shmr_call {
        uint32_t number;
        uint32_t peer;
};

/**
 * struct shmr_consumer - the consuming end of a ring
 * @error: why the last call on it failed
 *
 * Used by one thread at a time. Aligned, so that the two ends of a ring in one program do not
 * share a cache line.
 */
struct SHMR_ALIGNED(128) shmr_consumer {
        struct shmr_error error;
        uint64_t opaque[58];
};

/**
 * struct shmr_ring_view - the words of a ring
 * @error:     the first invalid word; its status is SHMR_OK if there is none
 * @capacity:  bytes of the ring's data
 * @records:   unreleased records, counted up to the limit
 * @bytes:     bytes that they occupy
 * @producer:  the incarnation that holds the producing end, or held it last; 0 if there was none
 *             yet
 * @producing: false if that incarnation has closed the end
 * @consumer:  the incarnation that holds the consuming end, or held it last; 0 if there was none
 *             yet
 * @consuming: false if that incarnation has closed the end
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
 * struct shmr_lock_view - the words of a lock
 * @error:   the first invalid word; its status is SHMR_OK if there is none
 * @owner:   the incarnation that holds the lock, or for a reader-writer lock the writer; 0 if
 *           there is none
 * @health:  SHMR_HEALTH_WHOLE, SHMR_HEALTH_SUSPECT or SHMR_HEALTH_POISONED
 * @waiting: true if a partition may be sleeping until the lock is free
 */
struct shmr_lock_view {
        struct shmr_error error;
        uint32_t owner;
        uint32_t health;
        bool waiting;
};

/**
 * struct shmr_finding - whether one feature works across the memory
 * @state:    SHMR_UNKNOWN, SHMR_WORKS or SHMR_BROKEN
 * @wrong:    the number of attempts that failed, if it is broken; else 0
 * @attempts: the number of attempts, if it is broken; else 0
 */
struct shmr_finding {
        uint32_t state;
        uint32_t wrong;
        uint32_t attempts;
};

/**
 * struct shmr_verdict - the results of a test of the memory by two partitions
 * @read_modify_write: needed to create and remove segments, and by mutexes, semaphores and
 *                     reader-writer locks
 * @fences:            needed by locks, by barriers, and to sleep until a peer rings
 */
struct shmr_verdict {
        struct shmr_finding read_modify_write;
        struct shmr_finding fences;
};

/**
 * struct shmr_heartbeats - reports partitions whose heartbeats stand still as silent
 * @error: why the last call on it failed
 *
 * For partitions on different kernels. An incarnation is gone if it left, or if a later
 * incarnation of its partition has attached. Silence alone does not mean that it is gone, unless
 * shmr_heartbeats_presume_gone_after() is called. Needs no closing.
 */
struct shmr_heartbeats {
        struct shmr_error error;
        uint64_t opaque[550];
};

/**
 * struct shmr_registry - the table in a region that finds a segment by its identifier
 * @error: why the last call on it failed
 *
 * Needs no closing. Several handles on one registry may be open.
 */
struct shmr_registry {
        struct shmr_error error;
        uint64_t opaque[18];
};

/**
 * struct shmr_clock - a clock
 * @now_us:  returns microseconds since a fixed moment, in all 64 bits. If it goes back, for
 *           example because a shorter counter wraps, the whole limit starts again for every
 *           partition
 * @context: passed to @now_us
 */
struct shmr_clock {
        uint64_t (*now_us)(void *context);
        void *context;
};

#if defined(SHMR_LINUX)
/**
 * struct shmr_processes - reports partitions whose processes have ended as gone
 * @error: why the last call on it failed
 *
 * For partitions that are processes on one kernel, and that attached with shmr_process_this().
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
 * A forked child does not have the mapping: its accesses fault (SIGSEGV). The child maps the
 * memory itself, or the parent calls shmr_mapping_inherit() before the fork.
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
 * An incarnation holds it, not a thread: the threads of a partition exclude each other by other
 * means. Needs compare-and-swap on this memory. Needs no closing.
 */
struct shmr_mutex {
        struct shmr_error error;
        uint64_t opaque[12];
};

/**
 * struct shmr_attachment - a partition's attachment to a region
 * @error: why the last call on it failed
 */
struct shmr_attachment {
        struct shmr_error error;
        uint64_t opaque[11];
};

/**
 * struct shmr_process - how a partition's kernel identifies its process
 * @namespace_id: identifies the kernel, the PID namespace and the time namespace; 0 if unknown
 * @number:       the process's number there
 * @start:        when it started, low 32 bits
 * @image:        distinguishes the programs that the process runs one after the other; 0 if
 *                unknown
 */
struct shmr_process {
        uint32_t namespace_id;
        uint32_t number;
        uint32_t start;
        uint32_t image;
};

/**
 * struct shmr_partition - the contents of a partition's slot
 * @incarnation: its incarnation, or its last one; 0 if it never attached
 * @attached:    true until it leaves. A partition that was killed has not left
 * @heartbeat:   changes while the partition runs; only a difference has a meaning
 * @process:     how its kernel identifies its process
 */
struct shmr_partition {
        uint32_t incarnation;
        bool attached;
        uint32_t heartbeat;
        struct shmr_process process;
};

/**
 * struct shmr_platform - the services that a session needs from its platform
 * @now:         returns nanoseconds since a fixed moment; never goes back. Required
 * @sleep:       sleeps until a peer wakes this partition, at most @longest nanoseconds; may return
 *               at any time. A sleep by futex or WFE must begin only if the word *@ring_count is
 *               still @seen (compare the words as they are, without changing the byte order).
 *               NULL: the processor polls
 * @wake:        wakes the peer that sleeps on @ring_count, by an interrupt, a hypercall or a
 *               futex; the peer must then see everything that was stored before. @reason is
 *               SHMR_RECORDS, SHMR_SPACE or SHMR_LOCK. NULL: peers poll
 * @state:       returns an enum shmr_partition_state: what is known about @incarnation, which is
 *               attached according to its slot; @process identifies its process. SHMR_GONE is a
 *               promise: others then take over what @incarnation holds. Any number that is not a
 *               state counts as SHMR_ALIVE. NULL: the slot decides, so that a partition that was
 *               killed counts as alive until its next incarnation attaches
 * @interrupted: returns true to end every wait now, as if its deadline had passed: on Ctrl-C, or
 *               at a shutdown. Called before each sleep. NULL: never
 * @context:     passed to all functions
 * @process:     how peers on the same kernel identify this partition: shmr_process_this(), or
 *               zeroes
 *
 * Any thread that makes a call on a session, or on a handle that was opened through it, may call
 * these functions. They must not make such calls themselves.
 */
struct shmr_platform {
        uint64_t (*now)(void *context);
        void (*sleep)(void *context, const uint32_t *ring_count, uint32_t seen, uint64_t longest);
        void (*wake)(void *context, const uint32_t *ring_count, int reason);
        int (*state)(void *context, uint32_t incarnation, const struct shmr_process *process);
        bool (*interrupted)(void *context);
        void *context;
        struct shmr_process process;
};

/**
 * struct shmr_producer - the producing end of a ring
 * @error: why the last call on it failed
 *
 * Used by one thread at a time. Aligned, so that the two ends of a ring in one program do not
 * share a cache line.
 */
struct SHMR_ALIGNED(128) shmr_producer {
        struct shmr_error error;
        uint64_t opaque[58];
};

/**
 * struct shmr_slice - bytes to read
 * @base: the first byte, outside the region
 * @len:  the number of bytes
 */
struct shmr_slice {
        const void *base;
        size_t len;
};

/**
 * struct shmr_receiver - the receiving end of one ring
 * @error: why the last call on it failed
 *
 * Each received record wakes the sender, if the sender waits for room.
 */
struct SHMR_ALIGNED(128) shmr_receiver {
        struct shmr_error error;
        uint64_t opaque[76];
};

/**
 * struct shmr_region - memory with a header that identifies it as a region
 * @error: why the last call on it failed
 *
 * Needs no closing. The memory must stay mapped while anything in it is used.
 */
struct shmr_region {
        struct shmr_error error;
        uint64_t opaque[8];
};

/**
 * struct shmr_geometry - the sizes of a registry
 * @segments:   the number of rows, a power of two from 2 to 2^16
 * @partitions: the number of slots, 1 to 128; the largest partition number
 * @block_size: bytes of the unit of allocation, a power of two from 128 to 2^20
 */
struct shmr_geometry {
        size_t segments;
        size_t partitions;
        size_t block_size;
};

/**
 * struct shmr_rwlock - a reader-writer lock that survives its holders
 * @error: why the last call on it failed
 *
 * A waiting writer goes before new readers. Needs compare-and-swap on this memory. Needs no
 * closing.
 */
struct shmr_rwlock {
        struct shmr_error error;
        uint64_t opaque[18];
};

/**
 * struct shmr_semaphore - a counting semaphore whose permits are recovered from dead partitions
 * @error: why the last call on it failed
 *
 * Permits belong to an incarnation, not to a thread. Needs compare-and-swap on this memory. Needs
 * no closing.
 */
struct shmr_semaphore {
        struct shmr_error error;
        uint64_t opaque[10];
};

/**
 * struct shmr_sender - the sending end of one ring
 * @error: why the last call on it failed
 *
 * Each sent record wakes the receiver, if the receiver sleeps.
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
 * @partition:          its number, from 1; by agreement it belongs to this partition
 * @without_rmw:        true for memory without compare-and-swap: nothing is created, and every
 *                      segment must already exist
 * @take_over:          an incarnation of this partition that the caller knows to be gone, because
 *                      the caller ended it or an operator said so; 0 for none. If it is alive, it
 *                      is evicted
 * @wait_for_earlier:   nanoseconds to wait until an earlier incarnation of this partition is known
 *                      to be gone; 0: do not wait
 * @presume_gone_after: nanoseconds after which an earlier incarnation is presumed gone if its
 *                      heartbeat stands still during @wait_for_earlier, which must be longer;
 *                      0 for never. For platforms that have no other way to know, and where
 *                      only one partition can have this number. An earlier incarnation that was
 *                      only slow is evicted
 * @geometry:           the registry's geometry for shmr_session_create(), or NULL for 64 segments,
 *                      64 partitions and blocks of 128 bytes
 *
 * Start with zeroes and set @partition.
 */
struct shmr_session_options {
        uint8_t partition;
        bool without_rmw;
        uint32_t take_over;
        uint64_t wait_for_earlier;
        uint64_t presume_gone_after;
        const struct shmr_geometry *geometry;
};

/**
 * struct shmr_request - which segment a registry has to find or create
 * @name:  1 to 32 bytes, or NULL; its identifier is shmr_id_from_name()
 * @id:    the identifier if there is no name; not 0
 * @kind:  SHMR_KIND_RING and so on
 * @len:   bytes, as shmr_ring_len() and the like return
 * @align: a power of two, or 0 for the minimum, which is 128
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
 * A snapshot has one writer. Needs no closing.
 */
struct shmr_snapshot_writer {
        struct shmr_error error;
        uint64_t opaque[7];
};

/**
 * struct shmr_snapshot_reader - a side of a snapshot that reads
 * @error: why the last call on it failed
 *
 * A snapshot can have any number of readers. Needs no closing.
 */
struct shmr_snapshot_reader {
        struct shmr_error error;
        uint64_t opaque[7];
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * shmr_bakery_len() - the length of a segment for a bakery mutex
 * @data: bytes that it protects
 *
 * Return: the len for struct shmr_request; 0 if @data is more than 1 GiB.
 */
size_t shmr_bakery_len(size_t data);

/**
 * shmr_bakery_open() - open the bakery mutex in a segment
 * @bakery:      to be opened
 * @segment:     its segment; a zeroed segment is a free mutex
 * @incarnation: the caller's
 * @limit:       partitions 1 to @limit use the mutex; at most 64. All must give the same number; a
 *               small one makes locking faster
 *
 * No other handle of @incarnation on this mutex may be used any more: two handles would not
 * exclude each other.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
 *   shmr_bakery_len().
 * * SHMR_NO_SUCH_PARTITION: the caller's number is larger than @limit. Use a larger limit in all
 *   partitions.
 * * SHMR_EINVAL, SHMR_EVICTED
 */
enum shmr_status shmr_bakery_open(struct shmr_bakery *bakery,
                                  const struct shmr_segment *segment,
                                  uint32_t incarnation,
                                  uint8_t limit);

/**
 * shmr_bakery_data() - the bytes that a bakery mutex protects
 * @segment: a bakery mutex's segment
 *
 * Return: the bytes, which only the holder of the mutex may use; NULL if @segment is too short.
 */
void *shmr_bakery_data(const struct shmr_segment *segment);

/**
 * shmr_bakery_try_lock() - take the mutex if it is free or its owner is gone
 * @bakery:   a bakery mutex
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return: the statuses of shmr_bakery_lock() without SHMR_TIMED_OUT, and
 * * SHMR_BUSY: an incarnation holds it, perhaps the caller's own. Try again later.
 */
enum shmr_status shmr_bakery_try_lock(struct shmr_bakery *bakery,
                                      const struct shmr_liveness *liveness);

/**
 * shmr_bakery_lock() - take the mutex, and wait for it
 * @bakery:   a bakery mutex
 * @wait:     how to wait, and for how long
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return:
 * * SHMR_OK: the caller holds the mutex
 * * SHMR_OWNER_DIED: the caller holds the mutex, but its last owner died while it held it, and the
 *   protected bytes may be half-changed. Repair them and call shmr_bakery_make_consistent(); an
 *   unlock without that poisons the mutex permanently.
 * * SHMR_TIMED_OUT: the mutex was not free in time. The error's value is the incarnation that the
 *   caller waits for if that one is silent, else 0. Try again, or find out what happened to it.
 * * SHMR_POISONED: an owner died and the bytes were not repaired. Permanent: create another
 *   segment.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_CORRUPT
 */
enum shmr_status shmr_bakery_lock(struct shmr_bakery *bakery,
                                  struct shmr_wait *wait,
                                  const struct shmr_liveness *liveness);

/**
 * shmr_bakery_make_consistent() - declare that the bytes which a dead owner left are repaired
 * @bakery: a bakery mutex that the caller holds
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller does not hold it, and the error's value is the incarnation that
 *   does, or 0. Do not use the protected bytes.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_bakery_make_consistent(struct shmr_bakery *bakery);

/**
 * shmr_bakery_unlock() - release the mutex
 * @bakery: a bakery mutex that the caller holds
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Do not trust
 *   what was read from the protected bytes.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_bakery_unlock(struct shmr_bakery *bakery);

/**
 * shmr_bakery_owner() - the incarnation that holds the mutex
 * @bakery: a bakery mutex
 *
 * Return: the incarnation, for inspection: it may have changed since. 0 if the mutex is free or
 * damaged, or @bakery is not open.
 */
uint32_t shmr_bakery_owner(const struct shmr_bakery *bakery);

/**
 * shmr_barrier_len() - the length of a segment for a barrier
 * @partitions: the largest partition number of a party
 *
 * Return: the len for struct shmr_request.
 */
size_t shmr_barrier_len(uint8_t partitions);

/**
 * shmr_barrier_open() - open the barrier in a segment
 * @barrier:     to be opened
 * @segment:     its segment; a zeroed segment is a barrier in its first phase
 * @incarnation: the caller's
 * @parties:     the number of parties
 * @doorbell:    wakes partitions that wait, copied; or NULL
 *
 * No other handle of @incarnation on this barrier may be used any more: two handles would let the
 * other parties pass early.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NO_SUCH_PARTITION: the segment has no entry for the caller's number, and the error's
 *   value is the number of entries. Use shmr_barrier_len() with a larger number.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_barrier_open(struct shmr_barrier *barrier,
                                   const struct shmr_segment *segment,
                                   uint32_t incarnation,
                                   size_t parties,
                                   const struct shmr_doorbell *doorbell);

/**
 * shmr_barrier_try_wait() - arrive, if the caller has not yet, and check for the other parties
 * @barrier:  a barrier
 * @liveness: knows which partitions are gone, or NULL
 * @arrival:  set when all parties have arrived
 *
 * Return: the statuses of shmr_barrier_wait() without SHMR_TIMED_OUT, and
 * * SHMR_BUSY: a party is missing; the caller has arrived. Call again later.
 */
enum shmr_status shmr_barrier_try_wait(struct shmr_barrier *barrier,
                                       const struct shmr_liveness *liveness,
                                       struct shmr_arrival *arrival);

/**
 * shmr_barrier_wait() - arrive, and wait for the other parties
 * @barrier:  a barrier
 * @wait:     how to wait, and for how long
 * @liveness: knows which partitions are gone, or NULL
 * @arrival:  set when all parties have arrived
 *
 * The caller has arrived even if the call fails: the next call continues to wait.
 *
 * Return:
 * * SHMR_OK: all parties have arrived
 * * SHMR_PARTY_DIED: a party is gone, and the error's value is its incarnation. If it will
 *   restart, wait again without @liveness.
 * * SHMR_TIMED_OUT: a party is missing. The error's value is its incarnation if it is silent, else
 *   0. Wait again.
 * * SHMR_EVICTED: a later incarnation of this partition uses the barrier. Permanent.
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_barrier_wait(struct shmr_barrier *barrier,
                                   struct shmr_wait *wait,
                                   const struct shmr_liveness *liveness,
                                   struct shmr_arrival *arrival);

#if defined(SHMR_NONCOHERENT)
/**
 * shmr_cache_maintain() - maintain the data cache at every access to shared memory
 * @clean:      writes cache lines that contain any of these bytes back to memory; returns after
 *              that is complete
 * @invalidate: invalidates cache lines that contain any of these bytes. If several threads use
 *              shared memory, it must write dirty lines back first (arm64: dc civac)
 *
 * For memory that no hardware keeps coherent and that cannot be mapped uncached. The library must
 * be built with the feature `noncoherent`. Call this once, before the first region is attached.
 *
 * Supported are rings, snapshots, attaching and lookup, with waits that poll, and creating
 * segments on one side before the other side attaches; docs/memory-model.md has the conditions.
 * Locks do not work on such memory.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_cache_maintain(void (*clean)(const void *at, size_t len),
                                     void (*invalidate)(const void *at, size_t len));
#endif

/**
 * shmr_client_open() - open the end of a channel that sends commands
 * @client:  to be opened
 * @session: a session, which must not move while @client is open
 * @name:    the channel's name, 1 to 24 bytes
 * @options: capacities, or NULL for 16 KiB in each direction
 *
 * The first end that opens the channel creates it.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_CLAIMED: a partition that is not known to be gone holds this end; the error's value is
 *   that incarnation. Try again after it has closed the end, or is known to be gone.
 * * SHMR_LENGTH: the channel exists with another capacity. Use the same capacities on both ends.
 * * SHMR_KIND, SHMR_COLLISION: the name is used for something else. Use another name.
 * * SHMR_TABLE_FULL, SHMR_OUT_OF_SPACE: the region has no room for the channel. Use a larger
 *   region.
 * * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again.
 * * SHMR_NO_RMW: the channel does not exist, and the session creates nothing. Open the other end
 *   first.
 * * SHMR_EINVAL: also for a name or a capacity that no channel can have
 * * SHMR_OPEN, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_client_open(struct shmr_client *client,
                                  const struct shmr_session *session,
                                  const char *name,
                                  const struct shmr_channel_options *options);

/**
 * shmr_client_max_len() - the length of the longest command
 * @client: a client
 *
 * Return: the number of bytes; 0 if @client is not open.
 */
size_t shmr_client_max_len(const struct shmr_client *client);

/**
 * shmr_client_discarded() - the number of messages that this end did not receive
 * @client: a client
 *
 * Return: messages of dead servers, and answers to calls that were given up or that an earlier
 * client made, modulo 2^32; 0 if @client is not open.
 */
uint32_t shmr_client_discarded(const struct shmr_client *client);

/**
 * shmr_client_server_is_gone() - whether the server is gone or has left the channel
 * @client: a client
 *
 * Return: true if the partition that holds the server's end is gone, or the server that this
 * client exchanged messages with has left the channel; else false.
 */
bool shmr_client_server_is_gone(const struct shmr_client *client);

/**
 * shmr_client_send() - send a command as a message that expects no answer
 * @client:  a client
 * @command: the bytes to send, outside the region
 * @len:     number of bytes, at most shmr_client_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * A command that is sent before there is a server is kept for the first server.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT: no room in time; nothing was sent. Try again later.
 * * SHMR_RESTARTED: the server was restarted; nothing was sent. Reported once. Send again if the
 *   command suits the new server.
 * * SHMR_PEER_GONE: the ring is full, and no server is left to make room; nothing was sent. Try
 *   again later: a new server makes room.
 * * SHMR_TOO_LONG: the command can never be sent. Use a larger capacity.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_client_send(struct shmr_client *client,
                                  const void *command,
                                  size_t len,
                                  uint64_t timeout);

/**
 * shmr_client_recv() - receive a message of the server that is not an answer
 * @client:  a client
 * @buffer:  where the message goes
 * @size:    bytes of @buffer
 * @len:     set to the length of the message
 * @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * If the answer to an unfinished call is before the message on the ring, it is lost:
 * shmr_client_finish_call() for that call then finds none, and returns SHMR_TIMED_OUT.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT: no message in time. Try again later.
 * * SHMR_RESTARTED: the server was restarted; what follows is from the new server. Reported once.
 *   Receive again.
 * * SHMR_BUFFER_TOO_SHORT: the message stays, and the error's value is its length. Receive again
 *   with a larger buffer.
 * * SHMR_BAD_MESSAGE: the server broke the rules of calls; the message was skipped. Receive again,
 *   or give up this server.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_client_recv(struct shmr_client *client,
                                  void *buffer,
                                  size_t size,
                                  size_t *len,
                                  uint64_t timeout);

/**
 * shmr_client_skip() - release a message without copying it
 * @client: a client
 *
 * For a message that shmr_client_recv() returned SHMR_BUFFER_TOO_SHORT for. Does nothing if there
 * is no message now.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_RESTARTED: the server was restarted, and nothing was released. Receive again.
 * * SHMR_BAD_MESSAGE: as for shmr_client_recv().
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_client_skip(struct shmr_client *client);

/**
 * shmr_client_call() - send a command and wait for its answer
 * @client:      a client
 * @command:     the bytes to send, outside the region
 * @command_len: number of bytes, at most shmr_client_max_len(); may be 0
 * @answer:      where the answer goes; may overlap @command
 * @size:        bytes of @answer
 * @len:         set to the length of the answer
 * @timeout:     nanoseconds for the whole call; SHMR_FOREVER is no limit
 *
 * The call ends as soon as the session's platform knows that the server is gone.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT, SHMR_PEER_GONE: no answer; it is unknown whether the command was carried out.
 *   Call again only if it may be carried out twice.
 * * SHMR_ANSWER_LOST: the server was restarted before it answered. Decide as for SHMR_PEER_GONE.
 * * SHMR_RESTARTED: the server was restarted; nothing was sent. Reported once. Call again if the
 *   command is meant for the new server.
 * * SHMR_MESSAGE_FIRST: the command was sent, but a message is next, and the answer will be lost.
 *   To receive both, use shmr_client_start_call() instead.
 * * SHMR_TOO_LONG: the command can never be sent. Use a larger capacity.
 * * SHMR_BUFFER_TOO_SHORT: the answer is lost, and the error's value is its length. Use a larger
 *   buffer.
 * * SHMR_BAD_MESSAGE: the server broke the rules of calls. Give up this server.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_client_call(struct shmr_client *client,
                                  const void *command,
                                  size_t command_len,
                                  void *answer,
                                  size_t size,
                                  size_t *len,
                                  uint64_t timeout);

/**
 * shmr_client_start_call() - send a command as a call, without waiting for the answer
 * @client:  a client
 * @command: the bytes to send, outside the region
 * @len:     number of bytes, at most shmr_client_max_len(); may be 0
 * @call:    set to the call, for shmr_client_finish_call()
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Any number of calls can wait for their answers. SHMR_BAD_MESSAGE reports a second answer to one
 * of the last 64 calls only.
 *
 * Return: the statuses of shmr_client_send().
 */
enum shmr_status shmr_client_start_call(struct shmr_client *client,
                                        const void *command,
                                        size_t len,
                                        struct shmr_call *call,
                                        uint64_t timeout);

/**
 * shmr_client_finish_call() - wait for the answer to a call
 * @client:  the client that started the call
 * @call:    the call; zeroed if there is nothing more to wait for
 * @answer:  where the answer goes
 * @size:    bytes of @answer
 * @len:     set to the length of the answer
 * @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * This gives up the unfinished calls that the server answered on the ring before this one: the
 * answers are lost, and finishing such a call later returns SHMR_TIMED_OUT.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT: no answer in time. Finish the call later, or give it up.
 * * SHMR_MESSAGE_FIRST: a message is next. Receive it by shmr_client_recv(), then finish the call.
 * * SHMR_PEER_GONE, SHMR_ANSWER_LOST: there will be no answer, because the server is gone or was
 *   restarted; it is unknown whether the command was carried out. Call again only if it may be
 *   carried out twice.
 * * SHMR_BUFFER_TOO_SHORT: the answer is lost, and the error's value is its length. Use a larger
 *   buffer.
 * * SHMR_BAD_MESSAGE: the server broke the rules of calls. Finish the call later, or give up this
 *   server.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_client_finish_call(struct shmr_client *client,
                                         struct shmr_call *call,
                                         void *answer,
                                         size_t size,
                                         size_t *len,
                                         uint64_t timeout);

/**
 * shmr_client_close() - close this end of the channel
 * @client: the client to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_client_close(struct shmr_client *client);

/**
 * shmr_consumer_open() - claim the consuming end of a ring
 * @consumer:    to be opened
 * @ring:        the ring's segment; a zeroed segment is an empty ring
 * @incarnation: the caller's
 * @on_restart:  SHMR_KEEP or SHMR_DISCARD
 *
 * Continues where the last consumer stopped.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_CLAIMED: an incarnation holds this end, perhaps the caller's own by another handle; it is
 *   the error's value. If it is gone, use shmr_consumer_take_over().
 * * SHMR_LENGTH: the segment is not a ring, and the error's value is its length. Check the
 *   segment.
 * * SHMR_EINVAL, SHMR_OPEN, SHMR_CORRUPT
 */
enum shmr_status shmr_consumer_open(struct shmr_consumer *consumer,
                                    const struct shmr_segment *ring,
                                    uint32_t incarnation,
                                    uint32_t on_restart);

/**
 * shmr_consumer_take_over() - claim the consuming end in place of an incarnation that is gone
 * @consumer:    to be opened
 * @ring:        the ring's segment
 * @incarnation: the caller's
 * @on_restart:  SHMR_KEEP or SHMR_DISCARD
 *
 * If the other incarnation is alive, its next call returns SHMR_EVICTED. An earlier handle of
 * @incarnation itself does not notice: it must not be used any more.
 *
 * Return: the statuses of shmr_consumer_open(). SHMR_CLAIMED: another incarnation claimed the end
 * at the same time.
 */
enum shmr_status shmr_consumer_take_over(struct shmr_consumer *consumer,
                                         const struct shmr_segment *ring,
                                         uint32_t incarnation,
                                         uint32_t on_restart);

/**
 * shmr_consumer_pop() - copy the next record and release it
 * @consumer: a consumer
 * @record:   where the record goes
 * @size:     bytes of @record
 * @len:      set to the length of the record
 *
 * Never waits, and never rings the doorbell (shmr_consumer_notify()). Discards at most 64 records
 * in one call. After that it returns SHMR_EMPTY although there may be more records;
 * shmr_consumer_wait() then returns at once.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EMPTY: no record now. Wait, or try again later.
 * * SHMR_RESTARTED: the producer was restarted; what follows is from the new producer. Reported
 *   once. Pop again.
 * * SHMR_TOO_LONG: the record is longer than @size and stays; the error's value is its length. Pop
 *   again with more room.
 * * SHMR_CORRUPT: the producer broke the protocol. Permanent: close the handle.
 * * SHMR_EVICTED: another incarnation has taken over this end, and receives the record that is in
 *   @record. Permanent: close the handle.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_consumer_pop(struct shmr_consumer *consumer,
                                   void *record,
                                   size_t size,
                                   size_t *len);

/**
 * shmr_consumer_peek() - find the next record in place
 * @consumer: a consumer
 * @at:       set to its first byte, in the region, a multiple of 8
 * @len:      set to its length
 *
 * The record stays the next one until shmr_consumer_release(). A hostile producer can change it
 * while it is read: copy it, then check the copy.
 *
 * Return: the statuses of shmr_consumer_pop() without SHMR_TOO_LONG.
 */
enum shmr_status shmr_consumer_peek(struct shmr_consumer *consumer,
                                    const void **at,
                                    size_t *len);

/**
 * shmr_consumer_release() - give the space of the record that was peeked last back to the producer
 * @consumer: a consumer
 *
 * Does nothing if no record was peeked.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EVICTED: another incarnation has taken over this end, and receives the record, too.
 *   Permanent: close the handle.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_consumer_release(struct shmr_consumer *consumer);

/**
 * shmr_consumer_drain() - pass records to a function and release them together
 * @consumer: a consumer
 * @limit:    the most records
 * @handle:   called for each record, in place. If it returns 0, the record stays the next one and
 *            the drain ends. It must not make calls on @consumer
 * @context:  passed to @handle
 * @count:    set to the number of released records, or NULL
 *
 * Return:
 * * SHMR_OK: even if there was no record
 * * SHMR_RESTARTED, SHMR_CORRUPT: as for shmr_consumer_pop(); only if there is no record before
 *   that
 * * SHMR_EVICTED: another incarnation has taken over this end, and receives all records of this
 *   call. Permanent: close the handle.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_consumer_drain(struct shmr_consumer *consumer,
                                     size_t limit,
                                     int (*handle)(void *context, const void *at, size_t len),
                                     void *context,
                                     size_t *count);

/**
 * shmr_consumer_wait() - wait until there is a record, or something to report
 * @consumer: a consumer
 * @wait:     how to wait, and for how long
 *
 * Return:
 * * SHMR_OK: the next call on @consumer returns it
 * * SHMR_TIMED_OUT: nothing in time. Wait again.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_consumer_wait(struct shmr_consumer *consumer, struct shmr_wait *wait);

/**
 * shmr_consumer_notify() - publish the released space, and ring the producer if it sleeps
 * @consumer: a consumer
 * @doorbell: wakes the producer, or NULL
 *
 * Call it after releasing records. Without it, the producer sees released space in steps of an
 * eighth of the ring, and all of it when a call finds no record. After SHMR_OK a later holder of
 * this end continues after the released records.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EVICTED: another incarnation has taken over this end. Permanent: close the handle.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_consumer_notify(struct shmr_consumer *consumer,
                                      const struct shmr_doorbell *doorbell);

/**
 * shmr_consumer_position() - the position of the next record
 * @consumer: a consumer
 *
 * Return: the position, which grows modulo 2^32; a later incarnation continues there. 0 if
 * @consumer is not open.
 */
uint32_t shmr_consumer_position(const struct shmr_consumer *consumer);

/**
 * shmr_consumer_discarded() - the number of records that consumers of this ring discarded
 * @consumer: a consumer
 *
 * Return: records that this consumer and earlier ones discarded, modulo 2^32; 0 if @consumer is
 * not open. If a consumer died while it discarded a record, that record can be counted twice.
 */
uint32_t shmr_consumer_discarded(const struct shmr_consumer *consumer);

/**
 * shmr_consumer_close() - close the consuming end
 * @consumer: the consumer to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_consumer_close(struct shmr_consumer *consumer);

#if defined(SHMR_LINUX)
/**
 * shmr_doorbell_futex() - the doorbell of peers that wait by shmr_wait_futex()
 *
 * Return: the doorbell.
 */
struct shmr_doorbell shmr_doorbell_futex(void);
#endif

/**
 * shmr_ring_inspect() - inspect a ring in any state
 * @segment: the ring's segment
 * @limit:   the most records to count
 * @view:    set to what was found
 *
 * Only loads. A ring in use changes meanwhile.
 *
 * Return:
 * * SHMR_OK: even for a damaged ring; then view.error names the word
 * * SHMR_LENGTH: the segment is not a ring. Check the segment's kind.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_ring_inspect(const struct shmr_segment *segment,
                                   size_t limit,
                                   struct shmr_ring_view *view);

/**
 * shmr_lock_inspect() - inspect a mutex, a bakery mutex or a reader-writer lock in any state
 * @segment: its segment, from a registry, because the segment's kind chooses the lock
 * @view:    set to what was found
 *
 * Only loads.
 *
 * Return:
 * * SHMR_OK: even for a damaged lock; then view.error names the word
 * * SHMR_KIND: the segment is none of these locks
 * * SHMR_TOO_SHORT: the segment is too short for its kind
 * * SHMR_EINVAL
 */
enum shmr_status shmr_lock_inspect(const struct shmr_segment *segment,
                                   struct shmr_lock_view *view);

/**
 * shmr_litmus_len() - the length of a segment for the test
 *
 * Return: the len for struct shmr_request.
 */
size_t shmr_litmus_len(void);

/**
 * shmr_litmus_ask() - test with another partition what works across the memory
 * @segment: the test's segment; zeroed, or as an earlier test left it
 * @wait:    how long the other partition has to answer and to finish; a wait that polls gives
 *           better results than one that sleeps
 * @verdict: set to the results
 *
 * One partition asks, another one answers. The test takes some milliseconds if both run. The
 * results are meaningless if the other partition is hostile.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short. Use shmr_litmus_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_litmus_ask(const struct shmr_segment *segment,
                                 struct shmr_wait *wait,
                                 struct shmr_verdict *verdict);

/**
 * shmr_litmus_answer() - take part in a test, if a partition asks for one
 * @segment: the test's segment
 * @wait:    how long the asking partition has to finish
 * @verdict: set to the results
 *
 * Call it repeatedly, at shorter intervals than the asking partition waits. Each test is answered
 * once.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EMPTY: no partition asks. Try again later.
 * * SHMR_TOO_SHORT: the segment is too short. Use shmr_litmus_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_litmus_answer(const struct shmr_segment *segment,
                                    struct shmr_wait *wait,
                                    struct shmr_verdict *verdict);

/**
 * shmr_heartbeats_watch() - watch the heartbeats of a registry's partitions
 * @heartbeats: to be opened
 * @registry:   the registry
 * @limit_ms:   milliseconds that a heartbeat stands still before its partition is silent; 0 is
 *              SHMR_HEARTBEAT_LIMIT_MS
 * @clock:      the caller's clock; copied
 *
 * The limit of every partition starts when a state is asked for the first time, of whichever
 * partition. Ask several times within a limit. After a pause of more than half a limit between two
 * questions, the whole limit starts again for every partition.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_heartbeats_watch(struct shmr_heartbeats *heartbeats,
                                       const struct shmr_registry *registry,
                                       uint32_t limit_ms,
                                       const struct shmr_clock *clock);

/**
 * shmr_heartbeats_presume_gone_after() - presume that partitions are gone after a long silence
 * @heartbeats: open heartbeats
 * @limit_ms:   milliseconds that a heartbeat stands still before its partition is presumed gone;
 *              at least the limit of shmr_heartbeats_watch()
 *
 * For platforms that have no other way to know. A partition that was only slow loses its locks,
 * permits and ends of rings by this. When it continues, the step that it was in can still change
 * memory that others use by then; after that its calls return SHMR_EVICTED or SHMR_NOT_HELD.
 * Choose a limit longer than any pause of a partition that comes back: in a debugger, during a
 * snapshot of its machine, while its machine is suspended.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL: also for a limit of 0
 */
enum shmr_status shmr_heartbeats_presume_gone_after(struct shmr_heartbeats *heartbeats,
                                                    uint32_t limit_ms);

/**
 * shmr_heartbeats_liveness() - what heartbeats know about partitions, for calls that take a
 * liveness
 * @heartbeats: used by one thread at a time; must not move while the result is used
 *
 * Return: a liveness that refers to @heartbeats.
 */
struct shmr_liveness shmr_heartbeats_liveness(struct shmr_heartbeats *heartbeats);

#if defined(SHMR_LINUX)
/**
 * shmr_processes_watch() - watch the processes that attached to a registry
 * @processes: to be opened
 * @registry:  the registry
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_processes_watch(struct shmr_processes *processes,
                                      const struct shmr_registry *registry);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_processes_liveness() - what the kernel knows about partitions, for calls that take a
 * liveness
 * @processes: used by one thread at a time; must not move while the result is used
 *
 * Return: a liveness that refers to @processes.
 */
struct shmr_liveness shmr_processes_liveness(struct shmr_processes *processes);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_processes_close() - stop watching, and close the descriptors
 * @processes: the handle to close; no liveness of it is used any more
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_processes_close(struct shmr_processes *processes);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_memfd() - create and map anonymous zeroed memory
 * @mapping: to be opened
 * @name:    shown in /proc only
 * @len:     number of bytes
 *
 * Peers get the memory by its descriptor, shmr_mapping_fd(). No process can shrink it.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_memfd(struct shmr_mapping *mapping, const char *name, size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_fd() - map all of the memory of a descriptor
 * @mapping: to be opened
 * @fd:      the descriptor; duplicated, so the caller may close it
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_fd(struct shmr_mapping *mapping, int fd);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_shm() - map POSIX shared memory
 * @mapping: to be opened
 * @name:    such as "/name"
 * @len:     bytes to create it with if it does not exist; 0: do not create it
 *
 * New memory is allocated at once, so that later accesses cannot fail. If the memory exists with
 * another length, the errno is EEXIST.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_shm(struct shmr_mapping *mapping,
                              const char *name,
                              size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_unlink_shm() - remove the name of POSIX shared memory
 * @name: such as "/name"; existing mappings stay valid
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused
 * * SHMR_EINVAL
 */
enum shmr_status shmr_unlink_shm(const char *name);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_file() - map a file
 * @mapping: to be opened
 * @path:    the file, for example that of QEMU's memory-backend-file
 * @len:     bytes to create it with if it does not exist; 0: do not create it
 *
 * A new file is allocated at once, so that later accesses cannot fail. If the file exists with
 * another length, the errno is EEXIST.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_file(struct shmr_mapping *mapping, const char *path, size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_physical() - map reserved physical memory through /dev/mem
 * @mapping: to be opened
 * @base:    physical address, a multiple of the page size
 * @len:     number of bytes
 *
 * Needs root. The kernel must have /dev/mem and must not use that memory itself (memmap=, mem=, or
 * reserved-memory in the device tree).
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_physical(struct shmr_mapping *mapping,
                                   uint64_t base,
                                   size_t len);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_pci() - map a PCI device's memory
 * @mapping: to be opened
 * @path:    its resource file, such as /sys/bus/pci/devices/0000:00:04.0/resource2
 *
 * The device must be enabled.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_pci(struct shmr_mapping *mapping, const char *path);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_map_at() - map the memory of a mapping again, at a fixed address
 * @mapping: to be opened
 * @source:  the existing mapping
 * @address: the address; nothing may be mapped there
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_map_at(struct shmr_mapping *mapping,
                             const struct shmr_mapping *source,
                             size_t address);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_base() - the first byte of a mapping
 * @mapping: a mapping
 *
 * Return: its address, a multiple of the page size; NULL if @mapping is not open.
 */
void *shmr_mapping_base(const struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_len() - the length of a mapping
 * @mapping: a mapping
 *
 * Return: the number of bytes, rounded down to a multiple of 8; 0 if @mapping is not open.
 */
size_t shmr_mapping_len(const struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_fd() - the descriptor of a mapping's memory
 * @mapping: a mapping
 *
 * Return: the mapping's own descriptor, which the caller must not close; -1 if @mapping is not
 * open.
 */
int shmr_mapping_fd(const struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_check() - check that the mapping's name still names this memory
 * @mapping: a mapping
 *
 * If a file was removed or created again, other processes get other memory by its name. Nothing in
 * this memory shows that.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_FOUND: the file was removed. Unmap, and map the new file when it exists.
 * * SHMR_STALE: the name belongs to another file now. Unmap, and map it again.
 * * SHMR_TOO_SHORT: the file was truncated, and the error's value is its length. Accesses past its
 *   end fault (SIGBUS): unmap.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_mapping_check(struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_mapping_inherit() - let children that are forked from now on inherit a mapping
 * @mapping: a mapping
 *
 * For a child that continues in place of its parent. Both processes then have the same handles,
 * and the library cannot distinguish them: if both push or lock, records are lost and locks are
 * held twice. One of the two must not use the handles any more.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_SYSTEM: the kernel refused, and the error's value is its errno
 * * SHMR_EINVAL
 */
enum shmr_status shmr_mapping_inherit(struct shmr_mapping *mapping);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_unmap() - unmap the memory of a mapping
 * @mapping: the mapping to close; no handle over its memory is open, and nothing in it is used any
 *           more
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_unmap(struct shmr_mapping *mapping);
#endif

/**
 * shmr_mutex_len() - the length of a segment for a mutex
 * @data: bytes that it protects
 *
 * Return: the len for struct shmr_request; 0 if @data is more than 1 GiB.
 */
size_t shmr_mutex_len(size_t data);

/**
 * shmr_mutex_open() - open the mutex in a segment
 * @mutex:       to be opened
 * @segment:     its segment; a zeroed segment is a free mutex
 * @incarnation: the caller's
 * @doorbell:    wakes partitions that wait, copied; or NULL
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short for a mutex, and the error's value is its length. Use
 *   shmr_mutex_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_mutex_open(struct shmr_mutex *mutex,
                                 const struct shmr_segment *segment,
                                 uint32_t incarnation,
                                 const struct shmr_doorbell *doorbell);

/**
 * shmr_mutex_data() - the bytes that a mutex protects
 * @segment: a mutex's segment
 *
 * Return: the bytes, which only the holder of the mutex may use; NULL if @segment is too short.
 */
void *shmr_mutex_data(const struct shmr_segment *segment);

/**
 * shmr_mutex_try_lock() - take the mutex if it is free or its owner is gone
 * @mutex:    a mutex
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return: the statuses of shmr_mutex_lock() without SHMR_TIMED_OUT, and
 * * SHMR_BUSY: an incarnation holds it, perhaps the caller's own. Try again later.
 */
enum shmr_status shmr_mutex_try_lock(struct shmr_mutex *mutex,
                                     const struct shmr_liveness *liveness);

/**
 * shmr_mutex_lock() - take the mutex, and wait for it
 * @mutex:    a mutex
 * @wait:     how to wait, and for how long
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return:
 * * SHMR_OK: the caller holds the mutex
 * * SHMR_OWNER_DIED: the caller holds the mutex, but its last owner died while it held it, and the
 *   protected bytes may be half-changed. Repair them and call shmr_mutex_make_consistent(); an
 *   unlock without that poisons the mutex permanently.
 * * SHMR_TIMED_OUT: the mutex was not free in time. The error's value is the owner's incarnation
 *   if the owner is silent, else 0. Try again, or find out what happened to the owner.
 * * SHMR_POISONED: an owner died and the bytes were not repaired. Permanent: create another
 *   segment.
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_mutex_lock(struct shmr_mutex *mutex,
                                 struct shmr_wait *wait,
                                 const struct shmr_liveness *liveness);

/**
 * shmr_mutex_make_consistent() - declare that the bytes which a dead owner left are repaired
 * @mutex: a mutex that the caller holds
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller does not hold it, and the error's value is the incarnation that
 *   does, or 0. Do not use the protected bytes.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_mutex_make_consistent(struct shmr_mutex *mutex);

/**
 * shmr_mutex_unlock() - release the mutex
 * @mutex: a mutex that the caller holds
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Do not trust
 *   what was read from the protected bytes.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_mutex_unlock(struct shmr_mutex *mutex);

/**
 * shmr_mutex_owner() - the incarnation that holds the mutex
 * @mutex: a mutex
 *
 * Return: the incarnation, for inspection: it may have changed since. 0 if it is free, damaged or
 * @mutex is not open.
 */
uint32_t shmr_mutex_owner(const struct shmr_mutex *mutex);

/**
 * shmr_partition_attach() - attach a partition to a region, as its next incarnation
 * @attachment: to be opened
 * @registry:   the registry
 * @number:     the partition's number, from 1
 * @process:    shmr_process_this(), or NULL
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NO_SUCH_PARTITION: the region has no slot for @number, and the error's value is the
 *   number of slots. Use another number.
 * * SHMR_ATTACHED: an earlier incarnation has not left, and is the error's value. It is alive, or
 *   it was killed: use shmr_partition_attach_or_take_over().
 * * SHMR_EINVAL, SHMR_OPEN, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_partition_attach(struct shmr_attachment *attachment,
                                       const struct shmr_registry *registry,
                                       uint8_t number,
                                       const struct shmr_process *process);

/**
 * shmr_partition_attach_after() - attach a partition as the incarnation after one that is gone
 * @attachment: to be opened
 * @registry:   the registry
 * @earlier:    the incarnation that is gone. If it is alive, it is evicted
 * @process:    shmr_process_this(), or NULL
 *
 * Return: the statuses of shmr_partition_attach(); SHMR_ATTACHED if an incarnation other than
 * @earlier is attached.
 */
enum shmr_status shmr_partition_attach_after(struct shmr_attachment *attachment,
                                             const struct shmr_registry *registry,
                                             uint32_t earlier,
                                             const struct shmr_process *process);

/**
 * shmr_partition_attach_or_take_over() - attach a partition, and wait until its earlier
 * incarnation is known to be gone
 * @attachment: to be opened
 * @registry:   the registry
 * @number:     the partition's number, from 1
 * @process:    shmr_process_this(), or NULL
 * @wait:       how to wait, and for how long
 * @liveness:   knows which partitions are gone; a silent one is waited for
 *
 * Return: the statuses of shmr_partition_attach(); SHMR_ATTACHED if the earlier incarnation is not
 * known to be gone when @wait gives up.
 */
enum shmr_status shmr_partition_attach_or_take_over(struct shmr_attachment *attachment,
                                                    const struct shmr_registry *registry,
                                                    uint8_t number,
                                                    const struct shmr_process *process,
                                                    struct shmr_wait *wait,
                                                    const struct shmr_liveness *liveness);

/**
 * shmr_attachment_incarnation() - the incarnation of an attachment
 * @attachment: an attachment
 *
 * Return: one word, as all calls use for incarnations: bits 0 to 7 are the partition's number,
 * bits 8 to 30 the number of its incarnation; 0 if @attachment is not open.
 */
uint32_t shmr_attachment_incarnation(const struct shmr_attachment *attachment);

/**
 * shmr_attachment_beat() - show the other partitions that this one is alive
 * @attachment: an attachment
 *
 * Call it several times within the limit after which peers report the partition as silent.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EVICTED, SHMR_REFORMATTED: nothing was stored, and this partition must not use the region
 *   any more. Leave, and attach again.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_attachment_beat(struct shmr_attachment *attachment);

/**
 * shmr_attachment_leave() - leave the region
 * @attachment: the attachment to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_attachment_leave(struct shmr_attachment *attachment);

/**
 * shmr_partition_read() - read the slot of a partition
 * @registry:  the registry
 * @number:    the partition's number
 * @partition: set to the contents
 *
 * Only loads.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NO_SUCH_PARTITION: the region has no slot for @number, and the error's value is the
 *   number of slots
 * * SHMR_CORRUPT: the slot contains an incarnation of another partition
 * * SHMR_EINVAL
 */
enum shmr_status shmr_partition_read(struct shmr_registry *registry,
                                     uint8_t number,
                                     struct shmr_partition *partition);

#if defined(SHMR_LINUX)
/**
 * shmr_process_this() - this process, as peers on the same kernel identify it
 *
 * Return: the process; all 0 if /proc is not mounted or shows another PID namespace.
 */
struct shmr_process shmr_process_this(void);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_platform_same_kernel() - the platform of processes on one kernel
 *
 * The processes sleep on a futex, and the kernel (5.3 or later) reports which of them have ended.
 * A process in another PID or time namespace counts as alive until its next incarnation attaches.
 * Call this in the process that joins, not before a fork.
 *
 * Return: the platform.
 */
struct shmr_platform shmr_platform_same_kernel(void);
#endif

/**
 * shmr_ring_len() - the length of a segment for a ring
 * @capacity: bytes of its data, a power of two from 64 to 2^30
 *
 * Return: the len for struct shmr_request; 0 if no ring can have that capacity.
 */
size_t shmr_ring_len(size_t capacity);

/**
 * shmr_producer_open() - claim the producing end of a ring
 * @producer:    to be opened
 * @ring:        the ring's segment; a zeroed segment is an empty ring
 * @incarnation: the caller's
 *
 * Continues where the last producer stopped.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_CLAIMED: an incarnation holds this end, perhaps the caller's own by another handle; it is
 *   the error's value. If it is gone, use shmr_producer_take_over().
 * * SHMR_LENGTH: the segment is not a ring, and the error's value is its length. Check the
 *   segment.
 * * SHMR_EINVAL, SHMR_OPEN, SHMR_CORRUPT
 */
enum shmr_status shmr_producer_open(struct shmr_producer *producer,
                                    const struct shmr_segment *ring,
                                    uint32_t incarnation);

/**
 * shmr_producer_take_over() - claim the producing end in place of an incarnation that is gone
 * @producer:    to be opened
 * @ring:        the ring's segment
 * @incarnation: the caller's
 *
 * If the other incarnation is alive, its next call returns SHMR_EVICTED. An earlier handle of
 * @incarnation itself does not notice: it must not be used any more.
 *
 * Return: the statuses of shmr_producer_open(). SHMR_CLAIMED: another incarnation claimed the end
 * at the same time.
 */
enum shmr_status shmr_producer_take_over(struct shmr_producer *producer,
                                         const struct shmr_segment *ring,
                                         uint32_t incarnation);

/**
 * shmr_producer_max_record() - the length of the longest record
 * @producer: a producer
 *
 * Return: the number of bytes; 0 if @producer is not open.
 */
size_t shmr_producer_max_record(const struct shmr_producer *producer);

/**
 * shmr_producer_push() - copy one record into the ring and publish it
 * @producer: a producer
 * @record:   the bytes to copy, outside the region
 * @len:      number of bytes, at most shmr_producer_max_record(); may be 0
 *
 * Never waits, and never rings the doorbell (shmr_producer_notify()).
 *
 * Return:
 * * SHMR_OK
 * * SHMR_FULL: no room now; nothing was pushed. Try again later.
 * * SHMR_RESTARTED: the consumer was restarted; nothing was pushed. Reported once. Push again if
 *   the record suits the new consumer.
 * * SHMR_TOO_LONG: the record can never be pushed, and the error's value is the limit. Use a
 *   larger ring.
 * * SHMR_CORRUPT: the consumer broke the protocol. Permanent: close the handle.
 * * SHMR_EVICTED: another incarnation has taken over this end. Permanent: close the handle.
 *   Records that were pushed before a shmr_producer_notify() that returned SHMR_OK remain in the
 *   ring; later ones may be there or not.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_producer_push(struct shmr_producer *producer,
                                    const void *record,
                                    size_t len);

/**
 * shmr_producer_push_all() - copy records into the ring and publish them by one store
 * @producer: a producer
 * @records:  the records
 * @count:    their number
 * @pushed:   set to how many of them, from the first one, were pushed; or NULL
 *
 * Return: SHMR_OK if all were pushed, else the status of shmr_producer_push() for the first one
 * that was not.
 */
enum shmr_status shmr_producer_push_all(struct shmr_producer *producer,
                                        const struct shmr_slice *records,
                                        size_t count,
                                        size_t *pushed);

/**
 * shmr_producer_reserve() - reserve room for a record, to write the record in place
 * @producer: a producer
 * @len:      the most bytes that the record will have
 * @at:       set to the place of its first byte, in the region, a multiple of 8
 *
 * Only the caller writes there until shmr_producer_commit(), if the consumer is honest. Another
 * reservation or a push cancels this one.
 *
 * Return: the statuses of shmr_producer_push().
 */
enum shmr_status shmr_producer_reserve(struct shmr_producer *producer, size_t len, void **at);

/**
 * shmr_producer_commit() - publish the record that was written in place
 * @producer: a producer
 * @len:      its bytes, at most the number that was reserved
 *
 * Return: the statuses of shmr_producer_push(). SHMR_EINVAL also if nothing is reserved, or less
 * than @len. SHMR_RESTARTED cancels the reservation: reserve and write again.
 */
enum shmr_status shmr_producer_commit(struct shmr_producer *producer,
                                      size_t len);

/**
 * shmr_producer_wait_for_space() - wait until a record fits
 * @producer: a producer
 * @len:      the record's bytes
 * @wait:     how to wait, and for how long
 *
 * Return: the statuses of shmr_producer_push(), and
 * * SHMR_TIMED_OUT: no room in time. Wait again.
 */
enum shmr_status shmr_producer_wait_for_space(struct shmr_producer *producer,
                                              size_t len,
                                              struct shmr_wait *wait);

/**
 * shmr_producer_notify() - ring the consumer if it sleeps
 * @producer: a producer
 * @doorbell: wakes the consumer, or NULL
 *
 * Call it after a push, a commit or a batch. After SHMR_OK a later holder of this end continues
 * after every record that was pushed before.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EVICTED: another incarnation has taken over this end. Permanent: close the handle.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_producer_notify(struct shmr_producer *producer,
                                      const struct shmr_doorbell *doorbell);

/**
 * shmr_producer_close() - close the producing end
 * @producer: the producer to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_producer_close(struct shmr_producer *producer);

/**
 * shmr_receiver_open() - open the receiving end of a ring
 * @receiver:   to be opened
 * @session:    a session, which must not move while @receiver is open
 * @name:       the ring's name, 1 to 32 bytes
 * @capacity:   bytes of its data, a power of two from 64 to 2^30; the same on both ends
 * @on_restart: SHMR_KEEP or SHMR_DISCARD: for records from before a restart of either end
 *
 * The first end that opens the ring creates it.
 *
 * Return: the statuses of shmr_client_open().
 */
enum shmr_status shmr_receiver_open(struct shmr_receiver *receiver,
                                    const struct shmr_session *session,
                                    const char *name,
                                    size_t capacity,
                                    uint32_t on_restart);

/**
 * shmr_receiver_peer() - the partition that holds the sending end
 * @receiver: a receiver
 *
 * Return: its incarnation; 0 if no partition holds the end now, or @receiver is not open.
 */
uint32_t shmr_receiver_peer(const struct shmr_receiver *receiver);

/**
 * shmr_receiver_recv() - receive a record
 * @receiver: a receiver
 * @buffer:   where the record goes
 * @size:     bytes of @buffer
 * @len:      set to the length of the record
 * @timeout:  nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT: no record in time. Try again later.
 * * SHMR_RESTARTED: the sender was restarted; what follows is from the new sender. Reported once.
 *   Receive again.
 * * SHMR_BUFFER_TOO_SHORT: the record stays, and the error's value is its length. Receive again
 *   with a larger buffer.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
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
 * Return:
 * * SHMR_OK: the next call on @receiver returns it
 * * SHMR_TIMED_OUT: nothing in time. Try again later.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED
 */
enum shmr_status shmr_receiver_wait(struct shmr_receiver *receiver, uint64_t timeout);

/**
 * shmr_receiver_peek() - find the next record in place
 * @receiver: a receiver
 * @at:       set to its first byte, in the region, a multiple of 8
 * @len:      set to its length
 *
 * The record stays the next one until shmr_receiver_release(). A hostile sender can change it
 * while it is read: copy it, then check the copy.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EMPTY: no record now. Wait, or try again later.
 * * SHMR_RESTARTED: the sender was restarted; what follows is from the new sender. Reported once.
 *   Peek again.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_receiver_peek(struct shmr_receiver *receiver,
                                    const void **at,
                                    size_t *len);

/**
 * shmr_receiver_release() - give the space of the record that was peeked last back to the sender
 * @receiver: a receiver
 *
 * Does nothing if no record was peeked. Wakes the sender, if the sender waits for room.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EVICTED: another incarnation has taken over this end, and receives the record, too. Close
 *   the handle.
 * * SHMR_EINVAL, SHMR_REFORMATTED
 */
enum shmr_status shmr_receiver_release(struct shmr_receiver *receiver);

/**
 * shmr_receiver_position() - the position of the next record
 * @receiver: a receiver
 *
 * Return: a number that increases modulo 2^32, over all incarnations of both ends. A receiver that
 * stores it elsewhere can tell, after it was restarted, which records it did not receive. 0 if
 * @receiver is not open.
 */
uint32_t shmr_receiver_position(const struct shmr_receiver *receiver);

/**
 * shmr_receiver_discarded() - the number of records that were discarded at restarts
 * @receiver: a receiver
 *
 * Return: records that all incarnations of this end discarded, modulo 2^32; 0 if @receiver is not
 * open.
 */
uint32_t shmr_receiver_discarded(const struct shmr_receiver *receiver);

/**
 * shmr_receiver_close() - close this end of the ring
 * @receiver: the receiver to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_receiver_close(struct shmr_receiver *receiver);

/**
 * shmr_region_format() - make memory a region
 * @region: to be opened
 * @base:   first byte, a multiple of 8
 * @len:    number of bytes
 *
 * Zeroes the memory, then writes the region's header. No partition may still use an earlier region
 * in this memory.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the memory is too short for a region, and the error's value is its length
 * * SHMR_EINVAL
 */
enum shmr_status shmr_region_format(struct shmr_region *region,
                                    void *base,
                                    size_t len);

/**
 * shmr_region_attach() - attach to a region that another partition formatted
 * @region: to be opened
 * @base:   first byte of the whole region, a multiple of 8
 * @len:    number of bytes that are mapped; the region may be shorter
 *
 * Stores nothing in the memory.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_A_REGION: the memory was not formatted yet, or the address is wrong; the error's
 *   value is the first word. Try again later, or check the address.
 * * SHMR_CONTENDED: the region is being formatted. Try again.
 * * SHMR_TOO_SHORT: the memory is too short for a region, and the error's value is its length. Map
 *   more.
 * * SHMR_LENGTH: not all of the region is mapped, and the error's value is its length. Map more.
 * * SHMR_OTHER_LAYOUT_VERSION: the region has another layout version, which is the error's value.
 *   Use the same version of the library in all partitions.
 * * SHMR_FEATURES: the region needs features that this library does not have; the error's value is
 *   their bits. Use a newer library.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_region_attach(struct shmr_region *region,
                                    void *base,
                                    size_t len);

/**
 * shmr_region_generation() - a number that changes each time the memory is formatted
 * @region: a region
 *
 * Return: the number, which is not 0; 0 if @region is not open.
 */
uint32_t shmr_region_generation(const struct shmr_region *region);

/**
 * shmr_region_check() - check that a region was not formatted again
 * @region: a region
 *
 * After SHMR_OK, everything that was read before this call came from this region, not from a later
 * one. Rings, snapshots and locks do not report a new format themselves. If a region may be
 * formatted again while a partition is attached, the partition calls this after each wait and
 * before each store.
 *
 * Return:
 * * SHMR_OK: it was not formatted again
 * * SHMR_EINVAL, SHMR_REFORMATTED
 */
enum shmr_status shmr_region_check(struct shmr_region *region);

/**
 * shmr_registry_format() - make an empty registry in a region that was just formatted
 * @registry: to be opened
 * @region:   the region
 * @geometry: the sizes, or NULL for 64 segments, 64 partitions and blocks of 128 bytes
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the registry does not fit, and the error's value is the region's length. Use a
 *   larger region, or a smaller geometry.
 * * SHMR_EXISTS: the region has a registry. Format the region first.
 * * SHMR_EINVAL, SHMR_CORRUPT
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
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_FORMATTED: the region has no registry yet. Try again later.
 * * SHMR_TOO_SHORT: the registry does not fit into the region, and the error's value is the
 *   region's length
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_registry_attach(struct shmr_registry *registry,
                                      const struct shmr_region *region);

/**
 * shmr_registry_without_rmw() - disable creating, removing and reaping by this handle
 * @registry: the registry
 *
 * For memory without compare-and-swap: shmr_litmus_ask() tests that. Calls that need it then
 * return SHMR_NO_RMW.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_registry_without_rmw(struct shmr_registry *registry);

/**
 * shmr_registry_geometry() - the sizes that a registry was formatted with
 * @registry: the registry
 * @geometry: set to the sizes
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_registry_geometry(const struct shmr_registry *registry,
                                        struct shmr_geometry *geometry);

/**
 * shmr_registry_free_bytes() - the number of free bytes
 * @registry: the registry
 *
 * Return: the bytes of all free blocks, which may not be adjacent; 0 if @registry is not open.
 */
size_t shmr_registry_free_bytes(const struct shmr_registry *registry);

/**
 * shmr_rwlock_len() - the length of a segment for a reader-writer lock
 * @data: bytes that it protects
 *
 * Return: the len for struct shmr_request; 0 if @data is more than 1 GiB.
 */
size_t shmr_rwlock_len(size_t data);

/**
 * shmr_rwlock_open() - open the reader-writer lock in a segment
 * @rwlock:      to be opened
 * @segment:     its segment; a zeroed segment is a free lock
 * @incarnation: the caller's
 * @doorbell:    wakes partitions that wait, copied; or NULL
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
 *   shmr_rwlock_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_rwlock_open(struct shmr_rwlock *rwlock,
                                  const struct shmr_segment *segment,
                                  uint32_t incarnation,
                                  const struct shmr_doorbell *doorbell);

/**
 * shmr_rwlock_data() - the bytes that a reader-writer lock protects
 * @segment: a reader-writer lock's segment
 *
 * Return: the bytes, which a reader may read, and only the writer may change; NULL if @segment is
 * too short.
 */
void *shmr_rwlock_data(const struct shmr_segment *segment);

/**
 * shmr_rwlock_try_read() - lock for reading if no writer holds the lock or waits for it
 * @rwlock:   a reader-writer lock
 * @place:    set to the reader's place, for shmr_rwlock_unlock_read()
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return: the statuses of shmr_rwlock_read() without SHMR_TIMED_OUT, and
 * * SHMR_BUSY: a writer holds the lock or waits for it. Try again later.
 */
enum shmr_status shmr_rwlock_try_read(struct shmr_rwlock *rwlock,
                                      uint32_t *place,
                                      const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_read() - lock for reading, and wait until no writer holds the lock
 * @rwlock:   a reader-writer lock
 * @place:    set to the reader's place, for shmr_rwlock_unlock_read()
 * @wait:     how to wait, and for how long
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return:
 * * SHMR_OK: the caller holds the lock for reading
 * * SHMR_OWNER_DIED: the caller holds the lock for reading, but a writer died while it held it,
 *   and the protected bytes are not repaired yet. Do not trust them.
 * * SHMR_TIMED_OUT: the lock was not free in time. The error's value is the writer's incarnation
 *   if the writer is silent, else 0. Try again, or find out what happened to the writer.
 * * SHMR_POISONED: a writer died and the bytes were not repaired. Permanent: create another
 *   segment.
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_rwlock_read(struct shmr_rwlock *rwlock,
                                  uint32_t *place,
                                  struct shmr_wait *wait,
                                  const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_unlock_read() - release the lock after reading
 * @rwlock: a reader-writer lock that the caller holds for reading
 * @place:  the place that the call which locked it returned
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Do not trust
 *   what was read.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_rwlock_unlock_read(struct shmr_rwlock *rwlock,
                                         uint32_t place);

/**
 * shmr_rwlock_try_write() - lock for writing unless an incarnation that is not gone holds it
 * @rwlock:   a reader-writer lock
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return: the statuses of shmr_rwlock_write() without SHMR_TIMED_OUT, and
 * * SHMR_BUSY: an incarnation holds the lock, perhaps the caller's own. Try again later.
 */
enum shmr_status shmr_rwlock_try_write(struct shmr_rwlock *rwlock,
                                       const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_write() - lock for writing, and wait until no other partition holds the lock
 * @rwlock:   a reader-writer lock
 * @wait:     how to wait, and for how long
 * @liveness: knows which partitions are gone, or NULL
 *
 * Return:
 * * SHMR_OK: the caller holds the lock for writing
 * * SHMR_OWNER_DIED: the caller holds the lock for writing, but a writer died while it held it,
 *   and the protected bytes may be half-changed. Repair them and call
 *   shmr_rwlock_make_consistent(); an unlock without that poisons the lock permanently.
 * * SHMR_TIMED_OUT: the lock was not free in time. If the caller waits for an incarnation that is
 *   silent, the error's value is that incarnation; else 0. Try again, or find out what happened to
 *   it.
 * * SHMR_POISONED: a writer died and the bytes were not repaired. Permanent: create another
 *   segment.
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_rwlock_write(struct shmr_rwlock *rwlock,
                                   struct shmr_wait *wait,
                                   const struct shmr_liveness *liveness);

/**
 * shmr_rwlock_make_consistent() - declare that the bytes which a dead writer left are repaired
 * @rwlock: a reader-writer lock that the caller holds for writing
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller does not hold it for writing, and the error's value is the
 *   incarnation that does, or 0. Do not use the protected bytes.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_rwlock_make_consistent(struct shmr_rwlock *rwlock);

/**
 * shmr_rwlock_unlock_write() - release the lock after writing
 * @rwlock: a reader-writer lock that the caller holds for writing
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the caller did not hold it, or was reported as gone while it did. Others may
 *   have changed the protected bytes meanwhile.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_rwlock_unlock_write(struct shmr_rwlock *rwlock);

/**
 * shmr_rwlock_writer() - the incarnation that holds the lock for writing, or waits for that
 * @rwlock: a reader-writer lock
 *
 * Return: the incarnation, for inspection: it may have changed since. 0 if there is none, the lock
 * is damaged or @rwlock is not open.
 */
uint32_t shmr_rwlock_writer(const struct shmr_rwlock *rwlock);

/**
 * shmr_segment_from_memory() - describe the caller's memory as a segment, without a registry
 * @segment: set to the segment
 * @base:    first byte, a multiple of 128; the memory must be zeroed before its first use
 * @len:     number of bytes, as shmr_ring_len() and the like return
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_segment_from_memory(struct shmr_segment *segment, void *base, size_t len);

/**
 * shmr_id_from_name() - the identifier of a name
 * @name: a string
 *
 * Return: its 64-bit FNV-1a hash (1 if the hash is 0); 0 if @name is NULL.
 */
uint64_t shmr_id_from_name(const char *name);

/**
 * shmr_semaphore_len() - the length of a segment for a semaphore
 * @capacity: the number of permits that it has room for, at most 1024
 *
 * Return: the len for struct shmr_request.
 */
size_t shmr_semaphore_len(size_t capacity);

/**
 * shmr_semaphore_open() - open the semaphore in a segment
 * @semaphore:   to be opened
 * @segment:     its segment; a zeroed segment is a semaphore without permits
 * @incarnation: the caller's
 * @doorbell:    wakes partitions that wait, copied; or NULL
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
 *   shmr_semaphore_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_semaphore_open(struct shmr_semaphore *semaphore,
                                     const struct shmr_segment *segment,
                                     uint32_t incarnation,
                                     const struct shmr_doorbell *doorbell);

/**
 * shmr_semaphore_add() - add permits
 * @semaphore: a semaphore
 * @permits:   their number; all are added, or none
 *
 * Return:
 * * SHMR_OK
 * * SHMR_OVERFLOW: there is no room for them, and the error's value is the number that fits. Add
 *   fewer.
 * * SHMR_EINVAL, SHMR_EVICTED
 */
enum shmr_status shmr_semaphore_add(struct shmr_semaphore *semaphore,
                                    size_t permits);

/**
 * shmr_semaphore_try_acquire() - take a permit if one is free or its holder is gone
 * @semaphore: a semaphore
 * @liveness:  knows which partitions are gone, or NULL
 *
 * Return: the statuses of shmr_semaphore_acquire() without SHMR_TIMED_OUT, and
 * * SHMR_BUSY: no permit is free. Try again later.
 */
enum shmr_status shmr_semaphore_try_acquire(struct shmr_semaphore *semaphore,
                                            const struct shmr_liveness *liveness);

/**
 * shmr_semaphore_acquire() - take a permit, and wait for one
 * @semaphore: a semaphore
 * @wait:      how to wait, and for how long
 * @liveness:  knows which partitions are gone, or NULL
 *
 * Return:
 * * SHMR_OK: the caller's incarnation holds one more permit
 * * SHMR_TIMED_OUT: no permit was free in time. The error's value is the incarnation of a silent
 *   holder, if there is one, else 0. Try again, or find out what happened to it.
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_semaphore_acquire(struct shmr_semaphore *semaphore,
                                        struct shmr_wait *wait,
                                        const struct shmr_liveness *liveness);

/**
 * shmr_semaphore_release() - release a permit that the caller's incarnation holds
 * @semaphore: a semaphore
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_HELD: the incarnation holds no permit, or was reported as gone and lost it. Do not
 *   use what the permit allowed.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_semaphore_release(struct shmr_semaphore *semaphore);

/**
 * shmr_semaphore_consume() - destroy a permit that the caller's incarnation holds
 * @semaphore: a semaphore
 *
 * Return:
 * * SHMR_OK: the semaphore has one permit less
 * * SHMR_NOT_HELD: the incarnation holds no permit, or was reported as gone and lost it. Do not
 *   use what the permit allowed.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_semaphore_consume(struct shmr_semaphore *semaphore);

/**
 * shmr_semaphore_available() - the number of free permits
 * @semaphore: a semaphore
 *
 * Return: the number, for inspection: it may have changed since. 0 if @semaphore is not open.
 */
size_t shmr_semaphore_available(const struct shmr_semaphore *semaphore);

/**
 * shmr_sender_open() - open the sending end of a ring
 * @sender:   to be opened
 * @session:  a session, which must not move while @sender is open
 * @name:     the ring's name, 1 to 32 bytes
 * @capacity: bytes of its data, a power of two from 64 to 2^30; the same on both ends
 *
 * The first end that opens the ring creates it.
 *
 * Return: the statuses of shmr_client_open().
 */
enum shmr_status shmr_sender_open(struct shmr_sender *sender,
                                  const struct shmr_session *session,
                                  const char *name,
                                  size_t capacity);

/**
 * shmr_sender_max_len() - the length of the longest record
 * @sender: a sender
 *
 * Return: the number of bytes; 0 if @sender is not open.
 */
size_t shmr_sender_max_len(const struct shmr_sender *sender);

/**
 * shmr_sender_peer() - the partition that holds the receiving end
 * @sender: a sender
 *
 * Return: its incarnation; 0 if no partition holds the end now, or @sender is not open.
 */
uint32_t shmr_sender_peer(const struct shmr_sender *sender);

/**
 * shmr_sender_send() - send a record
 * @sender:  a sender
 * @record:  the bytes to send, outside the region
 * @len:     number of bytes, at most shmr_sender_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT: no room in time; nothing was sent. Try again later.
 * * SHMR_RESTARTED: the receiver was restarted; nothing was sent. Reported once. Send again if the
 *   record suits the new receiver.
 * * SHMR_PEER_GONE: the ring is full, and no receiver is left to make room; nothing was sent. Try
 *   again later: a new receiver makes room.
 * * SHMR_TOO_LONG: the record can never be sent. Use a larger capacity.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_sender_send(struct shmr_sender *sender,
                                  const void *record,
                                  size_t len,
                                  uint64_t timeout);

/**
 * shmr_sender_try_send() - send a record if there is room now
 * @sender: a sender
 * @record: the bytes to send, outside the region
 * @len:    number of bytes, at most shmr_sender_max_len(); may be 0
 *
 * Return: the statuses of shmr_sender_send() without SHMR_TIMED_OUT and SHMR_PEER_GONE, and
 * * SHMR_FULL: no room now; nothing was sent. Try again later.
 */
enum shmr_status shmr_sender_try_send(struct shmr_sender *sender,
                                      const void *record,
                                      size_t len);

/**
 * shmr_sender_close() - close this end of the ring
 * @sender: the sender to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_sender_close(struct shmr_sender *sender);

/**
 * shmr_server_open() - open the end of a channel that answers commands
 * @server:  to be opened
 * @session: a session, which must not move while @server is open
 * @name:    the channel's name, 1 to 24 bytes
 * @options: capacities, or NULL for 16 KiB in each direction
 *
 * The first end that opens the channel creates it. Commands that an earlier incarnation of this
 * end did not receive are discarded.
 *
 * Return: the statuses of shmr_client_open().
 */
enum shmr_status shmr_server_open(struct shmr_server *server,
                                  const struct shmr_session *session,
                                  const char *name,
                                  const struct shmr_channel_options *options);

/**
 * shmr_server_max_len() - the length of the longest answer
 * @server: a server
 *
 * Return: the number of bytes; 0 if @server is not open.
 */
size_t shmr_server_max_len(const struct shmr_server *server);

/**
 * shmr_server_discarded() - the number of commands that this end did not receive
 * @server: a server
 *
 * Return: commands that were discarded at restarts of either end, modulo 2^32; 0 if @server is not
 * open.
 */
uint32_t shmr_server_discarded(const struct shmr_server *server);

/**
 * shmr_server_client_is_gone() - whether the client is gone or has left the channel
 * @server: a server
 *
 * Return: true if the partition that holds the client's end is gone, or the client that this
 * server exchanged messages with has left the channel; else false.
 */
bool shmr_server_client_is_gone(const struct shmr_server *server);

/**
 * shmr_server_recv() - receive a command
 * @server:  a server
 * @buffer:  where the command goes
 * @size:    bytes of @buffer
 * @len:     set to the length of the command
 * @call:    set to the call, for shmr_server_answer(). Its number is 0 if the command is a message
 *           without an answer
 * @timeout: nanoseconds to wait; SHMR_FOREVER is no limit
 *
 * No later incarnation of this end receives a received command again.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TIMED_OUT: no command in time. Try again later.
 * * SHMR_RESTARTED: the client was restarted; what follows is from the new client. Reported once.
 *   Forget the old client's state and receive again.
 * * SHMR_BUFFER_TOO_SHORT: the command stays, and the error's value is its length. Receive again
 *   with a larger buffer.
 * * SHMR_BAD_MESSAGE: the client broke the rules of calls; the message was skipped. Receive again.
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_server_recv(struct shmr_server *server,
                                  void *buffer,
                                  size_t size,
                                  size_t *len,
                                  struct shmr_call *call,
                                  uint64_t timeout);

/**
 * shmr_server_skip() - release a command without copying it
 * @server: a server
 * @call:   set to the call, which can be answered. Its number is 0 if the command is a message
 *          without an answer, or if there is no command now
 *
 * For a command that shmr_server_recv() returned SHMR_BUFFER_TOO_SHORT for. Does not wait.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_RESTARTED: the client was restarted, and nothing was released. Receive again.
 * * SHMR_BAD_MESSAGE: as for shmr_server_recv().
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_server_skip(struct shmr_server *server, struct shmr_call *call);

/**
 * shmr_server_answer() - answer a call
 * @server:  the server that received the call
 * @call:    the call; zeroed if it was answered, or can no longer be answered
 * @answer:  the bytes to send, outside the region
 * @len:     number of bytes, at most shmr_server_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Return: the statuses of shmr_client_send(), and
 * * SHMR_CALLER_RESTARTED: the client that made the call was restarted since; nothing was sent.
 *   Continue with the next command.
 */
enum shmr_status shmr_server_answer(struct shmr_server *server,
                                    struct shmr_call *call,
                                    const void *answer,
                                    size_t len,
                                    uint64_t timeout);

/**
 * shmr_server_send() - send a message that is not an answer
 * @server:  a server
 * @message: the bytes to send, outside the region
 * @len:     number of bytes, at most shmr_server_max_len(); may be 0
 * @timeout: nanoseconds to wait for room; SHMR_FOREVER is no limit
 *
 * Return: the statuses of shmr_client_send().
 */
enum shmr_status shmr_server_send(struct shmr_server *server,
                                  const void *message,
                                  size_t len,
                                  uint64_t timeout);

/**
 * shmr_server_close() - close this end of the channel
 * @server: the server to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_server_close(struct shmr_server *server);

/**
 * shmr_session_create() - make memory a region with an empty registry, and join it
 * @session:  to be opened
 * @base:     first byte, a multiple of 8
 * @len:      number of bytes
 * @options:  how to join
 * @platform: the caller's functions; copied
 *
 * Zeroes the memory. Exactly one partition does this; the platform or the operator chooses it. A
 * session that still uses the memory returns SHMR_REFORMATTED from its next call, and so do the
 * clients, servers, senders and receivers that were opened on it. Locks and snapshots do not
 * notice it.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the region does not fit, and the error's value is the memory's length. Use
 *   more memory, or a smaller geometry.
 * * SHMR_NO_SUCH_PARTITION: the geometry does not have this partition, and the error's value is
 *   the number of partitions that it has. Use a larger geometry, or a smaller partition number.
 * * SHMR_REFORMATTED: another partition created the region at the same time. Join instead.
 * * SHMR_EINVAL, SHMR_OPEN
 */
enum shmr_status shmr_session_create(struct shmr_session *session,
                                     void *base,
                                     size_t len,
                                     const struct shmr_session_options *options,
                                     const struct shmr_platform *platform);

/**
 * shmr_session_join() - join the region that another partition created
 * @session:  to be opened
 * @base:     first byte of the whole region, a multiple of 8
 * @len:      number of bytes that are mapped; the region may be shorter
 * @options:  how to join
 * @platform: the caller's functions; copied
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_A_REGION, SHMR_CONTENDED, SHMR_NOT_FORMATTED, SHMR_REFORMATTED: the region is not
 *   ready yet (shmr_session_is_early()). Try again later, or check the address.
 * * SHMR_TOO_SHORT, SHMR_LENGTH, SHMR_OTHER_LAYOUT_VERSION, SHMR_FEATURES: the region is unusable;
 *   see shmr_region_attach()
 * * SHMR_NO_SUCH_PARTITION: the region does not have this partition, and the error's value is the
 *   number of partitions that it has. Use another number.
 * * SHMR_ATTACHED: an earlier incarnation of this partition is not known to be gone, and the
 *   error's value is that incarnation. Set a longer wait_for_earlier, or use take_over.
 * * SHMR_EINVAL, SHMR_OPEN, SHMR_CORRUPT
 */
enum shmr_status shmr_session_join(struct shmr_session *session,
                                   void *base,
                                   size_t len,
                                   const struct shmr_session_options *options,
                                   const struct shmr_platform *platform);

/**
 * shmr_session_is_early() - whether joining failed only because the region is not ready yet
 * @status: the status that shmr_session_join() returned
 *
 * Return: true if the region is not formatted yet, or not completely: try again later.
 */
bool shmr_session_is_early(int status);

/**
 * shmr_session_beat() - show the other partitions that this one is alive
 * @session: a session
 *
 * If peers watch the heartbeat of this partition, call it several times within the limit after
 * which they report the partition as silent.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EVICTED, SHMR_REFORMATTED: nothing was stored, and this partition must not use the region
 *   any more. Leave, and join again.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_session_beat(struct shmr_session *session);

/**
 * shmr_session_check() - check that this partition still has its slot, and the region its format
 * @session: a session
 *
 * Only loads.
 *
 * Return: the statuses of shmr_session_beat().
 */
enum shmr_status shmr_session_check(struct shmr_session *session);

/**
 * shmr_session_incarnation() - the incarnation of this partition
 * @session: a session
 *
 * Return: one word, as shmr_attachment_incarnation() describes it; 0 if @session is not open.
 */
uint32_t shmr_session_incarnation(const struct shmr_session *session);

/**
 * shmr_session_registry() - open the region's registry, for calls that take one
 * @session:  a session
 * @registry: to be opened
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_session_registry(const struct shmr_session *session,
                                       struct shmr_registry *registry);

/**
 * shmr_session_open_or_create() - find a segment, or create it, zeroed
 * @session: a session
 * @request: which segment
 * @segment: set to the segment
 *
 * For snapshots, locks and the program's own memory; the open calls of rings and channels create
 * what they need. Creating a segment needs compare-and-swap on this memory.
 *
 * Return: the statuses of shmr_registry_open_or_create().
 */
enum shmr_status shmr_session_open_or_create(struct shmr_session *session,
                                             const struct shmr_request *request,
                                             struct shmr_segment *segment);

/**
 * shmr_session_remove() - remove a segment
 * @session: a session
 * @segment: the segment
 *
 * No partition may use the segment any more: its bytes are reused.
 *
 * Return: the statuses of shmr_registry_remove().
 */
enum shmr_status shmr_session_remove(struct shmr_session *session,
                                     const struct shmr_segment *segment);

/**
 * shmr_session_reap() - free rows and blocks that dead partitions left half-created or
 * half-removed
 * @session: a session
 * @rows:    set to the number of rows that were freed; or NULL
 *
 * Return: the statuses of shmr_registry_reap().
 */
enum shmr_status shmr_session_reap(struct shmr_session *session, size_t *rows);

/**
 * shmr_session_liveness() - what the session's platform knows about partitions, for calls on locks
 * @session: a session, which must not move while the result is used
 *
 * Return: a liveness that refers to @session.
 */
struct shmr_liveness shmr_session_liveness(const struct shmr_session *session);

/**
 * shmr_wait_session() - wait as the session's platform does, for calls on locks
 * @wait:    to be filled in
 * @session: a session, which must not move while @wait is used
 * @timeout: nanoseconds from now; SHMR_FOREVER is no limit. The other waits take
 *           milliseconds
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_wait_session(struct shmr_wait *wait,
                                   const struct shmr_session *session,
                                   uint64_t timeout);

/**
 * shmr_session_leave() - leave the region
 * @session: the session to close
 *
 * Return:
 * * SHMR_OK
 * * SHMR_OPEN: handles on @session are open, and the error's value is their number. Close them
 *   first.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_session_leave(struct shmr_session *session);

/**
 * shmr_snapshot_len() - the length of a segment for a snapshot
 * @max: bytes of the longest value
 *
 * Return: the len for struct shmr_request; 0 if @max is more than 1 GiB.
 */
size_t shmr_snapshot_len(size_t max);

/**
 * shmr_snapshot_writer_open() - open the writing side of a snapshot
 * @writer:   to be opened
 * @snapshot: the snapshot's segment; a zeroed segment is a snapshot without a value
 *
 * No other handle may write the snapshot.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
 *   shmr_snapshot_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_snapshot_writer_open(struct shmr_snapshot_writer *writer,
                                           const struct shmr_segment *snapshot);

/**
 * shmr_snapshot_write() - publish a value as the latest one
 * @writer: a writer
 * @value:  its bytes, outside the region
 * @len:    number of bytes
 *
 * Never waits.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_LONG: the value does not fit, and the error's value is the limit. Use a larger
 *   segment.
 * * SHMR_EINVAL
 */
enum shmr_status shmr_snapshot_write(struct shmr_snapshot_writer *writer,
                                     const void *value,
                                     size_t len);

/**
 * shmr_snapshot_reader_open() - open a reading side of a snapshot
 * @reader:   to be opened
 * @snapshot: the snapshot's segment
 *
 * Return:
 * * SHMR_OK
 * * SHMR_TOO_SHORT: the segment is too short, and the error's value is its length. Use
 *   shmr_snapshot_len().
 * * SHMR_EINVAL
 */
enum shmr_status shmr_snapshot_reader_open(struct shmr_snapshot_reader *reader,
                                           const struct shmr_segment *snapshot);

/**
 * shmr_snapshot_read() - copy the latest value
 * @reader: a reader
 * @value:  where the value goes
 * @size:   bytes of @value
 * @len:    set to the length of the value
 *
 * Only loads. Never waits.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EMPTY: no value was written yet. Try again later.
 * * SHMR_BUSY: the writer overwrote the value in every attempt. Try again.
 * * SHMR_TOO_LONG: the value is longer than @size, and the error's value is its length. Read again
 *   with more room.
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_snapshot_read(struct shmr_snapshot_reader *reader,
                                    void *value,
                                    size_t size,
                                    size_t *len);

/**
 * shmr_snapshot_sequence() - a number that changes with each value
 * @reader: a reader
 *
 * Return: the number; 0 if no value was written yet, or @reader is not open.
 */
uint32_t shmr_snapshot_sequence(const struct shmr_snapshot_reader *reader);

/**
 * shmr_abi_version() - the version of this library's interface
 *
 * Return: the version. shmr_header_matches() compares it with SHMR_ABI_VERSION, the header's
 * version.
 */
uint32_t shmr_abi_version(void);

/**
 * shmr_layout_version() - the version of docs/layout.md that this library uses
 *
 * Return: the version.
 */
uint32_t shmr_layout_version(void);

/**
 * shmr_registry_open_or_create() - find a segment, or create it, zeroed
 * @registry:   the registry
 * @attachment: the caller's attachment; a long call also moves its heartbeat
 * @request:    which segment
 * @segment:    set to the segment
 *
 * All partitions that request one identifier get the same segment. Needs compare-and-swap on this
 * memory. If the call fails, the region is unchanged; after SHMR_EVICTED, other partitions remove
 * what was created.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_KIND, SHMR_LENGTH: the segment exists with another kind or length, which is the error's
 *   value. Request the same in all partitions.
 * * SHMR_COLLISION: another name has this identifier. Use another name.
 * * SHMR_TABLE_FULL: no row is free, and the error's value is the number of rows. Remove or reap
 *   segments, or use a larger geometry.
 * * SHMR_OUT_OF_SPACE: no run of free blocks is long enough. Remove or reap segments, or use a
 *   larger region.
 * * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
 *   does not help, call shmr_registry_reap().
 * * SHMR_NO_RMW: the segment does not exist, and this handle creates nothing
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_registry_open_or_create(struct shmr_registry *registry,
                                              struct shmr_attachment *attachment,
                                              const struct shmr_request *request,
                                              struct shmr_segment *segment);

/**
 * shmr_registry_open() - find a segment of the requested kind and length
 * @registry: the registry
 * @request:  which segment
 * @segment:  set to the segment
 *
 * Only loads.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_FOUND: no segment has this identifier. Create it, or try again later.
 * * SHMR_KIND, SHMR_LENGTH: the segment has another kind or length, which is the error's value.
 *   Request the same in all partitions.
 * * SHMR_COLLISION: another name has this identifier. Use another name.
 * * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
 *   does not help, call shmr_registry_reap().
 * * SHMR_EINVAL, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_registry_open(struct shmr_registry *registry,
                                    const struct shmr_request *request,
                                    struct shmr_segment *segment);

/**
 * shmr_registry_lookup() - find a segment of any kind and length
 * @registry: the registry
 * @id:       its identifier
 * @segment:  set to the segment
 *
 * Only loads.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_NOT_FOUND: no segment has this identifier. Try again later.
 * * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
 *   does not help, call shmr_registry_reap().
 * * SHMR_EINVAL, SHMR_CORRUPT
 */
enum shmr_status shmr_registry_lookup(struct shmr_registry *registry,
                                      uint64_t id,
                                      struct shmr_segment *segment);

/**
 * shmr_registry_next() - list the segments
 * @registry: the registry
 * @cursor:   0 for the first segment; each call advances it
 * @segment:  set to the segment
 *
 * Only loads. The list may lack segments that are created or removed meanwhile.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EMPTY: there are no more segments
 * * SHMR_CONTENDED, SHMR_CORRUPT: for one row only; the next call continues after it
 * * SHMR_EINVAL
 */
enum shmr_status shmr_registry_next(struct shmr_registry *registry,
                                    size_t *cursor,
                                    struct shmr_segment *segment);

/**
 * shmr_registry_remove() - remove a segment
 * @registry:   the registry
 * @attachment: the caller's attachment; a long call also moves its heartbeat
 * @segment:    the segment
 *
 * No partition may use the segment any more: its bytes are reused. Needs compare-and-swap on this
 * memory.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_STALE: the segment was already removed
 * * SHMR_CONTENDED: other partitions changed the registry in every attempt. Try again; if that
 *   does not help, call shmr_registry_reap().
 * * SHMR_NO_RMW: this handle removes nothing
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED, SHMR_CORRUPT
 */
enum shmr_status shmr_registry_remove(struct shmr_registry *registry,
                                      struct shmr_attachment *attachment,
                                      const struct shmr_segment *segment);

/**
 * shmr_registry_is_current() - whether a segment is still the one that its identifier names
 * @registry: the registry
 * @segment:  the segment
 *
 * Return: true if it is; false if it is not, or an argument is unusable.
 */
bool shmr_registry_is_current(const struct shmr_registry *registry,
                              const struct shmr_segment *segment);

/**
 * shmr_registry_reap() - free rows and blocks that dead partitions left half-created or
 * half-removed
 * @registry:   the registry
 * @attachment: the caller's attachment; a long call also moves its heartbeat
 * @liveness:   knows which partitions are gone
 * @rows:       set to the number of rows that were freed; or NULL
 *
 * No other partition waits for this call. Needs compare-and-swap on this memory.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_CONTENDED, SHMR_CORRUPT: not everything was freed. Call again later.
 * * SHMR_NO_RMW: this handle reaps nothing
 * * SHMR_EINVAL, SHMR_EVICTED, SHMR_REFORMATTED
 */
enum shmr_status shmr_registry_reap(struct shmr_registry *registry,
                                    struct shmr_attachment *attachment,
                                    const struct shmr_liveness *liveness,
                                    size_t *rows);

/**
 * shmr_strerror() - a status as text
 * @status: any number, even one that is not a status
 *
 * Return: a sentence without its full stop; never NULL, and always valid.
 */
const char *shmr_strerror(int32_t status);

/**
 * shmr_wait_spin_checks() - wait without sleeping, for a number of checks
 * @wait:   to be filled in
 * @checks: the number; SHMR_FOREVER is no limit
 *
 * Needs neither a clock nor an operating system.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_wait_spin_checks(struct shmr_wait *wait, uint64_t checks);

#if defined(SHMR_LINUX)
/**
 * shmr_wait_futex() - wait by sleeping, for peers on the same kernel
 * @wait:       to be filled in
 * @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
 *
 * The peer rings shmr_doorbell_futex(). If the peer does not ring, the waiter still checks every
 * 20 ms. On memory that has no futex (/dev/mem, a PCI device's) it checks at growing intervals,
 * from 50 us to 20 ms.
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_wait_futex(struct shmr_wait *wait,
                                 uint64_t timeout_ms);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_wait_spin_yield() - wait without sleeping, and yield the processor between two checks
 * @wait:       to be filled in
 * @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_wait_spin_yield(struct shmr_wait *wait, uint64_t timeout_ms);
#endif

#if defined(SHMR_LINUX)
/**
 * shmr_wait_poll() - wait by checking at growing intervals, for peers that cannot ring
 * @wait:       to be filled in
 * @timeout_ms: milliseconds from now; SHMR_FOREVER is no limit
 * @limit_ms:   the longest sleep between two checks, at most 20
 *
 * Return:
 * * SHMR_OK
 * * SHMR_EINVAL
 */
enum shmr_status shmr_wait_poll(struct shmr_wait *wait, uint64_t timeout_ms, uint64_t limit_ms);
#endif

#if !defined(SHMR_LINUX)
/**
 * The program's function: reports the panic and resets; it must not return.
 */
extern void shmr_panic(void);
#endif

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

/**
 * shmr_header_matches() - whether the library has this header's interface
 *
 * Return: true if it has.
 */
static inline bool shmr_header_matches(void)
{
	return shmr_abi_version() == SHMR_ABI_VERSION;
}

#endif /* SHMR_H */
