//! A range of shared memory with a header that says what it is.
//!
//! - **G1** `magic` is stored last when a region is formatted and removed first,
//!   so that a region with a magic has a whole header and a zeroed body.
//! - **G2** Attaching stores nothing.
//! - **G3** The header is read once; only what was read and checked is used.
//!
//! | store               | paired load           | hands over                |
//! |---------------------|-----------------------|---------------------------|
//! | `magic` in `format` | `magic` in `attach`   | the header, the zero body |

mod error;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
mod linux;

pub use error::AttachError;
#[cfg(all(feature = "linux", target_os = "linux", not(loom)))]
pub use linux::{MapError, Mapping};

use memoffset::offset_of;

use crate::layout::{RegionHeader, LINE, MAGIC, VERSION};
use crate::mem::Window;
use crate::primitive::{
    fence,
    Ordering::{Acquire, Relaxed, Release},
};

/// Feature bits this version of the library knows.
pub const FEATURES: u32 = 0;

/// A region that was formatted or attached.
#[derive(Clone, Copy)]
pub struct Region<'m> {
    memory: Window<'m>,
    body: Window<'m>,
    incarnation: u32,
    features: u32,
}

impl<'m> Region<'m> {
    /// Makes `memory` a region: zeroes it and writes the header. Whoever is
    /// attached to what it was before must have let go.
    ///
    /// # Errors
    ///
    /// [`AttachError::TooShort`] if there is no room for a header and a line,
    /// [`AttachError::Features`] for bits this library does not know.
    pub fn format(memory: Window<'m>, features: u32) -> Result<Self, AttachError> {
        check_len(&memory)?;
        check_features(features)?;
        let word = |offset| memory.word(offset);
        // Whatever was there: one more differs from what an earlier handle saw,
        // even if an earlier format died half-way. Relaxed: it orders nothing.
        let before = word(offset_of!(RegionHeader, incarnation)).load(Relaxed);
        let incarnation = before.wrapping_add(1).max(1);
        word(offset_of!(RegionHeader, magic)).store(0, Relaxed);
        // G1: nobody sees the zeroes below and the old magic together.
        fence(Release); // loom: none (needs a peer that attaches during a format, which the contract forbids)
        memory.zero(16, memory.len() - 16);
        let length = memory.len() as u64;
        word(offset_of!(RegionHeader, version)).store(VERSION, Relaxed);
        word(offset_of!(RegionHeader, features)).store(features, Relaxed);
        word(offset_of!(RegionHeader, incarnation)).store(incarnation, Relaxed);
        word(offset_of!(RegionHeader, length_low)).store(length as u32, Relaxed);
        word(offset_of!(RegionHeader, length_high)).store((length >> 32) as u32, Relaxed);
        // Pairs with the load in `attach`: header and body are whole (G1).
        word(offset_of!(RegionHeader, magic)).store(MAGIC, Release); // loom: loom_region
        Self::over(memory, memory.len(), incarnation, features)
    }

    /// Attaches to a region that a partition formatted. Never formats.
    ///
    /// # Errors
    ///
    /// [`AttachError`]: the memory is too short, not a region, of another layout
    /// version, needs features that are unknown here, or is shorter than the
    /// header says.
    pub fn attach(memory: Window<'m>) -> Result<Self, AttachError> {
        check_len(&memory)?;
        // Pairs with the store in `format`.
        let magic = memory.word(offset_of!(RegionHeader, magic)).load(Acquire); // loom: loom_region
        if magic != MAGIC {
            return Err(AttachError::NotARegion { magic });
        }
        let load = |offset| memory.word(offset).load(Relaxed);
        let version = load(offset_of!(RegionHeader, version));
        if version != VERSION {
            return Err(AttachError::Version { found: version });
        }
        let features = load(offset_of!(RegionHeader, features));
        check_features(features)?;
        let low = load(offset_of!(RegionHeader, length_low));
        let high = load(offset_of!(RegionHeader, length_high));
        let length = u64::from(high) << 32 | u64::from(low);
        let mapped = memory.len();
        let plausible = usize::try_from(length)
            .ok()
            .filter(|&len| len >= 2 * LINE && len <= mapped && len % 8 == 0);
        let Some(len) = plausible else {
            return Err(AttachError::Length { length, mapped });
        };
        let incarnation = load(offset_of!(RegionHeader, incarnation));
        Self::over(memory, len, incarnation, features)
    }

    fn over(
        memory: Window<'m>,
        len: usize,
        incarnation: u32,
        features: u32,
    ) -> Result<Self, AttachError> {
        let too_short = |_| AttachError::TooShort { len };
        let body = memory.sub(LINE, len - LINE).map_err(too_short)?;
        Ok(Self {
            memory: memory.sub(0, len).map_err(too_short)?,
            body,
            incarnation,
            features,
        })
    }

    /// All of it, the header too: offsets in a region count from here.
    pub fn memory(&self) -> Window<'m> {
        self.memory
    }

    /// Everything behind the header.
    pub fn body(&self) -> Window<'m> {
        self.body
    }

    /// How often the memory was formatted.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The feature bits.
    pub fn features(&self) -> u32 {
        self.features
    }

    /// Whether the region was formatted again since this handle was made.
    pub fn is_stale(&self) -> bool {
        let load = |offset| self.memory.word(offset).load(Relaxed);
        load(offset_of!(RegionHeader, magic)) != MAGIC
            || load(offset_of!(RegionHeader, incarnation)) != self.incarnation
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
