//! The driver's children: started, stopped, continued, killed, and never left behind.

use std::io::{self, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::system;

/// A child of the driver. Dropping it kills it.
pub struct Process {
    child: Child,
    /// Closing it tells the child that nobody needs it any more.
    line: ChildStdin,
    stopped: bool,
}

impl Process {
    /// Starts this executable again in another role. Only from the main thread: see [`system::die_with_parent`].
    pub fn start(role: &str, args: &[String], stdout: Stdio) -> io::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(role)
            .arg(std::process::id().to_string())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .spawn()?;
        let line = child.stdin.take().ok_or_else(|| io::Error::other("a child without its pipe"))?;
        Ok(Process { child, line, stopped: false })
    }

    /// The child's output, if it was piped and not taken before.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Tells the child something.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        self.line.write_all(text.as_bytes())
    }

    /// SIGSTOP: the child does nothing until [`go_on`](Self::go_on), and does not know of it.
    pub fn stop(&mut self) -> io::Result<()> {
        self.stopped = true;
        system::signal(self.child.id(), libc::SIGSTOP)
    }

    /// SIGCONT.
    pub fn go_on(&mut self) -> io::Result<()> {
        self.stopped = false;
        system::signal(self.child.id(), libc::SIGCONT)
    }

    /// SIGKILL, and its end awaited.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Waits for the child to end by itself; whether all went well with it.
    pub fn wait(&mut self) -> io::Result<bool> {
        Ok(self.child.wait()?.success())
    }

    /// Whether the child has neither ended nor been stopped.
    pub fn is_running(&mut self) -> io::Result<bool> {
        Ok(!self.stopped && self.child.try_wait()?.is_none())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
