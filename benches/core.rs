//! What an announce costs, beside the floor under any wheel and beside a concurrent map.
//!
//! `cargo bench --bench core` first lets criterion measure the calls that can be repeated for ever, then prints a table for
//! each fleet: rounds in which every subject is measured once, in turn, so that whatever disturbs the machine disturbs them
//! alike. Ratios are taken within a round. Nothing is asserted about time. Fleets of more than 5 million hosts are measured by
//! handle only; the rest is a dash.
//!
//! `HOSTWHEEL_BENCH_HOSTS=1000000,5000000` chooses the fleets, `HOSTWHEEL_BENCH_ROUNDS=3` their rounds; `-- --test` runs everything
//! once with the smallest one, `-- '^$'`, a filter that matches no name, prints the tables alone.

#[path = "core/chosen.rs"]
mod chosen;
#[path = "core/expiring.rs"]
mod expiring;
#[path = "core/fleet.rs"]
mod fleet;
#[path = "core/machine.rs"]
mod machine;
#[path = "core/map.rs"]
mod map;
#[path = "core/pair.rs"]
mod pair;
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

const FLEETS: [usize; 3] = [10_000, 1_000_000, 10_000_000];
const ROUNDS: usize = 5;
/// Criterion measures fleets up to this size; larger ones only repeat what these say.
const CRITERION_HOSTS: usize = 1_000_000;
/// Fleets up to this size are measured by id too; of a larger one, ids and map would take gigabytes, and filling the
/// wheels and maps of every round minutes.
const BY_ID_HOSTS: usize = 5_000_000;

/// What is measured of one fleet and kept between rounds.
struct Subjects {
    fleet: Arc<Fleet>,
    pointer: Repeat<Pointer>,
    floor: Repeat<Floor>,
    renew: Repeat<Renew>,
    whole: Whole,
    by_id: Option<ById>,
}

struct ById {
    look_up: Repeat<LookUp>,
    announce: Repeat<Announce>,
}

impl Subjects {
    fn new(hosts: usize) -> Subjects {
        let fleet = Fleet::new(hosts);
        let by_id = hosts <= BY_ID_HOSTS;
        let fleet = Arc::new(if by_id { fleet.with_ids() } else { fleet });
        let known = Known::new(&fleet);
        Subjects {
            pointer: Repeat::new(Pointer::new(&fleet)),
            floor: Repeat::new(Floor::new(&fleet)),
            renew: Repeat::new(Renew(known.clone())),
            whole: Whole::new(&fleet),
            by_id: by_id
                .then(|| ById { look_up: Repeat::new(LookUp::new(&fleet)), announce: Repeat::new(Announce(known)) }),
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
        if let Some(by_id) = &mut self.by_id {
            group.bench_function("papaya look-up + floor", run(&mut by_id.look_up));
            group.bench_function("announce", run(&mut by_id.announce));
        }
        group.finish();
    }

    /// What two subjects share a ratio is measured one after the other.
    fn round(&mut self) -> Vec<(Row, f64)> {
        let mut figures = vec![
            (Row::Pointer, self.pointer.measure()),
            (Row::FloorPair, pair::measure(&self.floor.calls)),
            (Row::Floor, self.floor.measure()),
            (Row::Renew, self.renew.measure()),
            (Row::RenewPair, pair::measure(&self.renew.calls)),
            (Row::Whole, self.whole.measure()),
        ];
        if let Some(by_id) = &mut self.by_id {
            figures.extend([
                (Row::LookUpPair, pair::measure(&by_id.look_up.calls)),
                (Row::LookUp, by_id.look_up.measure()),
                (Row::Announce, by_id.announce.measure()),
                (Row::AnnouncePair, pair::measure(&by_id.announce.calls)),
            ]);
            let (register, leave) = wheels::churn(&self.fleet);
            figures.extend([
                (Row::Register, register),
                (Row::Leave, leave),
                (Row::Expire, wheels::expiry(&self.fleet)),
                (Row::Remove, peers::removal(&self.fleet)),
            ]);
        }
        figures
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
        let mut table = Table::default();
        for _ in 0..rounds {
            table.add(&subjects.round());
        }
        table.print(hosts, subjects.whole.visits_per_announce());
    }
    println!("\n{:.0} s in all", start.elapsed().as_secs_f64());
    criterion.final_summary();
}
