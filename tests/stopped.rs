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
/// All that live: those of the threads and the one that is lost in the end.
const ALL: usize = THREADS * HOSTS_PER_THREAD + 1;
const INTERVAL: Duration = ms(200);
const TTL: Duration = ms(400);
const GRACE: Duration = ms(200);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The child: hosts that announce every 200 ms, one that stops when it is told to, and a report of each leave.
///
/// Its lines begin with `child:`, as the test runner prints as well. Read from the parent: `begin` starts the hosts, `lose`
/// makes one host fall silent, `bait` makes one die whose leave takes 300 ms in the callback, `report` prints the time away,
/// the end of the input ends it.
fn child() {
    let config = Config { min_interval: ms(100), grace: GRACE, ..Config::default() };
    let wheel = HostWheel::start(config, |event: &Event| {
        println!("child: left {}", event.id());
        if event.id()[..] == *b"bait" {
            thread::sleep(ms(300));
        }
        Verdict::Done
    })
    .unwrap();
    let [begun, stop, lose] = [(); 3].map(|()| AtomicBool::new(false));
    thread::scope(|scope| {
        for me in 0..THREADS {
            let (wheel, begun, stop, lose) = (&wheel, &begun, &stop, &lose);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if begun.load(Ordering::Relaxed) {
                        for host in 0..HOSTS_PER_THREAD {
                            wheel.announce(format!("living-{me}-{host}"), INTERVAL).unwrap();
                        }
                        if me == 0 && !lose.load(Ordering::Relaxed) {
                            wheel.announce("lost", INTERVAL).unwrap();
                        }
                    }
                    thread::sleep(INTERVAL);
                }
            });
        }
        for line in std::io::stdin().lines() {
            match line.unwrap().as_str() {
                "begin" => begun.store(true, Ordering::Relaxed),
                "lose" => lose.store(true, Ordering::Relaxed),
                "bait" => _ = wheel.announce("bait", INTERVAL).unwrap(),
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
            .args(["--exact", "a_scheduler_stopped_twenty_times_loses_nobody_and_finds_the_dead", "--nocapture"])
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

impl Stoppable {
    /// A child whose hosts have all announced.
    fn with_hosts() -> Stoppable {
        let mut child = Stoppable::start();
        child.begin();
        child
    }

    fn begin(&mut self) {
        self.command("begin");
        let start = Instant::now();
        while self.report().1 < ALL {
            assert!(start.elapsed() < PATIENCE, "not all hosts announced");
            thread::sleep(ms(10));
        }
    }

    #[track_caller]
    fn has_all(&mut self) {
        assert_eq!(self.report().1, ALL);
    }

    /// One host dies, is found, and nobody else is: the end of every test.
    fn lose_one(mut self) {
        let away = self.report().0;
        self.command("lose");
        let began = Instant::now();
        self.stop_for(ms(1000));
        assert_eq!(self.lines.recv_timeout(PATIENCE).as_deref(), Ok("left lost"));
        let (found, uncounted) = (began.elapsed(), ms(self.report().0 - away));
        // It may have announced once more. No figure for how late: a generous one for not being forgotten.
        assert!(
            found < INTERVAL + TTL + GRACE + uncounted + ms(2000),
            "found after {found:?}, {uncounted:?} not counted"
        );
        assert_eq!(self.report().1, ALL - 1);
        self.commands = None;
        assert!(self.child.wait().unwrap().success());
        let rest: Vec<_> = self.lines.iter().collect();
        assert!(rest.is_empty(), "{rest:?}");
    }
}

#[test]
fn a_scheduler_stopped_twenty_times_loses_nobody_and_finds_the_dead() {
    if std::env::var_os(ROLE).is_some() {
        return child();
    }
    let mut child = Stoppable::with_hosts();
    let mut stopped = Duration::ZERO;
    for n in 0..20 {
        stopped += child.stop_for(3 * TTL);
        // At all phases of the observer's looks, and less than an interval, so that some hosts cannot announce in between.
        thread::sleep(ms(30 + 37 * n % 180));
        child.has_all();
    }
    let (away, _) = child.report();
    // Of each stop up to the horizon counts: half of the shortest interval and some slack.
    assert!(ms(away) + 20 * ms(80) >= stopped, "{away} ms away of {stopped:?}");
    child.lose_one();
}

#[test]
fn many_short_stops_cost_nobody() {
    let mut child = Stoppable::with_hosts();
    for n in 0..60_u64 {
        child.stop_for(ms(1 + n * 67 % 150));
        thread::sleep(ms(n * 31 % 120));
        child.has_all();
    }
    child.lose_one();
}

#[test]
fn a_stop_in_a_callback_costs_nobody() {
    let mut child = Stoppable::with_hosts();
    for _ in 0..3 {
        child.command("bait");
        assert_eq!(child.lines.recv_timeout(PATIENCE).as_deref(), Ok("left bait"));
        // It is in the callback now.
        child.stop_for(3 * TTL);
        thread::sleep(ms(400));
        child.has_all();
    }
    child.lose_one();
}

#[test]
fn a_stop_while_no_host_lives_costs_nobody_later() {
    let mut child = Stoppable::start();
    assert_eq!(child.report(), (0, 0));
    child.stop_for(ms(1500));
    child.begin();
    thread::sleep(ms(1000));
    child.has_all();
    child.stop_for(3 * TTL);
    child.lose_one();
}
