//! The bakery's queue as an algorithm: three partitions, every order of their steps.
//!
//! A step is one access to memory, and all see the steps in one order: what it
//! takes that memory shows them so is for `loom_bakery.rs`, which runs the code, but
//! few steps of it. Here nothing ends: partitions go in and out, give up, die and
//! come back until there is no state of the queue that was not seen.
use std::collections::HashSet;

const PARTITIONS: usize = 3;

/// Whose wait is watched: of equal numbers, the others' go before this one's.
const WATCHED: usize = PARTITIONS - 1;

/// What a partition does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    StartDrawing,
    ReadColour,
    ReadTicket,
    ShowTicket,
    /// Looks whether the ticket of `at` is in the way.
    Look,
    /// It is, if the shop has our colour.
    LookAtColour,
    /// It is inside; changes the colour.
    Leave,
    GiveBack,
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
    /// Whose ticket it looks at, and whether it saw it drawn.
    at: usize,
    drawn: bool,
    black: bool,
    largest: u8,
    /// The one thing that the others see.
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
        !self.dead && matches!(self.step, Step::Leave | Step::GiveBack)
    }

    fn waits(&self) -> bool {
        !self.dead && matches!(self.step, Step::Look | Step::LookAtColour)
    }

    fn go_on_with(&mut self, step: Step) {
        (self.step, self.at, self.drawn) = (step, 0, false);
    }

    /// Goes on behind the ticket it looks at.
    fn pass(&mut self, done: Step, next: Step) {
        (self.step, self.drawn) = (next, false);
        self.at += 1;
        if self.at == PARTITIONS {
            self.go_on_with(done);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct State {
    black: bool,
    partitions: [Partition; PARTITIONS],
    /// How often the others went in since the one that is watched has had its ticket.
    passed: [u8; PARTITIONS],
}

/// What else may happen, and the last number.
#[derive(Clone, Copy)]
struct Rules {
    last: u8,
    giving_up: bool,
    dying: bool,
}

impl State {
    /// The states that one step of partition `us` leads to.
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
            with(&|we| we.go_on_with(Step::GiveUp));
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
                we.go_on_with(Step::ReadColour);
            }
            Step::ReadColour => {
                (we.black, we.largest) = (before.black, 0);
                we.go_on_with(Step::ReadTicket);
            }
            Step::ReadTicket => {
                let number = other.ticket.number;
                let counts = we.at != us && other.ticket.black == we.black;
                if counts && !(number == rules.last && other.dead) {
                    we.largest = we.largest.max(number);
                }
                we.pass(Step::ShowTicket, Step::ReadTicket);
            }
            Step::ShowTicket if we.largest == rules.last => we.go_on_with(Step::GiveUp),
            Step::ShowTicket => {
                we.ticket = Ticket {
                    drawing: false,
                    black: we.black,
                    number: we.largest + 1,
                };
                we.go_on_with(Step::Look);
            }
            Step::Look => {
                we.drawn |= !other.ticket.drawing;
                let theirs = other.ticket;
                let gone = we.at == us || other.dead;
                let gone = gone || we.drawn && (theirs.drawing || theirs.number == 0);
                let behind = (theirs.number, we.at) > (we.ticket.number, us);
                if gone || we.drawn && theirs.black == we.ticket.black && behind {
                    we.pass(Step::Leave, Step::Look);
                } else if we.drawn && theirs.black != we.ticket.black {
                    we.step = Step::LookAtColour;
                }
            }
            Step::LookAtColour if before.black == we.ticket.black && !other.dead => {
                we.step = Step::Look;
            }
            Step::LookAtColour => we.pass(Step::Leave, Step::Look),
            Step::Leave => {
                self.black = !we.ticket.black;
                we.step = Step::GiveBack;
            }
            Step::GiveBack | Step::GiveUp => *we = OUTSIDE,
        }
        self.count(&before, us);
        self
    }

    /// Counts who goes in before the one that is watched.
    fn count(&mut self, before: &Self, us: usize) {
        let went_in = !before.partitions[us].is_inside() && self.partitions[us].is_inside();
        self.passed[us] += u8::from(went_in && us != WATCHED);
        if !self.partitions[WATCHED].waits() {
            self.passed = [0; PARTITIONS];
        }
    }
}

/// Sees every state there is. The largest number among them.
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
fn one_is_inside_at_a_time_in_the_order_of_coming_and_numbers_stay_small() {
    let largest = explore(Rules {
        last: 9,
        giving_up: false,
        dying: false,
    });
    assert_eq!(usize::from(largest), PARTITIONS);
}

#[test]
fn one_is_inside_at_a_time_whoever_gives_up_and_behind_the_last_number() {
    explore(Rules {
        last: 3,
        giving_up: true,
        dying: false,
    });
}

#[test]
fn one_is_inside_at_a_time_whoever_dies_and_comes_back() {
    explore(Rules {
        last: 2,
        giving_up: false,
        dying: true,
    });
}
