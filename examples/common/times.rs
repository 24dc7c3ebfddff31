//! Times, and their percentiles.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Times, up to a quarter of an hour.
pub struct Times(Histogram<u64>);

impl Times {
    pub fn new() -> Times {
        // Microseconds. The bounds are valid, and whatever lies outside is saturated.
        Times(Histogram::new_with_bounds(1, 900_000_000, 4).expect("the bounds are constants"))
    }

    pub fn note(&mut self, time: Duration) {
        self.0.saturating_record(time.as_micros() as u64);
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The median, the 99th percentile and the greatest, in words.
    pub fn tell(&self) -> [String; 3] {
        [0.5, 0.99, 1.0].map(|quantile| show(Duration::from_micros(self.0.value_at_quantile(quantile))))
    }
}

/// A duration with a unit that suits it.
pub fn show(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        100.0.. => format!("{seconds:.0} s"),
        1.0.. => format!("{seconds:.2} s"),
        _ => format!("{:.1} ms", seconds * 1e3),
    }
}
