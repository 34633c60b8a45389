//! Reading the pairs of sources into memory.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use rayon::prelude::*;
use twinbit_hashing::{DecodeLimits, Picture};

use super::pairs::PicturePairs;
use crate::ingest::{SkippedFile, concerns_record};
use crate::source::{Content, Item, Position, Source};
use crate::{Error, IngestObserver, IngestProgress, Input, OnError, Place, RecordId, Result, Schema};

/// Items whose pictures are looked at together.
const ITEMS_A_BLOCK: usize = 64;

/// Pairs on their way into memory.
pub(super) struct Gathering<'a> {
    on_error: OnError,
    skipped_file: Option<SkippedFile>,
    observer: Option<Box<dyn IngestObserver + Send + 'a>>,
    pool: &'a rayon::ThreadPool,
    progress: IngestProgress,
    pictures: Vec<Vec<u8>>,
    texts: Vec<Vec<String>>,
    /// Which picture a record's is.
    picture_of: HashMap<RecordId, usize>,
    /// Texts of other records, which may come before.
    further: Vec<(RecordId, String)>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(
        on_error: OnError,
        skipped_file: Option<PathBuf>,
        observer: Option<Box<dyn IngestObserver + Send + 'a>>,
        pool: &'a rayon::ThreadPool,
        sources: &[Box<dyn Source + '_>],
    ) -> Self {
        let total = sources.iter().map(|source| source.items(Position::default())).sum();
        Self {
            on_error,
            skipped_file: skipped_file.map(|path| SkippedFile::new(path, false)),
            observer,
            pool,
            progress: IngestProgress { items: 0, bytes: 0, total, records: 0, skipped: 0, committed: 0 },
            pictures: Vec::new(),
            texts: Vec::new(),
            picture_of: HashMap::new(),
            further: Vec::new(),
        }
    }

    /// Takes a source in.
    pub(super) fn read(&mut self, source: &mut dyn Source, schema: &Schema) -> Result<()> {
        let mut block = Vec::new();
        let mut failed = Ok(());
        source.read(schema, Position::default(), &mut |item| {
            block.push(item);
            if block.len() < ITEMS_A_BLOCK {
                return ControlFlow::Continue(());
            }
            failed = self.take(std::mem::take(&mut block));
            if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed?;
        self.take(block)
    }

    /// The pairs: pictures with at least one text. Beside them how many items were left out.
    pub(super) fn finish(mut self, seed: u64) -> Result<(PicturePairs, u64)> {
        for (of, text) in self.further {
            if let Some(texts) = self.picture_of.get(&of).and_then(|&at| self.texts.get_mut(at)) {
                texts.push(text);
            }
        }
        if let Some(file) = &mut self.skipped_file {
            file.flush()?;
        }
        let pairs = self.pictures.into_iter().zip(self.texts).filter(|(_, texts)| !texts.is_empty());
        Ok((PicturePairs::new(pairs, seed), self.progress.skipped))
    }

    fn take(&mut self, items: Vec<Item>) -> Result<()> {
        self.progress.items += items.len() as u64;
        self.progress.bytes += items.iter().map(|item| item.bytes() as u64).sum::<u64>();
        let first = self.pictures.len() as u64;
        let checked: Vec<(String, Result<Content>)> = self.pool.install(|| {
            let place = |at: usize| Place::Position(first.saturating_add(at as u64));
            let items = items.into_par_iter().enumerate();
            let checked = |(at, item): (usize, Item)| {
                let content = item.content.and_then(|content| sound(&content, place(at)).map(|()| content));
                (item.name, content)
            };
            items.map(checked).collect()
        });
        for (name, content) in checked {
            match content.and_then(|content| self.add(content)) {
                Ok(()) => {}
                Err(error) => self.skip(&name, error)?,
            }
        }
        match self.observer.as_mut().map(|observer| observer.on_progress(&self.progress)) {
            Some(ControlFlow::Break(())) => Err(Error::Canceled),
            _ => Ok(()),
        }
    }

    fn add(&mut self, Content { record, captions }: Content) -> Result<()> {
        let [image, text] = record.inputs;
        let own = match text {
            Some(Input::Text(text)) => Some(text),
            _ => None,
        };
        let texts = own.into_iter().chain(captions);
        match (image, record.of) {
            (Some(Input::Picture(picture)), _) => {
                if let Some(id) = record.id {
                    if self.picture_of.contains_key(&id) {
                        return Err(Error::Duplicate { id });
                    }
                    self.picture_of.insert(id, self.pictures.len());
                }
                self.pictures.push(picture);
                self.texts.push(texts.collect());
                self.progress.records += 1;
            }
            (_, Some(of)) => self.further.extend(texts.map(|text| (of.clone(), text))),
            // A text without a picture has nothing to be compared with.
            _ => {}
        }
        Ok(())
    }

    /// Leaves an item out, or ends reading, as the caller wishes.
    fn skip(&mut self, item: &str, error: Error) -> Result<()> {
        if !concerns_record(&error) {
            return Err(error);
        }
        if self.on_error == OnError::Stop {
            return Err(Error::Item { item: item.to_owned(), source: Box::new(error) });
        }
        self.progress.skipped += 1;
        if let Some(file) = &mut self.skipped_file {
            file.add(item, &error)?;
        }
        if let Some(observer) = &mut self.observer {
            observer.on_skipped(item, &error);
        }
        Ok(())
    }
}

/// Whether the picture of an item can be decoded: in the midst of training would be too late.
fn sound(content: &Content, place: Place) -> Result<()> {
    let [Some(Input::Picture(bytes)), _] = &content.record.inputs else { return Ok(()) };
    match Picture::decode(bytes, &DecodeLimits::default()) {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::Picture { place, source: source.into() }),
    }
}
