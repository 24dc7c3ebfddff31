//! How models are explored, for tests under loom only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::canary::{self, Canary};

/// A model that has not ended by then fails: what was not explored was not shown.
const LIMIT: Duration = Duration::from_secs(900);

/// The bound of the models with most steps: one preemption less, unless `HOSTWHEEL_MODELS_DEEP` is set, as `.ci/long` does.
pub(crate) fn deep(preemptions: usize) -> Option<usize> {
    Some(if is_deep() { preemptions } else { preemptions - 1 })
}

/// As [`deep`], of those that would take minutes even so: two preemptions less.
pub(crate) fn deepest(preemptions: usize) -> Option<usize> {
    Some(if is_deep() { preemptions } else { preemptions - 2 })
}

fn is_deep() -> bool {
    std::env::var_os("HOSTWHEEL_MODELS_DEEP").is_some()
}

/// Explores `f` with at most `preemptions`, `None` for all interleavings; fewer where `LOOM_MAX_PREEMPTIONS` says so.
pub(crate) fn explore(preemptions: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = match (preemptions, builder.preemption_bound) {
        (Some(ours), Some(env)) => Some(ours.min(env)),
        (ours, env) => ours.or(env),
    };
    builder.max_branches = 20_000;
    builder.max_duration = Some(LIMIT);
    let began = Instant::now();
    let executions = Arc::new(Mutex::new(0u64));
    let counter = executions.clone();
    builder.check(move || {
        *counter.lock().expect("no panic holds it") += 1;
        f();
    });
    let took = began.elapsed();
    let count = *executions.lock().expect("no panic holds it");
    println!("explored {count} executions in {took:.1?}");
    assert!(took < LIMIT, "the model stopped at its time limit");
}

/// Expects that the model fails with the bug planted.
pub(crate) fn must_fail(canary: Canary, preemptions: Option<usize>, f: impl Fn() + Send + Sync + 'static) {
    let survived = canary::with(canary, || {
        // The failure is expected: its message would only confuse.
        catch_unwind(AssertUnwindSafe(|| explore(preemptions, f))).is_ok()
    });
    assert!(!survived, "{canary:?} was not noticed");
}
