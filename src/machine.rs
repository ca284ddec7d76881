//! This process and its host: what the system knows of them.

use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, getrlimit, test_kill_process};

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

/// Whether this process was started by that one, or by one that it has started.
#[must_use]
pub fn is_ancestor(pid: i64) -> bool {
    let mut process = i64::from(std::process::id());
    // No tree of processes is that deep.
    for _ in 0..100 {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        match parent.and_then(|parent| parent.trim().parse().ok()) {
            Some(parent) if parent == pid => return true,
            Some(parent) => process = parent,
            None => return false,
        }
    }
    false
}

/// Whether a signal was ignored when the process started, as `nohup` and `&` have it (proc(5), `SigIgn`).
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The memory in bytes that this process may use: the machine's, or less where its cgroup (a container, a unit, a job) or
/// its address space has a limit.
#[must_use]
pub fn memory() -> u64 {
    let info = rustix::system::sysinfo();
    let host = info.totalram.saturating_mul(u64::from(info.mem_unit.max(1)));
    let text = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
    let files = limit_files(&text(Path::new("/proc/self/cgroup")), &text(Path::new("/proc/self/mountinfo")));
    let cgroup = files.iter().filter_map(|file| limit(&text(file))).min();
    let address_space = getrlimit(Resource::As).current;
    cgroup.into_iter().chain(address_space).fold(host, u64::min)
}

/// What a file of a limit says; `max` is none.
fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Where the memory limits of a process stand that has this `/proc/self/cgroup` and this `/proc/self/mountinfo`: those of
/// its own cgroup and of every one above it that can be seen (cgroups(7), proc_pid_mountinfo(5)).
fn limit_files(cgroup: &str, mounts: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for mount in mounts.lines().filter_map(Mount::new) {
        for line in cgroup.lines() {
            let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
            let file = match mount.kind {
                "cgroup2" if controllers.is_empty() => "memory.max",
                "cgroup" if mount.for_memory && controllers.split(',').any(|name| name == "memory") => {
                    "memory.limit_in_bytes"
                }
                _ => continue,
            };
            // In a container the mount may show no more than the container's own part, and the path may be told as the
            // host sees it: what the mount does not show is not there to be read.
            let below = Path::new(path).strip_prefix(&mount.root).unwrap_or(Path::new(""));
            let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
            let below = if plain { below } else { Path::new("") };
            files.extend(below.ancestors().map(|cgroup| mount.place.join(cgroup).join(file)));
        }
    }
    files
}

/// A line of `/proc/self/mountinfo`.
struct Mount<'m> {
    root: PathBuf,
    place: PathBuf,
    kind: &'m str,
    /// It is the hierarchy of the memory controller of cgroups v1.
    for_memory: bool,
}

impl<'m> Mount<'m> {
    fn new(line: &'m str) -> Option<Self> {
        let (about, system) = line.split_once(" - ")?;
        let mut about = about.split(' ').skip(3).map(unescaped);
        let (root, place) = (about.next()?, about.next()?);
        let mut system = system.split(' ');
        let (kind, options) = (system.next()?, system.nth(1)?);
        Some(Self { root, place, kind, for_memory: options.split(',').any(|option| option == "memory") })
    }
}

/// A path as it is, in which mountinfo has blanks and the like as octal numbers.
fn unescaped(field: &str) -> PathBuf {
    ["040 ", "011\t", "012\n", "134\\"]
        .iter()
        .fold(field.to_owned(), |path, code| path.replace(&format!("\\{}", &code[..3]), &code[3..]))
        .into()
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
        assert!(is_ancestor(rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get().into())));
        assert!(!is_ancestor(i64::from(std::process::id())) && !is_ancestor(i64::MAX));
    }

    #[track_caller]
    fn assert_read(cgroup: &str, mounts: &str, wanted: &[&str]) {
        let wanted: Vec<_> = wanted.iter().map(PathBuf::from).collect();
        assert_eq!(limit_files(cgroup, mounts), wanted);
    }

    #[test]
    fn limits_are_looked_for_where_the_cgroup_is_mounted_and_in_all_above_it() {
        // v2, a unit below two slices.
        assert_read(
            "0::/system.slice/work.slice/toller.service\n",
            "25 1 0:22 / /proc rw - proc proc rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            &[
                "/sys/fs/cgroup/system.slice/work.slice/toller.service/memory.max",
                "/sys/fs/cgroup/system.slice/work.slice/memory.max",
                "/sys/fs/cgroup/system.slice/memory.max",
                "/sys/fs/cgroup/memory.max",
            ],
        );
        // v1, mounted elsewhere, at a place with a blank in its name.
        assert_read(
            "9:cpu,cpuacct:/other\n4:hugetlb,memory:/a\n",
            "35 31 0:32 / /my\\040cgroups/memory rw - cgroup cgroup rw,hugetlb,memory\n36 31 0:33 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n",
            &["/my cgroups/memory/a/memory.limit_in_bytes", "/my cgroups/memory/memory.limit_in_bytes"],
        );
        // Hybrid: memory is v1's, and v2 has the processes without controllers; a file that is not there has no limit.
        assert_read(
            "4:memory:/x\n0::/\n",
            "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            &[
                "/sys/fs/cgroup/memory/x/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                "/sys/fs/cgroup/unified/memory.max",
            ],
        );
    }

    #[test]
    fn limits_of_containers_are_found_with_and_without_a_namespace() {
        // With one, the container's own is the root.
        assert_read("0::/\n", "9 8 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n", &["/sys/fs/cgroup/memory.max"]);
        // Without one, the path is the host's and the mount shows the container's part of it, in docker and in docker in docker.
        for path in ["/docker/4f2a", "/docker/4f2a/docker/77aa"] {
            assert_read(
                &format!("4:memory:{path}\n"),
                &format!("9 8 0:32 {path} /sys/fs/cgroup/memory ro master:1 - cgroup cgroup rw,memory\n"),
                &["/sys/fs/cgroup/memory/memory.limit_in_bytes"],
            );
        }
        // A process below the container's root, and one that was moved out of what its namespace shows.
        assert_read(
            "0::/docker/4f2a/job\n",
            "9 8 0:26 /docker/4f2a /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
            &["/sys/fs/cgroup/job/memory.max", "/sys/fs/cgroup/memory.max"],
        );
        for path in ["/../../other", "/docker/9999"] {
            assert_read(
                &format!("0::{path}\n"),
                "9 8 0:26 /docker/4f2a /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
                &["/sys/fs/cgroup/memory.max"],
            );
        }
        assert_read("", "nonsense\n", &[]);
    }

    #[test]
    fn a_limit_is_a_number_and_no_limit_is_none() {
        assert_eq!(limit("536870912\n"), Some(512 << 20));
        // What v1 says where there is none, which is more than any machine has.
        assert_eq!(limit("9223372036854771712\n"), Some(9_223_372_036_854_771_712));
        assert_eq!((limit("max\n"), limit("")), (None, None));
        assert!(memory() > 1 << 20);
    }
}
