//! A training run between two epochs: all that decides what comes next, but for what the
//! [learner](crate::learner) holds.
//!
//! There is no state of a random generator in it. Every draw is a function of the seed, a purpose
//! and a counter ([`random`](crate::random)), so seed and epoch are the random state.

use crate::Error;
use crate::config::TrainConfig;
use crate::learner::Learner;
use crate::model::HashModel;
use crate::report::EpochReport;
use crate::spec::ModelSpec;
use crate::text::TextFeaturizer;

/// The epochs so far, and the best of them.
#[derive(Default)]
pub(crate) struct Run {
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
        learner: &dyn Learner,
        spec: &ModelSpec,
        text_featurizer: Option<&TextFeaturizer>,
    ) -> Result<(), Error> {
        let greatest = self.best.as_ref().and_then(|best| self.score_of(best));
        let better = score(&report).is_some_and(|score| greatest.is_none_or(|greatest| score > greatest));
        self.reports.push(report);
        if better {
            self.best = Some(self.latest(learner, spec, text_featurizer)?);
        }
        Ok(())
    }

    /// The epoch that is kept: the best one, or, without scores, the last.
    pub(crate) fn finish(
        mut self,
        learner: &dyn Learner,
        spec: &ModelSpec,
        text_featurizer: Option<&TextFeaturizer>,
    ) -> Result<(Best, Vec<EpochReport>), Error> {
        let best = match self.best.take() {
            Some(best) => best,
            None => self.latest(learner, spec, text_featurizer)?,
        };
        Ok((best, self.reports))
    }

    fn latest(
        &self,
        learner: &dyn Learner,
        spec: &ModelSpec,
        text_featurizer: Option<&TextFeaturizer>,
    ) -> Result<Best, Error> {
        let networks = learner.networks()?;
        let model = HashModel::new(spec.clone(), networks.each_ref(), text_featurizer.cloned())?;
        Ok(Best { epoch: self.epochs(), model })
    }

    fn score_of(&self, best: &Best) -> Option<f64> {
        self.reports.get(best.epoch as usize - 1).and_then(score)
    }
}

fn score(report: &EpochReport) -> Option<f64> {
    report.validation.map(|scores| scores.mean())
}
