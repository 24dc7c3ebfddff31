//! Operations on a manual clock, the library against the oracle: the property tests' duel, fed by the fuzzer.
#![no_main]

#[path = "../../tests/properties/duel.rs"]
mod duel;
#[path = "operations/input.rs"]
mod input;
#[path = "../../tests/oracle/mod.rs"]
mod oracle;
#[path = "../../tests/properties/script.rs"]
mod script;

use hostwheel::HostWheel;
use libfuzzer_sys::{Corpus, fuzz_target};

use duel::Duel;
use input::Scene;

fuzz_target!(|scene: Scene| -> Corpus {
    if scene.config.check().is_err() {
        assert!(HostWheel::drained(scene.config).is_err());
        return Corpus::Reject;
    }
    if let Err(failure) = script::run(Duel::new(&scene.config, scene.manners), &scene.ops) {
        panic!("{failure}");
    }
    Corpus::Keep
});
