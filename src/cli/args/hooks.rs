//! What is done around the snapshot of an export.

use std::time::Duration;

use clap::Args;

use super::HookWord;

/// Commands, and whether what runs is stopped.
#[derive(Debug, Default, Args)]
pub(crate) struct Hooking {
    /// Command for sh(1) to run before the snapshot of each resource; if it fails, so does the export. Can be given several times
    #[arg(long, value_name = "COMMAND")]
    pub(crate) pre_snapshot: Vec<String>,
    /// Command for sh(1) to run after the snapshot of each resource, also if that failed. Can be given several times
    #[arg(long, value_name = "COMMAND")]
    pub(crate) post_snapshot: Vec<String>,
    /// Where these commands run [default: host]
    #[arg(long, value_enum, value_name = "WHERE")]
    pub(crate) hook_in: Option<HookWord>,
    /// How long each of them may take: 90, 60s, 5m, 1h [default: 60s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) hook_timeout: Option<Duration>,
    /// Run none of the commands that the config file has
    #[arg(long, conflicts_with_all = ["pre_snapshot", "post_snapshot", "hook_in", "hook_timeout"])]
    pub(crate) no_hooks: bool,
    /// Stop what runs until the snapshot is made (a plain directory: until it is read), and start it again
    #[arg(long, conflicts_with = "freeze")]
    pub(crate) stop: bool,
    /// Freeze the processes of what runs until the snapshot is made (a plain directory: until it is read)
    #[arg(long)]
    pub(crate) freeze: bool,
}

/// A time as people write it, never none.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("write a number of seconds, or as 60s, 5m, 1h".into()),
    };
    let number: u32 =
        number.parse().map_err(|_| "write a number of seconds, or as 60s, 5m, 1h".to_owned())?;
    if number == 0 {
        return Err("no time is too little".into());
    }
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [("90", 90), ("60s", 60), ("5m", 300), ("1h", 3600)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "s", "0", "0m", "-1", "1d", "1.5s", "99999999999"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
