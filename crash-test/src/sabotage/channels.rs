//! Deliberate errors in sessions and channels.

use std::mem::offset_of;

use shmem_core::primitive::Ordering::Relaxed;
use shmem_registry::layout::PartitionSlot;

use super::rings::{count_opening, forget_unread, mix_up, receive_again, skip_unread};
use crate::actor::Sabotage;
use crate::scenario::Scenario;
use crate::scenarios::{CALL, CHANNEL, SESSION, channel};
use crate::verdict::OrViolation;

const CLIENT: usize = channel::CLIENT;
const SERVER: usize = channel::SERVER;

pub(super) static ALL: [&Scenario; 12] = [
    &Scenario {
        name: "forgetful-session",
        about: "the incarnation of a partition is forgotten when it dies",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, _| {
            if let Ok(slot) = channel::slot(memory) {
                let incarnation = slot.word(offset_of!(PartitionSlot, incarnation));
                incarnation.store(0, Relaxed);
            }
        })),
        ..SESSION
    },
    &Scenario {
        name: "rash-session",
        about: "a silent partition's place is taken from it",
        sabotage: Some(Sabotage::PresumeGone),
        ..SESSION
    },
    &Scenario {
        name: "deaf-session",
        about: "an evicted session goes on after the error that reports its eviction",
        sabotage: Some(Sabotage::IgnoreEviction),
        ..SESSION
    },
    &Scenario {
        name: "blind-session",
        about: "an evicted session stores into the slot that another partition has by then",
        sabotage: Some(Sabotage::StoreAfterEviction(|memory, _| {
            let reserved = size_of::<PartitionSlot>() - 8;
            let word = channel::slot(memory)?.sub(reserved, 8);
            word.map(|word| vec![word]).or_violation("a slot")
        })),
        ..SESSION
    },
    &Scenario {
        name: "forgetful-channel",
        about: "messages that a dead end sent and its peer did not receive are dropped, uncounted",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            let sent = [channel::COMMANDS, channel::RESULTS][role];
            channel::ring(memory, sent).inspect(forget_unread);
        })),
        ..CHANNEL
    },
    &Scenario {
        name: "obedient-server",
        about: "a server takes over the dead one's epoch, and obeys that one's commands",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            if role == SERVER {
                channel::ring(memory, channel::COMMANDS).inspect(|ring| count_opening(ring, -1));
            }
        })),
        ..CHANNEL
    },
    &Scenario {
        name: "silent-client",
        about: "a client takes over the dead one's epoch, so that the server misses its restart",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            if role == CLIENT {
                channel::ring(memory, channel::RESULTS).inspect(|ring| count_opening(ring, -1));
            }
        })),
        ..CHANNEL
    },
    &Scenario {
        name: "repeating-channel",
        about: "the last message that a dead client received arrives again",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            if role == CLIENT {
                channel::ring(memory, channel::RESULTS).inspect(receive_again);
            }
        })),
        ..CHANNEL
    },
    &Scenario {
        name: "repeating-call",
        about: "the last call that a dead server carried out arrives again",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            if role == SERVER {
                let commands = channel::ring(memory, channel::COMMANDS);
                commands.inspect(|ring| {
                    count_opening(ring, -1);
                    receive_again(ring);
                });
            }
        })),
        ..CALL
    },
    &Scenario {
        name: "endless-call",
        about: "the calls that a dead server had are lost, and its client gets no error",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            if role == SERVER {
                let commands = channel::ring(memory, channel::COMMANDS);
                commands.inspect(|ring| {
                    count_opening(ring, -1);
                    skip_unread(ring);
                });
            }
        })),
        ..CALL
    },
    &Scenario {
        name: "mixed-up-call",
        about: "the next client gets the answer to a dead client's call",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            let rings = [channel::COMMANDS, channel::RESULTS];
            if let (CLIENT, [Some(commands), Some(results)]) =
                (role, rings.map(|name| channel::ring(memory, name)))
            {
                mix_up(&commands, &results);
            }
        })),
        ..CALL
    },
    &Scenario {
        name: "absent-server",
        about: "a new client's calls are for a server that does not exist",
        sabotage: Some(Sabotage::SpoilRecovery(|memory, role| {
            if role == CLIENT {
                channel::ring(memory, channel::COMMANDS).inspect(|ring| count_opening(ring, 1));
            }
        })),
        ..CALL
    },
];
