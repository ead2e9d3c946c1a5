//! The inspector on arbitrary bytes, and on a region full of everything after a
//! peer has been at it.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem::look::{Options, Subject, look};
use shmem::report::{Report, Source, Trace};
use shmem::show;
use shmem_core::Window;
use shmem_core::layout::{MAGIC, VERSION};
use shmem_core::mem::Heap;
use shmem_fuzz::spot::{LEN, Stroke, fill, registry};
use shmem_fuzz::{Many, Rarely, Scribble, Who, expand, memory, while_playing};
use shmem_registry::{Id, Kind, Request};

#[derive(Arbitrary, Debug)]
struct Input {
    memory: Memory,
    /// How many bytes of it are there, if not all.
    cut: (Rarely, u16),
    /// Whether to ask this machine for its processes.
    live: Rarely,
    records: u8,
    /// Whether to look twice, as at a live region.
    twice: Rarely,
    /// Columns, if there is a terminal.
    width: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Memory {
    Bytes {
        len: u16,
        /// Makes the first words plausible, so that more is looked at.
        header: Option<(u32, u16, u32)>,
        scribbles: Many<Scribble>,
    },
    Region {
        segments: u8,
        /// Words of the region's own header that are not its own.
        header: Many<(u8, u32)>,
        strokes: Many<Stroke>,
        /// Segments that somebody creates and removes meanwhile.
        busy: (Rarely, Who),
    },
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    match &input.memory {
        Memory::Bytes {
            len,
            header,
            scribbles,
        } => {
            let heap = memory(usize::from(*len % 16384) + 8, 0, &mut bytes);
            let window = heap.window();
            if let Some((features, len, geometry)) = header.filter(|_| window.len() >= 256) {
                let words = [MAGIC, VERSION, features & 1, 1, u32::from(len) * 8, 0];
                let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                window.write(0, &header);
                window.write(128, &geometry.to_le_bytes());
            }
            for scribble in scribbles.iter() {
                scribble.apply(window);
            }
            inspect(&input, window);
        }
        Memory::Region {
            segments,
            header,
            strokes,
            busy,
        } => inspect_region(&input, *segments, header, strokes, busy.0.then_some(busy.1)),
    }
});

fn inspect_region(
    input: &Input,
    segments: u8,
    header: &[(u8, u32)],
    strokes: &[Stroke],
    busy: Option<Who>,
) {
    let heap = Heap::new(LEN);
    let registry = registry(&heap, segments);
    let window = heap.window();
    let tables = registry.tables();
    fill(registry);
    if strokes.is_empty() && header.is_empty() {
        let report = inspect(input, window);
        assert!(
            report.sound || *input.cut.0,
            "{}",
            show::text(&report, None)
        );
    }
    for (at, value) in header {
        let word = window.word(usize::from(*at) % 64 * 4);
        word.store(*value, std::sync::atomic::Ordering::Relaxed);
    }
    for stroke in strokes {
        stroke.apply(window, &tables);
    }
    inspect(input, window);
    if let Some(who) = busy {
        let request = Request::new(Id::from_name("busy"), Kind::RING, 640).expect("a request");
        let play = || {
            strokes
                .iter()
                .for_each(|stroke| stroke.apply(window, &tables));
            if let Ok(segment) = registry.open_or_create(who.incarnation(), &request) {
                let _ = registry.remove(who.incarnation(), &segment);
            }
        };
        while_playing(play, || drop(inspect(input, window)));
    }
}

/// Looks, and shows what comes of it.
fn inspect(input: &Input, memory: Window<'_>) -> Report {
    let there = match *input.cut.0 {
        true => usize::from(input.cut.1) % (memory.len() + 1),
        false => memory.len(),
    };
    let subject = Subject {
        place: "fuzz",
        offset: 0,
        memory,
        there,
        source: match *input.live {
            true => Source::Live,
            false => Source::Dump,
        },
    };
    let options = Options {
        records: usize::from(input.records % 8),
    };
    let mut report = look(&subject, &options);
    if *input.twice {
        let earlier = Trace::of(&report);
        report = look(&subject, &options);
        report.confirm(&earlier);
    }
    show_all(&report, input.width);
    report
}

fn show_all(report: &Report, width: Option<u8>) {
    assert_eq!(report.sound, report.findings.is_empty());
    let text = show::text(report, width.map(|width| u16::from(width).max(20)));
    let hidden = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(hidden), "{text:?}");
    for finding in &report.findings {
        assert!(!finding.to_string().contains(char::is_control));
    }
    let json = serde_json::to_string(report).expect("a report is JSON");
    assert!(!json.contains(char::is_control));
    let value: serde_json::Value = serde_json::from_str(&json).expect("as it says");
    assert_eq!(value["sound"], report.sound);
}
