use crate::Common;
use crate::report::Outcome;
use std::error::Error;
use std::sync::atomic::AtomicBool;
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    common: Common,
}
pub fn run(_o: &Options, _i: &AtomicBool) -> Result<Outcome, Box<dyn Error>> {
    Err("not yet".into())
}
