//! Fetching datasets, against a server of this process that misbehaves as it is told.

use std::{
    fs,
    io::{BufRead, BufReader, Cursor, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use bitnet::{
    data::{DATASETS, DataError, DataOptions, Dataset},
    progress::{Progress, Silent},
};
use zip::{ZipWriter, write::SimpleFileOptions};

/// 200,000 bytes that no other stretch of them equals.
fn content() -> Vec<u8> {
    (0u32..50_000).flat_map(u32::to_le_bytes).collect()
}

const SHA256: &str = "7c843739479f0768cc43a7909050a98939f8b2fc5270f7b5348428974f5d3898";

fn dataset(download: &'static str) -> Dataset {
    Dataset {
        name: "numbers",
        url: "http://localhost:1/never-asked",
        download,
        file: "numbers.bin",
        bytes: 200_000,
        sha256: SHA256,
    }
}

fn zipped(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file(name, SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap().into_inner()
}

/// How the server answers one request.
#[derive(Clone, Copy)]
enum Answer {
    /// As asked, ranges included.
    Right,
    /// The connection ends after so many bytes of the body.
    Broken(usize),
    /// The whole file, whatever was asked for.
    NoRanges,
    Status(u16),
    Redirect,
}

/// Serves `body` under any name. Answers are used up one after the other; the last one stays.
struct Server {
    address: String,
    /// The range that each request asked for, or "".
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(body: Vec<u8>, answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers) = (asked.clone(), answers.to_vec());
        thread::spawn(move || {
            for (request, stream) in listener.incoming().enumerate() {
                let answer = answers[request.min(answers.len() - 1)];
                // The client may be gone.
                let _ = serve(stream.unwrap(), &body, answer, &log);
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(
    mut stream: TcpStream,
    body: &[u8],
    answer: Answer,
    log: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut path = String::new();
    let mut range = String::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_lowercase();
        if let Some(value) = line.strip_prefix("range: bytes=") {
            range = value.into();
        } else if let Some(rest) = line.strip_prefix("get ") {
            path = rest.split(' ').next().unwrap().into();
        }
        if line.is_empty() {
            break;
        }
    }
    log.lock().unwrap().push(range.clone());
    let redirected = path.starts_with("/elsewhere/");
    let start: usize = range.trim_end_matches('-').parse().unwrap_or(0);
    let (head, part) = match answer {
        Answer::Status(status) => (format!("{status} Sorry"), &b""[..]),
        Answer::Redirect if !redirected => {
            (format!("302 Found\r\nLocation: /elsewhere{path}"), &b""[..])
        }
        Answer::NoRanges => ("200 OK".into(), body),
        _ if range.is_empty() => ("200 OK".into(), body),
        _ if start >= body.len() => {
            let all = body.len();
            (format!("416 Range Not Satisfiable\r\nContent-Range: bytes */{all}"), &b""[..])
        }
        _ => {
            let (last, all) = (body.len() - 1, body.len());
            let range = format!("Content-Range: bytes {start}-{last}/{all}");
            (format!("206 Partial Content\r\n{range}"), &body[start..])
        }
    };
    let length = part.len();
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    match answer {
        Answer::Broken(bytes) => stream.write_all(&part[..bytes.min(length)]),
        _ => stream.write_all(part),
    }
}

/// Keeps the lines it is told.
#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Progress for Lines {
    fn start(&self, _what: &str, _bytes: u64) {}

    fn advance(&self, _bytes: u64) {}

    fn finish(&self) {}

    fn say(&self, line: &str) {
        self.0.lock().unwrap().push(line.into());
    }
}

fn options(root: &Path, server: &Server) -> DataOptions {
    let mirror = Some(server.address.clone());
    DataOptions { datasets: root.join("datasets"), mirror, offline: false, ..Default::default() }
}

/// Names in the folder of the datasets.
fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("datasets")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_whole(fetched: Result<PathBuf, DataError>) {
    assert!(fs::read(fetched.unwrap()).unwrap() == content());
}

#[test]
fn it_is_fetched_once_also_from_an_archive_and_elsewhere() {
    let (plain, zip) = (content(), zipped("numbers.bin", &content()));
    for (body, download, answer) in [
        (&plain, "numbers.bin", Answer::Right),
        (&plain, "numbers.bin", Answer::Redirect),
        (&zip, "numbers.zip", Answer::Right),
    ] {
        let root = tempfile::tempdir().unwrap();
        let server = Server::new(body.clone(), &[answer]);
        let options = options(root.path(), &server);
        assert_whole(dataset(download).fetch(&options, &Silent));
        let asked = server.asked().len();
        assert_whole(dataset(download).fetch(&options, &Silent));
        assert_eq!(server.asked().len(), asked);
        assert_eq!(names(root.path()), ["lock", "numbers.bin"]);
    }
}

#[test]
fn a_broken_connection_goes_on_where_it_stopped() {
    let root = tempfile::tempdir().unwrap();
    let server =
        Server::new(content(), &[Answer::Broken(70_000), Answer::Broken(10), Answer::Right]);
    assert_whole(dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent));
    assert_eq!(server.asked(), ["", "70000-", "70010-"]);
}

#[test]
fn what_came_outlives_a_run_that_gives_up() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::new(content(), &[Answer::Broken(1000), Answer::Status(503)]);
    let error = dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("/numbers.bin: the server answers 503; 1000 bytes are kept"), "{error}");
    assert_eq!(names(root.path()), ["lock", "numbers.bin.part"]);

    // Another run, on a server without ranges, then one that has nothing left to fetch.
    let server = Server::new(content(), &[Answer::NoRanges]);
    assert_whole(dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent));
    assert_eq!(server.asked(), ["1000-"]);
    let file = root.path().join("datasets/numbers.bin");
    fs::rename(&file, root.path().join("datasets/numbers.bin.part")).unwrap();
    let server = Server::new(content(), &[Answer::Right]);
    assert_whole(dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent));
    assert_eq!(server.asked(), ["200000-"]);
}

#[test]
fn a_wrong_part_is_fetched_again_from_the_start() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("datasets")).unwrap();
    for wrong in [vec![7; 500], vec![7; 300_000]] {
        fs::write(root.path().join("datasets/numbers.bin.part"), wrong).unwrap();
        let server = Server::new(content(), &[Answer::Right]);
        assert_whole(dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent));
        fs::remove_file(root.path().join("datasets/numbers.bin")).unwrap();
    }
}

#[test]
fn something_else_is_refused_and_not_kept() {
    let mut flipped = content();
    flipped[100_000] ^= 1;
    let long = [content(), vec![0]].concat();
    for (body, download, reason) in [
        (flipped.clone(), "numbers.bin", "its SHA-256 is "),
        (content()[..5].to_vec(), "numbers.bin", "it has 5 bytes, not 200000"),
        (long.clone(), "numbers.bin", "it is longer than 200000 bytes"),
        (zipped("numbers.bin", &flipped), "numbers.zip", "its SHA-256 is "),
        (zipped("numbers.bin", &long), "numbers.zip", "it is longer than 200000 bytes"),
        (zipped("letters.bin", &content()), "numbers.zip", "not found"),
        (content(), "numbers.zip", "is not dataset \"numbers\": "),
    ] {
        let root = tempfile::tempdir().unwrap();
        let server = Server::new(body, &[Answer::Right]);
        let fetched = dataset(download).fetch(&options(root.path(), &server), &Silent);
        let Err(error @ DataError::NotTheDataset { .. }) = fetched else { panic!("{fetched:?}") };
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(names(root.path()), ["lock"]);
    }
    let root = tempfile::tempdir().unwrap();
    let server = Server::new(vec![0; 500_000], &[Answer::Right]);
    let error = dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent).unwrap_err();
    assert!(error.to_string().ends_with("the file there is too large"), "{error}");
}

#[test]
fn a_refusal_is_not_asked_again() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::new(content(), &[Answer::Status(404)]);
    let error = dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent).unwrap_err();
    let url = format!("{}/numbers.bin", server.address);
    assert_eq!(error.to_string(), format!("cannot download {url}: the server answers 404"));
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_damaged_file_is_replaced_once_there_is_a_whole_one() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("datasets/numbers.bin");
    fs::create_dir(root.path().join("datasets")).unwrap();
    fs::write(&file, "damaged").unwrap();
    let server = Server::new(content(), &[Answer::Status(404), Answer::Right]);
    let lines = Lines::default();
    let options = options(root.path(), &server);
    assert!(dataset("numbers.bin").fetch(&options, &lines).is_err());
    assert_eq!(fs::read(&file).unwrap(), b"damaged");
    let line = lines.0.lock().unwrap().first().unwrap().clone();
    assert!(line.ends_with("is not dataset \"numbers\": it has 7 bytes, not 200000"), "{line}");
    assert_whole(dataset("numbers.bin").fetch(&options, &Silent));
    // It may have been something else of the user's.
    assert_eq!(names(root.path()), ["damaged-numbers.bin", "lock", "numbers.bin"]);
    assert_eq!(fs::read(file.with_file_name("damaged-numbers.bin")).unwrap(), b"damaged");
}

#[cfg(unix)]
#[test]
fn links_among_the_datasets_are_neither_followed_nor_replaced() {
    let root = tempfile::tempdir().unwrap();
    let victim = root.path().join("victim");
    fs::write(&victim, "years of work").unwrap();
    fs::create_dir(root.path().join("datasets")).unwrap();
    for name in ["numbers.bin", "numbers.bin.part", "lock"] {
        let link = root.path().join("datasets").join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink("../victim", &link).unwrap();
        let server = Server::new(content(), &[Answer::Right]);
        let fetched = dataset("numbers.bin").fetch(&options(root.path(), &server), &Silent);
        let error = fetched.unwrap_err().to_string();
        assert!(error.contains("it is a symbolic link, not a regular file"), "{name}: {error}");
        assert_eq!(fs::read(&victim).unwrap(), b"years of work");
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("../victim"));
        fs::remove_file(link).unwrap();
    }
}

#[test]
fn offline_nothing_is_asked_and_what_is_there_is_used() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::new(content(), &[Answer::Right]);
    let options = DataOptions { offline: true, ..options(root.path(), &server) };
    let fetched = dataset("numbers.zip").fetch(&options, &Silent);
    assert!(matches!(fetched, Err(DataError::Offline { name: "numbers", .. })));
    // An archive that somebody put there is not fetched either, nor removed.
    fs::create_dir(root.path().join("datasets")).unwrap();
    let archive = root.path().join("datasets/numbers.zip");
    fs::write(&archive, zipped("numbers.bin", &content())).unwrap();
    assert_whole(dataset("numbers.zip").fetch(&options, &Silent));
    assert!(archive.exists() && server.asked().is_empty());
}

#[test]
fn what_is_known_of_the_datasets_is_well_formed() {
    for dataset in DATASETS {
        assert_eq!(dataset.sha256.len(), 64);
        assert!(dataset.url.starts_with("http") && dataset.bytes > 0);
    }
}
