//! What a configuration of the library is to the oracle, which speaks in plain numbers.
//!
//! The library's own tests use it as well, where the library has another name: so the module around it names them.

use super::{Config, Rules, ceil_ms};

pub fn rules_of(config: &Config, drained: bool) -> Rules {
    Rules {
        host_ttl_ms: ceil_ms(config.host_ttl),
        grace_ms: ceil_ms(config.grace),
        min_interval_ms: ceil_ms(config.min_interval),
        max_interval_ms: ceil_ms(config.max_interval),
        watchdog_ms: ceil_ms(config.watchdog),
        settle_timeout_ms: ceil_ms(config.settle_timeout),
        max_hosts: config.max_hosts,
        max_outstanding: config.max_outstanding,
        drained,
    }
}
