//! The algorithm of the bakery's queue: three partitions, every order of their steps.
//!
//! A step is one access to memory, and all partitions see the steps in one order. `loom_bakery.rs`
//! runs the real code, with few steps, to show that memory behaves like this. Here there is no end:
//! partitions enter, leave, give up, die and restart until every state of the queue has been seen.
use std::collections::HashSet;

const PARTITIONS: usize = 3;

/// The partition whose wait is checked: of equal numbers, the others' go before its own.
const WATCHED: usize = PARTITIONS - 1;

/// What a partition does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    StartDrawing,
    ReadColour,
    ReadTicket,
    ShowTicket,
    /// Reads whether the ticket of `at` is before its own.
    CheckTicket,
    /// It is, if the current colour is its own.
    CheckColour,
    /// It is inside; changes the colour.
    Leave,
    ReleaseTicket,
    GiveUp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Ticket {
    drawing: bool,
    black: bool,
    number: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Partition {
    dead: bool,
    step: Step,
    /// The partition whose ticket it reads, and whether it saw that ticket drawn.
    at: usize,
    drawn: bool,
    black: bool,
    largest: u8,
    /// The only field that the others see.
    ticket: Ticket,
}

const OUTSIDE: Partition = Partition {
    dead: false,
    step: Step::StartDrawing,
    at: 0,
    drawn: false,
    black: false,
    largest: 0,
    ticket: Ticket {
        drawing: false,
        black: false,
        number: 0,
    },
};

impl Partition {
    fn is_inside(&self) -> bool {
        !self.dead && matches!(self.step, Step::Leave | Step::ReleaseTicket)
    }

    fn is_waiting(&self) -> bool {
        !self.dead && matches!(self.step, Step::CheckTicket | Step::CheckColour)
    }

    fn continue_with(&mut self, step: Step) {
        (self.step, self.at, self.drawn) = (step, 0, false);
    }

    /// Continues after the ticket that it reads.
    fn pass(&mut self, done: Step, next: Step) {
        (self.step, self.drawn) = (next, false);
        self.at += 1;
        if self.at == PARTITIONS {
            self.continue_with(done);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    black: bool,
    partitions: [Partition; PARTITIONS],
    /// How often each of the others entered since the watched partition has had its ticket.
    passed: [u8; PARTITIONS],
}

/// What else may happen, and the largest number.
#[derive(Clone, Copy)]
struct Rules {
    last: u8,
    giving_up: bool,
    dying: bool,
}

impl State {
    /// Passes the states that one step of partition `us` leads to to `next`.
    fn steps(&self, us: usize, rules: Rules, next: &mut impl FnMut(State)) {
        let mut with = |change: &dyn Fn(&mut Partition)| {
            let mut state = *self;
            change(&mut state.partitions[us]);
            next(state);
        };
        let we = self.partitions[us];
        if we.dead {
            return with(&|we| *we = OUTSIDE); // Its next incarnation attaches.
        }
        if rules.dying && we.step != Step::StartDrawing {
            with(&|we| {
                let ticket = we.ticket;
                *we = Partition {
                    dead: true,
                    ticket,
                    ..OUTSIDE
                };
            });
        }
        if rules.giving_up && we.step != Step::StartDrawing && !we.is_inside() {
            with(&|we| we.continue_with(Step::GiveUp));
        }
        next(self.step(us, rules));
    }

    fn step(mut self, us: usize, rules: Rules) -> Self {
        let before = self;
        let we = &mut self.partitions[us];
        let other = before.partitions[we.at];
        match we.step {
            Step::StartDrawing => {
                we.ticket.drawing = true;
                we.continue_with(Step::ReadColour);
            }
            Step::ReadColour => {
                (we.black, we.largest) = (before.black, 0);
                we.continue_with(Step::ReadTicket);
            }
            Step::ReadTicket => {
                let number = other.ticket.number;
                let counts = we.at != us && other.ticket.black == we.black;
                if counts && !(number == rules.last && other.dead) {
                    we.largest = we.largest.max(number);
                }
                we.pass(Step::ShowTicket, Step::ReadTicket);
            }
            Step::ShowTicket if we.largest == rules.last => we.continue_with(Step::GiveUp),
            Step::ShowTicket => {
                we.ticket = Ticket {
                    drawing: false,
                    black: we.black,
                    number: we.largest + 1,
                };
                we.continue_with(Step::CheckTicket);
            }
            Step::CheckTicket => {
                we.drawn |= !other.ticket.drawing;
                let theirs = other.ticket;
                let is_passed = we.at == us || other.dead;
                let is_passed = is_passed || we.drawn && (theirs.drawing || theirs.number == 0);
                let is_after = (theirs.number, we.at) > (we.ticket.number, us);
                if is_passed || we.drawn && theirs.black == we.ticket.black && is_after {
                    we.pass(Step::Leave, Step::CheckTicket);
                } else if we.drawn && theirs.black != we.ticket.black {
                    we.step = Step::CheckColour;
                }
            }
            Step::CheckColour if before.black == we.ticket.black && !other.dead => {
                we.step = Step::CheckTicket;
            }
            Step::CheckColour => we.pass(Step::Leave, Step::CheckTicket),
            Step::Leave => {
                self.black = !we.ticket.black;
                we.step = Step::ReleaseTicket;
            }
            Step::ReleaseTicket | Step::GiveUp => *we = OUTSIDE,
        }
        self.count(&before, us);
        self
    }

    /// Counts the partitions that enter before the watched one.
    fn count(&mut self, before: &Self, us: usize) {
        let entered = !before.partitions[us].is_inside() && self.partitions[us].is_inside();
        self.passed[us] += u8::from(entered && us != WATCHED);
        if !self.partitions[WATCHED].is_waiting() {
            self.passed = [0; PARTITIONS];
        }
    }
}

/// Explores every state. Returns the largest number in them.
fn explore(rules: Rules) -> u8 {
    let start = State {
        black: false,
        partitions: [OUTSIDE; PARTITIONS],
        passed: [0; PARTITIONS],
    };
    let mut seen = HashSet::from([start]);
    let mut left = vec![start];
    let mut largest = 0;
    while let Some(state) = left.pop() {
        let inside = state.partitions.iter().filter(|one| one.is_inside());
        assert!(inside.count() <= 1, "two are inside: {state:#?}");
        assert!(
            state.passed.iter().all(|&times| times <= 1),
            "not fair: {state:#?}"
        );
        let numbers = state.partitions.iter().map(|one| one.ticket.number);
        largest = largest.max(numbers.max().unwrap_or(0));
        for us in 0..PARTITIONS {
            state.steps(us, rules, &mut |next| {
                if seen.insert(next) {
                    left.push(next);
                }
            });
        }
    }
    largest
}

#[test]
fn one_partition_is_inside_at_a_time_in_order_with_small_numbers() {
    let largest = explore(Rules {
        last: 9,
        giving_up: false,
        dying: false,
    });
    assert_eq!(usize::from(largest), PARTITIONS);
}

#[test]
fn one_partition_is_inside_at_a_time_when_others_give_up_or_numbers_run_out() {
    explore(Rules {
        last: 3,
        giving_up: true,
        dying: false,
    });
}

#[test]
fn one_partition_is_inside_at_a_time_when_others_die_and_restart() {
    explore(Rules {
        last: 2,
        giving_up: false,
        dying: true,
    });
}
