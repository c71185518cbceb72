//! `train tokenizer`: a byte-level BPE of a text.

use std::{
    io::Write,
    path::PathBuf,
    sync::mpsc::{Receiver, sync_channel},
    thread,
};

use anyhow::{Context, anyhow, ensure};
use bitnet::{
    data::{Chunk, Corpus, DataError},
    progress::{Bar, Progress},
    storage::{Output, Product},
    tokenizer::{SubwordTokenizer, Tokenizer, train_bpe},
};
use command_line::DataArgs;

/// Chunks that are read ahead.
const AHEAD: usize = 16;

/// What may use it cannot be told from the file: no earlier one is known as such.
const TOKENIZER: Product =
    Product { reason: "a tokenizer in use must not change", is_one: |_| Ok(false) };

/// What to train on, and how many tokens to make.
#[derive(Debug, clap::Args)]
pub struct TokenizerArgs {
    /// Number of tokens: the 256 bytes, the end of a text, and merges
    #[arg(long, value_name = "N")]
    vocab: usize,
    #[command(flatten)]
    data: DataArgs,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

impl TokenizerArgs {
    /// Trains the tokenizer and writes it.
    ///
    /// # Errors
    /// If the data cannot be read, the size is out of range, or the file cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        let out = self.out.display();
        let cannot_write = || format!("cannot write {out}");
        let to = Output::new(&self.out).reading(&self.data.sources).forced(self.force);
        to.check_file(&TOKENIZER).with_context(cannot_write)?;
        let corpus = self.data.open(&Bar::default())?;
        // Of a pattern, the files are known only now.
        let to = to.reading(corpus.files());
        to.check_file(&TOKENIZER).with_context(cannot_write)?;
        let tokenizer = train(&corpus, self.vocab)?;
        to.write_file(&TOKENIZER, |file| file.write_all(tokenizer.to_json().as_bytes()))
            .with_context(cannot_write)?;
        say!("{} tokens in {out}", tokenizer.vocab_size());
        if tokenizer.vocab_size() < self.vocab {
            say!("the text has no more pairs that occur twice");
        }
        Ok(())
    }
}

/// Reads on a thread of its own, since the trainer asks for texts and cannot be told of errors.
fn train(corpus: &Corpus, vocab: usize) -> anyhow::Result<SubwordTokenizer> {
    thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        let reader = scope.spawn(move || -> Result<u64, DataError> {
            let (mut bytes, bar) = (0, Bar::default());
            bar.start("reading", corpus.stored_bytes());
            for chunk in corpus.chunks(&bar) {
                let Chunk { text, .. } = chunk?;
                bytes += text.len() as u64;
                // The trainer ends early only if it fails, and then says so itself.
                if send.send(String::from_utf8_lossy(&text).into_owned()).is_err() {
                    break;
                }
            }
            bar.finish();
            Ok(bytes)
        });
        let trained = train_bpe(vocab, Texts(receive));
        let bytes = reader.join().map_err(|_| anyhow!("the reader failed"))??;
        let tokenizer = trained?;
        ensure!(bytes > 0, DataError::Empty(corpus.names().into()));
        Ok(tokenizer)
    })
}

/// The texts that come.
struct Texts(Receiver<String>);

impl Iterator for Texts {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.0.recv().ok()
    }
}
