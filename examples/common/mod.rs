//! What the examples with real processes share: hosts, the datagrams that they send, a scheduler's account of itself, a
//! driver's hold on its children, what every program does and says, and the few system calls behind that.

pub mod account;
mod clock;
pub mod host;
pub mod process;
pub mod program;
pub mod system;
pub mod times;
pub mod wire;

pub(crate) use account::number;
