//! Whether the disk is one on which durability costs.

use std::{
    fmt, fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

/// What was found out about the file system of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// Its type, such as `ext4`.
    pub(crate) kind: String,
    /// Median time to append 4 KiB to a file and have them on the disk.
    pub(crate) fsync_p50: Duration,
}

const APPENDS: usize = 301;

impl Disk {
    /// Looks at a folder that exists, by its full path, and refuses a file system in memory, unless
    /// that is `allowed`.
    pub(crate) fn of(dir: &Path, allowed: bool) -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let kind = kind_of(&mounts, dir).unwrap_or("unknown").to_owned();
        let fsync_p50 = fsync_p50(&dir.join("fsync")).map_err(|error| error.to_string())?;
        let disk = Self { kind, fsync_p50 };
        println!("{disk}");
        match disk.is_in_memory() && !allowed {
            true => Err("this file system is in memory, where durability costs nothing: name \
                         another --dir, or say --memory-disk"
                .to_owned()),
            false => Ok(disk),
        }
    }

    /// Whether it holds nothing that a loss of power would not take.
    fn is_in_memory(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }
}

/// The type of the innermost mount that holds a path.
fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        Some((fields.nth(1)?, fields.next()?))
    });
    // Of two at one place the later one hides the other.
    let over = lines.filter(|(at, _)| path.starts_with(at));
    over.max_by_key(|(at, _)| at.len()).map(|(_, kind)| kind)
}

fn fsync_p50(path: &Path) -> std::io::Result<Duration> {
    let mut file = fs::File::create(path)?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let begin = Instant::now();
        file.write_all(&[0x51; 4096])?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    fs::remove_file(path)?;
    times.sort();
    Ok(times[APPENDS / 2])
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.fsync_p50.as_micros();
        write!(f, "disk       {}, 4 KiB appended and synced in {micros} us (p50)", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_tells_the_file_system() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tmp/x xfs rw 0 0\n";
        assert_eq!(kind_of(mounts, Path::new("/home/x")), Some("ext4"));
        assert_eq!(kind_of(mounts, Path::new("/tmp/y")), Some("tmpfs"));
        assert_eq!(kind_of(mounts, Path::new("/tmp/x/y")), Some("xfs"));
        assert_eq!(kind_of(mounts, Path::new("/tmpy")), Some("ext4"));
    }
}
