//! Threads of tests that are held at points of their way, while others go on.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::pause::{Point, at};

/// Longer than any of these operations takes by orders of magnitude; only a failing test waits for it.
const STUCK: Duration = Duration::from_secs(20);

/// A thread that waits at each of some points until it is told to go on.
pub(crate) struct Held<R> {
    thread: JoinHandle<R>,
    arrived: Receiver<Point>,
    go_on: Sender<()>,
}

/// Has this thread wait at the next one of the points, and then at those after it.
fn wait_at(mut points: VecDeque<Point>, arrive: Sender<Point>, told: Receiver<()>) {
    let Some(point) = points.pop_front() else { return };
    at(point, move || {
        arrive.send(point).expect("the test listens");
        told.recv().expect("the test goes on");
        wait_at(points, arrive, told);
    });
}

impl<R: Send + 'static> Held<R> {
    /// Runs `act` on a thread of its own up to the first of the points.
    pub(crate) fn at(points: impl AsRef<[Point]>, act: impl FnOnce() -> R + Send + 'static) -> Held<R> {
        let points: VecDeque<Point> = points.as_ref().iter().copied().collect();
        let ((arrive, arrived), (go_on, told)) = (channel(), channel());
        let thread = thread::spawn(move || {
            wait_at(points, arrive, told);
            act()
        });
        let held = Held { thread, arrived, go_on };
        held.arrive();
        held
    }

    fn arrive(&self) {
        self.arrived.recv_timeout(STUCK).expect("the thread comes to the point");
    }

    /// Lets it run to its next point.
    pub(crate) fn step(&self) {
        self.go_on.send(()).expect("the thread waits");
        self.arrive();
    }

    /// As [`step`](Self::step); false if it does not come there and has ended.
    pub(crate) fn step_or_end(&self) -> bool {
        self.go_on.send(()).expect("the thread waits");
        self.arrived.recv_timeout(STUCK).is_ok()
    }

    /// Lets it run to its end.
    pub(crate) fn finish(self) -> R {
        // It may have come there.
        let _ = self.go_on.send(());
        self.thread.join().expect("the thread does not panic")
    }
}

/// Does something on another thread, which must not have to wait for anybody.
pub(crate) fn at_once<R: Send + 'static>(act: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, result) = channel();
    thread::spawn(move || done.send(act()));
    result.recv_timeout(STUCK).expect("the operation waits for a thread that is held")
}
