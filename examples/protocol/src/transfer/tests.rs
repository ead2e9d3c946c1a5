//! Tests that records of a copy keep their content, and that hostile ones are refused.

use proptest::prelude::*;

use super::*;
use crate::{Command, Event};

const DIGEST: Digest = [7; 32];

#[test]
fn every_request_is_decoded_as_it_was_encoded() {
    let path = &b"/srv/\xff"[..];
    let requests = [
        Request::Put {
            path,
            size: u64::MAX,
            mode: 0o4755,
            source: DIGEST,
        },
        Request::Get { path },
        Request::List { path },
        Request::Status { path },
        Request::MakeDirectory { path, mode: 0o700 },
        Request::SetMode { path, mode: 0 },
        Request::Start {
            offset: 1 << 40,
            digest: DIGEST,
        },
        Request::Data {
            offset: 5,
            bytes: b"",
        },
        Request::Data {
            offset: 0,
            bytes: &[9; Request::MAX_DATA],
        },
        Request::Finish { digest: DIGEST },
        Request::Credit { position: 3 },
        Request::Cancel,
    ];
    let mut record = Vec::new();
    for request in requests {
        let command = Command::Transfer { stream: 9, request };
        command.encode(4, &mut record);
        assert_eq!(Command::decode(&record), Ok((4, command)));
    }
}

#[test]
fn every_report_is_decoded_as_it_was_encoded() {
    let status = |kind| {
        Report::Status(FileStatus {
            kind,
            mode: 0o644,
            size: 1 << 33,
            source: DIGEST,
        })
    };
    let failed = |failure| Report::Failed {
        failure,
        reason: "no such file".into(),
    };
    let reports = [
        status(FileKind::File),
        status(FileKind::Directory),
        status(FileKind::Link),
        status(FileKind::Other),
        Report::Held {
            offset: 1,
            digest: DIGEST,
        },
        Report::Started { offset: 2 },
        Report::Data {
            offset: 0,
            bytes: &[1; Report::MAX_DATA],
        },
        Report::Credit { position: 3 },
        Report::End { digest: DIGEST },
        Report::Done,
        failed(Failure::NoSpace),
        failed(Failure::Other),
    ];
    let mut record = Vec::new();
    for report in reports {
        let event = Event::Transfer { stream: 9, report };
        event.encode(&mut record);
        assert_eq!(Event::decode(&record), Ok(event));
    }
}

fn decodes(request: Request<'_>) -> bool {
    let mut record = Vec::new();
    Command::Transfer { stream: 1, request }.encode(1, &mut record);
    Command::decode(&record).is_ok()
}

#[test]
fn a_path_that_no_file_can_have_and_data_beyond_the_limit_are_malformed() {
    assert!(decodes(Request::Get {
        path: &[b'x'; MAX_PATH]
    }));
    assert!(!decodes(Request::Get {
        path: &[b'x'; MAX_PATH + 1]
    }));
    assert!(!decodes(Request::Get { path: b"" }));
    assert!(!decodes(Request::List { path: b"a\0b" }));
    let too_much = &[0; Request::MAX_DATA + 1];
    assert!(!decodes(Request::Data {
        offset: 0,
        bytes: too_much
    }));
    assert!(!decodes(Request::Data {
        offset: u64::MAX,
        bytes: b"x"
    }));
    assert!(!decodes(Request::MakeDirectory {
        path: b"x",
        mode: 0o10000
    }));
}

#[test]
fn a_name_that_leaves_its_directory_is_malformed() {
    for name in [&b"."[..], b"..", b"", b"a/b", b"/", b"a\0", &[b'x'; 256]] {
        let mut list = Vec::new();
        let kind = FileKind::File;
        let name = name.to_vec();
        Entry { kind, name }.encode(&mut list);
        assert!(Entry::decode_all(&list).is_err());
    }
}

proptest! {
    #[test]
    fn no_record_makes_a_decoder_panic(
        kind in 14_u16..29,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut record = kind.to_le_bytes().to_vec();
        record.extend([0; 6]);
        record.extend(body);
        if let Ok(event) = Event::decode(&record) {
            let mut again = Vec::new();
            event.encode(&mut again);
            prop_assert_eq!(Event::decode(&again), Ok(event));
        }
        let _ = Command::decode(&record);
    }

    #[test]
    fn a_list_is_whole_or_malformed(
        names in prop::collection::vec("[a-z]{1,9}", 0..20),
        cut in any::<prop::sample::Index>(),
        garbled in any::<u8>(),
    ) {
        let kind = FileKind::Directory;
        let entries: Vec<_> = names
            .into_iter()
            .map(|name| Entry { kind, name: name.into_bytes() })
            .collect();
        let mut list = Vec::new();
        entries.iter().for_each(|entry| entry.encode(&mut list));
        prop_assert_eq!(Entry::decode_all(&list), Ok(entries.clone()));
        if !list.is_empty() {
            let at = cut.index(list.len());
            let part = Entry::decode_all(&list[..at]);
            prop_assert!(part.is_err() || part.is_ok_and(|part| entries.starts_with(&part)));
            list[at] = garbled;
            for entry in Entry::decode_all(&list).unwrap_or_default() {
                prop_assert!(!entry.name.contains(&b'/') && entry.name != b"..");
            }
        }
    }
}
