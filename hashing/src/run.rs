//! A training run between two epochs: all that decides what comes next.
//!
//! There is no state of a random generator in it. Every draw is a function of the seed, a purpose
//! and a counter ([`random`](crate::random)), so seed and epoch are the random state.

use twinbit_kernels::Modality;

use crate::Error;
use crate::config::TrainConfig;
use crate::model::HashModel;
use crate::report::EpochReport;
use crate::spec::ModelSpec;
use crate::step::TrainingState;
use crate::text::TextFeaturizer;

/// Networks, bank and optimizer; the epochs so far; the best of them.
pub(crate) struct Run {
    pub(crate) state: TrainingState<f32>,
    /// One report an epoch that has ended.
    pub(crate) reports: Vec<EpochReport>,
    /// The first epoch with the greatest validation score; none without validation.
    pub(crate) best: Option<Best>,
}

/// The epoch that is kept.
pub(crate) struct Best {
    /// Counted from 1.
    pub(crate) epoch: u32,
    pub(crate) model: HashModel,
}

impl Run {
    /// A run that has not begun.
    pub(crate) fn new(state: TrainingState<f32>) -> Self {
        Self { state, reports: Vec::new(), best: None }
    }

    /// Epochs that have ended, which is also the next one counted from 0.
    pub(crate) fn epochs(&self) -> u32 {
        self.reports.len() as u32
    }

    /// Whether training ends here: all epochs are done, or patience is.
    pub(crate) fn ended(&self, config: &TrainConfig) -> bool {
        let since_best = self.best.as_ref().map_or(0, |best| self.epochs().saturating_sub(best.epoch));
        self.epochs() >= config.epochs || config.patience.is_some_and(|patience| since_best >= patience)
    }

    /// Takes an epoch's report, and its weights when its validation score is the greatest so far.
    pub(crate) fn finish_epoch(
        &mut self,
        report: EpochReport,
        spec: &ModelSpec,
        text_featurizer: Option<&TextFeaturizer>,
    ) -> Result<(), Error> {
        let greatest = self.best.as_ref().and_then(|best| self.score_of(best));
        let better = score(&report).is_some_and(|score| greatest.is_none_or(|greatest| score > greatest));
        self.reports.push(report);
        if better {
            self.best = Some(self.latest(spec, text_featurizer)?);
        }
        Ok(())
    }

    /// The epoch that is kept: the best one, or, without scores, the last.
    pub(crate) fn finish(
        mut self,
        spec: &ModelSpec,
        text_featurizer: Option<&TextFeaturizer>,
    ) -> Result<(Best, Vec<EpochReport>), Error> {
        let best = match self.best.take() {
            Some(best) => best,
            None => self.latest(spec, text_featurizer)?,
        };
        Ok((best, self.reports))
    }

    fn latest(&self, spec: &ModelSpec, text_featurizer: Option<&TextFeaturizer>) -> Result<Best, Error> {
        let networks = Modality::ALL.map(|modality| self.state.network(modality));
        let model = HashModel::new(spec.clone(), networks, text_featurizer.cloned())?;
        Ok(Best { epoch: self.epochs(), model })
    }

    fn score_of(&self, best: &Best) -> Option<f64> {
        self.reports.get(best.epoch as usize - 1).and_then(score)
    }
}

fn score(report: &EpochReport) -> Option<f64> {
    report.validation.map(|scores| scores.mean())
}
