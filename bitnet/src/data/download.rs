use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::Path,
    thread,
    time::Duration,
};

use ureq::{
    Agent, Body,
    http::{HeaderMap, Response},
};

use super::DataError;
use crate::{progress::Progress, storage::open_own};

/// How often a download is tried before it is given up.
const MAX_TRIES: u32 = 5;
/// How long a server may be silent.
const MAX_SILENCE: Duration = Duration::from_secs(30);

/// Why a try ended early.
enum Failure {
    /// Another one may do better.
    Passing(String),
    /// The next one would end the same.
    Lasting(String),
    /// What came cannot be kept.
    Unwritable(io::Error),
}

/// Fetches what is still missing of the file `part`, at most `limit` bytes in all. What came stays
/// there whatever happens, and the next call goes on after it.
///
/// # Errors
/// [`DataError::Download`] and [`DataError::Cache`].
pub(super) fn download(
    url: &str,
    part: &Path,
    limit: u64,
    progress: &dyn Progress,
) -> Result<(), DataError> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(MAX_SILENCE))
        .timeout_recv_response(Some(MAX_SILENCE))
        .timeout_per_read(Some(MAX_SILENCE))
        .build()
        .into();
    for attempt in 1.. {
        let result = try_once(&agent, url, part, limit, progress);
        progress.finish();
        let reason = match result {
            Ok(()) => return Ok(()),
            Err(Failure::Unwritable(error)) => {
                return Err(DataError::Cache { path: part.into(), error });
            }
            Err(Failure::Lasting(reason)) => reason,
            Err(Failure::Passing(reason)) if attempt == MAX_TRIES => reason,
            Err(Failure::Passing(reason)) => {
                progress.say(&format!("{reason}; trying again"));
                thread::sleep(Duration::from_millis(250) * attempt);
                continue;
            }
        };
        let reason = match length(part).unwrap_or(0) {
            0 => reason,
            kept => format!("{reason}; {kept} bytes are kept, the next run goes on from there"),
        };
        return Err(DataError::Download { url: url.into(), reason });
    }
    Ok(())
}

/// Bytes of the file `part`, none if there is no such file.
fn length(part: &Path) -> io::Result<u64> {
    match open_own(part, File::options().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        file => Ok(file?.metadata()?.len()),
    }
}

fn try_once(
    agent: &Agent,
    url: &str,
    part: &Path,
    limit: u64,
    progress: &dyn Progress,
) -> Result<(), Failure> {
    let had = length(part).map_err(Failure::Unwritable)?;
    let mut request = agent.get(url).header("Accept-Encoding", "identity");
    if had > 0 {
        request = request.header("Range", format!("bytes={had}-"));
    }
    let mut response = request.call().map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => Failure::Lasting(error.to_string()),
        _ => Failure::Passing(error.to_string()),
    })?;
    let Some(start) = start(&response, had, part)? else { return Ok(()) };

    let rest = number(response.headers(), "content-length");
    let total = rest.map(|rest| start + rest);
    if total.is_some_and(|total| total > limit) {
        return Err(Failure::Lasting("the file there is too large".into()));
    }
    let options = File::options().create(true).truncate(false).write(true).clone();
    let mut file = open_own(part, &options)
        .and_then(|mut file| {
            file.set_len(start)?;
            io::Seek::seek(&mut file, io::SeekFrom::Start(start))?;
            Ok(file)
        })
        .map_err(Failure::Unwritable)?;
    progress.start("downloading", total.unwrap_or(limit));
    progress.advance(start);
    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut have = start;
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) => {
                let reason = format!("the connection broke after {have} bytes ({error})");
                return Err(Failure::Passing(reason));
            }
        };
        have += read as u64;
        if have > limit {
            return Err(Failure::Lasting("the file there is too large".into()));
        }
        file.write_all(&buffer[..read]).map_err(Failure::Unwritable)?;
        progress.advance(read as u64);
    }
    file.sync_all().map_err(Failure::Unwritable)?;
    match total {
        Some(total) if have < total => {
            Err(Failure::Passing(format!("the connection ended after {have} of {total} bytes")))
        }
        _ => Ok(()),
    }
}

/// Where in the file the body of a response begins, if `had` bytes of it are there; `None` if
/// these are all.
fn start(response: &Response<Body>, had: u64, part: &Path) -> Result<Option<u64>, Failure> {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    match response.status().as_u16() {
        200 => Ok(Some(0)),
        206 if range.is_some_and(|range| range.starts_with(&format!("bytes {had}-"))) => {
            Ok(Some(had))
        }
        416 if range == Some(&format!("bytes */{had}")) => Ok(None),
        // What is there is no beginning of what is fetched.
        206 | 416 => {
            fs::remove_file(part).map_err(Failure::Unwritable)?;
            Err(Failure::Passing("the file there is another one than before".into()))
        }
        status @ 500.. => Err(Failure::Passing(format!("the server answers {status}"))),
        status => Err(Failure::Lasting(format!("the server answers {status}"))),
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}
