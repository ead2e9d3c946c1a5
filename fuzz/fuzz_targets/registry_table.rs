//! A registry with a hostile peer, which stores arbitrary words into its tables, between our
//! calls and during them.

#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use shmem_core::mem::Heap;
use shmem_core::{Region, Window};
use shmem_fuzz::tables::{LEN, TableStore, registry};
use shmem_fuzz::{Many, RandomLiveness, Rarely, SmallIncarnation, expand, while_running};
use shmem_registry::{Id, Kind, OpenError, Registry, Request, Segment};

#[derive(Arbitrary, Debug)]
struct Input {
    segments: u8,
    /// The number of segments that exist before the first store.
    created: u8,
    /// The stores before the first call.
    table: Many<TableStore>,
    /// True to make all stores from another thread too.
    threaded: Rarely,
    /// The states of incarnations, two bits each.
    gone: u32,
    steps: Many<(Step, Option<TableStore>)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Lookup(u8),
    Create {
        by: SmallIncarnation,
        id: u8,
        len: u16,
        align: u8,
    },
    Named {
        by: SmallIncarnation,
        name: u8,
    },
    /// Removes a segment: if `stale`, the one found last, otherwise one by its identifier.
    Remove {
        by: SmallIncarnation,
        id: u8,
        stale: bool,
    },
    Reap(SmallIncarnation),
    List,
    Inspect,
    Attach,
}

fuzz_target!(|data: &[u8]| {
    let data = expand(data);
    let mut bytes = Unstructured::new(&data);
    let Ok(input) = Input::arbitrary(&mut bytes) else {
        return;
    };
    let heap = Heap::new(LEN);
    let region = heap.window();
    let registry = registry(&heap, input.segments);
    let tables = registry.tables();
    let mut user = User {
        registry,
        liveness: RandomLiveness::new(input.gone),
        found: None,
    };
    for id in 0..input.created % 8 {
        user.create(SmallIncarnation::default(), &request(id, 100, 0));
    }
    for store in input.table.iter() {
        store.apply(region, &tables);
    }
    user.run(region, &input.steps);
    if *input.threaded {
        let stores: Vec<TableStore> = input.steps.iter().filter_map(|step| step.1).collect();
        let play = || {
            for store in &stores {
                store.apply(region, &tables);
            }
        };
        while_running(play, || user.run(region, &input.steps));
    }
});

/// Returns one of a few identifiers, so that chains have several rows.
fn id(id: u8) -> Id {
    Id::new(u64::from(id % 16) + 1).expect("not 0")
}

fn request(number: u8, len: u16, align: u8) -> Request {
    Request::new(id(number), Kind::RAW, usize::from(len % 2048) + 1)
        .and_then(|request| request.aligned(1 << (align % 14)))
        .expect("a request that can be served")
}

/// A partition that uses the registry.
struct User<'m> {
    registry: Registry<'m>,
    liveness: RandomLiveness,
    /// The segment that was found last; it may be removed.
    found: Option<Segment<'m>>,
}

impl<'m> User<'m> {
    fn run(&mut self, region: Window<'m>, steps: &[(Step, Option<TableStore>)]) {
        let tables = self.registry.tables();
        for (step, store) in steps {
            self.take(region, *step);
            if let Some(store) = store {
                store.apply(region, &tables);
            }
        }
    }

    fn take(&mut self, region: Window<'m>, step: Step) {
        match step {
            Step::Lookup(number) => {
                if let Ok(segment) = self.registry.lookup(id(number)) {
                    assert_eq!(segment.id(), id(number));
                    self.touch(segment);
                }
            }
            Step::Create { by, id, len, align } => self.create(by, &request(id, len, align)),
            Step::Named { by, name } => {
                let names = [
                    "a",
                    "commands",
                    "results",
                    "a name of thirty-two bytes, all.",
                ];
                let name = names[usize::from(name) % names.len()];
                let request = Request::named(name, Kind::RING, 640).expect("a name");
                self.create(by, &request);
            }
            Step::Remove {
                by,
                id: number,
                stale,
            } => {
                let found = match stale {
                    true => self.found,
                    false => self.registry.lookup(id(number)).ok(),
                };
                if let Some(segment) = found {
                    let _ = self.registry.remove(by.incarnation(), &segment);
                }
            }
            Step::Reap(by) => {
                if let Ok(count) = self.registry.reap(by.incarnation(), &mut self.liveness) {
                    assert!(count <= self.registry.geometry().segments);
                }
            }
            Step::List => self.list(),
            Step::Inspect => self.inspect(),
            Step::Attach => {
                let region = Region::attach(region).expect("no store changes the header");
                let again = Registry::attach(region).expect("nor the registry's header");
                assert_eq!(again.geometry(), self.registry.geometry());
            }
        }
    }

    fn create(&mut self, by: SmallIncarnation, request: &Request) {
        match self.registry.open_or_create(by.incarnation(), request) {
            Ok(segment) => self.touch(segment),
            Err(OpenError::NotFound) => panic!("a missing segment was not created"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }

    fn list(&mut self) {
        let mut count = 0;
        for segment in self.registry.segments() {
            count += 1;
            if let Ok(segment) = segment {
                self.touch(segment);
            }
        }
        let rows = self.registry.geometry().segments;
        assert!(count <= self.registry.tables().buckets * (rows + 1));
        let unfinished = self.registry.unfinished().count();
        assert!(unfinished <= rows);
    }

    fn inspect(&self) {
        for row in self.registry.rows() {
            let _ = (row.is_named(), row.is_removed(), row.owner());
            if let Ok(segment) = row.segment {
                assert!(segment.offset() + segment.window().len() <= LEN);
            }
        }
        for bucket in 0..self.registry.tables().buckets {
            let most = self.registry.geometry().segments + 1;
            assert!(self.registry.chain(bucket).count() <= most);
        }
        let blocks = self.registry.tables().blocks;
        assert!((0..blocks).all(|block| self.registry.block_word(block).is_some()));
        assert_eq!(self.registry.block_word(blocks), None);
    }

    /// Reads all of a segment: it must lie inside the region.
    fn touch(&mut self, segment: Segment<'m>) {
        assert!(segment.offset() + segment.len() <= LEN);
        let mut bytes = vec![0; segment.window().len()];
        segment.window().read(0, &mut bytes);
        let _ = segment.name().to_string();
        let _ = self.registry.is_current(&segment);
        self.found = Some(segment);
    }
}
