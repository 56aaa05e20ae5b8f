//! `warehouse status`: versions, rows, lag, the last loads, refused rows.

use std::fmt::Write;

use super::super::exit::{Code, Outcome};
use super::super::stdout;
use super::{Which, json};
use crate::printable::printable_line;
use crate::warehouse::status::WarehouseStatus;

/// Show versions, rows of each table, lag, the last loads and refused rows
///
/// Ends with 4 if the schema isn't there.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: Which,
}

/// Prints the state.
pub(crate) fn run(args: &Args) -> Outcome {
    let warehouse = args.which.warehouse()?;
    let status = WarehouseStatus::ask(&warehouse)?;
    let printed = stdout::print(&if args.which.json { json(&status) } else { text(&status) })?;
    Ok(if status.schema_version.is_some() { printed } else { Code::Findings })
}

fn text(status: &WarehouseStatus) -> String {
    let mut text = String::new();
    let line = |text: &mut String, name: &str, value: &str| {
        let _ = writeln!(text, "{name:12} {}", printable_line(value));
    };
    line(&mut text, "server", &format!("{} (PostgreSQL {})", status.server, status.server_version));
    let Some(version) = status.schema_version else {
        let what = format!("\"{}\" isn't there: waterspout warehouse init makes it", status.schema);
        line(&mut text, "schema", &what);
        return text;
    };
    let newest = status.program_version;
    let version = if version < newest {
        format!("version {version}; waterspout warehouse init brings it to {newest}")
    } else {
        format!("version {version}")
    };
    line(
        &mut text,
        "schema",
        &format!("\"{}\", {version}, {} months", status.schema, status.months),
    );
    for table in &status.tables {
        let about = if table.is_estimate { "about " } else { "" };
        line(&mut text, &table.table, &format!("{about}{} rows", table.rows));
    }
    let times = [
        ("newest post", status.newest_post, status.post_lag_seconds),
        ("newest load", status.newest_load, status.load_lag_seconds),
    ];
    for (name, time, lag) in times {
        let told = time.map_or("none".into(), |time| {
            format!("{} ({})", time_text(time), ago(lag.unwrap_or_default()))
        });
        line(&mut text, name, &told);
    }
    line(&mut text, "refused", &format!("{} rows", status.refused));
    for reason in &status.refused_reasons {
        line(&mut text, "", reason);
    }
    for load in &status.last_loads {
        let what = format!(
            "{} {}: {} loads, {} rows, {} refused",
            time_text(load.minute),
            load.source,
            load.loads,
            load.rows,
            load.refused
        );
        line(&mut text, "load", &what);
    }
    text
}

/// A time in UTC, to the second.
fn time_text(time: time::OffsetDateTime) -> String {
    let (date, (hour, minute, second)) = (time.date(), time.time().as_hms());
    format!("{date}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Tells the time since something was.
fn ago(seconds: i64) -> String {
    match seconds {
        ..0 => format!("{} s ahead", -seconds),
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago_reads_well_on_both_sides_of_each_unit() {
        let told = [-3, 119, 120, 7_199, 7_200, 172_799, 172_800].map(ago);
        let expected = [
            "3 s ahead",
            "119 s ago",
            "2 min ago",
            "119 min ago",
            "2 h ago",
            "47 h ago",
            "2 d ago",
        ];
        assert_eq!(told, expected);
    }
}
