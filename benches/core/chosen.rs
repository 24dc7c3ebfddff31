//! What the environment chooses.

/// The numbers in `variable`, separated by commas.
pub fn numbers(variable: &str, usual: &[usize]) -> Vec<usize> {
    let Ok(list) = std::env::var(variable) else { return usual.to_vec() };
    let number = |text: &str| text.trim().parse().unwrap_or_else(|_| panic!("{variable} takes numbers, not {text:?}"));
    list.split(',').map(number).collect()
}

/// `HOSTWHEEL_BENCH_HOSTS`: fleet sizes.
pub fn fleets(usual: &[usize]) -> Vec<usize> {
    numbers("HOSTWHEEL_BENCH_HOSTS", usual)
}

/// `HOSTWHEEL_BENCH_ROUNDS`: at least one.
pub fn rounds(usual: usize) -> usize {
    numbers("HOSTWHEEL_BENCH_ROUNDS", &[usual])[0].max(1)
}
