//! Whether SQLite's write-ahead log is safe where a store lies.
//!
//! The log needs memory shared between processes, which network and user-space file systems do
//! not give (<https://sqlite.org/wal.html>, "disadvantages"). There the rollback journal is used.

use std::path::Path;

/// Whether processes that open a file at `path` share memory-mapped pages.
pub(crate) fn shares_memory(path: &Path) -> bool {
    platform::shares_memory(path)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::path::Path;

    /// Numbers from linux/magic.h and statfs(2): AFS, Ceph, CIFS, SMB, SMB2, Coda, FUSE, Lustre,
    /// NCP, NFS, 9P (which WSL uses for Windows drives).
    const REMOTE: [u32; 11] = [
        0x5346_414F,
        0x00C3_6400,
        0xFF53_4D42,
        0x0000_517B,
        0xFE53_4D42,
        0x7375_7245,
        0x6573_5546,
        0x0BD0_0BD0,
        0x0000_564C,
        0x0000_6969,
        0x0102_1997,
    ];

    pub(super) fn shares_memory(path: &Path) -> bool {
        rustix::fs::statfs(path).is_ok_and(|found| !REMOTE.contains(&(found.f_type as u32)))
    }
}

#[cfg(all(unix, not(target_os = "linux")))]
mod platform {
    use std::path::Path;

    /// `MNT_LOCAL` of sys/mount.h, the same number on macOS and the BSDs.
    const LOCAL: u64 = 0x1000;

    pub(super) fn shares_memory(path: &Path) -> bool {
        rustix::fs::statfs(path).is_ok_and(|found| found.f_flags as u64 & LOCAL != 0)
    }
}

#[cfg(windows)]
mod platform {
    use std::path::{Component, Path, Prefix};

    /// A drive letter may still be a mapped share; a path such as `\\server\share` certainly is.
    pub(super) fn shares_memory(path: &Path) -> bool {
        let prefix = path.components().next();
        !matches!(prefix, Some(Component::Prefix(p))
            if matches!(p.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..)))
    }
}
