//! The work of the demonstration, step by step: store, train, install, ask, measure.

use std::ops::ControlFlow;
use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use twinbit::{
    CodeBits, Collection, EpochReport, Hardware, Hit, Input, Labels, Modality, Observer, Outcome, Queries,
    Record, Snapshot, TrainConfig,
};

use crate::commands::train::install;
use crate::demo::chance::expected_average_precision;
use crate::demo::emoji::{self, Pair};
use crate::demo::report::{Found, GroupScore, Map, PictureQuery, Report, Setting, Step, TextQuery};
use crate::demo::samples::{PICTURES, PICTURES_FOUND, TEXTS, TEXTS_FOUND, familiarity};
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::count;
use crate::session::Session;

/// Bits of a code.
pub const BITS: CodeBits = CodeBits::B128;
/// One pair in this many is held out.
const HELD_OUT_SHARE: usize = 10;
/// Decides the split and the training.
const SEED: u64 = 1;
/// Pairs that are encoded between two looks at the bar.
const PAIRS_A_BLOCK: usize = 64;

/// The demonstration under way.
pub struct Experiment<'a> {
    collection: &'a Collection,
    session: &'a Session,
    stored: Vec<Pair>,
    held_out: Vec<Pair>,
    steps: Vec<Step>,
}

impl<'a> Experiment<'a> {
    /// Divides the pairs.
    pub fn new(collection: &'a Collection, session: &'a Session) -> Self {
        let mut pairs = emoji::load().pairs;
        pairs.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
        let held_out = pairs.split_off(pairs.len() - pairs.len() / HELD_OUT_SHARE);
        Self { collection, session, stored: pairs, held_out, steps: Vec::new() }
    }

    /// Does everything.
    pub fn run(mut self, begin: Instant) -> Result<Report> {
        self.store()?;
        let outcome = self.train()?;
        self.step("Model installed", |this| {
            install(this.collection, &outcome.model, this.session)?;
            Ok(((), format!("{} pairs encoded", count(this.stored.len() as u64))))
        })?;
        let snapshot = self.collection.snapshot()?;
        let (texts, pictures) = self.ask(&snapshot)?;
        let groups = self.measure(&snapshot)?;
        Ok(Report {
            pairs: self.stored.len() + self.held_out.len(),
            stored: self.stored.len(),
            held_out: self.held_out.len(),
            bits: u32::try_from(BITS.bits()).unwrap_or(u32::MAX),
            map: mean(&groups),
            groups,
            settings: settings(&outcome),
            steps: self.steps,
            texts,
            pictures,
            seconds: begin.elapsed().as_secs_f64(),
            database: String::new(),
            report: String::new(),
        })
    }

    /// Runs a step and notes how long it took.
    fn step<T>(&mut self, step: &'static str, work: impl FnOnce(&Self) -> Result<(T, String)>) -> Result<T> {
        if interrupt::requested() {
            return Err(Failure::new("the demonstration was interrupted"));
        }
        let begin = Instant::now();
        let (result, amount) = work(self)?;
        let seconds = begin.elapsed().as_secs_f64();
        self.session.output.say(format!("{step}: {amount}, {seconds:.1} s"))?;
        self.steps.push(Step { step, seconds, amount });
        Ok(result)
    }

    /// Stores the pairs; the collection makes features of the pictures on the way.
    fn store(&mut self) -> Result {
        self.step("Pictures turned into features and stored", |this| {
            let bar = this.session.progress.bar("storing pairs", this.stored.len() as u64);
            let names = emoji::group_names();
            let mut writer = this.collection.writer()?;
            for block in this.stored.chunks(PAIRS_A_BLOCK) {
                if interrupt::requested() {
                    return Err(Failure::new("the demonstration was interrupted"));
                }
                writer.extend(block.iter().map(|pair| {
                    Record::new(pair.name)
                        .image(Input::picture(pair.picture))
                        .text(pair.text.as_str())
                        .set("group", names[pair.group as usize].as_str())
                        .set("glyph", pair.glyph)
                }))?;
                bar.inc(block.len() as u64);
            }
            writer.commit()?;
            bar.finish_and_clear();
            Ok(((), format!("{} pairs", count(this.stored.len() as u64))))
        })
    }

    fn train(&mut self) -> Result<Outcome> {
        self.step("Networks trained", |this| {
            let config = TrainConfig {
                bits: BITS,
                hidden: 1024,
                batch: 128,
                epochs: 60,
                negatives: 1024,
                learning_rate: 3e-4,
                seed: SEED,
                ..TrainConfig::default()
            };
            let bar = this.session.progress.bar("training", 0);
            let watch = Bar(bar.clone());
            let outcome =
                this.collection.trainer().config(config).observer(watch).fit(&this.collection.snapshot()?);
            bar.finish_and_clear();
            if interrupt::requested() {
                return Err(Failure::new("the demonstration was interrupted"));
            }
            let outcome = outcome?;
            let epochs = outcome.epochs.len();
            Ok((outcome, format!("{epochs} epochs")))
        })
    }

    fn ask(&mut self, snapshot: &Snapshot) -> Result<(Vec<TextQuery>, Vec<PictureQuery>)> {
        self.step("Sample queries answered", |this| {
            let inputs = TEXTS.iter().map(|text| Input::text(*text)).collect();
            let answers = snapshot.query_many(Modality::Text, inputs).limit(PICTURES_FOUND).run_many()?;
            let texts: Vec<TextQuery> = TEXTS
                .iter()
                .zip(&answers)
                .map(|(text, hits)| TextQuery {
                    text: (*text).to_owned(),
                    note: familiarity(text, &this.stored),
                    hits: this.found(hits),
                })
                .collect();
            let asked = this.pictures();
            let inputs = asked.iter().map(|pair| Input::picture(pair.picture)).collect();
            let answers = snapshot.query_many(Modality::Image, inputs).limit(TEXTS_FOUND).run_many()?;
            let pictures: Vec<PictureQuery> = asked
                .iter()
                .zip(&answers)
                .map(|(pair, hits)| PictureQuery {
                    name: pair.name,
                    group: pair.group,
                    picture: pair.picture,
                    hits: this.found(hits),
                })
                .collect();
            let amount = format!("{} texts, {} pictures", texts.len(), pictures.len());
            Ok(((texts, pictures), amount))
        })
    }

    /// Held-out pairs to show: the first of each group, then the second of each, and so on.
    fn pictures(&self) -> Vec<&Pair> {
        let mut taken = std::collections::BTreeMap::new();
        let mut ranked: Vec<(usize, &Pair)> = self
            .held_out
            .iter()
            .map(|pair| {
                let rank = taken.entry(pair.group).or_insert(0_usize);
                *rank += 1;
                (*rank, pair)
            })
            .collect();
        ranked.sort_by_key(|(rank, pair)| (*rank, pair.group));
        ranked.truncate(PICTURES);
        ranked.into_iter().map(|(_, pair)| pair).collect()
    }

    fn found(&self, hits: &[Hit]) -> Vec<Found> {
        let found = hits.iter().map(|hit| {
            let id = hit.id().to_string();
            let pair = self.stored.iter().find(|pair| pair.name == id);
            Found {
                distance: hit.distance(),
                group: pair.map(|pair| pair.group),
                picture: pair.map(|pair| pair.picture),
                id,
            }
        });
        found.collect()
    }

    /// MAP of the held-out pairs against the stored ones, group by group: a record is right when it
    /// is of the query's group.
    fn measure(&mut self, snapshot: &Snapshot) -> Result<Vec<GroupScore>> {
        self.step("Retrieval measured", |this| {
            let bar = this.session.progress.bar("measuring", this.held_out.len() as u64);
            let database_labels = labels(&this.stored)?;
            let mut scores = Vec::new();
            for (number, name) in (0_u32..).zip(emoji::group_names()) {
                let asked: Vec<Pair> =
                    this.held_out.iter().filter(|pair| pair.group == number).cloned().collect();
                let relevant = this.stored.iter().filter(|pair| pair.group == number).count();
                if asked.is_empty() || relevant == 0 {
                    continue;
                }
                let queries = Queries::new(
                    asked.iter().map(|pair| Input::picture(pair.picture)).collect(),
                    asked.iter().map(|pair| Input::text(pair.text.as_str())).collect(),
                );
                let scored = snapshot.evaluate(&queries, &labels(&asked)?, &database_labels, &[])?;
                let map = Map {
                    image_to_text: scored.image_to_text.scores.map,
                    text_to_image: scored.text_to_image.scores.map,
                    chance: expected_average_precision(relevant, this.stored.len()),
                };
                bar.inc(asked.len() as u64);
                scores.push(GroupScore { group: name, queries: asked.len(), relevant, map });
            }
            bar.finish_and_clear();
            Ok((scores, format!("{} held-out pairs, both ways", this.held_out.len())))
        })
    }
}

fn labels(pairs: &[Pair]) -> Result<Labels> {
    Labels::from_sets(pairs.iter().map(|pair| [pair.group]))
        .map_err(|error| twinbit::Error::from(error).into())
}

fn mean(groups: &[GroupScore]) -> Map {
    let mean = |of: fn(&Map) -> f64| {
        groups.iter().map(|score| of(&score.map)).sum::<f64>() / groups.len().max(1) as f64
    };
    Map {
        image_to_text: mean(|map| map.image_to_text),
        text_to_image: mean(|map| map.text_to_image),
        chance: mean(|map| map.chance),
    }
}

fn settings(outcome: &Outcome) -> Vec<Setting> {
    let hardware = Hardware::detect();
    let spec = outcome.model.spec();
    let setting = |name, value: String| Setting { name, value };
    vec![
        setting("Method", "UCCH, no labels".to_owned()),
        setting("Bits of a code", BITS.bits().to_string()),
        setting("Picture features", format!("{}, {} values", spec.image_featurizer, spec.image_width)),
        setting("Text features", format!("words and n-grams, {} values", spec.text_width)),
        setting(
            "Hidden width, layers",
            format!("{}, {} and {}", spec.hidden, spec.image_layers, spec.text_layers),
        ),
        setting("Seed", SEED.to_string()),
        setting("Model", outcome.model.id().to_string()),
        setting("Scan kernel", hardware.kernel.to_owned()),
        setting("Threads", hardware.threads.to_string()),
        setting("twinbit", env!("CARGO_PKG_VERSION").to_owned()),
    ]
}

/// Training under a bar.
struct Bar(indicatif::ProgressBar);

impl Observer for Bar {
    fn on_step(&mut self, step: usize, steps: usize, _: f64) -> ControlFlow<()> {
        self.0.set_length(steps as u64);
        self.0.set_position(step as u64);
        interrupt::flow()
    }

    fn on_epoch(&mut self, _: &EpochReport) -> ControlFlow<()> {
        interrupt::flow()
    }
}
