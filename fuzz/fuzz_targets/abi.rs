//! Any calls over the C ABI, as a program could make them that keeps to what the header calls defined: any arguments, sizes,
//! handles and orders, several wheels, calls inside callbacks. Each call must answer with a number that its description
//! names, and with just that one where the arguments leave no choice; errors write nothing; no handle works that was not
//! issued; user data come back exactly once; and ids that the program was lent can be read.
#![no_main]

#[path = "abi/input.rs"]
mod input;
#[path = "abi/ledger.rs"]
mod ledger;
#[path = "abi/memory.rs"]
mod memory;
#[path = "abi/opening.rs"]
mod opening;
#[path = "abi/wheel.rs"]
mod wheel;

use libfuzzer_sys::fuzz_target;

use input::{Call, Scene, WHEELS};
use wheel::Wheel;

fuzz_target!(|scene: Scene| {
    wheel::forget_handles();
    let mut wheels: [Option<Box<Wheel>>; WHEELS] = [const { None }; WHEELS];
    for (at, call) in &scene.0 {
        let slot = &mut wheels[*at];
        match (call, &slot) {
            (Call::Open(opening), None) => *slot = opening::open(opening),
            (_, Some(wheel)) => {
                wheel.perform(call);
                if wheel.is_freed() {
                    wheel.close_accounts();
                    *slot = None;
                }
            }
            (_, None) => Wheel::null().perform(call),
        }
    }
    for wheel in wheels.into_iter().flatten() {
        wheel.perform(&Call::Free);
        wheel.close_accounts();
    }
});
