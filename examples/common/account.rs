//! The account that a scheduler gives of itself: one observation a line, on its standard output, for the driver to read.
//!
//! A thread writes the lines, so that a slow reader never holds up an announce or a callback. What is in the pipe when the
//! scheduler is killed can still be read.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hostwheel::{Clock, HostWheel};

use super::system;

/// Declares a line of numbers: a struct of `u64`s that is written and read field by field.
macro_rules! line {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: u64,)*
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                $(write!(f, " {}", self.$field)?;)*
                Ok(())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<$name, String> {
                let mut words = text.split_whitespace();
                Ok($name { $($field: $crate::common::number(words.next())?,)* })
            }
        }
    };
}
pub(crate) use line;

/// Reads a word of a line as a number.
pub fn number<N: FromStr>(word: Option<&str>) -> Result<N, String> {
    let word = word.unwrap_or("");
    word.parse().map_err(|_| format!("the scheduler wrote {word:?} for a number"))
}

/// A clock by its number in a line.
pub fn clock_of(number: u64) -> Clock {
    let clocks = [Clock::Counter, Clock::Coarse, Clock::Precise, Clock::Manual];
    // Both ends of the pipe are the same program, so there is no other number.
    clocks.into_iter().find(|clock| *clock as u64 == number).unwrap_or_default()
}

/// The scheduler's end: takes lines from any thread and waits for nobody.
pub struct Account<L>(Sender<Option<L>>);

impl<L> Clone for Account<L> {
    fn clone(&self) -> Account<L> {
        Account(self.0.clone())
    }
}

impl<L: Display + Send + 'static> Account<L> {
    /// Starts the thread that writes.
    pub fn open() -> io::Result<(Account<L>, JoinHandle<io::Result<()>>)> {
        let (out, lines) = mpsc::channel();
        let writer = thread::Builder::new().name("writer".into()).spawn(move || write_all(&lines))?;
        Ok((Account(out), writer))
    }

    /// Adds a line.
    pub fn tell(&self, line: L) {
        // A receiver that has gone is a driver that has gone, and the process ends by itself.
        let _ = self.0.send(Some(line));
    }

    /// Lets the writer end after all lines so far.
    pub fn close(&self) {
        let _ = self.0.send(None);
    }
}

/// Writes lines as they come, and flushes when none waits.
fn write_all<L: Display>(lines: &Receiver<Option<L>>) -> io::Result<()> {
    let mut pipe = BufWriter::new(io::stdout().lock());
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            match line {
                Some(line) => writeln!(pipe, "{line}")?,
                None => return pipe.flush(),
            }
            next = lines.try_recv().ok();
        }
        pipe.flush()?;
    }
    Ok(())
}

/// The driver's end: a thread that reads what the scheduler writes.
pub fn follow<L>(output: ChildStdout) -> io::Result<Receiver<Result<L, String>>>
where
    L: FromStr<Err = String> + Send + 'static,
{
    let (tell, told) = mpsc::channel();
    thread::Builder::new().name("reader".into()).spawn(move || {
        let mut output = BufReader::new(output);
        loop {
            let mut line = String::new();
            let observation = match output.read_line(&mut line) {
                // The end, or the torn last line of a scheduler that was killed.
                Ok(_) if !line.ends_with('\n') => return,
                Ok(_) => line.trim_end().parse(),
                Err(e) => Err(e.to_string()),
            };
            // A receiver that has gone is a run that has ended.
            if tell.send(observation).is_err() {
                return;
            }
        }
    })?;
    Ok(told)
}

/// What the driver tells a child, line by line, on its standard input.
pub struct Commands {
    stdin: File,
    /// The beginning of a line.
    rest: String,
}

impl Commands {
    /// Standard input, not to be read by anybody else.
    pub fn open() -> io::Result<Commands> {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        system::set_nonblocking(stdin.as_raw_fd())?;
        Ok(Commands { stdin, rest: String::new() })
    }

    /// What to wait for.
    pub fn fd(&self) -> RawFd {
        self.stdin.as_raw_fd()
    }

    /// The lines that are there; `None` when the driver has gone.
    pub fn read(&mut self) -> io::Result<Option<Vec<String>>> {
        let mut bytes = [0; 1024];
        let length = match self.stdin.read(&mut bytes) {
            Ok(0) => return Ok(None),
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
            Err(e) => return Err(e),
        };
        self.rest.push_str(&String::from_utf8_lossy(&bytes[..length]));
        let mut lines = Vec::new();
        while let Some((line, rest)) = self.rest.split_once('\n') {
            lines.push(line.to_owned());
            self.rest = rest.to_owned();
        }
        Ok(Some(lines))
    }
}

/// Where the scheduler keeps its snapshots. Removed with the run.
pub struct SnapshotFile(PathBuf);

impl SnapshotFile {
    /// One of this run of `program`.
    pub fn new(program: &str) -> SnapshotFile {
        let name = format!("hostwheel-{program}-{}.snapshot", std::process::id());
        SnapshotFile(std::env::temp_dir().join(name))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        // It may not have been written yet.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A thread that takes a snapshot now and again: writing one waits for the disk.
pub struct Snapshots {
    /// Dropped, it ends the thread.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Snapshots {
    /// Takes the first one after `every`.
    pub fn start(wheel: Arc<HostWheel>, path: PathBuf, every: Duration) -> io::Result<Snapshots> {
        let (stop, stopped) = mpsc::channel();
        let thread = thread::Builder::new().name("snapshots".into()).spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(every) {
                // A scheduler lives on without one; the next may succeed.
                if let Err(error) = wheel.snapshot(&path) {
                    eprintln!("scheduler: {error}");
                }
            }
        })?;
        Ok(Snapshots { stop, thread })
    }

    /// Waits for the last one.
    pub fn end(self) -> io::Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| io::Error::other("the thread that takes snapshots panicked"))
    }
}
