use std::{ops::Range, sync::Arc};

use bitnet::{data::TrainBatches, evaluate::WindowBatch};
use burn::{
    data::dataloader::{DataLoader, DataLoaderIterator, Progress},
    tensor::backend::{AutodiffBackend, Backend},
};

use super::model::{MicroBatch, ValidationBatch};
use crate::training::input::{teacher::Teacher, text::Text};

/// Training batches by index, made one after the other on the training thread. (Loaders with
/// several workers deliver in no fixed order.)
#[derive(Clone)]
pub struct TrainLoader<B: AutodiffBackend> {
    /// Where batches come from.
    pub batches: TrainBatches,
    /// Indices of the micro-batches to come.
    pub range: Range<u64>,
    /// See [`MicroBatch::share`].
    pub share: f64,
    /// See [`MicroBatch::teacher`].
    pub teacher: Option<Teacher<B::InnerBackend>>,
    /// Where batches go.
    pub device: B::Device,
}

impl<B: AutodiffBackend> DataLoader<B, MicroBatch<B>> for TrainLoader<B> {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<MicroBatch<B>> + 'a> {
        let total = self.num_items();
        let items = self.range.clone().map(|index| MicroBatch {
            batch: self.batches.batch(index, &self.device),
            share: self.share,
            teacher: self.teacher.clone(),
        });
        Box::new(Counted { items, done: 0, total })
    }

    fn num_items(&self) -> usize {
        (self.range.end - self.range.start) as usize
    }

    fn to_device(&self, device: &B::Device) -> Arc<dyn DataLoader<B, MicroBatch<B>>> {
        Arc::new(Self { device: device.clone(), ..self.clone() })
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, MicroBatch<B>>> {
        let first = self.range.start;
        Arc::new(Self { range: first + start as u64..first + end as u64, ..self.clone() })
    }
}

/// The windows of a validation, always the same.
#[derive(Clone)]
pub struct ValidationLoader {
    /// The windows.
    pub windows: Arc<[WindowBatch]>,
    /// The text.
    pub text: Arc<Text>,
}

impl<B: Backend> DataLoader<B, ValidationBatch> for ValidationLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<ValidationBatch> + 'a> {
        let items = self
            .windows
            .iter()
            .map(|windows| ValidationBatch { windows: windows.clone(), text: self.text.clone() });
        Box::new(Counted { items, done: 0, total: self.windows.len() })
    }

    fn num_items(&self) -> usize {
        self.windows.len()
    }

    fn to_device(&self, _device: &B::Device) -> Arc<dyn DataLoader<B, ValidationBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, ValidationBatch>> {
        Arc::new(Self { windows: self.windows[start..end].into(), ..self.clone() })
    }
}

/// An iterator that knows how far it is.
struct Counted<I> {
    items: I,
    done: usize,
    total: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let item = self.items.next()?;
        self.done += 1;
        Some(item)
    }
}

impl<I: Iterator> DataLoaderIterator<I::Item> for Counted<I> {
    fn progress(&self) -> Progress {
        Progress::new(self.done, self.total)
    }
}
