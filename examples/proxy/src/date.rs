//! The time of day, in the two forms in which it is written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How long it is since 1970.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time in UTC, as RFC 3339 has it.
pub fn in_logs(since_1970: Duration) -> String {
    let (year, month, day) = calendar(since_1970);
    let [hour, minute, second] = clock(since_1970);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since_1970.subsec_millis())
}

/// The time as a `Date` field has it (RFC 9110, 5.6.7).
pub fn in_http(since_1970: Duration) -> String {
    let (year, month, day) = calendar(since_1970);
    let [hour, minute, second] = clock(since_1970);
    // The first day was a Thursday.
    let weekday = WEEKDAYS[((days(since_1970) + 4) % 7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

fn days(since_1970: Duration) -> u64 {
    since_1970.as_secs() / 86_400
}

fn clock(since_1970: Duration) -> [u64; 3] {
    let second = since_1970.as_secs() % 86_400;
    [second / 3600, second / 60 % 60, second % 60]
}

/// Year, month and day.
fn calendar(since_1970: Duration) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is the last of its year.
    let day = days(since_1970) + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    (era * 400 + year + u64::from(month >= 10), (month + 2) % 12 + 1, date)
}
