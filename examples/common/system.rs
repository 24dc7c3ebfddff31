//! The few things that the demonstration wants from Linux and that the standard library does not offer.

use std::io;
use std::mem;
use std::os::fd::RawFd;

pub use super::clock::monotonic_ns;

/// Binds the life of this process to that of `parent`, whatever ends it, `kill -9` included.
///
/// The bond is to the parent's thread that started us, so the driver starts every child from its main thread.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // The parent may have died before the bond was made; then somebody else is the parent by now.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::other("the driver has gone already"));
    }
    Ok(())
}

/// Ignores Ctrl-C and SIGTERM, which may be sent to the whole process group: the driver alone decides how a run ends.
pub fn leave_the_end_to_the_driver() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: SIG_IGN runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Makes sure that `needed` files can be open at a time: each child holds a pipe.
pub fn allow_open_files(needed: u64) -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the call to fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= needed {
        return Ok(());
    }
    if limit.rlim_max < needed {
        let allowed = limit.rlim_max;
        return Err(io::Error::other(format!(
            "{needed} open files are needed and {allowed} allowed: raise `ulimit -Hn`, or use fewer hosts"
        )));
    }
    limit.rlim_cur = needed;
    // SAFETY: `limit` is a valid rlimit for the call to read.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks for a socket receive buffer of `bytes`, beyond the system's limit where the process may.
pub fn want_receive_buffer(socket: RawFd, bytes: libc::c_int) {
    for option in [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF] {
        // SAFETY: the value is a c_int that lives through the call, and its size is given.
        let refused = unsafe {
            let value = (&raw const bytes).cast();
            libc::setsockopt(socket, libc::SOL_SOCKET, option, value, mem::size_of_val(&bytes) as libc::socklen_t)
        };
        if refused == 0 {
            return;
        }
    }
    // A small buffer is no error: it may drop announces while the scheduler is stopped, and the report counts those.
}

/// Makes reads from `fd` return at once.
pub fn set_nonblocking(fd: RawFd) -> io::Result<()> {
    // SAFETY: both calls take plain numbers; a descriptor that is not open is an error, no more.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Waits until one of the descriptors can be read or was hung up, or `timeout_ns` have passed; says which ones can.
pub fn wait_readable<const N: usize>(fds: [RawFd; N], timeout_ns: u64) -> [bool; N] {
    let mut entries = fds.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // Rounded up, so that a host never spins through the last fraction of a millisecond.
    let timeout_ms = timeout_ns.div_ceil(1_000_000).min(60_000) as libc::c_int;
    // SAFETY: `entries` is an array of N pollfds that lives through the call.
    let ready = unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, timeout_ms) };
    entries.map(|entry| ready > 0 && entry.revents != 0)
}

/// Sends a signal to a child that was not waited for yet, so that its number cannot belong to anybody else.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill touches no memory of ours.
    match unsafe { libc::kill(pid as libc::pid_t, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
