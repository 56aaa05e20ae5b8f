//! Measures the memory of this process.

use std::process::Command;

/// Returns the resident set in bytes; `None` if the system doesn't tell.
pub fn resident_bytes() -> Option<u64> {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => of_status(&status),
        Err(_) => of_ps(),
    }
}

/// Reads Linux's `status` file, whose unit is fixed. (`statm` counts pages, whose size differs.)
fn of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kibibytes(line.trim().strip_suffix("kB")?)
}

fn of_ps() -> Option<u64> {
    let pid = std::process::id().to_string();
    let output = Command::new("ps").args(["-o", "rss=", "-p", &pid]).output().ok()?;
    kibibytes(std::str::from_utf8(&output.stdout).ok()?)
}

fn kibibytes(text: &str) -> Option<u64> {
    Some(text.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resident_set_is_read_in_kibibytes() {
        assert_eq!(of_status("Name:\tx\nVmRSS:\t   12345 kB\nRssAnon: 1 kB\n"), Some(12345 * 1024));
        assert_eq!(of_status("Name:\tx\n"), None);
        assert!(resident_bytes().is_none_or(|bytes| bytes > 100_000));
    }
}
