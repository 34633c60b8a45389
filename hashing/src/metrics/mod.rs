//! Retrieval metrics of codes ranked by Hamming distance.
//!
//! Distances take few values, so ties matter: equal distances are ranked in row order, and the
//! expectation over all orders of each tie is given beside it (McSherry and Najork, "Computing
//! information retrieval performance measures efficiently in the presence of tied scores", ECIR
//! 2008). Ranking is by counting distances, not by comparing.

mod distance;
mod precision;
mod recall;
mod scores;

pub use recall::recall_at;
pub use scores::{LookupPoint, RankingPoint, RetrievalScores, evaluate, mean_average_precision};
