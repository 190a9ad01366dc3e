//! Where the command line prints: results on standard output, talk on standard error.

use std::fmt::Display;
use std::io::{self, Write};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::fmt::time::uptime;

/// Standard output. Once nobody reads it any more (`planish import … | head`), what is printed is dropped and the work goes on.
#[derive(Debug)]
pub struct Results {
    stdout: io::Stdout,
    unread: bool,
}

impl Results {
    /// Standard output.
    pub fn new() -> Self {
        Self {
            stdout: io::stdout(),
            unread: false,
        }
    }

    fn unless_unread(&mut self, done: io::Result<usize>, length: usize) -> io::Result<usize> {
        match done {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.unread = true;
                Ok(length)
            }
            done => done,
        }
    }
}

impl Write for Results {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unread {
            return Ok(bytes.len());
        }
        let done = self.stdout.write(bytes);
        self.unless_unread(done, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let done = self.stdout.flush().map(|()| 0);
        self.unless_unread(done, 0).map(drop)
    }
}

/// Says something on standard error; if that cannot be written either, nobody can be told.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Has spans and events of the libraries printed on standard error: events as they come, spans when they end, with the time they took.
pub fn log(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_timer(uptime())
        .init();
}

/// A number with its thousands set apart: `12,345`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let groups = digits.as_bytes()[first..].chunks(3);
    let groups = groups.map(|group| String::from_utf8_lossy(group).into_owned());
    let first = Some(digits[..first].to_owned()).filter(|first| !first.is_empty());
    first
        .into_iter()
        .chain(groups)
        .collect::<Vec<_>>()
        .join(",")
}

/// A number of things: `1 input`, `5,000 values`. The noun is given as one.
pub fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 {
        ""
    } else if noun.ends_with("ch") || noun.ends_with('s') {
        "es"
    } else {
        "s"
    };
    format!("{} {noun}{ending}", grouped(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (5000, "5,000"),
            (123_456, "123,456"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn things_are_counted() {
        for (number, noun, text) in [
            (1, "input", "1 input"),
            (0, "mismatch", "0 mismatches"),
            (5000, "value", "5,000 values"),
        ] {
            assert_eq!(count(number, noun), text);
        }
    }
}
