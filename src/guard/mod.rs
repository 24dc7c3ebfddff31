//! Guards against a wrong picture: what to do when very many hosts seem to go at once.
//!
//! Both are functions of ticks and counts; they know no host, no thread and no clock. The observer asks them before it
//! takes a due host, and hosts that may not go wait, Live or Suspect as they are: an announce still saves them.
//!
//! - [`Silence`]: nobody at all is heard, so it is we who are cut off. Nobody leaves while it lasts.
//! - [`Bucket`]: more hosts leave than a fleet plausibly loses in a minute. They leave one after the other.

mod brake;
mod silence;

pub(crate) use brake::Bucket;
pub(crate) use silence::{Due, Quiet, Rates, Silence};
