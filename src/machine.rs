//! This process and its host: what the system knows of them.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

/// The name of this host, as `uname -n` gives it.
#[must_use]
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Whether a process of this host lives; one that we may not signal does.
#[must_use]
pub fn is_alive(pid: i64) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    let Some(pid) = pid.and_then(Pid::from_raw) else { return false };
    !matches!(test_kill_process(pid), Err(Errno::SRCH))
}

/// Whether a signal was ignored when the process started, as `nohup` and `&` have it (proc(5), `SigIgn`).
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The memory of this machine in bytes.
#[must_use]
pub fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_some_others_do_not() {
        assert!(is_alive(i64::from(std::process::id())));
        assert!(is_alive(1));
        for nobody in [0, -1, i64::from(i32::MAX), i64::MAX] {
            assert!(!is_alive(nobody), "{nobody}");
        }
        assert!(!host().is_empty());
    }
}
