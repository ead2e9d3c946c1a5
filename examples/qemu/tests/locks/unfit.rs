//! Locks that need compare-and-swap refuse memory in which it does not work.

use kmon_qemu::Transport;

use crate::rig::Arena;

#[test]
fn with_one_possible_processor_locks_refuse_and_name_the_reason() {
    let arena = Arena::new();
    // The last `-smp` applies.
    let guest = arena.guest(2, Transport::Ivshmem, &["-smp", "1,maxcpus=1"]);
    for lock in ["mutex", "semaphore", "rwlock"] {
        let answers = arena.host("answer 2");
        let ended = guest.start(&format!("work {lock} --try-memory")).end();
        assert_eq!(ended.status, 3, "{ended:?}");
        let tried = ended.event("tried");
        let found = tried["compare_and_swap"].as_str().unwrap();
        assert!(found.starts_with("broken"), "{ended:?}");
        let why = ended.event("failed")["error"].as_str().unwrap();
        assert!(
            why.contains("compare-and-swap does not work across this memory")
                && why.contains("maxcpus=2"),
            "{why}"
        );
        answers.succeed();
    }
    // A lock that needs only fences depends on the result for fences.
    let answers = arena.host("answer 2");
    let ended = guest.start("work bakery --rounds 100 --try-memory").end();
    answers.succeed();
    match ended.event("tried")["fences"].as_str().unwrap() {
        "works" => assert_eq!(ended.status, 0, "{ended:?}"),
        found => {
            assert!(found.starts_with("broken"), "{ended:?}");
            assert_eq!(ended.status, 3, "{ended:?}");
            let why = ended.event("failed")["error"].as_str().unwrap();
            assert!(why.contains("a full fence does not work"), "{why}");
        }
    }
    let shown = arena.shown();
    assert_eq!(shown["mutex"]["total"], 0, "{shown}");
}
