//! Copies between private and shared memory, as aligned relaxed atomic words.
//!
//! A plain `memcpy` on memory that a peer may write is undefined behaviour, and
//! an unaligned access to device memory faults. So all accesses to shared memory are
//! aligned words of one width. A word that a copy covers in part is loaded,
//! merged and stored. This is correct because the words belong to the caller meanwhile.
//!
//! On x86-64, inline assembly copies 16 bytes and more, 16 bytes at a time. It is opaque to the
//! compiler, so it is not undefined behaviour.

/// The width of every access to shared payload: that of one plain load or store.
/// (32-bit machines may have 64-bit atomics, but implement them with exclusives.)
#[cfg(target_pointer_width = "64")]
type Unit = core::sync::atomic::AtomicU64;
#[cfg(target_pointer_width = "64")]
type Value = u64;
#[cfg(not(target_pointer_width = "64"))]
type Unit = core::sync::atomic::AtomicU32;
#[cfg(not(target_pointer_width = "64"))]
type Value = u32;

use core::sync::atomic::Ordering::{self, Relaxed};

const WIDTH: usize = core::mem::size_of::<Value>();

/// Bytes that one iteration of the block copy moves.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
const BLOCK: usize = 64;

/// Bytes of a vector register.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
const PAIR: usize = 16;

/// From this length on, copies by blocks are faster than by pairs (`benches/`, group `copy`).
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
const LONG: usize = 256;

/// Copies `bytes` to `skip` bytes after `shared`.
///
/// # Safety
///
/// `shared` is 8-byte aligned and mapped writable for `skip + bytes.len()`
/// bytes, rounded up to a multiple of 8.
#[inline(always)]
pub(super) unsafe fn write(shared: *mut u8, skip: usize, bytes: &[u8]) {
    if cfg!(feature = "small") {
        // SAFETY: guaranteed by the caller.
        return unsafe { write_by_words(shared, skip, bytes) };
    }
    let (first, head) = (skip / WIDTH * WIDTH, skip % WIDTH);
    let lead = if head == 0 {
        0
    } else {
        bytes.len().min(WIDTH - head)
    };
    // SAFETY: `first` is inside the range.
    let mut at = unsafe { shared.add(first) };
    if lead != 0 {
        // SAFETY: the word at `at` is inside the rounded range.
        unsafe { merge(at, head, &bytes[..lead]) };
        // SAFETY: at most one past the range.
        at = unsafe { at.add(WIDTH) };
    }
    let rest = &bytes[lead..];
    let whole = rest.len() / WIDTH * WIDTH;
    // SAFETY: `whole` bytes from `at`, aligned, inside the range.
    unsafe { write_words(at, &rest[..whole]) };
    if whole != rest.len() {
        // SAFETY: inside the range.
        at = unsafe { at.add(whole) };
        // SAFETY: the last word is inside the rounded range.
        unsafe { merge(at, 0, &rest[whole..]) };
    }
}

/// Copies from `skip` bytes after `shared` into `bytes`.
///
/// # Safety
///
/// As for [`write()`], mapped readable.
#[inline(always)]
pub(super) unsafe fn read(shared: *const u8, skip: usize, bytes: &mut [u8]) {
    if cfg!(feature = "small") {
        // SAFETY: guaranteed by the caller.
        return unsafe { read_by_words(shared, skip, bytes) };
    }
    let (first, head) = (skip / WIDTH * WIDTH, skip % WIDTH);
    let lead = if head == 0 {
        0
    } else {
        bytes.len().min(WIDTH - head)
    };
    // SAFETY: `first` is inside the range.
    let mut at = unsafe { shared.add(first) };
    if lead != 0 {
        // SAFETY: the word at `at` is inside the rounded range.
        let value = unsafe { load(at) }.to_ne_bytes();
        bytes[..lead].copy_from_slice(&value[head..head + lead]);
        // SAFETY: at most one past the range.
        at = unsafe { at.add(WIDTH) };
    }
    let rest = &mut bytes[lead..];
    let whole = rest.len() / WIDTH * WIDTH;
    // SAFETY: `whole` bytes from `at`, aligned, inside the range.
    unsafe { read_words(at, &mut rest[..whole]) };
    if whole != rest.len() {
        // SAFETY: inside the range.
        at = unsafe { at.add(whole) };
        // SAFETY: the last word is inside the rounded range.
        let value = unsafe { load(at) }.to_ne_bytes();
        let tail = rest.len() - whole;
        rest[whole..].copy_from_slice(&value[..tail]);
    }
}

/// As [`write()`], with one loop for the words that it covers in part and those that it covers
/// completely.
///
/// # Safety
///
/// As for [`write()`].
#[inline(never)]
unsafe fn write_by_words(shared: *mut u8, skip: usize, mut bytes: &[u8]) {
    let mut head = skip % WIDTH;
    let mut at = shared.wrapping_add(skip - head);
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at(bytes.len().min(WIDTH - head));
        // SAFETY: the word at `at` is inside the rounded range.
        unsafe { merge(at, head, part) };
        at = at.wrapping_add(WIDTH);
        (bytes, head) = (rest, 0);
    }
}

/// As [`read()`], with one loop.
///
/// # Safety
///
/// As for [`read()`].
#[inline(never)]
unsafe fn read_by_words(shared: *const u8, skip: usize, mut bytes: &mut [u8]) {
    let mut head = skip % WIDTH;
    let mut at = shared.wrapping_add(skip - head);
    while !bytes.is_empty() {
        let (part, rest) = bytes.split_at_mut(bytes.len().min(WIDTH - head));
        // SAFETY: the word at `at` is inside the rounded range.
        let value = unsafe { load(at) }.to_ne_bytes();
        part.copy_from_slice(&value[head..head + part.len()]);
        at = at.wrapping_add(WIDTH);
        (bytes, head) = (rest, 0);
    }
}

#[inline(always)]
unsafe fn write_words(mut at: *mut u8, bytes: &[u8]) {
    #[allow(unused_mut)]
    let mut bytes = bytes;
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if bytes.len() >= LONG {
        let (blocks, rest) = bytes.split_at(bytes.len() / BLOCK * BLOCK);
        // SAFETY: both ranges are valid for the length, some whole blocks.
        unsafe { copy_blocks(at, blocks.as_ptr(), blocks.len()) };
        // SAFETY: at most one past the range.
        at = unsafe { at.add(blocks.len()) };
        bytes = rest;
    }
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if bytes.len() >= PAIR {
        let (pairs, rest) = bytes.split_at(bytes.len() / PAIR * PAIR);
        for pair in pairs.chunks_exact(PAIR) {
            // SAFETY: both ranges are valid for 16 bytes.
            unsafe { write_pair(at, pair.as_ptr()) };
            // SAFETY: at most one past the range.
            at = unsafe { at.add(PAIR) };
        }
        bytes = rest;
    }
    for word in bytes.chunks_exact(WIDTH) {
        let mut value = [0; WIDTH];
        value.copy_from_slice(word);
        // SAFETY: aligned and inside the range; atomic because the peer may read it.
        let unit = unsafe { Unit::from_ptr(at.cast()) };
        // relaxed: a control word or a fence of the caller publishes the payload.
        unit.store(Value::from_ne_bytes(value), Relaxed);
        // SAFETY: at most one past the range.
        at = unsafe { at.add(WIDTH) };
    }
}

#[inline(always)]
unsafe fn read_words(mut at: *const u8, bytes: &mut [u8]) {
    #[allow(unused_mut)]
    let mut bytes = bytes;
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if bytes.len() >= LONG {
        let whole = bytes.len() / BLOCK * BLOCK;
        let (blocks, rest) = bytes.split_at_mut(whole);
        // SAFETY: both ranges are valid for the length, some whole blocks.
        unsafe { copy_blocks(blocks.as_mut_ptr(), at, whole) };
        // SAFETY: at most one past the range.
        at = unsafe { at.add(whole) };
        bytes = rest;
    }
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    if bytes.len() >= PAIR {
        let whole = bytes.len() / PAIR * PAIR;
        let (pairs, rest) = bytes.split_at_mut(whole);
        for pair in pairs.chunks_exact_mut(PAIR) {
            // SAFETY: both ranges are valid for 16 bytes.
            pair.copy_from_slice(&unsafe { read_pair(at) });
            // SAFETY: at most one past the range.
            at = unsafe { at.add(PAIR) };
        }
        bytes = rest;
    }
    for word in bytes.chunks_exact_mut(WIDTH) {
        // SAFETY: aligned and inside the range.
        word.copy_from_slice(&unsafe { load(at) }.to_ne_bytes());
        // SAFETY: at most one past the range.
        at = unsafe { at.add(WIDTH) };
    }
}

#[inline(always)]
unsafe fn load(at: *const u8) -> Value {
    // SAFETY: aligned and inside the range; used for loads only.
    let unit = unsafe { Unit::from_ptr(at.cast_mut().cast()) };
    // relaxed: a control word or a fence of the caller orders the payload.
    unit.load(Relaxed)
}

// relaxed in all of this: the word belongs to the caller meanwhile, whose control word or fence
// publishes it.
unsafe fn merge(at: *mut u8, head: usize, bytes: &[u8]) {
    // SAFETY: aligned and inside the range.
    let unit = unsafe { Unit::from_ptr(at.cast()) };
    let mut value = match bytes.len() {
        WIDTH => [0; WIDTH], // Loads nothing from the line.
        _ => unit.load(Relaxed).to_ne_bytes(),
    };
    value[head..head + bytes.len()].copy_from_slice(bytes);
    unit.store(Value::from_ne_bytes(value), Relaxed);
}

/// Copies `len` bytes upwards, a multiple of [`BLOCK`] and not 0.
///
/// Not `rep movsb`: on AMD's third generation it takes 15 to 20 times as long
/// if the destination is a few bytes ahead of the source modulo 4096.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
unsafe fn copy_blocks(to: *mut u8, from: *const u8, len: usize) {
    // SAFETY: the caller guarantees the ranges.
    unsafe {
        core::arch::asm!(
            "2:",
            "movups {a}, [{from}]",
            "movups {b}, [{from} + 16]",
            "movups {c}, [{from} + 32]",
            "movups {d}, [{from} + 48]",
            "movups [{to}], {a}",
            "movups [{to} + 16], {b}",
            "movups [{to} + 32], {c}",
            "movups [{to} + 48], {d}",
            "add {from}, 64",
            "add {to}, 64",
            "sub {len}, 64",
            "jnz 2b",
            a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
            from = inout(reg) from => _, to = inout(reg) to => _, len = inout(reg) len => _,
            options(nostack)
        );
    }
}

/// Copies [`PAIR`] bytes with two loads and one store. The source may have been stored just
/// now in words, and one load of both words would wait for these stores.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
unsafe fn write_pair(to: *mut u8, from: *const u8) {
    // SAFETY: the caller guarantees the ranges.
    unsafe {
        core::arch::asm!(
            "movq {a}, [{from}]",
            "movhps {a}, [{from} + 8]",
            "movups [{to}], {a}",
            a = out(xmm_reg) _, from = in(reg) from, to = in(reg) to,
            options(nostack, preserves_flags)
        );
    }
}

/// Loads [`PAIR`] bytes at once into a register; the compiler stores it.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline(always)]
unsafe fn read_pair(from: *const u8) -> [u8; PAIR] {
    let pair: core::arch::x86_64::__m128i;
    // SAFETY: the caller guarantees the range.
    unsafe {
        core::arch::asm!(
            "movups {a}, [{from}]",
            a = out(xmm_reg) pair, from = in(reg) from,
            options(nostack, preserves_flags, readonly)
        );
    }
    bytemuck::cast(pair)
}

/// Loads two little-endian words; `order` applies to the first.
///
/// # Safety
///
/// `at` is 8-byte aligned and mapped readable for 8 bytes.
#[inline(always)]
pub(super) unsafe fn load_pair(at: *mut u8, order: Ordering) -> [u32; 2] {
    // SAFETY: aligned and inside the range, here and below.
    let first = unsafe { Unit::from_ptr(at.cast()) };
    #[cfg(target_pointer_width = "64")]
    {
        let both = Value::from_le(first.load(order));
        [both as u32, (both >> 32) as u32]
    }
    #[cfg(not(target_pointer_width = "64"))]
    {
        let first = Value::from_le(first.load(order));
        // SAFETY: see above.
        let second = unsafe { Unit::from_ptr(at.add(WIDTH).cast()) };
        // relaxed: the order of the first, which precedes it, applies.
        [first, Value::from_le(second.load(Relaxed))]
    }
}

/// Stores two words little-endian: the second first, then the first with `order`.
///
/// # Safety
///
/// As for [`load_pair()`], mapped writable.
#[inline(always)]
pub(super) unsafe fn store_pair(at: *mut u8, words: [u32; 2], order: Ordering) {
    // SAFETY: aligned and inside the range, here and below.
    let first = unsafe { Unit::from_ptr(at.cast()) };
    #[cfg(target_pointer_width = "64")]
    {
        let both = Value::from(words[0]) | Value::from(words[1]) << 32;
        first.store(both.to_le(), order);
    }
    #[cfg(not(target_pointer_width = "64"))]
    {
        // SAFETY: see above.
        let second = unsafe { Unit::from_ptr(at.add(WIDTH).cast()) };
        // relaxed: before the first, whose order publishes it.
        second.store(words[1].to_le(), Relaxed);
        first.store(words[0].to_le(), order);
    }
}
