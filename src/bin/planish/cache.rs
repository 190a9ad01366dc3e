//! `planish cache`: looks after the compiled kernels that are kept.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use planish::pool::Cache;

use crate::args::{Cache as Args, CacheVerb};
use crate::diagnose::{Failure, failed};
use crate::environment;

/// Says how much there is, removes what is old, or checks what is there.
pub fn cache(args: &Args, out: &mut impl Write) -> Result<(), Failure> {
    let directory = environment::cache_directory(args.cache.as_deref())?;
    // Asking after a cache does not make one.
    if !directory.exists() {
        return Ok(writeln!(out, "{}: nothing is kept", directory.display())?);
    }
    if directory.is_dir() && !Cache::is_in(&directory) {
        let directory = directory.display();
        return Ok(writeln!(
            out,
            "{directory}: this is no cache, nothing is kept"
        )?);
    }
    let cache = Cache::open(&directory).map_err(|error| failed(&error))?;
    let trouble = |error: std::io::Error| Failure::file("read", &directory, &error);
    match &args.verb {
        CacheVerb::Stats => stats(&cache, &directory, out),
        CacheVerb::Gc { max_size } => {
            let removed = cache.keep_within(*max_size).map_err(trouble)?;
            let (entries, bytes, left) = (removed.entries, removed.bytes, removed.left);
            let (bytes, left) = (size(bytes), size(left));
            Ok(writeln!(
                out,
                "{entries} entries removed ({bytes}), {left} left"
            )?)
        }
        CacheVerb::Verify => {
            let verified = cache.verify().map_err(trouble)?;
            for (key, reason) in &verified.damaged {
                writeln!(out, "{key}: {reason}; set aside")?;
            }
            let damaged = verified.damaged.len();
            Ok(writeln!(
                out,
                "{} entries sound, {damaged} damaged",
                verified.sound
            )?)
        }
        CacheVerb::Clear => {
            let removed = cache.clear().map_err(trouble)?;
            let (entries, bytes) = (removed.entries, size(removed.bytes));
            Ok(writeln!(out, "{entries} entries removed ({bytes})")?)
        }
    }
}

fn stats(cache: &Cache, directory: &Path, out: &mut impl Write) -> Result<(), Failure> {
    let stats = cache
        .stats()
        .map_err(|error| Failure::file("read", directory, &error))?;
    writeln!(out, "directory     {}", directory.display())?;
    writeln!(out, "entries       {}", stats.entries)?;
    writeln!(out, "size          {}", size(stats.bytes))?;
    writeln!(out, "set aside     {}", stats.set_aside)?;
    if let Some(idle) = stats.longest_idle {
        writeln!(out, "longest idle  {}", time(idle))?;
    }
    Ok(())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

fn time(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} seconds"),
        seconds @ 120..7_200 => format!("{} minutes", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
