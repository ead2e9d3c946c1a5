//! The inspector on arbitrary bytes, and on a full region in which a hostile peer has stored
//! arbitrary words.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem::inspection::{self, Options, Subject};
use shmem::report::{Report, Source, Trace};
use shmem::show;
use shmem_core::Window;
use shmem_core::layout::{MAGIC, VERSION};
use shmem_core::mem::Heap;
use shmem_fuzz::tables::{LEN, TableStore, fill, registry};
use shmem_fuzz::{Many, PeerStore, Rarely, SmallIncarnation, expand, memory, while_running};
use shmem_registry::{Id, Kind, Request};

#[derive(Arbitrary, Debug)]
struct Input {
    memory: Memory,
    /// Rarely: only this many bytes of the memory exist.
    cut: (Rarely, u16),
    /// True to check the processes of this machine.
    live: Rarely,
    records: u8,
    /// True to inspect twice, as for a live region.
    twice: Rarely,
    /// The columns of the terminal, if there is one.
    width: Option<u8>,
}

#[derive(Arbitrary, Debug)]
enum Memory {
    Bytes {
        len: u16,
        /// Plausible first words, so that more is inspected.
        header: Option<(u32, u16, u32)>,
        stores: Many<PeerStore>,
    },
    Region {
        segments: u8,
        /// Stores to the region's header.
        header: Many<(u8, u32)>,
        stores: Many<TableStore>,
        /// Rarely: an incarnation that creates and removes segments meanwhile.
        busy: (Rarely, SmallIncarnation),
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
            stores,
        } => {
            let heap = memory(usize::from(*len % 16384) + 8, 0, &mut bytes);
            let window = heap.window();
            if let Some((features, len, geometry)) = header.filter(|_| window.len() >= 256) {
                let words = [MAGIC, VERSION, features & 1, 1, u32::from(len) * 8, 0];
                let header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                window.write(0, &header);
                window.write(128, &geometry.to_le_bytes());
            }
            for store in stores.iter() {
                store.apply(window);
            }
            inspect(&input, window);
        }
        Memory::Region {
            segments,
            header,
            stores,
            busy,
        } => inspect_region(&input, *segments, header, stores, busy.0.then_some(busy.1)),
    }
});

fn inspect_region(
    input: &Input,
    segments: u8,
    header: &[(u8, u32)],
    stores: &[TableStore],
    busy: Option<SmallIncarnation>,
) {
    let heap = Heap::new(LEN);
    let registry = registry(&heap, segments);
    let window = heap.window();
    let tables = registry.tables();
    fill(registry);
    if stores.is_empty() && header.is_empty() {
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
    for store in stores {
        store.apply(window, &tables);
    }
    inspect(input, window);
    if let Some(who) = busy {
        let request = Request::new(Id::from_name("busy"), Kind::RING, 640).expect("a request");
        let play = || {
            stores.iter().for_each(|store| store.apply(window, &tables));
            if let Ok(segment) = registry.open_or_create(who.incarnation(), &request) {
                let _ = registry.remove(who.incarnation(), &segment);
            }
        };
        while_running(play, || drop(inspect(input, window)));
    }
}

/// Inspects the memory, and shows the report.
fn inspect(input: &Input, memory: Window<'_>) -> Report {
    let available = match *input.cut.0 {
        true => usize::from(input.cut.1) % (memory.len() + 1),
        false => memory.len(),
    };
    let subject = Subject {
        place: "fuzz",
        offset: 0,
        memory,
        available,
        source: match *input.live {
            true => Source::Live,
            false => Source::Dump,
        },
    };
    let options = Options {
        records: usize::from(input.records % 8),
    };
    let mut report = inspection::inspect(&subject, &options);
    if *input.twice {
        let earlier = Trace::from_report(&report);
        report = inspection::inspect(&subject, &options);
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
    let value: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
    assert_eq!(value["sound"], report.sound);
}
