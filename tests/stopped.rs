//! A process that is stopped and continued loses no living host. The test starts its own binary again as a child whose
//! hosts announce from threads, and stops that.

use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use hostwheel::{Config, Event, HostWheel, Verdict};

const PATIENCE: Duration = Duration::from_secs(60);
const ROLE: &str = "HOSTWHEEL_STOPPED_TEST_ROLE";
const HOSTS_PER_THREAD: usize = 8;
const THREADS: usize = 4;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The child: hosts that announce every 200 ms, one that stops when it is told to, and a report of each leave.
///
/// Its lines begin with `child:`, as the test runner prints as well. Read from the parent: `lose` makes one host fall
/// silent, `report` prints the time away, the end of the input ends it.
fn child() {
    let config = Config { min_interval: ms(100), grace: ms(200), ..Config::default() };
    let wheel = HostWheel::start(config, |event: &Event| {
        println!("child: left {}", event.id());
        Verdict::Done
    })
    .unwrap();
    let (stop, lose) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (wheel, stop, lose) = (&wheel, &stop, &lose);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for host in 0..HOSTS_PER_THREAD {
                        wheel.announce(format!("living-{me}-{host}"), ms(200)).unwrap();
                    }
                    if me == 0 && !lose.load(Ordering::Relaxed) {
                        wheel.announce("lost", ms(200)).unwrap();
                    }
                    thread::sleep(ms(200));
                }
            });
        }
        for line in std::io::stdin().lines() {
            match line.unwrap().as_str() {
                "lose" => lose.store(true, Ordering::Relaxed),
                "report" => {
                    let mut live = 0;
                    wheel.each(|host| {
                        let status = wheel.inspect(host.handle).unwrap();
                        assert!(status.last_seen < wheel.now() + ms(100), "{status:?} was heard in the future");
                        // Counted once the wheel has looked at it.
                        live += usize::from(status.next_look.is_some());
                        ControlFlow::Continue(())
                    });
                    println!("child: away {} live {live}", wheel.stats().away.as_millis());
                }
                other => panic!("{other}?"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    wheel.close(PATIENCE).unwrap();
}

/// The parent's view of the child, which does not outlive the test.
struct Stoppable {
    child: Child,
    commands: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Stoppable {
    fn start() -> Stoppable {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_stopped_process_loses_no_living_host_and_finds_the_lost_one", "--nocapture"])
            .env(ROLE, "child")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines() {
                // The runner's own words may stand before the child's on a line.
                let told = line.unwrap().split_once("child: ").map(|(_, words)| words.to_string());
                if told.is_some_and(|told| tell.send(told).is_err()) {
                    return;
                }
            }
        });
        Stoppable { commands: child.stdin.take(), child, lines }
    }

    fn command(&mut self, command: &str) {
        writeln!(self.commands.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Time away in milliseconds and hosts that live; panics if a host was lost before it was to be.
    fn report(&mut self) -> (u64, usize) {
        self.command("report");
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["away", away, "live", live] => (away.parse().unwrap(), live.parse().unwrap()),
            _ => panic!("a living host was lost: {line}"),
        }
    }

    fn signal(&self, signal: libc::c_int, state: char) {
        let pid = self.child.id();
        // SAFETY: it takes plain numbers; the child was not waited for, so its number is its own.
        assert_eq!(unsafe { libc::kill(pid as libc::pid_t, signal) }, 0);
        let start = Instant::now();
        let stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
        };
        while stopped() != (state == 'T') {
            assert!(start.elapsed() < PATIENCE, "the child does not obey signal {signal}");
            thread::sleep(ms(1));
        }
    }

    /// Stops the child for `length` and returns for how long it was stopped at least.
    fn stop_for(&self, length: Duration) -> Duration {
        self.signal(libc::SIGSTOP, 'T');
        let begun = Instant::now();
        thread::sleep(length);
        let stopped = begun.elapsed();
        self.signal(libc::SIGCONT, 'R');
        stopped
    }
}

impl Drop for Stoppable {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_stopped_process_loses_no_living_host_and_finds_the_lost_one() {
    if std::env::var_os(ROLE).is_some() {
        return child();
    }
    let mut child = Stoppable::start();
    let all = THREADS * HOSTS_PER_THREAD + 1;
    let start = Instant::now();
    while child.report().1 < all {
        assert!(start.elapsed() < PATIENCE, "not all hosts announced");
        thread::sleep(ms(10));
    }
    let mut stopped = Duration::ZERO;
    for (length, between) in [(ms(3000), ms(700)), (ms(3000), ms(50)), (ms(3000), ms(333)), (ms(300), ms(700))] {
        stopped += child.stop_for(length);
        thread::sleep(between);
        assert_eq!(child.report().1, all, "after {stopped:?} in all");
    }
    let (away, _) = child.report();
    assert!(ms(away) + ms(1000) >= stopped, "{away} ms away of {stopped:?}");

    child.command("lose");
    child.stop_for(ms(1000));
    assert_eq!(child.lines.recv_timeout(PATIENCE).as_deref(), Ok("left lost"));
    assert_eq!(child.report().1, all - 1);
    child.commands = None;
    assert!(child.child.wait().unwrap().success());
    let rest: Vec<_> = child.lines.iter().collect();
    assert!(rest.is_empty(), "{rest:?}");
}
