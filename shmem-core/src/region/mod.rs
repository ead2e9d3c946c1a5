//! A range of shared memory with a header that describes it.
//!
//! - **G1** Formatting clears `magic` first, and stores `generation` last but one and `magic`
//!   last: a region with a magic has a whole header and a zeroed body.
//! - **G2** Attaching stores nothing.
//! - **G3** Only a copy of the header is checked and used, and only if no format
//!   began while it was made.
//! - **G4** If a read returns a value of a later generation, [`Region::is_stale`] called
//!   after it returns true.
//!
//! | store                     | paired load                     | hands over                |
//! |---------------------------|---------------------------------|---------------------------|
//! | `generation` in `format`  | the first in `attach`           | the header, the zero body |
//! | `magic` in `format`       | `magic` in `attach`, `is_stale` | the new `generation`      |
//! | `magic` = 0, then a fence | a fence, then `magic`           | that a format began       |
//!
//! A format by one partition while another attaches:
//!
//! ```text
//!   format                        attach
//!   magic = 0                     generation (acquire): before
//!   fence(Release)                version, features, length
//!   zeroes, header                fence(Acquire)
//!   generation (release)         magic (acquire)
//!   magic = MAGIC (release)       generation: after
//! ```
//!
//! If `attach` reads any value that the format stored, the fences ensure that it then reads
//! `magic` = 0 or a later value. If it reads the new `magic`, it also reads the new generation
//! after it. That differs from the one before, unless the first load returned the new
//! generation too; then all values that were read after it are new.
//!
//! # Which partition formats
//!
//! One partition, which the platform or the operator selects. If two format at the
//! same time, the second one destroys what the first has begun to use. Nothing in the region
//! can prevent that: its bytes have no meaning before it is formatted.
//!
//! # What a region cannot detect
//!
//! If a file is removed or created again under the same name, the name refers to other memory.
//! A partition that has the old file mapped does not see the new one, and
//! [`Region::is_stale`] stays false. `Mapping::check` compares the mapping with the file that
//! the name refers to now.

#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod backing;
mod error;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod fork;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod linux;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod map_error;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod sized;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub mod source;

#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use backing::Displaced;
pub use error::AttachError;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use linux::Mapping;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use map_error::MapError;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use source::MemorySource;

use memoffset::offset_of;

use crate::layout::{RegionHeader, LINE, MAGIC, VERSION};
use crate::mem::Window;
use crate::primitive::{
    fence, spin_loop,
    Ordering::{Acquire, Relaxed, Release},
};

/// The features that this version of the library supports, one bit each.
pub const FEATURES: u32 = 0;

/// A region that was formatted or attached.
#[derive(Clone, Copy)]
pub struct Region<'m> {
    memory: Window<'m>,
    generation: u32,
}

impl<'m> Region<'m> {
    /// Formats `memory` as a region: zeroes it and writes the header. No other partition
    /// may format it at the same time. A partition that is still attached to an earlier region
    /// there can detect the format with [`Region::is_stale`]; its later stores go to the new
    /// region.
    ///
    /// # Errors
    ///
    /// [`AttachError::TooShort`] if there is no room for a header and a line.
    pub fn format(memory: Window<'m>) -> Result<Self, AttachError> {
        check_len(&memory)?;
        let word = |offset| memory.word(offset);
        // Whatever the memory contained: the next number differs from the generation of an earlier
        // handle, even if a partition died while it formatted the memory.
        // relaxed: only the formatting partition stores it, one at a time.
        let before = word(offset_of!(RegionHeader, generation)).load(Relaxed);
        let generation = before.wrapping_add(1).max(1);
        // relaxed: the fence orders it before all stores below.
        word(offset_of!(RegionHeader, magic)).store(0, Relaxed);
        // Pairs with the fences in `Header::read` and `is_stale`: a partition that reads
        // any value stored below sees that the old magic is gone.
        // loom: loom_region
        fence(Release);
        // In words, as `attach` loads them.
        for offset in (offset_of!(RegionHeader, length_low)..LINE).step_by(4) {
            // relaxed: between the fence above and the release of the generation below.
            word(offset).store(0, Relaxed);
        }
        memory.zero(LINE, memory.len() - LINE);
        let length = memory.len() as u64;
        // relaxed: the Release of `generation` below publishes it.
        word(offset_of!(RegionHeader, version)).store(VERSION, Relaxed);
        // relaxed: as `version`.
        word(offset_of!(RegionHeader, features)).store(FEATURES, Relaxed);
        // relaxed: as `version`.
        word(offset_of!(RegionHeader, length_low)).store(length as u32, Relaxed);
        // relaxed: as `version`.
        word(offset_of!(RegionHeader, length_high)).store((length >> 32) as u32, Relaxed);
        // Pairs with the first load in `Header::read`: header and body are whole (G1).
        // loom: loom_region
        word(offset_of!(RegionHeader, generation)).store(generation, Release);
        // Pairs with the loads in `Header::read` and `is_stale`: the generation is the new one.
        // loom: loom_region
        word(offset_of!(RegionHeader, magic)).store(MAGIC, Release);
        Self::new(memory, memory.len(), generation)
    }

    /// Attaches to a region that a partition formatted. Never formats.
    ///
    /// # Errors
    ///
    /// [`AttachError`] if the memory is too short, not a region, or shorter than the length in
    /// the header; if the layout version or a feature is unknown; or if a partition was
    /// formatting it at each of several attempts.
    pub fn attach(memory: Window<'m>) -> Result<Self, AttachError> {
        check_len(&memory)?;
        // relaxed: it only selects the error.
        let magic = memory.word(offset_of!(RegionHeader, magic)).load(Relaxed);
        if magic != MAGIC {
            return Err(AttachError::NotARegion { magic });
        }
        for _ in 0..ATTEMPTS {
            if let Some(header) = Header::read(&memory) {
                return header.attach(memory);
            }
            spin_loop();
        }
        Err(AttachError::BeingFormatted)
    }

    fn new(memory: Window<'m>, len: usize, generation: u32) -> Result<Self, AttachError> {
        let whole = memory.sub(0, len);
        Ok(Self {
            memory: whole.map_err(|_| AttachError::TooShort { len })?,
            generation,
        })
    }

    /// Returns the memory with the header. Offsets in a region count from its start.
    pub fn memory(&self) -> Window<'m> {
        self.memory
    }

    /// Returns the memory after the header.
    pub fn body(&self) -> Window<'m> {
        let body = self.memory.sub(LINE, self.memory.len() - LINE);
        body.expect("a region is longer than its header")
    }

    /// Returns a number that changes each time the memory is formatted, and is never 0.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns true if the region was formatted again since this handle was made, or is being
    /// formatted now.
    ///
    /// If it returns false, no value that this thread read from the region before the call is
    /// from a later format. So read first, then call this, then use the values. It gives
    /// no guarantee for loads or stores after the call: the partition that formats a region
    /// must ensure that no other one stores any more.
    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn is_stale(&self) -> bool {
        let word = |offset| self.memory.word(offset);
        // Pairs with the fence in `format`, or with that in `attach` of a partition that attached
        // to the new region: the values read before are older than the magic below (G4).
        // loom: loom_region
        fence(Acquire);
        // Pairs with the store in `format`: a new magic shows the new generation.
        // loom: loom_region
        word(offset_of!(RegionHeader, magic)).load(Acquire) != MAGIC
            // relaxed: after the Acquire of `magic`.
            || word(offset_of!(RegionHeader, generation)).load(Relaxed) != self.generation
    }
}

/// Attempts of [`Region::attach`] to read a header that changes meanwhile.
const ATTEMPTS: u32 = 64;

/// A copy of a header.
struct Header {
    version: u32,
    features: u32,
    generation: u32,
    length: u64,
}

impl Header {
    /// Returns a copy of the header; `None` if a format began meanwhile (G3).
    fn read(memory: &Window<'_>) -> Option<Self> {
        let word = |offset| memory.word(offset);
        // Pairs with the store in `format`.
        // loom: loom_region
        let generation = word(offset_of!(RegionHeader, generation)).load(Acquire);
        // relaxed: after the Acquire of `generation`, and checked after the fence below. The second
        // load of `generation` is after the Acquire of `magic`.
        let load = |offset| word(offset).load(Relaxed);
        let low = load(offset_of!(RegionHeader, length_low));
        let high = load(offset_of!(RegionHeader, length_high));
        let header = Self {
            version: load(offset_of!(RegionHeader, version)),
            features: load(offset_of!(RegionHeader, features)),
            generation,
            length: u64::from(high) << 32 | u64::from(low),
        };
        // Pairs with the fence in `format`: if a later format stored a word above, the load
        // below does not return the magic from before that format.
        // loom: loom_region
        fence(Acquire);
        // Pairs with the store in `format`: a new magic shows the new generation.
        // loom: loom_region
        let magic = word(offset_of!(RegionHeader, magic)).load(Acquire);
        let unmoved = load(offset_of!(RegionHeader, generation)) == generation;
        (magic == MAGIC && unmoved).then_some(header)
    }

    fn attach(self, memory: Window<'_>) -> Result<Region<'_>, AttachError> {
        if self.version != VERSION {
            return Err(AttachError::Version {
                found: self.version,
            });
        }
        check_features(self.features)?;
        let (length, mapped) = (self.length, memory.len());
        let plausible = usize::try_from(length)
            .ok()
            .filter(|&len| len >= 2 * LINE && len <= mapped && len % 8 == 0);
        let Some(len) = plausible else {
            return Err(AttachError::Length { length, mapped });
        };
        // Pairs with the fence in `is_stale` of a handle with an earlier generation: a thread that
        // sees a later store of this one also sees the format (G4).
        // loom: loom_region
        fence(Release);
        Region::new(memory, len, self.generation)
    }
}

fn check_len(memory: &Window<'_>) -> Result<(), AttachError> {
    if memory.len() < 2 * LINE {
        return Err(AttachError::TooShort { len: memory.len() });
    }
    Ok(())
}

fn check_features(features: u32) -> Result<(), AttachError> {
    let unknown = features & !FEATURES;
    if unknown != 0 {
        return Err(AttachError::Features { unknown });
    }
    Ok(())
}
