//! A range of shared memory with a header that says what it is.
//!
//! - **G1** `magic` is removed first when a region is formatted and stored last,
//!   `generation` last but one: a region with a magic has a whole header and a zeroed body.
//! - **G2** Attaching stores nothing.
//! - **G3** Of the header only a copy is checked and used, and only if no format
//!   began while the copy was made.
//! - **G4** Nothing of a later generation is read before [`Region::is_stale`] can
//!   know of that generation.
//!
//! | store                     | paired load                    | hands over                |
//! |---------------------------|--------------------------------|---------------------------|
//! | `generation` in `format` | the first in `attach`          | the header, the zero body |
//! | `magic` in `format`       | `magic` in `attach`, `is_stale`| the new `generation`     |
//! | `magic` = 0, then a fence | a fence, then `magic`          | that a format has begun   |
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
//! If anything that was read is the format's, the fences show `magic` = 0 or what
//! followed it. A new `magic` shows the new generation, which differs from the one
//! before, unless that was new already, and then so was all that was read after it.
//!
//! # Who formats
//!
//! One partition, that the platform or the operator names; two that format at the
//! same time destroy what the first of them has begun to use. Nothing in the region
//! can prevent that: its bytes mean nothing before it is formatted.
//!
//! # What a region cannot know
//!
//! A file that was removed or made again under a name is other memory: whoever has
//! the old file mapped sees nothing of it, and [`Region::is_stale`] stays false.
//! `Mapping::check` compares the mapping with what its name stands for now.

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
pub mod place;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod sized;

#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use backing::Displaced;
pub use error::AttachError;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use linux::Mapping;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use map_error::MapError;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use place::Place;

use memoffset::offset_of;

use crate::layout::{RegionHeader, LINE, MAGIC, VERSION};
use crate::mem::Window;
use crate::primitive::{
    fence, spin_loop,
    Ordering::{Acquire, Relaxed, Release},
};

/// Feature bits this version of the library knows.
pub const FEATURES: u32 = 0;

/// A region that was formatted or attached.
#[derive(Clone, Copy)]
pub struct Region<'m> {
    memory: Window<'m>,
    generation: u32,
}

impl<'m> Region<'m> {
    /// Makes `memory` a region: zeroes it and writes the header. No other partition
    /// formats it at the same time. Whoever is attached to what it was before has let
    /// go, or finds out by [`Region::is_stale`]; what it stores later lands in the new region.
    ///
    /// # Errors
    ///
    /// [`AttachError::TooShort`] if there is no room for a header and a line.
    pub fn format(memory: Window<'m>) -> Result<Self, AttachError> {
        check_len(&memory)?;
        let word = |offset| memory.word(offset);
        // Whatever was there: one more differs from what an earlier handle saw,
        // even if an earlier format died half-way.
        // relaxed: only who formats stores it, one partition at a time.
        let before = word(offset_of!(RegionHeader, generation)).load(Relaxed);
        let generation = before.wrapping_add(1).max(1);
        // relaxed: the fence orders it before all stores below.
        word(offset_of!(RegionHeader, magic)).store(0, Relaxed);
        // Pairs with the fences in `Header::read` and `is_stale`: who reads anything
        // that is stored below sees that the old magic is gone.
        // loom: loom_region
        fence(Release);
        // By words, as attaching reads them.
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
        Self::over(memory, memory.len(), generation)
    }

    /// Attaches to a region that a partition formatted. Never formats.
    ///
    /// # Errors
    ///
    /// [`AttachError`]: the memory is too short, not a region, of another layout
    /// version, needs features that are unknown here, is shorter than the header
    /// says, or was being formatted at each of several attempts.
    pub fn attach(memory: Window<'m>) -> Result<Self, AttachError> {
        check_len(&memory)?;
        // relaxed: it decides which error this is, nothing more.
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

    fn over(memory: Window<'m>, len: usize, generation: u32) -> Result<Self, AttachError> {
        let whole = memory.sub(0, len);
        Ok(Self {
            memory: whole.map_err(|_| AttachError::TooShort { len })?,
            generation,
        })
    }

    /// All of it, the header too: offsets in a region count from here.
    pub fn memory(&self) -> Window<'m> {
        self.memory
    }

    /// Everything behind the header.
    pub fn body(&self) -> Window<'m> {
        let body = self.memory.sub(LINE, self.memory.len() - LINE);
        body.expect("a region is longer than its header")
    }

    /// How often the memory was formatted.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether the region was formatted again since this handle was made, or is being
    /// formatted now.
    ///
    /// False says that everything this thread read from the region before the call was
    /// from before any later format: read first, ask then, believe last. It says
    /// nothing of what is read or stored after the call; whoever formats a region
    /// makes sure that nobody stores any more.
    #[cfg_attr(not(feature = "small"), inline)]
    #[cfg_attr(feature = "small", inline(never))]
    pub fn is_stale(&self) -> bool {
        let word = |offset| self.memory.word(offset);
        // Pairs with the fence in `format`, or with the one in `attach` of who attached
        // to the new region: what was read so far is older than the magic below (G4).
        // loom: loom_region
        fence(Acquire);
        // Pairs with the store in `format`: a new magic shows the new generation.
        // loom: loom_region
        word(offset_of!(RegionHeader, magic)).load(Acquire) != MAGIC
            // relaxed: after the Acquire of `magic`.
            || word(offset_of!(RegionHeader, generation)).load(Relaxed) != self.generation
    }
}

/// How often [`Region::attach`] reads a header that changes under its hands.
const ATTEMPTS: u32 = 64;

/// What a header says.
struct Header {
    version: u32,
    features: u32,
    generation: u32,
    length: u64,
}

impl Header {
    /// A copy of the header; none if a format began meanwhile (G3).
    fn read(memory: &Window<'_>) -> Option<Self> {
        let word = |offset| memory.word(offset);
        // Pairs with the store in `format`.
        // loom: loom_region
        let generation = word(offset_of!(RegionHeader, generation)).load(Acquire);
        // relaxed: after the Acquire of `generation`, and checked after the fence below; its own
        // second load, after the Acquire of `magic`.
        let load = |offset| word(offset).load(Relaxed);
        let low = load(offset_of!(RegionHeader, length_low));
        let high = load(offset_of!(RegionHeader, length_high));
        let header = Self {
            version: load(offset_of!(RegionHeader, version)),
            features: load(offset_of!(RegionHeader, features)),
            generation,
            length: u64::from(high) << 32 | u64::from(low),
        };
        // Pairs with the fence in `format`: if a word above is a later format's, the
        // magic that was there before it is not seen below.
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
        // Pairs with the fence in `is_stale` of who has an earlier generation: what
        // this thread stores from now on is not seen before the format (G4).
        // loom: loom_region
        fence(Release);
        Region::over(memory, len, self.generation)
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
