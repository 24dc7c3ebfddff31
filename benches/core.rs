//! What an announce costs, beside the floor under any wheel and beside a concurrent map.
//!
//! `cargo bench --bench core` first lets criterion measure the calls that can be repeated for ever, then prints a table for
//! each fleet: rounds in which every subject is measured once, in turn, so that whatever disturbs the machine disturbs them
//! alike. Ratios are taken within a round. Nothing is asserted about time.
//!
//! `HOSTWHEEL_BENCH_HOSTS=1000000,5000000` chooses the fleets, `HOSTWHEEL_BENCH_ROUNDS=3` their rounds; `-- --test` runs everything once with the smallest one.

#[path = "core/chosen.rs"]
mod chosen;
#[path = "core/fleet.rs"]
mod fleet;
#[path = "core/machine.rs"]
mod machine;
#[path = "core/map.rs"]
mod map;
#[path = "core/peers.rs"]
mod peers;
#[path = "core/repeat.rs"]
mod repeat;
#[path = "core/spread.rs"]
mod spread;
#[path = "core/table.rs"]
mod table;
#[path = "core/wheels.rs"]
mod wheels;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;

use fleet::Fleet;
use peers::{Floor, LookUp, Pointer};
use repeat::{Calls, Repeat};
use table::{Row, Table};
use wheels::{Announce, Known, Renew, Whole};

const FLEETS: [usize; 3] = [10_000, 1_000_000, 5_000_000];
const ROUNDS: usize = 5;
/// Criterion measures fleets up to this size; larger ones only repeat what these say.
const CRITERION_HOSTS: usize = 1_000_000;

/// What is measured of one fleet and kept between rounds.
struct Subjects {
    fleet: Arc<Fleet>,
    pointer: Repeat<Pointer>,
    floor: Repeat<Floor>,
    renew: Repeat<Renew>,
    look_up: Repeat<LookUp>,
    announce: Repeat<Announce>,
}

impl Subjects {
    fn new(hosts: usize) -> Subjects {
        let fleet = Arc::new(Fleet::new(hosts));
        let known = Known::new(&fleet);
        Subjects {
            pointer: Repeat::new(Pointer::new(&fleet)),
            floor: Repeat::new(Floor::new(&fleet)),
            renew: Repeat::new(Renew(known.clone())),
            look_up: Repeat::new(LookUp::new(&fleet)),
            announce: Repeat::new(Announce(known)),
            fleet,
        }
    }

    fn criterion(&mut self, criterion: &mut Criterion) {
        let mut group = criterion.benchmark_group(format!("{} hosts", self.fleet.hosts()));
        group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(10);
        fn run<C: Calls>(calls: &mut Repeat<C>) -> impl FnMut(&mut criterion::Bencher) {
            |bencher| bencher.iter_custom(|count| calls.timed(count as usize))
        }
        group.bench_function("floor", run(&mut self.floor));
        group.bench_function("renew", run(&mut self.renew));
        group.bench_function("papaya look-up + floor", run(&mut self.look_up));
        group.bench_function("announce", run(&mut self.announce));
        group.finish();
    }

    /// What two subjects share a ratio is measured one after the other.
    fn round(&mut self, whole: &mut Whole) -> [(Row, f64); 10] {
        let pointer = self.pointer.measure();
        let floor = self.floor.measure();
        let renew = self.renew.measure();
        let whole = whole.measure();
        let look_up = self.look_up.measure();
        let announce = self.announce.measure();
        let (register, leave) = wheels::churn(&self.fleet);
        let expire = wheels::expiry(&self.fleet);
        let remove = peers::removal(&self.fleet);
        [
            (Row::Pointer, pointer),
            (Row::Floor, floor),
            (Row::Renew, renew),
            (Row::Whole, whole),
            (Row::LookUp, look_up),
            (Row::Announce, announce),
            (Row::Register, register),
            (Row::Leave, leave),
            (Row::Expire, expire),
            (Row::Remove, remove),
        ]
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |argument: &str| arguments.iter().any(|given| given == argument);
    let mut criterion = Criterion::default().configure_from_args();
    if has("--list") {
        return;
    }
    // As criterion has it: `cargo test --benches` passes no `--bench`.
    let smoke = has("--test") || !has("--bench");
    let (fleets, rounds) = if smoke { (vec![FLEETS[0]], 1) } else { (chosen::fleets(&FLEETS), chosen::rounds(ROUNDS)) };
    machine::print();
    let start = Instant::now();
    for hosts in fleets {
        let mut subjects = Subjects::new(hosts);
        if hosts <= CRITERION_HOSTS {
            subjects.criterion(&mut criterion);
        }
        let mut whole = Whole::new(&subjects.fleet);
        let mut table = Table::default();
        for _ in 0..rounds {
            table.add(&subjects.round(&mut whole));
        }
        table.print(hosts, whole.visits_per_announce());
    }
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    criterion.final_summary();
}
